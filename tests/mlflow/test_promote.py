"""An alias moves in MLflow, and the tag of the same name in the registry."""

import json
from pathlib import Path

import pytest

from tests.mlflow.faulty import before


@pytest.fixture
def minilm(mlflow, model, repository, name):
    """A model with two versions in a repository of the same name; `run.py` differs."""
    mlflow("register", ".", name, "--to", repository)
    Path("run.py").write_text("changed")
    mlflow("register", ".", name, "--to", repository)
    return name


def tag(modfile, repository, name):
    rows = json.loads(modfile("ls", "--remote", repository, "--json").stdout)
    return next((row["Digest"] for row in rows if row["Tag"] == name), None)


def test_alias_and_tag_move_together(modfile, mlflow, minilm, repository, client):
    one, two = (mlflow("info", f"{minilm}:{number}")["Digest"] for number in (1, 2))
    assert tag(modfile, repository, "champion") == one
    done = modfile("mlflow", "promote", minilm, 2, "champion")
    assert json.loads(done.stdout) == {
        "Name": minilm,
        "Version": 2,
        "Alias": "champion",
        "VersionBefore": 1,
        "Reference": f"{repository}:champion",
        "Digest": two,
        "TagBefore": one,
    }
    assert f"champion is version 2 of {minilm}, was version 1" in done.stderr
    assert client.get_registered_model(minilm).aliases == {"baseline": "1", "champion": "2", "candidate": "2"}
    assert tag(modfile, repository, "champion") == two
    again = mlflow("promote", minilm, 2, "champion")
    assert (again["VersionBefore"], again["TagBefore"]) == (2, two)


def test_a_new_alias_is_a_new_tag(modfile, mlflow, minilm, repository):
    said = mlflow("promote", minilm, 1, "production")
    assert (said["VersionBefore"], said["TagBefore"]) == (None, None)
    assert tag(modfile, repository, "production") == said["Digest"]


def test_the_version_may_be_another_alias(mlflow, minilm):
    assert mlflow("promote", minilm, "candidate", "champion")["Version"] == 2
    assert mlflow("promote", minilm, "baseline", "champion")["Version"] == 1
    assert mlflow("promote", minilm, "latest", "champion")["Version"] == 2


def test_a_tag_that_lost_its_alias_is_mended(modfile, mlflow, minilm, repository, client):
    client.set_registered_model_alias(minilm, "champion", "2")  # somebody moved the alias alone
    said = mlflow("promote", minilm, 2, "champion")
    assert (said["VersionBefore"], tag(modfile, repository, "champion")) == (2, said["Digest"])
    assert said["TagBefore"] != said["Digest"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["none", 1, "champion"], 3, "none is not registered"),
        (["MODEL", 9, "champion"], 3, "has no version 9"),
        (["MODEL", "nope", "champion"], 3, "has no alias nope"),
        (["MODEL", 0, "champion"], 2, "numbered from 1"),
        (["MODEL", 2, "latest"], 2, "keeps 'latest'"),
        (["MODEL", 2, "v2"], 2, "keeps 'latest'"),
        (["MODEL", 2, "a/b"], 2, "cannot be an alias and a tag"),
        (["MODEL", 2, ""], 2, "cannot be an alias and a tag"),
    ],
)
def test_what_cannot_be_promoted_moves_nothing(mlflow, published, client, arguments, code, told):
    before = client.get_registered_model(published).aliases
    said = [published if one == "MODEL" else one for one in arguments]
    assert told in mlflow("promote", *said, exit_code=code).stderr
    assert client.get_registered_model(published).aliases == before


def test_an_alias_that_cannot_move_moves_no_tag(modfile, mlflow, minilm, repository, server):
    digest = tag(modfile, repository, "champion")
    with before(server) as faulty:
        faulty.faults["POST /api/2.0/mlflow/registered-models/alias"] = 500
        mlflow("promote", minilm, 2, "champion", "--tracking-uri", faulty.url, exit_code=1)
    assert tag(modfile, repository, "champion") == digest


@pytest.mark.parametrize(
    ("fault", "told", "after"),
    [
        (None, "the alias is back at version 1", "1"),
        ("POST", "could not be moved back", "2"),
    ],
)
def test_a_tag_that_cannot_move_takes_the_alias_back(
    mlflow, modfile, model, server, client, tmp_path, fault, told, after
):
    """The registry is read-only from the second version on."""
    from tests.registries import served

    name = f"read-only-{after}"
    storage = tmp_path / "served"
    modfile("--storage-dir", storage, "build", "-t", "llm/tiny:1")
    Path("run.py").write_text("changed")
    modfile("--storage-dir", storage, "build", "-t", "llm/tiny:2")
    with served.serving(tmp_path / "server", storage=storage) as registry, before(server) as faulty:
        for number in (1, 2):
            mlflow("register", f"{registry.host}/llm/tiny:{number}", name)
        if fault:
            faulty.after("POST /api/2.0/mlflow/registered-models/alias", 1)
        done = mlflow("promote", name, 2, "champion", "--tracking-uri", faulty.url, exit_code=5)
    assert "the tag champion did not move" in done.stderr
    assert told in done.stderr
    assert client.get_registered_model(name).aliases["champion"] == after
