"""Models whose layers are tars: laid out, read by ranges where that can be, as a file system."""

import numpy as np
import pytest
from safetensors.numpy import save

import modfile
from modfile import Session, modelfile
from modfile.errors import UsageError
from modfile.fs import ModelPackFileSystem
from modfile.layerformat import LayerFormat
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.verbs.build import Builder
from modfile.workspace import Workspace

from .conftest import FILES, files_below

ALL = sorted([*FILES, "tokenizer.json", "vocab.json"])
WEIGHTS = {f"layer.{number}": np.full((64, 64), number, np.float32) for number in range(20)}


@pytest.fixture
def packed(tmp_path, fake, model):
    """Push the model in layers of a form, as few as are said; give its name."""
    (model / "model.safetensors").write_bytes(save(WEIGHTS))
    (model / "tokenizer.json").write_text('{"version": "1.0"}')
    (model / "vocab.json").write_text('{"[PAD]": 0}')

    def push(form, max_layers=100):
        ref = f"{fake.host}/llm/packed:v1"
        with Session(tmp_path / "builder") as builder:
            text = modelfile.load(model / "Modelfile")
            build = Builder(builder.storage.layout, Stamp(None), form=form, max_layers=max_layers)
            build.build(Workspace(model), text, [Reference.parse(ref)])
            modfile.push(ref, session=builder)
        fake.seen.clear()
        return ref

    return push


@pytest.mark.parametrize("form", LayerFormat)
@pytest.mark.parametrize("max_layers", [5, 100])
def test_a_directory_is_the_same_whatever_the_layers_are(packed, session, model, form, max_layers):
    path = modfile.pull(packed(form, max_layers), session=session)
    assert files_below(path) == ALL
    for name in ALL:
        assert (path / name).read_bytes() == (model / name).read_bytes()
        assert (path / name).stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("form", LayerFormat)
def test_a_part_is_what_was_asked_for(packed, session, fake, form):
    ref = packed(form)
    path = modfile.pull(ref, allow_patterns=["config.*"], session=session)
    assert files_below(path) == ["config.json"]
    assert files_below(modfile.pull(ref, allow_patterns=["*.py"], session=session)) == ["config.json", "run.py"]
    assert files_below(modfile.pull(ref, session=session)) == ALL
    (path / "run.py").unlink()
    assert files_below(modfile.pull(ref, session=session)) == ALL


def test_tensors_in_a_plain_tar_are_read_by_ranges(packed, session, fake):
    ref = packed(LayerFormat.TAR)
    with modfile.open_safetensors(ref, session=session) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.7"), WEIGHTS["layer.7"])
        assert len(fake.requests("GET", "/blobs/")) == 2
        assert all("range" in seen.headers for seen in fake.requests("GET", "/blobs/"))
    modfile.pull(ref, session=session)
    fake.seen.clear()
    with modfile.open_safetensors(ref, session=session) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.7"), WEIGHTS["layer.7"])
    assert fake.seen == []


@pytest.mark.parametrize("form", [LayerFormat.TAR_GZIP, LayerFormat.TAR_ZSTD])
def test_tensors_in_a_compressed_tar_come_with_all_of_it_or_not_at_all(packed, session, form):
    ref = packed(form)
    with modfile.open_safetensors(ref, session=session) as tensors, pytest.raises(UsageError, match="lies in a tar"):
        tensors.keys()
    with modfile.open_safetensors(ref, verify=True, session=session) as tensors:
        assert np.array_equal(tensors.get_tensor("layer.7"), WEIGHTS["layer.7"])


def test_a_file_system_reads_what_lies_in_a_plain_tar(packed, model, tmp_path):
    ref = packed(LayerFormat.TAR, 5)
    fs = ModelPackFileSystem(storage_dir=str(tmp_path / "fs"), skip_instance_cache=True)
    readable = fs.find(ref)
    for path in readable:
        name = path.removeprefix(f"{ref}/")
        assert fs.cat_file(path) == (model / name).read_bytes()
        fs.get_file(path, str(tmp_path / "got" / name))
        assert (tmp_path / "got" / name).read_bytes() == (model / name).read_bytes()
    assert sorted(path.removeprefix(f"{ref}/") for path in readable) == ALL
