"""A directory or an artifact becomes a version, against a real MLflow server and real registries."""

import json
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mlflow.conftest import digests
from tests.mlflow.faulty import before
from tests.registries import served

ALL = ["README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"]


def tags_of(modfile, repository):
    return {row["Tag"]: row["Digest"] for row in json.loads(modfile("ls", "--remote", repository, "--json").stdout)}


def pin(said):
    return f"mlflow-{said['Digest'].removeprefix('sha256:')[:12]}"


def test_a_directory_becomes_the_first_version(mlflow, modfile, model, repository, name, client):
    done = modfile("mlflow", "register", ".", name, "--to", f"{repository}:v1")
    said = json.loads(done.stdout)
    assert (said["Name"], said["Version"], said["Created"], said["Aliases"]) == (
        name,
        1,
        True,
        ["baseline", "champion"],
    )
    assert said["Source"] == f"modelpack://{repository}@{said['Digest']}"
    assert f"registered version 1 of {name}" in done.stderr
    version = client.get_model_version_by_alias(name, "champion")
    assert (version.source, version.tags["modfile.digest"]) == (said["Source"], said["Digest"])
    assert version.tags == {"modfile.digest": said["Digest"], "modfile.reference": f"{repository}:v1"}
    assert tags_of(modfile, repository) == dict.fromkeys(("v1", "baseline", "champion", pin(said)), said["Digest"])
    assert json.loads(modfile("ls", "--json").stdout) == []  # nothing is kept here
    assert modfile("inspect", "--remote", f"{repository}:champion")


def test_later_versions_are_candidates(mlflow, modfile, model, repository, name, client):
    first = mlflow("register", ".", name, "--to", repository)
    Path("run.py").write_text("changed")
    second = mlflow("register", ".", name, "--to", repository)
    assert (second["Version"], second["Aliases"], second["Moved"]["Pieces"]) == (2, ["candidate"], 2)
    Path("run.py").write_text("changed again")
    third = mlflow("register", ".", name, "--to", repository)
    assert client.get_registered_model(name).aliases == {"baseline": "1", "champion": "1", "candidate": "3"}
    tags = tags_of(modfile, repository)
    assert (tags["champion"], tags["candidate"]) == (first["Digest"], third["Digest"])
    assert tags[pin(second)] == second["Digest"]  # so that no garbage collection takes version 2
    assert digests(client, name) == {one["Version"]: one["Source"] for one in (first, second, third)}


