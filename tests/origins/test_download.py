"""A model from where it comes from to a directory: `verbs.download`, and the commands that use it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from modfile.backoff import Backoff
from modfile.errors import (
    AccessDeniedError,
    ConnectionLostError,
    DestinationError,
    ModfileError,
    OriginError,
    VerificationError,
)
from modfile.importing.choice import Choice
from modfile.origins import find_origin
from modfile.progress import SILENT
from modfile.verbs.download import download
from modfile_cmd.main import app
from tests.hubs.server import Fault
from tests.origins.reading import contents


@pytest.fixture
def published(hub, model):
    (model / "onnx").mkdir()
    (model / "onnx" / "model.onnx").write_bytes(b"onnx" * 1000)
    (model / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    return hub.add("org/tiny", model)


@pytest.fixture
def fetch(settings, published, tmp_path):
    """Download the model with a hub's face into a directory."""

    def run(text="hf://org/tiny", include=(), exclude=(), directory=None, attempts=3):
        origin = find_origin(text, settings=settings)
        files = Choice.parse(include, exclude).of(origin.listing())
        backoff = Backoff(attempts=attempts, sleep=lambda seconds: None)
        return download(origin, files, directory or tmp_path / "here", backoff, SILENT, 3)

    return run


def expected(model, *but):
    return {path: data for path, data in contents(model).items() if path not in {".gitattributes", "Modelfile", *but}}


@pytest.mark.parametrize("text", ["hf://org/tiny", "modelscope://org/tiny"])
def test_all_files_come_each_byte_once(fetch, model, hub, tmp_path, text):
    fetch(text)
    assert contents(tmp_path / "here") == expected(model)
    assert hub.bytes_given == sum(map(len, expected(model).values()))


def test_what_is_right_already_stays(fetch, model, hub, tmp_path):
    fetch()
    hub.forget()
    fetch()
    assert contents(tmp_path / "here") == expected(model)
    assert hub.bytes_of("model.safetensors") == hub.bytes_of("onnx/model.onnx") == 0


def test_a_new_revision_brings_what_differs(fetch, model, hub, tmp_path):
    fetch()
    (model / "config.json").write_text('{"model_type": "gpt2"}')
    (model / "new.safetensors").write_bytes(b"new weights")
    hub.add("org/tiny", model)
    hub.forget()
    (tmp_path / "here" / "mine.txt").write_text("mine")
    fetch()
    assert contents(tmp_path / "here") == expected(model) | {"mine.txt": b"mine"}
    assert hub.bytes_of("model.safetensors") == 0
    assert hub.bytes_of("new.safetensors") == 11


def test_patterns_count_before_anything_is_downloaded(fetch, model, hub, tmp_path):
    fetch(include=["*.json", "onnx"], exclude=["data/**"])
    assert set(contents(tmp_path / "here")) == {"config.json", "onnx/model.onnx"}
    assert {one.path for one in hub.given} == {"config.json", "onnx/model.onnx"}
    fetch(exclude=["onnx/**"], directory=tmp_path / "other")
    assert contents(tmp_path / "other") == expected(model, "onnx/model.onnx")


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_a_stream_that_breaks_is_gone_on_with(fetch, model, hub, tmp_path, path):
    hub.fault(path, Fault(cut=20), times=2)
    fetch()
    assert contents(tmp_path / "here") == expected(model)
    assert hub.bytes_of(path) == (model / path).stat().st_size


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(wrong=100), VerificationError),
        (Fault(cut=100), ConnectionLostError),
        (Fault(stall=100), ConnectionLostError),
        (Fault(status=503), OriginError),
        (Fault(status=429, headers={"Retry-After": "9999"}), OriginError),
        (Fault(status=404), ModfileError),
        (Fault(status=200, body=b"<html>captive portal</html>"), VerificationError),
    ],
    ids=["wrong bytes", "cuts", "stalls", "unavailable", "rate limit", "gone", "another page"],
)
@pytest.mark.promise("W8")
def test_what_fails_names_the_file_and_leaves_the_directory_as_it_was(fetch, hub, tmp_path, fault, error):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").write_text("mine")
    hub.fault("/cdn/org/tiny/model.safetensors", fault, times=None)
    with pytest.raises(error, match=r"model\.safetensors") as failed:
        fetch()
    assert "\n" not in str(failed.value)
    assert contents(tmp_path / "here") == {"mine.txt": b"mine"}
    hub.faults.clear()
    fetch()
    assert "model.safetensors" in contents(tmp_path / "here")


