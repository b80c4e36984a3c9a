from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from modfile.weights.packing import Scheme
from modfile.weights.survey import Weights, survey
from modfile.workspace import Workspace
from tests.weights.samples import Gguf, llama, safetensors, write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = {"linear.weight": ("F32", (10, 10)), "linear.bias": ("F32", (10,))}
OTHER = {"other.weight": ("BF16", (20, 10))}


def write(root: Path, files: dict[str, bytes | str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def surveyed(root: Path, scheme: Scheme | None = None) -> Weights:
    workspace = Workspace(root)
    return survey(workspace, workspace.files(), scheme or Scheme())


def total(weights: Weights) -> int:
    assert weights.parameters is not None
    return weights.parameters.total


def index(**weight_map: str) -> str:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})


def test_one_file_is_the_model(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": safetensors(LINEAR), "config.json": "{}"})
    weights = surveyed(tmp_path)
    assert (weights.format, total(weights), weights.precisions) == ("safetensors", 110, ("float32",))
    assert weights.source == "the header of model.safetensors"
    assert weights.warnings == ()


def test_shards_and_parts_of_a_pipeline_add_up(tmp_path: Path) -> None:
    shard = "unet/m-0000{}-of-00002.safetensors"
    files = {shard.format(1): LINEAR, shard.format(2): OTHER, "vae/m.safetensors": LINEAR}
    write(tmp_path, {name: safetensors(tensors) for name, tensors in files.items()} | {"model_index.json": "{}"})
    weights = surveyed(tmp_path)
    assert (total(weights), weights.precisions) == (420, ("float32", "bfloat16"))
    assert weights.source == "the headers of 3 safetensors files"


def test_the_index_decides_beside_a_consolidated_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "consolidated.safetensors": safetensors({"wq": ("F32", (500,))}),
            "a.safetensors": safetensors(LINEAR),
            "b.safetensors": safetensors(OTHER | {"linear.bias": ("F32", (10,))}),
            "model.safetensors.index.json": index(x="a.safetensors", y="b.safetensors"),
        },
    )
    assert total(surveyed(tmp_path)) == 310


def test_a_shard_that_the_index_names_and_that_is_gone_is_a_warning_and_no_count(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.safetensors": safetensors(LINEAR),
            "model.safetensors.index.json": index(x="a.safetensors", y="b.safetensors", z="../c.safetensors"),
        },
    )
    weights = surveyed(tmp_path)
    assert weights.parameters is not None
    assert not weights.parameters.complete
    assert weights.precisions == ("float32",)
    assert weights.warnings == ("../c.safetensors and 1 more are missing; the weights are not whole",)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "[" * 100_000, index(x="gone.safetensors")],
)
def test_an_index_that_makes_no_sense_is_a_warning_and_the_names_decide(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"a.safetensors": safetensors(LINEAR), "model.safetensors.index.json": text})
    weights = surveyed(tmp_path)
    assert total(weights) == 110
    assert len(weights.warnings) == 1


def test_the_same_weights_in_two_directories_count_once(tmp_path: Path) -> None:
    half = {name: ("F16", shape) for name, (_, shape) in LINEAR.items()}
    write(tmp_path, {"model.safetensors": safetensors(LINEAR), "half/model.safetensors": safetensors(half)})
    weights = surveyed(tmp_path)
    assert (total(weights), weights.precisions) == (110, ("float32",))


def test_equal_parts_of_one_pipeline_all_count(tmp_path: Path) -> None:
    write(tmp_path, {f"transformer{n}/m.safetensors": safetensors(LINEAR) for n in ("", "_2")})
    assert total(surveyed(tmp_path)) == 110
    write(tmp_path, {"model_index.json": "{}"})
    assert total(surveyed(tmp_path)) == 220


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", safetensors(LINEAR)[:-1], safetensors(LINEAR) + b"x"],
    ids=["empty", "junk", "cut", "more"],
)
def test_a_damaged_file_is_a_warning_that_names_it(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, {"model.safetensors": content})
    weights = surveyed(tmp_path)
    assert (weights.format, weights.parameters) == ("safetensors", None)
    assert [warning.partition(":")[0] for warning in weights.warnings] == ["model.safetensors"]


def test_beside_a_damaged_file_the_count_is_not_complete(tmp_path: Path) -> None:
    write(tmp_path, {"a.safetensors": safetensors(LINEAR), "b.safetensors": b"damaged file"})
    weights = surveyed(tmp_path)
    assert weights.parameters is not None
    assert not weights.parameters.complete