def test_the_same_files_are_the_same_version(mlflow, modfile, model, repository, name, client, tmp_path):
    first = mlflow("register", ".", name, "--to", repository, "--general-tag", "task=ranking")
    shutil.copytree(model, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    for path in (tmp_path / "elsewhere").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    again = modfile("mlflow", "register", tmp_path / "elsewhere", name, "--to", repository)
    said = json.loads(again.stdout)
    assert (said["Version"], said["Created"], said["Digest"]) == (1, False, first["Digest"])
    assert (said["Moved"]["Pieces"], said["Tags"]) == (0, first["Tags"])
    assert "registered already is version 1" in again.stderr
    assert len(digests(client, name)) == 1
    forced = mlflow("register", ".", name, "--to", repository, "--force")
    assert (forced["Version"], forced["Created"], forced["Digest"]) == (2, True, first["Digest"])


def test_a_repeated_registration_does_not_take_an_alias_back(mlflow, model, repository, name, client):
    mlflow("register", ".", name, "--to", repository)
    Path("run.py").write_text("changed")
    mlflow("register", ".", name, "--to", repository)
    mlflow("promote", name, 2, "champion")
    Path("run.py").write_text("print('hello')\n")
    assert mlflow("register", ".", name, "--to", repository)["Version"] == 1
    assert client.get_registered_model(name).aliases["champion"] == "2"
    said = mlflow("register", ".", name, "--to", repository, "--alias", "champion")  # unless that is said
    assert (said["Version"], said["RegistryTags"]) == (1, ["champion"])
    assert client.get_registered_model(name).aliases["champion"] == "1"


def test_what_is_said_of_a_version_is_searchable(mlflow, model, repository, name, client, tmp_path):
    (tmp_path / "training.json").write_text('{"metrics": {"f1": 0.5, "loss": 1e-05}, "epochs": 3}')
    said = mlflow(
        *("register", ".", name, "--to", repository, "--description", "The first one"),
        *("--general-tag", "task=ranking", "--general-tag", 'labels=["a","b"]', "--general-tag", f"long={'x' * 5000}"),
        *("--training-tags-json", tmp_path / "training.json", "--training-tag", 'epochs={"done": 4}'),
        *("--general-tags-json", '{"owner": "ops", "task": "overridden"}'),
    )
    assert said["Training"] == {"metrics": {"f1": 0.5, "loss": 1e-05}, "epochs": {"done": 4}}
    assert said["General"] == {"owner": "ops", "task": "ranking", "labels": ["a", "b"], "long": "x" * 5000}
    assert said["Description"] == "The first one"
    for search in ("training.metrics.f1` = '0.5'", "training.epochs.done` = '4'", "general.task` LIKE 'rank%'"):
        (found,) = client.search_model_versions(f"name='{name}' and tags.`{search}")
        assert int(found.version) == 1
    assert mlflow("info", f"{name}:1")["General"] == said["General"]


def test_what_is_said_later_is_added(mlflow, model, repository, name, client):
    mlflow("register", ".", name, "-t", repository, "--training-tag", 'm={"a":1,"b":2}', "--training-tag", "keep=1")
    said = mlflow("register", ".", name, "-t", repository, "--training-tag", 'm={"a":3}', "--description", "new")
    assert (said["Created"], said["Training"], said["Description"]) == (False, {"m": {"a": 3}, "keep": 1}, "new")
    tags = client.get_model_version(name, "1").tags
    assert (tags["training.m.a"], tags["training.keep"]) == ("3", "1")
    assert "training.m.b" not in tags


def test_a_directory_without_a_modelfile_is_packed_as_one_that_is_generated(mlflow, modfile, model, repository, name):
    (model / "Modelfile").unlink()
    done = modfile("mlflow", "register", ".", name, "--to", repository)
    assert "no Modelfile; one is generated" in done.stderr
    assert not (model / "Modelfile").exists()
    digest = json.loads(done.stdout)["Digest"]
    files = json.loads(modfile("inspect", "--remote", f"{repository}@{digest}").stdout)["Layers"]
    assert sorted(layer["Filepath"] for layer in files) == ALL
    modfile("generate")
    assert mlflow("register", ".", name, "--to", repository)["Digest"] == digest


def test_the_epoch_of_the_environment_is_the_time_of_the_build(mlflow, modfile, model, repository, name, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    mlflow("register", ".", name, "--to", repository)
    said = json.loads(modfile("inspect", "--remote", f"{repository}:champion").stdout)
    assert said["CreatedAt"] == "2001-09-09T01:46:40Z"


def test_an_artifact_in_a_registry_stays_where_it_is(mlflow, modfile, model, repository, name, tmp_path):
    digest = modfile("build", "-t", f"{repository}:v1", "--output-remote").stdout.strip()
    before = tags_of(modfile, repository)
    shutil.rmtree(tmp_path / "storage", ignore_errors=True)
    said = mlflow("register", f"{repository}:v1", name)
    assert (said["Digest"], said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (digest, 0, 0)
    assert said["Tags"]["modfile.reference"] == f"{repository}:v1"
    assert tags_of(modfile, repository) == before | dict.fromkeys(("baseline", "champion"), digest)
    other = mlflow("register", said["Source"], f"{name}-two", "--alias", "canary", "--alias", "canary")
    assert (other["Version"], other["Aliases"], other["RegistryTags"]) == (1, ["canary"], ["canary"])


def test_a_model_that_mlflow_logged_is_registered_where_it_is(mlflow, model, registry, name, tmp_path):
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    identity = f"m-{zlib.crc32(name.encode()):032x}"
    location = f"{registry.host}/mlflow/logged"
    get_artifact_repository(f"modelpack://{location}/models/{identity}/artifacts").log_artifacts(model / "data")
    said = mlflow("register", f"{location}:{identity}", name)
    assert said["Source"] == f"modelpack://{location}@{said['Digest']}"
    assert (said["Moved"]["Pieces"], said["Aliases"]) == (0, ["baseline", "champion"])
    assert mlflow("pull", f"{name}@champion", tmp_path / "out")["Written"] == ["train.csv"]


def test_an_artifact_of_the_local_store_is_pushed(mlflow, modfile, model, repository, name):
    digest = modfile("build", "-t", f"{repository}:v1", "-t", "tiny:v1").stdout.strip()
    said = mlflow("register", f"{repository}:v1", name)
    assert (said["Digest"], said["Moved"]["Pieces"]) == (digest, 6)
    assert tags_of(modfile, repository)["v1"] == digest
    other = mlflow("register", "tiny:v1", f"{name}-two", "--to", f"{repository}-two:stable")
    assert other["Source"] == f"modelpack://{repository}-two@{digest}"
    assert other["Moved"]["Pieces"] == 0  # mounted from the other repository
    assert tags_of(modfile, f"{repository}-two")["stable"] == digest


def test_an_artifact_is_copied_from_one_repository_to_another(mlflow, modfile, model, repository, name, tmp_path):
    digest = modfile("build", "-t", f"{repository}:v1", "--output-remote").stdout.strip()
    shutil.rmtree(tmp_path / "storage", ignore_errors=True)
    said = mlflow("register", f"{repository}:v1", name, "--to", f"{repository}/prod/")
    assert said["Source"] == f"modelpack://{repository}/prod/{name}@{digest}"
    assert (said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (0, 6)


def test_two_artifacts_of_one_name_are_not_confused(mlflow, modfile, model, repository, name):
    remote = modfile("build", "-t", f"{repository}:v1", "--output-remote", "--no-creation-time").stdout.strip()
    Path("run.py").write_text("changed")
    local = modfile("build", "-t", f"{repository}:v1", "--no-creation-time").stdout.strip()
    error = mlflow("register", f"{repository}:v1", name, exit_code=2).stderr
    assert remote.removeprefix("sha256:")[:12] in error
    assert local.removeprefix("sha256:")[:12] in error
    assert mlflow("register", f"{repository}@{remote}", name)["Digest"] == remote
    assert tags_of(modfile, repository)["v1"] == remote


def test_where_to_push_may_be_said_once_for_all(mlflow, model, registry, name, monkeypatch):
    monkeypatch.setenv("MODFILE_MLFLOW_TO", f"{registry.host}/team/")
    said = mlflow("register", ".", name)
    assert said["Source"].startswith(f"modelpack://{registry.host}/team/{name}@sha256:")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([".", "NAME"], 2, "--to HOST/REPOSITORY"),
        (["tiny:v1", "NAME"], 2, "names no registry"),
        (["none:v1", "NAME"], 3, "not in the local store"),
        (["REPO:none", "NAME"], 3, "nor in its registry"),
        (["./none", "NAME", "-t", "REPO"], 3, "none"),
        (["model.safetensors", "NAME", "-t", "REPO"], 1, "model.safetensors"),
        (["./empty", "NAME", "-t", "REPO"], 1, "no file"),
        ([".", "NAME", "-t", "no-host/x"], 2, "no place to push to"),
        ([".", "NAME", "-t", f"r.io/x@sha256:{'a' * 64}"], 2, "no place to push to"),
        ([".", "Upper/Case", "-t", "REPO"], 2, "cannot be a model's name"),
        ([".", "NAME", "-t", "REPO", "--alias", "latest"], 2, "keeps 'latest'"),
        ([".", "NAME", "-t", "REPO", "--alias", "a.b"], 2, "cannot be an alias and a tag"),
        ([".", "NAME", "-t", "REPO", "--general-tag", "x"], 2, "KEY=VALUE"),
        ([".", "NAME", "-t", "REPO", "--general-tag", "a,b=1"], 2, "no key that MLflow takes"),
        ([".", "NAME", "-t", "REPO", "--training-tag", 'm={"a":'], 2, "not JSON"),
        ([".", "NAME", "-t", "REPO", "--training-tags-json", "none.json"], 3, "none.json is not there"),
        ([".", "NAME", "-t", "REPO", "--training-tags-json", "README.md"], 2, "not JSON"),
        ([".", "NAME", "-t", "REPO", "--training-tags-json", '["f1"]'], 2, "the tags"),
        ([".", "NAME", "-t", "REPO", "--description", "x" * 5001], 2, "5,000"),
    ],
)
def test_what_cannot_be_registered_leaves_nothing(mlflow, modfile, model, docker_registry, arguments, code, told):
    name = f"refused-{zlib.crc32(repr(arguments).encode())}"
    repository = f"{docker_registry.host}/refused/{name}"
    Path("empty").mkdir()
    modfile("build", "-t", "tiny:v1")
    said = [one.replace("NAME", name).replace("REPO", repository) for one in arguments]
    done = mlflow("register", *said, exit_code=code)
    assert told in done.stderr
    assert done.stdout == ""
    mlflow("list", name, exit_code=3)
    modfile("ls", "--remote", repository, exit_code=3)


def test_what_cannot_be_extracted_is_not_registered(mlflow, modfile, model, docker_registry, tmp_path):
    from modfile.layout import Layout
    from modfile.manifest import OCI_INDEX
    from modfile.reference import Reference

    reference = f"{docker_registry.host}/indexes/x:v1"
    index = Layout(tmp_path / "storage/store").add_bytes(b'{"schemaVersion":2,"manifests":[]}', OCI_INDEX)
    Layout(tmp_path / "storage/store").tag(index, Reference.parse(reference))
    assert "is an index" in mlflow("register", reference, "index", exit_code=1).stderr
    modfile("push", reference)
    shutil.rmtree(tmp_path / "storage")
    assert "is an index" in mlflow("register", reference, "index", exit_code=1).stderr
    mlflow("list", "index", exit_code=3)


@pytest.mark.promise("C5")
def test_a_likely_secret_is_not_pushed(mlflow, modfile, model, docker_registry):
    Path(".env").write_text("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY\n")
    with Path("Modelfile").open("a") as modelfile:
        modelfile.write("CONFIG .env\n")
    arguments = ["register", ".", "secretive", "--to", f"{docker_registry.host}/mlflow/secretive"]
    assert "--allow-secret" in mlflow(*arguments, exit_code=1).stderr
    modfile("ls", "--remote", arguments[-1], exit_code=3)
    assert mlflow(*arguments, "--allow-secret", ".env")["Version"] == 1


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        ("registered-models/create", ["is in the registry"]),
        ("model-versions/create", ["is in the registry"]),
        ("registered-models/alias", ["is in the registry", "version 1 of"]),
        ("model-versions/delete-tag", ["is in the registry", "version 1 of", "baseline is version 1", "champion is"]),
    ],
)
@pytest.mark.parametrize("status", [500, 403])
def test_what_was_cut_off_is_gone_on_with(mlflow, modfile, model, docker_registry, server, client, fault, done, status):
    name = f"cut-off-{fault.replace('/', '-')}-{status}"
    arguments = ["register", ".", name, "--to", f"{docker_registry.host}/mlflow/{name}"]
    with before(server) as faulty:
        method = "POST" if "alias" in fault or "create" in fault else "DELETE"
        faulty.faults[f"{method} /api/2.0/mlflow/{fault}"] = status
        failed = mlflow(*arguments, "--tracking-uri", faulty.url, exit_code=5 if status == 403 else 1)
        for part in (*done, "the same command goes on from there"):
            assert part in failed.stderr
        faulty.faults.clear()
        said = mlflow(*arguments, "--tracking-uri", faulty.url)
    assert (said["Version"], said["Aliases"]) == (1, ["baseline", "champion"])
    assert said["Created"] is (len(done) == 1)
    assert said["Moved"]["Pieces"] == 0
    assert "modfile.unfinished" not in client.get_model_version(name, "1").tags
    assert len(digests(client, name)) == 1


