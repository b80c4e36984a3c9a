"""Names of versions, models and aliases."""

import pytest

from modfile.errors import ContentError, UsageError
from modfile.mlflow.version import ModelVersion
from modfile.mlflow.versionname import VersionName, check_alias, check_model

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("minilm@champion", VersionName("minilm", alias="champion")),
        ("minilm:2", VersionName("minilm", 2)),
        ("minilm:007", VersionName("minilm", 7)),
        ("minilm:latest", VersionName("minilm")),
        ("minilm:LATEST", VersionName("minilm")),
        ("models:/minilm/2", VersionName("minilm", 2)),
        ("models:/minilm/latest", VersionName("minilm")),
        ("models:/minilm@champion", VersionName("minilm", alias="champion")),
        ("a@b:3", VersionName("a@b", 3)),
        ("a@b@c", VersionName("a@b", alias="c")),
        ("my model.v2@x", VersionName("my model.v2", alias="x")),
        ("Grüße@x", VersionName("Grüße", alias="x")),
    ],
)
def test_a_version_is_named_by_number_or_by_alias(text, name):
    assert VersionName.parse(text) == name
    assert VersionName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "minilm",
        "minilm@",
        "@champion",
        ":1",
        "minilm:",
        "minilm:0",
        "minilm:-1",
        "minilm:1.5",
        "minilm:9999999999",
        "minilm:99999999999999999999",
        "minilm:v1",
        "minilm:２",
        "models:/",
        "models:/minilm",
        "models:/m-0123456789abcdef",
        "models:/minilm/",
        "models:/minilm/Production",
        "models://host/minilm/1",
        "models:/a/b/1",
        "../x:1",
        ".:1",
        "..:1",
        " :1",
        "a\nb:1",
        "x" * 257 + ":1",
        "runs:/abc/model",
        "s3://bucket/model",
    ],
)
def test_what_names_no_version_is_refused(text):
    with pytest.raises(UsageError):
        VersionName.parse(text)


def test_a_version_beside_its_model_may_be_an_alias():
    assert VersionName.of("minilm", "candidate") == VersionName("minilm", alias="candidate")
    assert VersionName.of("minilm", "3") == VersionName("minilm", 3)
    with pytest.raises(UsageError):
        VersionName.of("a/b", "3")
    with pytest.raises(UsageError):
        VersionName.of("minilm", "0")


@pytest.mark.parametrize("alias", ["champion", "A", "0", "_x", "a-b", "v", "v1x", "x" * 128])
def test_an_alias_that_is_a_tag_too(alias):
    check_alias(alias)


@pytest.mark.parametrize(
    "alias", ["", "latest", "Latest", "v1", "V22", "a.b", "a b", "-a", "ä", "a/b", "a:b", "a\n", "x" * 129, "../a"]
)
def test_an_alias_that_cannot_be_one_or_no_tag(alias):
    with pytest.raises(UsageError):
        check_alias(alias)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", ".", "..", "./a", "a\x1b[2J"])
def test_a_name_that_no_model_has(name):
    with pytest.raises(UsageError):
        check_model(name)


def version(source, **tags):
    return ModelVersion("minilm", 3, source, (), {key.replace("_", "."): value for key, value in tags.items()})


def test_a_version_is_the_artifact_of_its_source():
    found = version(f"modelpack://r.io:5000/llm/x:v1@{A}", modfile_digest=A)
    assert str(found.artifact()) == f"r.io:5000/llm/x@{A}"
    assert str(version(f"modelpack://r.io/x@{A}").artifact()) == f"r.io/x@{A}"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "a path"),
        ("/mnt/models/x", "a path"),
        ("file:///mnt/models/x", "a file URI"),
        ("s3://key:secret@bucket/x", "a s3 URI"),
        ("models:/m-0123", "a models URI"),
        ("runs:/abc/model", "a runs URI"),
        ("modelpack://r.io/x:v1", "@digest"),
        ("modelpack://r.io/x", "@digest"),
        (f"modelpack:///x@{A}", "@digest"),
        (f"modelpack://x@{A}", "@digest"),
        (f"modelpack://r.io/x@{A}/inner", "@digest"),
        (f"modelpack://r.io/../x@{A}", "@digest"),
        ("modelpack://r.io/x@sha256:abc", "@digest"),
        ("modelpack://r.io/exp/0123/artifacts", "@digest"),
    ],
)
def test_a_version_that_is_no_artifact_says_so_without_its_secrets(source, told):
    with pytest.raises(ContentError, match="version 3 of minilm is no artifact") as caught:
        version(source).artifact()
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_version_whose_tag_says_another_digest_is_not_trusted():
    with pytest.raises(ContentError, match="contradicts itself"):
        version(f"modelpack://r.io/x@{A}", modfile_digest=B).artifact()


def test_a_version_tells_what_is_not_said_as_null():
    said = version("s3://bucket/x").to_json()
    assert (said["Digest"], said["Reference"], said["RunId"], said["CreatedAt"]) == (None, None, None, None)
    assert ModelVersion("x", 1, "", (), {}, created=10**18).to_json()["CreatedAt"] == "1970-01-01T00:00:00Z"