def test_a_git_lfs_pointer_is_a_warning_that_tells_what_to_do(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    write(tmp_path, {"model.safetensors": pointer})
    weights = surveyed(tmp_path)
    assert weights.format is None
    assert weights.warnings == (
        "model.safetensors is left by Git LFS in place of the weights; fetch them with git lfs pull",
    )
    write(tmp_path, {"b.bin": pointer, "c.gguf": pointer})
    assert surveyed(tmp_path).warnings[0].startswith("b.bin and 2 more are left by Git LFS")


def test_what_cannot_be_opened_is_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    write(tmp_path, {"b.safetensors": safetensors(LINEAR)})
    weights = surveyed(tmp_path)
    assert total(weights) == 110
    assert any("model.safetensors" in warning for warning in weights.warnings)


def test_an_unknown_packing_leaves_count_and_precision_open(tmp_path: Path) -> None:
    write(tmp_path, {"m.safetensors": safetensors({"q.codes": ("I16", (64, 64)), "norm": ("F16", (8,))})})
    weights = surveyed(tmp_path, Scheme("aqlm"))
    assert weights.parameters is not None
    assert (weights.parameters.complete, weights.precisions) == (False, ())
    assert "packed in a way that is not known" in weights.warnings[0]


def test_quantizations_of_one_gguf_model_are_not_added_up(tmp_path: Path) -> None:
    large = Gguf().say("general.architecture", "llama").say("general.file_type", 1).tensor("w", 1, (1024,), 2048)
    write(tmp_path, {"m-Q4.gguf": llama().bytes(), "m-F16.gguf": large.bytes(), "m-Q6.gguf": llama(18).bytes()})
    weights = surveyed(tmp_path)
    assert (weights.format, total(weights)) == ("gguf", 1056)
    assert set(weights.quantizations) == {"Q4_K_M", "Q6_K"}
    assert weights.precisions == ("int4", "float16", "float32")


def test_parts_of_a_split_gguf_add_up(tmp_path: Path) -> None:
    parts = [Gguf().say("split.count", 2).tensor(f"w{n}", 0, (100,), 400).bytes() for n in (1, 2)]
    write(tmp_path, {f"m-0000{n}-of-00002.gguf": part for n, part in enumerate(parts, 1)})
    assert total(surveyed(tmp_path)) == 200
    (tmp_path / "m-00001-of-00002.gguf").unlink()
    weights = surveyed(tmp_path)
    assert weights.parameters is not None
    assert not weights.parameters.complete
    assert weights.warnings == ("m-00001-of-00002.gguf is missing; the weights are not whole",)


def test_a_part_of_a_split_that_was_renamed_is_known_by_its_header(tmp_path: Path) -> None:
    write(tmp_path, {"m.gguf": Gguf().say("split.count", 3).tensor("w", 0, (100,), 400).bytes()})
    weights = surveyed(tmp_path)
    assert weights.parameters is not None
    assert not weights.parameters.complete
    assert weights.warnings == ("m.gguf is one of 3 parts; the others are missing",)


def test_a_projector_beside_a_gguf_model_is_not_the_model(tmp_path: Path) -> None:
    projector = Gguf().say("general.type", "mmproj").say("general.architecture", "clip").tensor("v", 0, (9000,), 36000)
    write(tmp_path, {"mmproj.gguf": projector.bytes(), "m.gguf": llama().bytes()})
    weights = surveyed(tmp_path)
    assert total(weights) == 1056
    assert weights.gguf is not None
    assert weights.gguf.text("general.architecture") == "llama"


def test_copies_in_other_formats_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": safetensors(LINEAR), "pytorch_model.bin": bytes(9000)})
    write(tmp_path, {"onnx/model.onnx": bytes(9000), "onnx/model_q4.onnx": bytes(9000)})
    weights = surveyed(tmp_path)
    assert (weights.format, total(weights)) == ("safetensors", 110)


def test_of_safetensors_and_gguf_the_larger_model_is_the_format(tmp_path: Path) -> None:
    write(tmp_path, {"m.gguf": llama().bytes()})
    write_safetensors(tmp_path / "m.safetensors", {"w": ("F32", (10**9,))})
    assert surveyed(tmp_path).format == "safetensors"
    write_safetensors(tmp_path / "m.safetensors", {"w": ("F32", (1,))})
    assert surveyed(tmp_path).format == "gguf"


def test_where_no_header_can_be_read_most_bytes_decide_the_format(tmp_path: Path) -> None:
    write(tmp_path, {"model.onnx": bytes(100), "model.pt": b"\x80\x02" + bytes(500), "notes.txt": bytes(5000)})
    assert surveyed(tmp_path) == Weights("pytorch")


def test_a_directory_without_weights_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"notes.txt": "no weights", "data/train.parquet": "PAR1"})
    assert surveyed(tmp_path) == Weights()
