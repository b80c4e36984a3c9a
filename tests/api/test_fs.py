"""The file system `modelpack://`, as pandas, h5py and others read it."""

import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pandas
import pytest

import modfile
from modfile import Session
from modfile.fs import ModelPackFileSystem, split
from tests.registries.fake import Answer

from .conftest import FILES

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def registered():
    """As the entry point does it where the package is installed."""
    fsspec.register_implementation("modelpack", ModelPackFileSystem, clobber=True)
    ModelPackFileSystem.clear_instance_cache()
    yield
    ModelPackFileSystem.clear_instance_cache()


@pytest.fixture
def options(tmp_path):
    return {"storage_dir": str(tmp_path / "fs-storage")}


@pytest.fixture
def fs(options):
    return ModelPackFileSystem(**options)


def pushed(tmp_path, fake, files):
    """Put files into the registry as an artifact; return its name."""
    directory = tmp_path / "pushed"
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    (tmp_path / "Modelfile").write_text("DATASET **\n")
    ref = f"{fake.host}/data/set:v1"
    with Session(tmp_path / "builder") as builder:
        modfile.build(directory, ref, modelfile=tmp_path / "Modelfile", session=builder)
        modfile.push(ref, session=builder)
    fake.seen.clear()
    return ref


def test_the_entry_point_is_the_file_system():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = project["project"]["entry-points"]["fsspec.specs"]["modelpack"].partition(":")
    assert getattr(__import__(module, fromlist=[name]), name) is ModelPackFileSystem


# Paths


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("r.io/a/b:v1/c/d", ("r.io/a/b:v1", "c/d")),
        ("r.io/a:v1", ("r.io/a:v1", "")),
        ("r.io:5000/a:v1/c", ("r.io:5000/a:v1", "c")),
        (f"r.io:5000/a@{DIGEST}/c", (f"r.io:5000/a@{DIGEST}", "c")),
        (f"r.io:5000/a:v1@{DIGEST}/c", (f"r.io:5000/a:v1@{DIGEST}", "c")),
        ("localhost:5000/a:v1/x:y", ("localhost:5000/a:v1", "x:y")),
        ("tiny:v1/c", ("tiny:v1", "c")),
        ("/tiny:5/c", ("/tiny:5", "c")),
    ],
)
def test_a_path_is_a_reference_and_a_path_in_it(path, parts):
    assert split(path) == parts


@pytest.mark.parametrize("path", ["", "r.io/a/b", "r.io:5000/a", "tiny", "127.0.0.1:5000"])
def test_a_path_without_a_tag_or_digest_is_not_found(path, fs):
    with pytest.raises(FileNotFoundError, match="says its tag or digest"):
        fs.info(path)


# Files and directories


def test_files_and_directories_are_listed(fs, ref):
    assert sorted(fs.find(ref)) == [f"{ref}/{path}" for path in FILES]
    assert fs.ls(f"{ref}/data", detail=False) == [f"{ref}/data/train.csv"]
    assert fs.isdir(ref)
    assert fs.isdir(f"{ref}/data")
    assert fs.isfile(f"modelpack://{ref}/config.json")
    assert fs.glob(f"{ref}/*.json") == [f"{ref}/config.json"]
    info = fs.info(f"{ref}/data/train.csv")
    assert (info["type"], info["size"]) == ("file", 8)
    assert fs.ukey(f"{ref}/data/train.csv") == info["digest"]
    assert [name for name, _, _ in fs.walk(ref)] == [ref, f"{ref}/data"]


@pytest.mark.parametrize("path", ["nope", "data/nope", "config.json/x", "../config.json"])
def test_what_is_not_there_is_not_found(fs, ref, path):
    assert not fs.exists(f"{ref}/{path}")
    for act in (fs.info, fs.ls, fs.cat_file, fs.open):
        with pytest.raises(FileNotFoundError):
            act(f"{ref}/{path}")


@pytest.mark.parametrize(("status", "error"), [(404, FileNotFoundError), (403, PermissionError), (400, OSError)])
def test_what_a_registry_says_becomes_what_file_systems_say(fs, ref, fake, status, error):
    fake.always("GET", "/manifests/", Answer(status))
    with pytest.raises(error):
        fs.ls(ref)


def test_it_is_read_only(fs, ref):
    for mode in ("wb", "ab", "r+b"):
        with pytest.raises(OSError, match="Read-only"):
            fs.open(f"{ref}/config.json", mode)
    for act in (fs.rm_file, fs.mkdir, fs.makedirs, fs.rmdir, fs.touch):
        with pytest.raises((NotImplementedError, OSError)):
            act(f"{ref}/config.json")
    assert fs.cat_file(f"{ref}/config.json")


def test_a_directory_is_no_file(fs, ref):
    with pytest.raises(IsADirectoryError):
        fs.open(f"{ref}/data")


# Bytes


