import pytest

from modfile.content import Digest
from modfile.layout import Layout
from modfile.manifest import OCI_MANIFEST, Manifest
from modfile.reference import Reference
from modfile.whereabouts import Whereabouts


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


def artifact(layout, data, *names):
    layer = layout.add_bytes(data, "application/vnd.cncf.model.weight.v1.raw")
    manifest = Manifest(OCI_MANIFEST, layout.add_bytes(b"{}", "a/b"), (layer,)).to_bytes()
    for name in names:
        layout.tag(layout.add_bytes(manifest, OCI_MANIFEST), Reference.parse(name))


def test_a_blob_is_where_the_stores_names_of_that_registry_say(layout):
    artifact(layout, b"x", "r.io/a:v1", "r.io/a:v2", "r.io/b/c:v1", "other.io/d:v1", "local:v1")
    assert Whereabouts(layout, "r.io")(Digest.of(b"x")) == ("a", "b/c")
    assert Whereabouts(layout, "other.io")(Digest.of(b"x")) == ("d",)
    assert Whereabouts(layout, "r.io")(Digest.of(b"y")) == ()


def test_what_is_known_to_have_everything_comes_first(layout):
    artifact(layout, b"x", "r.io/a:v1", "r.io/z:v1")
    assert Whereabouts(layout, "r.io", ["z"])(Digest.of(b"x")) == ("z", "a")
    assert Whereabouts(layout, "r.io", ["z"])(Digest.of(b"y")) == ("z",)


def test_an_artifact_that_cannot_be_read_is_a_hint_less(layout):
    artifact(layout, b"x", "r.io/a:v1")
    artifact(layout, b"y", "r.io/b:v1")
    content = layout.resolve(Reference.parse("r.io/a:v1"))
    layout.blob_path(content.digest).unlink()
    assert Whereabouts(layout, "r.io")(Digest.of(b"x")) == ()
    assert Whereabouts(layout, "r.io")(Digest.of(b"y")) == ("b",)


def test_a_store_that_is_not_there_knows_nothing(layout):
    assert Whereabouts(layout, "r.io")(Digest.of(b"x")) == ()
    assert not layout.root.exists()