def test_what_is_gone_on_with_takes_no_alias_from_a_newer_version(mlflow, model, docker_registry, server, client):
    name = "cut-off-and-overtaken"
    arguments = ["register", ".", name, "--to", f"{docker_registry.host}/mlflow/{name}"]
    with before(server) as faulty:
        faulty.faults["POST /api/2.0/mlflow/registered-models/alias"] = 500
        mlflow(*arguments, "--tracking-uri", faulty.url, exit_code=1)
    Path("run.py").write_text("changed")
    mlflow(*arguments, "--alias", "champion")
    Path("run.py").write_text("print('hello')\n")
    assert mlflow(*arguments)["Version"] == 1
    assert client.get_registered_model(name).aliases == {"baseline": "1", "champion": "2"}


def test_nothing_is_packed_where_mlflow_does_not_answer(mlflow, modfile, model, docker_registry):
    repository = f"{docker_registry.host}/mlflow/nobody-answers"
    done = mlflow("register", ".", "x", "--to", repository, "--tracking-uri", "http://127.0.0.1:9", exit_code=1)
    assert "MLflow at http://127.0.0.1:9 cannot be reached: Connection refused" in done.stderr
    modfile("ls", "--remote", repository, exit_code=3)


@pytest.mark.parametrize("path", ["", "/no/such/path"], ids=["a registry", "another page of MLflow's server"])
def test_nothing_is_packed_where_something_else_answers(mlflow, modfile, model, docker_registry, server, path):
    repository = f"{docker_registry.host}/mlflow/something-else-answers"
    url = server + path if path else f"http://{docker_registry.host}"
    done = mlflow("register", ".", "x", "--to", repository, "--tracking-uri", url, exit_code=1)
    assert f"MLflow at {url} has no such endpoint" in done.stderr
    modfile("ls", "--remote", repository, exit_code=3)
    assert "not registered" not in mlflow("list", "x", "--tracking-uri", url, exit_code=1).stderr


