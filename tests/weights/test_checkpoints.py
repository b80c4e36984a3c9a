from __future__ import annotations

import pytest

from modfile.weights.checkpoints import Checkpoint, from_index, from_names, is_index, of_the_model


def chosen(*paths: str, pipelines: tuple[str, ...] = ()) -> list[str]:
    return [file for one in of_the_model(from_names(paths), pipelines) for file in one.files]


def test_shards_belong_together() -> None:
    names = [f"model-0000{n}-of-00003.safetensors" for n in (3, 1, 2)]
    (one,) = from_names([*names])
    assert one == Checkpoint("", "model", "", tuple(sorted(names)))


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (
            ["a/Model-00002-of-00003.safetensors"],
            ["a/Model-00001-of-00003.safetensors", "a/Model-00003-of-00003.safetensors"],
        ),
        (["m-00000-of-00002.gguf"], ["m-00001-of-00002.gguf"]),
        (["m-00002-of-00002.fp16.safetensors"], ["m-00001-of-00002.fp16.safetensors"]),
        (["m.fp16-00002-of-00002.safetensors"], ["m.fp16-00001-of-00002.safetensors"]),
    ],
)
def test_shards_that_are_not_there_are_named(present: list[str], missing: list[str]) -> None:
    (one,) = from_names(present)
    assert list(one.missing) == missing


def test_a_name_that_claims_endless_shards_is_no_endless_list() -> None:
    (one,) = from_names(["m-00001-of-999999.safetensors"])
    assert len(one.missing) < 10_001


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"]),
        (["model.fp16.safetensors"], ["model.fp16.safetensors"]),
        (["m-00001-of-00001.fp16.safetensors", "m-00001-of-00001.safetensors"], ["m-00001-of-00001.safetensors"]),
        (["consolidated.safetensors", "model-00001-of-00001.safetensors"], ["model-00001-of-00001.safetensors"]),
        (["consolidated.safetensors"], ["consolidated.safetensors"]),
        (["consolidated.00.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["adapter_model.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["adapter_model.safetensors"], ["adapter_model.safetensors"]),
        (["original/model.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["original/model.safetensors"], ["original/model.safetensors"]),
        (["checkpoint-9/m.safetensors", "checkpoint-10/m.safetensors"], ["checkpoint-10/m.safetensors"]),
        (["checkpoint-9/m.safetensors", "m.safetensors"], ["m.safetensors"]),
        (["checkpoint-9/unet/m.safetensors", "unet/m.safetensors"], ["unet/m.safetensors"]),
        (["unet/m.safetensors", "vae/m.safetensors"], ["unet/m.safetensors", "vae/m.safetensors"]),
        (["a.safetensors", "b.safetensors"], ["a.safetensors", "b.safetensors"]),
        ([], []),
    ],
)
def test_copies_of_the_same_weights_are_left_out(paths: list[str], expected: list[str]) -> None:
    assert chosen(*paths) == expected


def test_beside_the_components_of_a_pipeline_whole_checkpoints_are_left_out() -> None:
    paths = ("sd_xl.safetensors", "unet/m.safetensors", "vae/m.safetensors")
    assert chosen(*paths, pipelines=("",)) == ["unet/m.safetensors", "vae/m.safetensors"]
    assert chosen("sd_xl.safetensors", pipelines=("",)) == ["sd_xl.safetensors"]


def test_an_index_decides_in_its_directory() -> None:
    present = {"d/a.safetensors", "d/b.safetensors", "d/consolidated.safetensors", "e/x.safetensors"}
    indexed = from_index("d/model.safetensors.index.json", ["b.safetensors", "a.safetensors", "a.safetensors"], present)
    assert indexed.files == ("d/a.safetensors", "d/b.safetensors")
    assert indexed.missing == ()
    kept = of_the_model([*from_names(present), indexed], ())
    assert [one.files for one in kept] == [indexed.files, ("e/x.safetensors",)]


@pytest.mark.parametrize("name", ["../a.safetensors", "/etc/passwd", "", "a.safetensors/..", "gone.safetensors"])
def test_files_that_an_index_names_and_that_are_not_listed_are_missing(name: str) -> None:
    indexed = from_index("model.safetensors.index.json", [name], {"a.safetensors"})
    assert (indexed.files, len(indexed.missing)) == ((), 1)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("model.safetensors.index.json", True),
        ("unet/diffusion_pytorch_model.safetensors.index.fp16.json", True),
        ("pytorch_model.bin.index.json", False),
        ("model.safetensors", False),
        ("index.json", False),
    ],
)
def test_an_index_is_known_by_its_name(path: str, answer: bool) -> None:
    assert is_index(path) is answer
