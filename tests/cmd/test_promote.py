"""A tag moves in a plain registry, and the list shows which tags are the same artifact."""

import json
from pathlib import Path

import pytest

from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.registries.fake import Answer


@pytest.fixture
def repository(modfile, model, ref):
    """A repository with `v1` and `v2`, which differ in one file."""
    modfile("build", "-t", ref, "--output-remote", "--no-creation-time")
    Path("run.py").write_text("changed")
    modfile("build", "-t", ref.replace(":v1", ":v2"), "--output-remote", "--no-creation-time")
    return ref.removesuffix(":v1")


def tags(modfile, repository):
    rows = json.loads(modfile("ls", "--remote", repository, "--json").stdout)
    return {row["Tag"]: row["Digest"] for row in rows}


def test_a_tag_moves_to_another_version_and_back(modfile, repository, tmp_path):
    before = tags(modfile, repository)
    done = modfile("promote", repository, "v1", "stable")
    assert done.stdout == f"{repository}:stable@{before['v1']}\n"
    assert "was not there" in done.stderr
    said = json.loads(modfile("promote", repository, "v2", "stable", "--json").stdout)
    assert said == {"Reference": f"{repository}:stable", "Digest": before["v2"], "TagBefore": before["v1"]}
    assert tags(modfile, repository) == before | {"stable": before["v2"]}
    modfile("promote", repository, said["TagBefore"], "stable")
    assert tags(modfile, repository) == before | {"stable": before["v1"]}
    assert not (tmp_path / "storage/store/blobs").exists()


def test_a_tag_that_is_there_already_stays(modfile, repository):
    modfile("promote", repository, "v1", "stable")
    assert "is there already" in modfile("promote", repository, "v1", "stable").stderr
    assert "is there already" in modfile("promote", repository, "v1", "v1").stderr


@pytest.mark.parametrize(
    ("version", "alias", "code", "told"),
    [
        ("v3", "stable", 3, "is not in the registry"),
        (f"sha256:{'a' * 64}", "stable", 3, "is not in the registry"),
        ("sha256:abc", "stable", 2, "not a digest"),
        ("v1", "", 2, "not a tag"),
        ("v1", "a/b", 2, "not a"),
        ("v1", "-a", 2, "No such option"),
        ("v1", "é", 2, "not a tag"),
        ("v1", "x" * 129, 2, "not a tag"),
        ("v1", f"a@sha256:{'a' * 64}", 2, "not a tag"),
        ("", "stable", 2, "not a tag"),
        ("v1:v2", "stable", 2, "not a digest"),
    ],
)
def test_what_cannot_be_promoted_moves_nothing(modfile, repository, version, alias, code, told):
    before = tags(modfile, repository)
    done = modfile("promote", repository, version, alias, exit_code=code)
    assert (told in done.stderr, done.stdout) == (True, "")
    assert tags(modfile, repository) == before


def test_a_repository_is_host_and_name(modfile, model):
    assert "names no registry" in modfile("promote", "tiny", "v1", "stable", exit_code=2).stderr
    assert "expected host/repository" in modfile("promote", "r.io/x:v1", "v1", "stable", exit_code=2).stderr


def test_only_a_manifest_is_sent(modfile, model, fake):
    repository = f"{fake.host}/llm/tiny"
    modfile("build", "-t", f"{repository}:v1", "--output-remote")
    fake.seen.clear()
    modfile("promote", repository, "v1", "stable")
    assert [one.path for one in fake.seen if one.method not in ("GET", "HEAD")] == ["/v2/llm/tiny/manifests/stable"]
    assert not [one for one in fake.seen if "/blobs/" in one.path]


def test_tags_of_the_same_artifact_are_shown_together(modfile, repository):
    for alias in ("stable", "a", "b", "c", "d"):
        modfile("promote", repository, "v1", alias)
    rows = {row["Tag"]: row for row in json.loads(modfile("ls", "--remote", repository, "--json").stdout)}
    assert list(rows["v2"]) == ["Repository", "Tag", "Digest", "CreatedAt", "Size", "SharedWith"]
    assert rows["v2"]["SharedWith"] == []
    assert rows["v1"]["SharedWith"] == ["a", "b", "c", "d", "stable"]
    assert rows["a"]["SharedWith"] == ["b", "c", "d", "stable", "v1"]
    table = modfile("ls", "--remote", repository).stdout.splitlines()
    assert table[0].endswith("SAME AS")
    (line,) = [line for line in table if " v1 " in line]
    assert line.endswith("a, b, c, d and 1 more")


def test_the_local_store_is_listed_as_before(modfile, model):
    modfile("build", "-t", "tiny:v1", "-t", "tiny:v2")
    assert "SAME AS" not in modfile("ls").stdout
    assert all("SharedWith" not in row for row in json.loads(modfile("ls", "--json").stdout))


def test_hundreds_of_tags_cost_a_request_each_and_their_artifact_one_more(modfile, model, fake):
    repository = f"{fake.host}/llm/tiny"
    modfile("build", "-t", f"{repository}:v1", "--output-remote", "--no-creation-time")
    for number in range(300):
        fake.manifests[f"t{number}"] = fake.manifests["v1"]
    names = ["v1", *(f"t{number}" for number in range(300))]
    listed = json.dumps({"name": "llm/tiny", "tags": names}).encode()
    fake.always("GET", "/tags/list", Answer(200, {"Content-Type": "application/json"}, listed))
    fake.seen.clear()
    rows = json.loads(modfile("ls", "--remote", repository, "--json").stdout)
    assert (len(rows), len(rows[0]["SharedWith"])) == (301, 300)
    assert len([one for one in fake.seen if "/manifests/" in one.path]) == 301
    assert len([one for one in fake.seen if "/blobs/" in one.path]) == 1
