"""Versions are listed, looked at, pulled and verified."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mlflow.faulty import before
from tests.registries.served import environment

ALL = ["README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"]
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def minilm(published):
    return published


def files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_versions_are_listed_newest_first(modfile, mlflow, minilm):
    done = modfile("mlflow", "list", minilm)
    said = json.loads(done.stdout)
    assert [(one["Version"], one["Aliases"]) for one in said] == [(2, ["candidate"]), (1, ["baseline", "champion"])]
    assert list(said[0]) == [
        "Name",
        "Version",
        "Aliases",
        "Source",
        "Reference",
        "Digest",
        "Description",
        "General",
        "Training",
        "Tags",
        "Status",
        "RunId",
        "CreatedAt",
        "UpdatedAt",
    ]
    assert f"{minilm}:2  {said[0]['Digest'][7:19]}  candidate" in done.stderr


@pytest.mark.parametrize(
    ("form", "number"),
    [
        ("{}@champion", 1),
        ("{}@candidate", 2),
        ("{}:1", 1),
        ("{}:latest", 2),
        ("models:/{}/2", 2),
        ("models:/{}@baseline", 1),
        ("models:/{}/latest", 2),
    ],
)
def test_a_version_is_found_by_each_of_its_names(mlflow, minilm, form, number):
    said = mlflow("info", form.format(minilm))
    assert said["Version"] == number
    assert said in mlflow("list", minilm)


@pytest.mark.parametrize(
    ("form", "code", "told"),
    [
        ("{}@none", 3, "has no alias none"),
        ("{}@none", 3, "it has baseline, candidate, champion"),
        ("{}:3", 3, "has no version 3"),
        ("{}:2147483647", 3, "has no version 2147483647"),
        ("none@champion", 3, "none is not registered"),
        ("none:1", 3, "none is not registered"),
        ("{}", 2, "NAME@ALIAS"),
        ("{}:v1", 2, "is no number"),
        ("models:/m-0123456789", 2, "names no version"),
    ],
)
def test_a_version_that_is_not_there_is_said_not_to_be(mlflow, minilm, tmp_path, form, code, told):
    name = form.format(minilm)
    assert told in mlflow("info", name, exit_code=code).stderr
    assert told in mlflow("pull", name, tmp_path / "out", exit_code=code).stderr
    assert not (tmp_path / "out").exists()


def test_more_versions_than_a_page_holds_are_listed(client):
    from modfile.mlflow import modelregistry

    model, source = "many", f"modelpack://r.io/x@{DIGEST}"
    client.create_registered_model(model)
    for _ in range(7):
        client.create_model_version(model, source, await_creation_for=0)
    client.set_registered_model_alias(model, "champion", "2")

    class Small(modelregistry.ModelRegistry):
        page = 3

    found = Small(client.tracking_uri).versions(model)
    assert [version.number for version in found] == [7, 6, 5, 4, 3, 2, 1]
    assert found[5].aliases == ("champion",)
    assert Small(client.tracking_uri).first_number(model) == 1


def test_a_model_without_a_version_has_no_latest(mlflow, client):
    client.create_registered_model("empty")
    assert mlflow("list", "empty") == []
    assert "empty has no version" in mlflow("info", "empty:latest", exit_code=3).stderr


def test_a_version_of_others_is_shown_but_not_pulled(mlflow, client, tmp_path):
    client.create_registered_model("foreign")
    for source in ("s3://bucket/models/x", "modelpack://r.io/exp/0123/artifacts"):
        version = client.create_model_version("foreign", source, await_creation_for=0).version
        said = mlflow("info", f"foreign:{version}")
        assert (said["Source"], said["Digest"]) == (source, None)
        for arguments in (
            ["pull", f"foreign:{version}", tmp_path / "out"],
            ["verify", f"foreign:{version}", tmp_path],
            ["promote", "foreign", version, "champion"],
        ):
            assert "is no artifact in a registry" in mlflow(*arguments, exit_code=1).stderr
    assert client.get_registered_model("foreign").aliases == {}
    assert len(mlflow("list", "foreign")) == 2


def test_a_version_that_somebody_changed_is_refused(mlflow, client, tmp_path, docker_registry):
    client.create_registered_model("changed")
    source = f"modelpack://{docker_registry.host}/x@{DIGEST}"
    client.create_model_version("changed", source, tags={"modfile.digest": DIGEST[:-1] + "b"}, await_creation_for=0)
    assert "contradicts itself" in mlflow("pull", "changed:1", tmp_path / "out", exit_code=1).stderr
    client.create_model_version("changed", source, await_creation_for=0)
    assert "is not in the registry" in mlflow("pull", "changed:2", tmp_path / "out", exit_code=3).stderr
    assert mlflow("promote", "changed", 2, "champion", exit_code=3)
    assert client.get_registered_model("changed").aliases == {}


def test_a_version_is_pulled_and_verified(mlflow, modfile, minilm, model, tmp_path):
    out = tmp_path / "out"
    done = modfile("mlflow", "pull", f"{minilm}@champion", out)
    said = json.loads(done.stdout)
    assert (said["Name"], said["Version"], said["Directory"], said["Written"]) == (minilm, 1, str(out), ALL)
    assert all((out / path).read_bytes() == (model / path).read_bytes() for path in ALL)
    assert f"{minilm}@champion is version 1" in done.stderr
    verified = modfile("mlflow", "verify", f"{minilm}@champion", out)
    assert (json.loads(verified.stdout)["Right"], "5 files are right" in verified.stderr) == (ALL, True)
    assert mlflow("pull", f"{minilm}@champion", out)["Unchanged"] == ALL
    assert not (tmp_path / "storage/store/blobs").exists()


def test_a_pull_takes_what_the_local_store_has(mlflow, modfile, minilm, tmp_path):
    reference = mlflow("info", f"{minilm}:1")["Reference"]
    modfile("pull", reference)
    assert mlflow("pull", f"{minilm}:1", tmp_path / "out")["Written"] == ALL
    assert mlflow("verify", f"{minilm}:1", tmp_path / "out")["Right"] == ALL


def test_mlflow_itself_downloads_a_version(minilm, model, tracking, tmp_path):
    import mlflow.artifacts

    out = mlflow.artifacts.download_artifacts(
        f"models:/{minilm}@champion", dst_path=str(tmp_path / "out"), tracking_uri=tracking
    )
    assert all((Path(out) / path).read_bytes() == (model / path).read_bytes() for path in ALL)


@pytest.mark.promise("W8")
def test_a_directory_is_replaced_whole_on_request_only(mlflow, minilm, tmp_path):
    out = tmp_path / "out"
    mlflow("pull", f"{minilm}:1", out)
    (out / "mine.txt").write_text("mine")
    mlflow("pull", f"{minilm}:2", out)
    assert (out / "run.py").read_text() == "changed"
    assert files(out) == sorted([*ALL, "mine.txt"])
    mlflow("pull", f"{minilm}:1", out, "--overwrite")
    assert files(out) == ALL
    assert (out / "run.py").read_text() == "print('hello')\n"
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]


def test_a_directory_with_the_working_directory_in_it_is_not_replaced(mlflow, minilm, tmp_path):
    assert "choose another directory" in mlflow("pull", f"{minilm}:1", ".", "--overwrite", exit_code=2).stderr
    assert Path("Modelfile").exists()


@pytest.mark.promise("W8", "R3")
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_directory_stays_as_it_is_where_a_byte_is_wrong(
    mlflow, modfile, model, docker_registry, tmp_path_factory, tmp_path, overwrite
):
    from tests.registries import docker

    place = tmp_path_factory.mktemp("tampered")
    with docker.serving(place) as host:
        name = f"tampered-{len(overwrite)}"
        said = mlflow("register", ".", name, "--to", f"{host}/llm/x")
        (blob,) = [
            path for path in place.rglob("data") if path.is_file() and path.read_bytes() == Path("run.py").read_bytes()
        ]
        blob.write_bytes(b"print('hullo')\n")
        shutil.rmtree(tmp_path / "storage")
        out = tmp_path / "out"
        out.mkdir()
        (out / "run.py").write_text("before")
        done = mlflow("pull", f"{name}:1", out, *overwrite, exit_code=4)
        assert "sha256:" in done.stderr
        assert done.stdout == ""
        assert (files(out), (out / "run.py").read_text()) == (["run.py"], "before")
        assert said["Version"] == 1


@pytest.mark.promise("W9")
@pytest.mark.parametrize(
    ("change", "key", "told"),
    [
        (lambda out: (out / "run.py").write_text("print('hullo')\n"), "Changed", "changed  run.py"),
        (lambda out: (out / "run.py").unlink(), "Missing", "missing  run.py"),
        (lambda out: (out / "more.py").write_text("x"), "Extra", "extra    more.py"),
        (lambda out: ((out / "run.py").unlink(), (out / "run.py").symlink_to("more")), "Changed", "symbolic link"),
    ],
)
def test_a_directory_that_differs_is_told_by_the_exit_code(modfile, mlflow, minilm, tmp_path, change, key, told):
    out = tmp_path / "out"
    mlflow("pull", f"{minilm}:1", out)
    change(out)
    done = modfile("mlflow", "verify", f"{minilm}:1", out, exit_code=4)
    assert len(json.loads(done.stdout)[key]) == 1
    assert told in done.stderr
    modfile("mlflow", "verify", f"{minilm}:2", out, exit_code=4)


def test_what_could_not_be_compared_is_no_difference(mlflow, minilm, server, tmp_path):
    for arguments in (
        [f"{minilm}:1", tmp_path / "none"],
        [f"{minilm}:3", tmp_path],
        [f"{minilm}@none", tmp_path],
        ["none:1", tmp_path],
        [f"{minilm}:1", tmp_path, "--tracking-uri", "http://127.0.0.1:9"],
    ):
        done = mlflow("verify", *arguments, exit_code=1)
        assert done.stdout == ""
    with before(server) as faulty:
        faulty.faults["/api/2.0/mlflow/"] = 403
        done = mlflow("verify", f"{minilm}:1", tmp_path, "--tracking-uri", faulty.url, exit_code=1)
        assert "MLFLOW_TRACKING_USERNAME" in done.stderr


@pytest.mark.promise("G1")
@pytest.mark.parametrize(("status", "code"), [(500, 1), (401, 5), (403, 5)])
def test_a_server_that_fails_or_refuses_is_told_apart(mlflow, minilm, server, status, code):
    with before(server) as faulty:
        faulty.faults["registered-models/get"] = status
        done = mlflow("list", minilm, "--tracking-uri", faulty.url.replace("://", "://me:secret@"), exit_code=code)
        assert f"MLflow at {faulty.url}" in done.stderr
        assert "secret" not in done.stderr


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    ("uri", "code", "told"),
    [
        ("http://127.0.0.1:9", 1, "cannot be reached"),
        ("http://me:secret@127.0.0.1:9", 1, "cannot be reached"),
        ("http://127.0.0.1:99999", 1, "MLflow at"),
        ("gopher://x", 2, "unsupported URI"),
        ("http://", 1, "MLflow at"),
    ],
)
def test_where_no_mlflow_is_one_line_says_so(mlflow, uri, code, told):
    done = mlflow("list", "x", "--tracking-uri", uri, exit_code=code)
    assert told in done.stderr
    assert "secret" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in done.stderr


def test_where_mlflow_is_has_to_be_said(mlflow, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for arguments in (["list", "x"], ["info", "x:1"], ["pull", "x:1", "y"], ["verify", "x:1", "y"]):
        assert "MLFLOW_TRACKING_URI" in mlflow(*arguments, exit_code=2).stderr
    assert not Path("mlflow.db").exists()


def test_without_mlflow_the_commands_say_what_to_install(tmp_path):
    code = "import sys; sys.modules['mlflow'] = None; from modfile_cmd.main import main; main()"
    for arguments in (["list", "x"], ["register", ".", "x", "-t", "127.0.0.1:9/x"], ["promote", "x", "1", "y"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "mlflow", *arguments, "--tracking-uri", "http://127.0.0.1:9"],
            env=environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "pip install 'modfile[mlflow]'" in done.stderr
    done = subprocess.run([sys.executable, "-c", code, "mlflow", "--help"], env=environment(tmp_path), check=False)
    assert done.returncode == 0


def test_an_interrupted_wait_for_mlflow_ends_at_once(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [sys.executable, "-m", "modfile_cmd.main", "mlflow", "list", "x"],
            env=environment(tmp_path)
            | {
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        connection.close()
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
