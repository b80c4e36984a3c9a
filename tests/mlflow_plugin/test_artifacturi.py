"""Which artifact a URI of MLflow's is."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import UsageError
from modfile.mlflow.artifacturi import Asked, Place

RUN = "0123456789abcdef" * 2
HEX = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("uri", "reference", "path", "is_logged"),
    [
        (f"modelpack://r.io/exp/{RUN}/artifacts", f"r.io/exp:{RUN}", "", True),
        (f"modelpack://r.io/exp/{RUN}/artifacts/", f"r.io/exp:{RUN}", "", True),
        (f"modelpack://localhost/a/b/{RUN}/artifacts/model/MLmodel", f"localhost/a/b:{RUN}", "model/MLmodel", True),
        (f"modelpack://r.io:5000/exp/models/m-{RUN}/artifacts/x", f"r.io:5000/exp:m-{RUN}", "x", True),
        (f"modelpack://r.io/exp/traces/tr-{RUN}/artifacts/traces.json", f"r.io/exp:tr-{RUN}", "traces.json", True),
        (f"modelpack://r.io/team/models/{RUN}/artifacts", f"r.io/team/models:{RUN}", "", True),
        (f"modelpack://r.io/mlflow/artifacts/{RUN}/artifacts", f"r.io/mlflow/artifacts:{RUN}", "", True),
        (f"modelpack://r.io/exp/{RUN}/artifacts/m/artifacts/w", f"r.io/exp:{RUN}", "m/artifacts/w", True),
        (f"modelpack://r.io/exp/{RUN}/artifacts/a:b@c", f"r.io/exp:{RUN}", "a:b@c", True),
        (f"modelpack://r.io/root/7/{RUN}/artifacts", f"r.io/root/7:{RUN}", "", True),
        ("modelpack://r.io/llm/tiny:v1", "r.io/llm/tiny:v1", "", False),
        ("modelpack://r.io/llm/tiny:v1/a/b", "r.io/llm/tiny:v1", "a/b", False),
        (f"modelpack://r.io/llm/tiny@{HEX}/a", f"r.io/llm/tiny@{HEX}", "a", False),
        (f"modelpack://r.io/llm/tiny:v1@{HEX}", f"r.io/llm/tiny:v1@{HEX}", "", False),
        ("modelpack://127.0.0.1:5000//llm/tiny:v1", "127.0.0.1:5000/llm/tiny:v1", "", False),
        ("modelpack:///tiny:v1", "tiny:v1", "", False),
        ("modelpack:/tiny:v1/a", "tiny:v1", "a", False),
    ],
)
def test_a_uri_says_artifact_and_path(uri, reference, path, is_logged):
    place = Place.parse(uri)
    assert (str(place.reference), place.path, place.is_logged) == (reference, path, is_logged)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("s3://bucket/key", "does not begin with modelpack://"),
        ("modelpackish://r.io/exp:v1", "does not begin with modelpack://"),
        ("", "does not begin with modelpack://"),
        ("modelpack:", "is no artifact"),
        ("modelpack://r.io", "is no artifact"),
        ("modelpack://r.io/exp", "is no artifact"),
        (f"modelpack://r.io/exp/{RUN}", "is no artifact"),
        ("modelpack://r.io/exp/run/artifacts", "is no artifact"),
        (f"modelpack://r.io/exp/{RUN.upper()}/artifacts", "is no artifact"),
        (f"modelpack://r.io/{RUN}/artifacts", "says no repository"),
        (f"modelpack://r.io/models/m-{RUN}/artifacts", "says no repository"),
        (f"modelpack:///exp/{RUN}/artifacts", "says no registry"),
        (f"modelpack://registry/exp/{RUN}/artifacts", "a host has a dot or a port"),
        ("modelpack://registry/tiny:v1", "a host has a dot or a port"),
        ("modelpack:///r.io/tiny:v1", "says no registry"),
        (f"modelpack://r.io/Exp/{RUN}/artifacts", "names are lower case"),
        (f"modelpack://r.io/exp/../{RUN}/artifacts", "is not a repository name"),
        (f"modelpack://user:secret@r.io/exp/{RUN}/artifacts", "leave that out"),
        (f"modelpack://r.io:99999/exp/{RUN}/artifacts", "is not a host name"),
        ("modelpack://r.io/tiny:bad tag", "is not a tag"),
        ("modelpack://r.io/tiny@sha256:12", "is not a digest"),
        (f"modelpack://r.io/e\nxp/{RUN}/artifacts", "is not a repository name"),
    ],
)
def test_what_no_registry_can_have_is_refused(uri, why):
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        Place.parse(uri)
    assert "secret" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abm-0:@/.\\ \n%é", max_size=40))
def test_any_text_is_a_place_or_refused(text):
    for uri in (text, f"modelpack://{text}", f"modelpack://r.io/{text}/{RUN}/artifacts/{text}"):
        try:
            place = Place.parse(uri)
        except UsageError:
            continue
        assert ".." not in place.reference.repository
        assert place.reference.tag or place.reference.digest


@pytest.mark.parametrize(
    ("uri", "path", "inside", "file", "named"),
    [
        (f"modelpack://r.io/exp/{RUN}/artifacts", None, "", "a/b", "a/b"),
        (f"modelpack://r.io/exp/{RUN}/artifacts", "a", "a", "a/b", "a/b"),
        (f"modelpack://r.io/exp/{RUN}/artifacts/a", None, "a", "a/b", "b"),
        (f"modelpack://r.io/exp/{RUN}/artifacts/a", "b", "a/b", "a/b/c", "b/c"),
        (f"modelpack://r.io/exp/{RUN}", "artifacts/a", "a", "a/b", "artifacts/a/b"),
        ("modelpack://r.io/root", f"7/{RUN}/artifacts", "", "a", f"7/{RUN}/artifacts/a"),
        ("modelpack://r.io/", "tiny:v1", "", "a", "tiny:v1/a"),
        ("modelpack://r.io/tiny:v1/a/b/", "c/", "a/b/c", "a/b/c/d", "c/d"),
    ],
)
def test_a_path_below_a_uri_is_called_as_mlflow_calls_it(uri, path, inside, file, named):
    asked = Asked.of(uri, path)
    assert asked.place.path == inside
    assert asked.named(file) == named
