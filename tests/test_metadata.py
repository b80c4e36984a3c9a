from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from modfile.metadata import BASE_MODEL, MAX_CONFIG, Metadata, read_metadata
from modfile.workspace import Workspace
from tests.weights.samples import Gguf, llama, safetensors

if TYPE_CHECKING:
    from pathlib import Path

FLOATS = safetensors({"w": ("F32", (100, 100)), "position_ids": ("I64", (1, 512))})


def read(root: Path, **files: bytes | str | dict[str, Any]) -> Metadata:
    """Write files, whose names have `__` for a dot, and read what they say."""
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        data = json.dumps(content) if isinstance(content, dict) else content
        (root / name.replace("__", ".")).write_bytes(data if isinstance(data, bytes) else data.encode())
    workspace = Workspace(root)
    return read_metadata(workspace, workspace.files())


def said(metadata: Metadata) -> dict[str, str]:
    return {field.keyword: " ".join(field.values) for field in metadata.fields if field.keyword != "NAME"}


def test_a_hub_directory_says_all_of_itself(tmp_path: Path) -> None:
    found = read(
        tmp_path / "all-MiniLM",
        config__json={"model_type": "bert", "transformers_version": "4.8.2", "torch_dtype": "float16"},
        model__safetensors=FLOATS,
        README__md="---\nlanguage: en\nlicense: apache-2.0\ntitle: Mini\nbase_model: [a/b, c/d]\n---\n",
    )
    assert [(field.keyword, *field.values, field.source) for field in found.fields] == [
        ("NAME", "all-MiniLM", "the directory's name"),
        ("ARCH", "transformer", "transformers_version in config.json"),
        ("FAMILY", "bert", "model_type in config.json"),
        ("FORMAT", "safetensors", "the header of model.safetensors"),
        ("PARAMSIZE", "10K", "the header of model.safetensors"),
        ("PRECISION", "float32", "the header of model.safetensors"),
        ("TITLE", "Mini", "the front matter of README.md"),
        ("LICENSE", "apache-2.0", "the front matter of README.md"),
        ("LANGUAGE", "en", "the front matter of README.md"),
        ("ANNOTATION", f"{BASE_MODEL}=a/b,c/d", "base_model in the front matter of README.md"),
    ]
    assert found.warnings == ()


def test_where_the_files_are_silent_nothing_is_guessed(tmp_path: Path) -> None:
    assert said(read(tmp_path, config__json={"hidden_size": 3}, README__md="# Llama 7B, MIT", a__txt="en")) == {}


def test_a_gguf_file_says_what_config_and_card_do_not(tmp_path: Path) -> None:
    model = llama().say("general.name", "Llama Tiny").say("general.license", "llama3")
    assert said(read(tmp_path, m__gguf=model.bytes())) == {
        "FAMILY": "llama",
        "FORMAT": "gguf",
        "PARAMSIZE": "1.1K",
        "PRECISION": "int4,float32",
        "QUANTIZATION": "Q4_K_M",
        "TITLE": "Llama Tiny",
        "LICENSE": "LicenseRef-llama3",
    }


def test_config_and_card_win_over_a_gguf_file(tmp_path: Path) -> None:
    model = llama().say("general.name", "Llama Tiny").say("general.license", "mit")
    card = "---\ntitle: T\nlicense: apache-2.0\n---\n"
    found = said(read(tmp_path, m__gguf=model.bytes(), config__json={"model_type": "llama4"}, README__md=card))
    assert (found["FAMILY"], found["TITLE"], found["LICENSE"]) == ("llama4", "T", "apache-2.0")


@pytest.mark.parametrize(
    ("config", "precision", "source"),
    [
        ({"torch_dtype": "bfloat16"}, "bfloat16", "torch_dtype in config.json"),
        ({"dtype": "torch.float16"}, "float16", "dtype in config.json"),
        ({"dtype": "Float32"}, "float32", "dtype in config.json"),
        ({"torch_dtype": "float8_e4m3fn"}, "float8_e4m3", "torch_dtype in config.json"),
        ({"text_config": {"torch_dtype": "half"}}, "float16", "text_config.torch_dtype in config.json"),
        ({"torch_dtype": "auto", "dtype": "float32"}, "float32", "dtype in config.json"),
    ],
)
def test_without_headers_the_config_tells_the_precision(
    tmp_path: Path, config: dict[str, Any], precision: str, source: str
) -> None:
    found = read(tmp_path, config__json=config, pytorch_model__bin=b"\x80\x02")
    fields = {field.keyword: field for field in found.fields}
    assert (fields["PRECISION"].values, fields["PRECISION"].source) == ((precision,), source)
    assert fields["FORMAT"].values == ("pytorch",)
    assert "PARAMSIZE" not in fields