def test_a_gated_model_leaves_nothing(fetch, published, tmp_path):
    published.gated = set()
    with pytest.raises(AccessDeniedError, match="ask for access"):
        fetch()
    assert not (tmp_path / "here").exists()


def test_a_later_download_goes_on_with_what_came(fetch, model, hub, tmp_path):
    hub.fault("/cdn/org/tiny/model.safetensors", Fault(cut=100_000))
    with pytest.raises(ConnectionLostError):
        fetch(attempts=1)
    assert not (tmp_path / "here").exists()
    fetch()
    assert contents(tmp_path / "here") == expected(model)
    assert hub.bytes_of("model.safetensors") == (model / "model.safetensors").stat().st_size


@pytest.mark.promise("W2")
def test_a_link_in_the_directory_is_not_followed(fetch, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "onnx").symlink_to(tmp_path / "outside")
    with pytest.raises(DestinationError):
        fetch()
    assert not list((tmp_path / "outside").iterdir())


# The commands


@pytest.fixture
def modfile(hub, published, tmp_path, monkeypatch):
    """Run the program in this process, in an empty directory; give its result."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("MODFILE_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, (result.stdout, result.stderr)
        return result

    return run


def test_generate_downloads_to_a_directory_of_the_models_name(modfile, model, tmp_path, hub):
    done = modfile("generate", "--model-url", "hf://org/tiny")
    assert done.stdout == "tiny/Modelfile\n"
    made = tmp_path / "work" / "tiny"
    text = (made / "Modelfile").read_text()
    assert contents(made) == expected(model) | {"Modelfile": text.encode()}
    commit = hub.models["org/tiny"].refs["main"]
    for line in ("NAME tiny", f"SOURCEURL {hub.endpoint}/org/tiny", f"REVISION {commit}", "LICENSE apache-2.0"):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://huggingface.co/org/tiny", ()),
        ("org/tiny", ("-p", "huggingface")),
        ("org/tiny", ("--provider", "modelscope")),
        ("modelscope://org/tiny@master", ()),
    ],
)
def test_generate_takes_every_form(modfile, model, tmp_path, url, options):
    modfile("generate", "--model-url", url, *options, "--download-dir", "here", "--name", "mine")
    assert set(contents(tmp_path / "work" / "here")) == {*expected(model), "Modelfile"}
    assert "NAME mine" in (tmp_path / "work" / "here" / "Modelfile").read_text()


def test_generate_brings_what_patterns_name(modfile, tmp_path):
    modfile("generate", "--model-url", "hf://org/tiny", "--include", "*.{json,safetensors}", "--exclude", "onnx/**")
    made = tmp_path / "work" / "tiny"
    assert set(contents(made)) == {"config.json", "model.safetensors", "Modelfile"}


def test_generate_tells_where_the_model_came_from(modfile, hub):
    said = json.loads(modfile("generate", "--model-url", "hf://org/tiny", "--json").stdout)
    assert said["Path"] == "tiny/Modelfile"
    assert (said["Source"], said["Revision"]) == (f"{hub.endpoint}/org/tiny", hub.models["org/tiny"].refs["main"])
    assert said["Moved"]["Pieces"] == 6


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("--model-url", "org/tiny"), 2, "--provider"),
        (("--model-url", "hf://org/tiny", "elsewhere"), 2, "--download-dir elsewhere"),
        (("--download-dir", "x"), 2, "--download-dir needs --model-url"),
        (("--provider", "huggingface"), 2, "--provider needs --model-url"),
        (("--model-url", "hf://org/none"), 5, "HF_TOKEN"),
        (("--model-url", "hf://org/tiny@none"), 3, "no such revision"),
        (("--model-url", "hf://org/tiny", "--include", "*.none"), 3, "matches no file"),
        (("--model-url", "hf://org/tiny", "--include", "["), 2, "pattern"),
        (("--model-url", "models:/x/1"), 2, "MLFLOW_TRACKING_URI"),
    ],
)
def test_generate_refuses_on_one_line_and_leaves_nothing(modfile, tmp_path, arguments, exit_code, words):
    result = modfile("generate", *arguments, exit_code=exit_code)
    assert words in result.stderr
    assert not contents(tmp_path / "work")


@pytest.mark.promise("G1")
def test_an_interrupted_generate_goes_on(hub, published, model, tmp_path):
    """A real process, and a real Ctrl-C."""
    size = 16 << 20
    large = os.urandom(size)
    (model / "model.safetensors").write_bytes(large)
    hub.add("org/tiny", model)
    hub.fault("/cdn/org/tiny/model.safetensors", Fault(stall=size // 2))
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "MODFILE_STORAGE_DIR": str(tmp_path / "storage")}
    argv = [sys.executable, "-m", "modfile_cmd.main", "generate", "--model-url", "hf://org/tiny"]
    work = tmp_path / "work"
    work.mkdir()
    process = subprocess.Popen(argv, cwd=work, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while hub.bytes_of("model.safetensors") < size // 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # what was sent is written
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not (work / "tiny").exists()
    before = hub.bytes_of("model.safetensors")
    done = subprocess.run(argv, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (work / "tiny" / "model.safetensors").read_bytes() == large
    assert hub.bytes_of("model.safetensors") - before < size


@pytest.fixture
def built(modfile, tmp_path):
    """Build from a URL; give the artifact as `modfile inspect` tells it."""

    def run(*options):
        modfile("build", "-t", "tiny:v1", "--model-url", "hf://org/tiny", "--no-creation-time", *options)
        return json.loads(modfile("inspect", "tiny:v1").stdout)

    return run


def test_a_build_from_a_url_leaves_no_download(built, model, tmp_path):
    said = built()
    assert sorted(layer["Filepath"] for layer in said["Layers"]) == sorted(expected(model))
    assert not contents(tmp_path / "work")
    assert not [path for path in (tmp_path / "storage" / "scratch").rglob("*") if path.is_file()]


def test_a_build_from_a_url_says_where_the_model_came_from(built, hub, tmp_path):
    built()
    index = json.loads((tmp_path / "storage" / "store" / "index.json").read_text())
    blob = index["manifests"][0]["digest"].replace(":", "/")
    annotations = json.loads((tmp_path / "storage" / "store" / "blobs" / blob).read_text())["annotations"]
    assert annotations["org.opencontainers.image.source"] == f"{hub.endpoint}/org/tiny"
    assert annotations["org.opencontainers.image.revision"] == hub.models["org/tiny"].refs["main"]
    assert annotations["org.opencontainers.image.licenses"] == "apache-2.0"


def test_a_download_directory_stays_and_its_modelfile_is_followed(built, tmp_path):
    first = built("--download-dir", "here", "--exclude", "onnx")
    here = tmp_path / "work" / "here"
    assert {"Modelfile", "model.safetensors"} <= set(contents(here))
    (here / "Modelfile").write_text("NAME mine\nMODEL *.safetensors\n")
    second = built("--download-dir", "here", "--exclude", "onnx")
    assert [layer["Filepath"] for layer in second["Layers"]] == ["model.safetensors"]
    assert len(first["Layers"]) == 5


def test_a_build_that_fails_leaves_neither_download_nor_tag(modfile, hub, tmp_path, published):
    hub.fault("/cdn/org/tiny/model.safetensors", Fault(wrong=100), times=None)
    options = ("build", "-t", "tiny:v1", "--model-url", "hf://org/tiny")
    assert "model.safetensors" in modfile(*options, exit_code=4).stderr
    published.gated = set()
    hub.faults.clear()
    assert "ask for access" in modfile(*options, exit_code=5).stderr
    modfile("inspect", "tiny:v1", exit_code=3)
    assert not [path for path in (tmp_path / "storage" / "scratch").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--include", "*.json"), "--include needs --model-url"),
        (("--download-dir", "x"), "--download-dir needs --model-url"),
        (("--model-url", "hf://org/tiny", "."), ""),
        (("--model-url", "hf://org/tiny", "elsewhere"), "neither PATH"),
        (("--model-url", "hf://org/tiny", "--dry-run"), "nor --dry-run"),
    ],
)
def test_a_build_refuses_what_makes_no_sense(modfile, options, words):
    if words:
        assert words in modfile("build", "-t", "tiny:v1", *options, exit_code=2).stderr
    else:
        modfile("build", "-t", "tiny:v1", *options)
