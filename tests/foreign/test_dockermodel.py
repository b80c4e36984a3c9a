"""Artifacts as `docker model` packages them."""

import json

import pytest

from modfile.errors import ContentError
from modfile.layout import Layout
from modfile.reference import Reference
from modfile.verbs.extract import extract
from modfile.verbs.inspect import inspect
from modfile.verbs.verify import verify_directory, verify_store
from tests import tars
from tests.foreign.artifacts import Artifact

REF = Reference.parse("r.io/ai/smollm2:v1")
V01, V02 = (f"application/vnd.docker.ai.model.config.v0.{number}+json" for number in (1, 2))
TYPE = "application/vnd.docker.ai."


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


def below(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def named(path, data, mode=0o644):
    metadata = {"name": path.rpartition("/")[2], "mode": mode, "uid": 0, "gid": 0, "size": len(data), "typeflag": 0}
    return {
        "org.cncf.model.filepath": path,
        "org.cncf.model.file.metadata+json": json.dumps(metadata | {"mtime": "2025-05-01T10:00:00.5+02:00"}),
        "org.cncf.model.file.mediatype.untested": "false",
    }


def package(layout, layers, config_type=V01, config=None):
    artifact = Artifact(layout, config_type)
    for kind, data, annotations in layers:
        artifact.add(data, TYPE + kind if "/" not in kind else kind, annotations)
    return artifact.tag(REF, config or {"config": {"format": "gguf"}})


def test_layers_without_a_name_get_the_one_that_dockers_runner_gives_them(layout, tmp_path):
    package(
        layout,
        [
            ("gguf.v3", b"weights", None),
            ("gguf.v3.lora", b"lora", None),
            ("gguf.v3.mmproj", b"projector", None),
            ("chat.template.jinja", b"{{ x }}", None),
            ("license", b"MIT", None),
        ],
    )
    extract(REF, layout, tmp_path / "out")
    assert below(tmp_path / "out") == {
        "model.gguf": b"weights",
        "adapter.gguf": b"lora",
        "model.mmproj": b"projector",
        "template.jinja": b"{{ x }}",
        "LICENSE": b"MIT",
    }
    assert not verify_directory(REF, layout, tmp_path / "out", manifest_alone=True).differs()
    assert not verify_store(REF, layout).differs()
    assert [layer["Filepath"] for layer in inspect(REF, layout)["Layers"]][:2] == ["model.gguf", "adapter.gguf"]


def test_shards_without_a_name_are_numbered(layout, tmp_path):
    package(
        layout, [("gguf.v3", b"1", None), ("license", b"a", None), ("gguf.v3", b"2", None), ("license", b"b", None)]
    )
    extract(REF, layout, tmp_path / "out", patterns=["*.gguf", "LICENSE*"])
    assert below(tmp_path / "out") == {
        "model-00001-of-00002.gguf": b"1",
        "model-00002-of-00002.gguf": b"2",
        "LICENSE-00001-of-00002": b"a",
        "LICENSE-00002-of-00002": b"b",
    }


def test_a_layer_for_each_file_of_a_directory(layout, tmp_path):
    files = {"model.safetensors": b"w", "text_encoder/config.json": b"{}", "vae/model.safetensors": b"v"}
    kinds = ("safetensors", "model.file", "safetensors")
    layers = [(kind, data, named(path, data, 0o600)) for kind, (path, data) in zip(kinds, files.items(), strict=True)]
    package(layout, layers, V02)
    extract(REF, layout, tmp_path / "out")
    assert below(tmp_path / "out") == files
    status = (tmp_path / "out/model.safetensors").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o600, 1_746_086_400_500_000_000)