@pytest.mark.parametrize(
    "config",
    [
        {"torch_dtype": "auto", "model_type": "", "transformers_version": None},
        {"torch_dtype": 16, "model_type": ["bert"], "transformers_version": ""},
        {"torch_dtype": None, "model_type": {"a": 1}, "text_config": [], "quantization_config": "gptq"},
        {"text_config": {"torch_dtype": 3}, "quantization_config": {"quant_method": 7}},
    ],
)
def test_values_of_the_wrong_type_say_nothing(tmp_path: Path, config: dict[str, Any]) -> None:
    assert said(read(tmp_path, config__json=config)) == {}


def test_quantized_weights_name_their_method_and_count_what_they_hold(tmp_path: Path) -> None:
    tensors = {"q.qweight": ("I32", (16, 128)), "q.qzeros": ("I32", (1, 16)), "q.scales": ("F16", (1, 128))}
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = said(read(tmp_path, config__json=config, m__safetensors=safetensors(tensors | {"n": ("F16", (128,))})))
    assert found == {
        "FORMAT": "safetensors",
        "PARAMSIZE": "16.5K",
        "PRECISION": "int4,float16",
        "QUANTIZATION": "gptq",
    }


def test_a_count_that_is_not_complete_is_not_said(tmp_path: Path) -> None:
    found = read(tmp_path, **{"m-00001-of-00002__safetensors": FLOATS})
    assert said(found) == {"FORMAT": "safetensors", "PRECISION": "float32"}
    assert found.warnings == ("m-00002-of-00002.safetensors is missing; the weights are not whole",)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a": 1' + b"0" * 9_000 + b"}", "not JSON"),
        (b" " * (MAX_CONFIG + 1), f"larger than {MAX_CONFIG} bytes"),
    ],
    ids=["empty", "cut", "list", "binary", "deep", "long number", "large"],
)
def test_a_config_that_cannot_be_read_is_a_warning(tmp_path: Path, content: bytes, fault: str) -> None:
    found = read(tmp_path, config__json=content, m__safetensors=FLOATS)
    assert said(found)["PARAMSIZE"] == "10K"
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("config.json")
    assert fault in found.warnings[0]


def test_a_config_may_hold_what_transformers_writes_and_json_does_not_know(tmp_path: Path) -> None:
    found = read(tmp_path, config__json='{"time_step_limit": [0.0, Infinity], "model_type": "mamba2"}')
    assert (said(found), found.warnings) == ({"FAMILY": "mamba2"}, ())


def test_a_config_that_is_a_fifo_is_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    found = read(tmp_path)
    assert said(found) == {}
    assert "config.json" in found.warnings[0]


def test_files_that_are_not_listed_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert [field.keyword for field in read_metadata(Workspace(tmp_path), ()).fields] == ["NAME"]


@pytest.mark.parametrize("text", ["a\x1b[31mred", "a\u202eb", "a\x00b", "x" * 1001, "\ud800", "a\u2028b"])
def test_a_value_that_is_not_fit_to_show_is_left_out_with_a_warning(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, config__json={"model_type": text})
    assert said(found) == {}
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("FAMILY from model_type in config.json is left out: ")
    assert found.warnings[0].isprintable()


def test_line_breaks_in_a_value_become_spaces(tmp_path: Path) -> None:
    assert said(read(tmp_path, README__md='---\ntitle: "a\\nb\\tc"\n---\n')) == {"TITLE": "a b c"}


def test_letters_of_any_script_are_kept(tmp_path: Path) -> None:
    assert said(read(tmp_path, README__md="---\ntitle: 模型　👩‍🔬 é\n---\n")) == {"TITLE": "模型　👩‍🔬 é"}


def test_a_directory_with_an_unspeakable_name_gives_no_name(tmp_path: Path) -> None:
    found = read(tmp_path / "a\x1bb")
    assert found.fields == ()
    assert "NAME from the directory's name is left out" in found.warnings[0]


def test_the_name_is_that_of_the_directory_that_a_link_leads_to(tmp_path: Path) -> None:
    read(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    assert read_metadata(Workspace(tmp_path / "link"), ()).fields[0].values == ("real",)


def test_hostile_weights_names_do_no_harm(tmp_path: Path) -> None:
    found = read(tmp_path, **{"m\x1b[2J\u202e__gguf": Gguf().say("general.architecture", "a\nb").bytes()})
    assert said(found)["FAMILY"] == "a b"
    assert all(field.source.isprintable() for field in found.fields)