def test_a_registry_that_lets_nobody_tag_has_no_tags_for_aliases(mlflow, modfile, model, name, tmp_path, client):
    modfile("--storage-dir", tmp_path / "served", "build", "-t", "llm/tiny:v1")
    with served.serving(tmp_path / "server", storage=tmp_path / "served") as server:
        done = modfile("mlflow", "register", f"{server.host}/llm/tiny:v1", name)
        said = json.loads(done.stdout)
        assert (said["Aliases"], said["RegistryTags"]) == (["baseline", "champion"], [])
        assert "champion is an alias in MLflow only" in done.stderr
        assert set(tags_of(modfile, f"{server.host}/llm/tiny")) == {"v1"}
        failed = mlflow("promote", name, 1, "production", exit_code=5)
        assert "the alias was taken away again" in failed.stderr
        assert "production" not in client.get_registered_model(name).aliases
        failed = mlflow("promote", name, 1, "champion", exit_code=5)
        assert "the alias is at version 1, where it was" in failed.stderr


def test_names_that_have_to_be_quoted_are_found(mlflow, model, docker_registry):
    for number, name in enumerate(["it's a model", 'a "model"', "a@b", "grüße"]):
        mlflow("register", ".", name, "--to", f"{docker_registry.host}/quoted/{number}")
        assert mlflow("register", ".", name, "--to", f"{docker_registry.host}/quoted/{number}")["Version"] == 1
        assert [version["Version"] for version in mlflow("list", name)] == [1]
        assert mlflow("info", f"{name}@champion")["Version"] == 1


def test_a_model_that_several_make_at_once_is_made_once(tracking, client):
    from modfile.mlflow.modelregistry import ModelRegistry

    models = [ModelRegistry(tracking) for _ in range(6)]
    with ThreadPoolExecutor(len(models)) as pool:
        list(pool.map(lambda one: one.create_model("made at once"), models))
    assert client.get_registered_model("made at once").name == "made at once"