def test_tars_of_configs_and_directories_are_unpacked(layout, tmp_path):
    configs = tars.file(b"config.json", b"{}") + tars.file(b"tokenizer.json", b"[]") + tars.END
    directory = tars.directory(b"text/") + tars.file(b"text/vocab.txt", b"a") + tars.END
    package(layout, [("safetensors", b"w", None), ("vllm.config.tar", configs, None), ("dir.tar", directory, None)])
    extract(REF, layout, tmp_path / "out")
    assert below(tmp_path / "out") == {
        "model.safetensors": b"w",
        "config.json": b"{}",
        "tokenizer.json": b"[]",
        "text/vocab.txt": b"a",
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {
                "config": {"format": "gguf", "quantization": "Q4_0", "parameters": "1.1 B", "architecture": "llama"},
                "descriptor": {"created": "2025-01-01T00:00:00Z"},
                "rootfs": {"type": "rootfs", "diff_ids": []},
            },
            ("gguf", "Q4_0", "1.1 B", "llama", "2025-01-01T00:00:00Z"),
        ),
        (
            {
                "descriptor": {"createdAt": "2025-01-01T00:00:00Z"},
                "config": {
                    "format": "gguf",
                    "format_version": "3",
                    "gguf": {"architecture": "llama", "parameter_count": "1.10 B", "quantization": "Q4_0"},
                    "size": "635992801",
                },
                "files": [],
            },
            ("gguf", "Q4_0", "1.10 B", "llama", "2025-01-01T00:00:00Z"),
        ),
        ({"config": {"format": ["x"], "gguf": 5}}, ("", "", "", "", "")),
        ({}, ("", "", "", "", "")),
    ],
)
def test_both_shapes_of_config_are_told_in_the_words_of_modelpack(layout, config, expected):
    package(layout, [("gguf.v3", b"w", None)], config=config or {"a": 1})
    said = inspect(REF, layout)
    keys = ("Format", "Quantization", "ParamSize", "Architecture", "CreatedAt")
    assert tuple(said[key] for key in keys) == expected


@pytest.mark.promise("W1", "W5")
@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ([("gguf.v9", b"x", None)], r"vnd\.docker\.ai\.gguf\.v9"),
        ([("application/octet-stream", b"x", None)], "octet-stream"),
        ([("model.file", b"x", None)], "does not say which file"),
        ([("gguf.v3", b"x", named("../../x", b"x"))], "segment"),
        ([("gguf.v3", b"x", named("/x", b"x"))], "absolute"),
        ([("gguf.v3", b"x", named("a", b"x")), ("license", b"y", named("a", b"y"))], "two layers are the file a"),
        ([("gguf.v3", b"x", {"org.cncf.model.file.metadata+json": "{"})], "not JSON"),
        ([("dir.tar", tars.file(b"../x", b"y") + tars.END, None)], "x"),
        ([("dir.tar", tars.header(b"l", b"2", link=b"/") + tars.END, None)], "symbolic link"),
        ([("gguf.v3", b"x", None), ("dir.tar", tars.file(b"model.gguf", b"y") + tars.END, None)], "model.gguf"),
    ],
)
def test_what_is_unknown_or_unsafe_is_named_and_nothing_is_written(layout, tmp_path, layers, told):
    package(layout, layers)
    with pytest.raises(ContentError, match=told):
        extract(REF, layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    inspect(REF, layout)


def test_its_modelpack_output_is_read(layout, tmp_path):
    """With types of weights that are its own, and the specification's."""
    artifact = Artifact(layout, "application/vnd.cncf.model.config.v1+json")
    weights = "application/vnd.cncf.model.weight.v1."
    files = {"a.gguf": (b"1", "gguf"), "b.safetensors": (b"2", "safetensors"), "c.bin": (b"3", "raw")}
    for path, (data, kind) in files.items():
        artifact.add(data, weights + kind, named(path, data))
    artifact.tag(REF, {"descriptor": {}, "config": {}, "modelfs": {}})
    extract(REF, layout, tmp_path / "out")
    assert below(tmp_path / "out") == {path: data for path, (data, _) in files.items()}


def test_what_is_no_model_is_named(layout, tmp_path):
    artifact = Artifact(layout, "application/vnd.oci.image.config.v1+json")
    artifact.add(b"x", "application/vnd.oci.image.layer.v1.tar")
    artifact.tag(REF, {}, artifactType="application/x-container")
    with pytest.raises(ContentError, match=r"vnd\.oci\.image\.config.*application/x-container.*docker model"):
        extract(REF, layout, tmp_path / "out")