def test_a_file_is_read_by_blocks_and_each_block_once(fs, tmp_path, fake):
    data = bytes(range(256)) * 1024
    ref = pushed(tmp_path, fake, {"x.bin": data})
    with fs.open(f"{ref}/x.bin", block_size=1 << 14) as file:
        fake.seen.clear()
        assert [file.seek(100_000), file.read(10)] == [100_000, data[100_000:100_010]]
        assert [file.seek(100_020), file.read(10)] == [100_020, data[100_020:100_030]]
        assert [seen.headers["range"] for seen in fake.requests("GET", "/blobs/")] == ["bytes=98304-114687"]
        file.seek(0)
        assert file.read() == data


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (3, None), (None, 5), (-4, None), (2, -2), (5, 3), (0, 10**9), (10**9, None)]
)
def test_a_part_is_what_a_slice_is(fs, ref, model, start, end):
    assert fs.cat_file(f"{ref}/config.json", start, end) == (model / "config.json").read_bytes()[start:end]


def test_parts_of_many_files_come_at_once_and_errors_in_their_places(fs, ref, model):
    paths = [f"{ref}/config.json", f"{ref}/nope", f"{ref}/run.py"]
    first, second, third = fs.cat_ranges(paths, [0, 0, 2], [5, 5, None])
    assert first == (model / "config.json").read_bytes()[:5]
    assert isinstance(second, FileNotFoundError)
    assert third == (model / "run.py").read_bytes()[2:]
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 5, on_error="raise")


@pytest.mark.promise("R3")
def test_a_whole_file_is_verified(fs, ref, fake, model, tmp_path):
    data = (model / "model.safetensors").read_bytes()
    digest = next(digest for digest, kept in fake.blobs.items() if kept == data)
    fake.blobs[digest] = bytes(len(data))
    with pytest.raises(OSError, match="that should be"):
        fs.cat_file(f"{ref}/model.safetensors")
    with pytest.raises(OSError, match="that should be"):
        fs.get_file(f"{ref}/model.safetensors", tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_files_are_written_where_they_are_wanted(fs, ref, tmp_path, model):
    fs.get(ref, str(tmp_path / "got"), recursive=True)
    for name in FILES:
        assert (tmp_path / "got" / name).read_bytes() == (model / name).read_bytes()
    buffer = io.BytesIO()
    fs.get_file(f"{ref}/run.py", buffer)
    assert buffer.getvalue() == (model / "run.py").read_bytes()


def test_what_the_local_store_has_is_read_there(ref, options, fake, model):
    with Session(Path(options["storage_dir"])) as session:
        modfile.pull(ref, session=session)
    fake.seen.clear()
    fs = ModelPackFileSystem(**options)
    assert fs.cat_file(f"{ref}/run.py") == (model / "run.py").read_bytes()
    assert fs.cat_file(f"{ref}/run.py", 1, 4) == (model / "run.py").read_bytes()[1:4]
    assert fake.seen == []


def test_a_name_without_a_host_is_of_the_local_store(options, model):
    with Session(Path(options["storage_dir"])) as session:
        modfile.build(model, "tiny:5", session=session)
    with fsspec.open("modelpack:///tiny:5/run.py", "rb", **options) as file:
        assert file.read() == (model / "run.py").read_bytes()


def test_a_tag_is_looked_up_once_until_it_is_to_be_forgotten(fs, ref, fake):
    fs.find(ref)
    fs.cat_file(f"{ref}/run.py")
    assert len(fake.requests("GET", "/manifests/")) == 1
    fs.invalidate_cache()
    fs.find(ref)
    assert len(fake.requests("GET", "/manifests/")) == 2


# Those who read it


def test_pandas_reads_a_table(ref, options):
    table = pandas.read_csv(f"modelpack://{ref}/data/train.csv", storage_options=options)
    assert table.to_dict("list") == {"a": [1], "b": [2]}


def test_h5py_reads_a_part_of_a_file_and_moves_little_more(fs, tmp_path, fake):
    values = np.random.default_rng(1).standard_normal((1000, 1000))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("small", data=np.arange(10))
        file.create_dataset("large", data=values)
    ref = pushed(tmp_path, fake, {"x.h5": (tmp_path / "x.h5").read_bytes()})
    with fs.open(f"{ref}/x.h5", block_size=1 << 16) as opened, h5py.File(opened) as file:
        assert file["small"][:].tolist() == list(range(10))
        assert np.array_equal(file["large"][500:502], values[500:502])
    assert len(fake.requests("GET", "/blobs/")) * (1 << 16) < values.nbytes / 10


def test_hugging_face_datasets_reads_it(tmp_path, fake, options):
    rows = pandas.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    rows.to_parquet(tmp_path / "rows.parquet")
    ref = pushed(
        tmp_path,
        fake,
        {"train.csv": b"text,label\na,0\nb,1\nc,0\n", "p/rows.parquet": (tmp_path / "rows.parquet").read_bytes()},
    )
    program = """
import json, sys
import datasets
ref, options = json.loads(sys.argv[1])
for kind, path in (("csv", "train.csv"), ("parquet", "p/*.parquet")):
    found = datasets.load_dataset(kind, data_files=f"modelpack://{ref}/{path}", storage_options=options, split="train")
    print(found["text"][:], found["label"][:])
"""
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([ref, options])],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['a', 'b', 'c'] [0, 1, 0]\n" * 2
