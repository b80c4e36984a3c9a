import base64
import contextlib
import hashlib
import json
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.content import Descriptor, Digest
from modfile.errors import (
    ContentError,
    InvalidReferenceError,
    ModfileError,
    NotFoundError,
    StoreError,
    VerificationError,
)
from modfile.layout import Layout
from modfile.manifest import (
    ARTIFACT_MANIFEST,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from modfile.reference import Reference
from modfile.serve.catalog import BLOB, Catalog
from modfile.serve.links import Links
from modfile.serve.manifests import Manifests
from modfile.serve.names import referrers_tag
from modfile.serve.refusals import MissingError
from modfile.strictjson import dump
from modfile.verbs.prune import prune

LAYER = "application/vnd.cncf.model.weight.v1.raw"
CONFIG = "application/vnd.cncf.model.config.v1+json"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ABSENT = Digest.of(b"absent")


def sha512(data):
    return Digest("sha512", hashlib.sha512(data).hexdigest())


def entry(content, media_type, digest=None, **more):
    return {"mediaType": media_type, "digest": str(digest or Digest.of(content)), "size": len(content), **more}


def image(*layers, config=b"{}", media_type=OCI_MANIFEST, **more):
    """Return an image manifest of these layers' bytes."""
    listed = [entry(layer, LAYER) for layer in layers]
    return dump(
        {"schemaVersion": 2, "mediaType": media_type, "config": entry(config, CONFIG), "layers": listed, **more}
    )


def index(*manifests, media_type=OCI_INDEX, child=OCI_MANIFEST, **more):
    """Return an index of these manifests' bytes."""
    listed = [entry(data, child) for data in manifests]
    return dump({"schemaVersion": 2, "mediaType": media_type, "manifests": listed, **more})


class Served:
    """A storage directory, and the catalog of one server on it."""

    def __init__(self, directory):
        self.layout = Layout(directory / "store")
        self.links = Links(directory / "links")
        self.catalog = self.server()

    def server(self):
        return Catalog(self.layout, self.links)

    def upload(self, repository, *blobs):
        for data in blobs:
            content = self.layout.add_bytes(data, BLOB)
            self.links.add(repository, content.digest, content.size)

    def push(self, repository, data, *tags, media_type=OCI_MANIFEST, digest=None):
        return self.catalog.put_manifest(repository, data, media_type, digest=digest, tags=tags).content

    def push_image(self, repository, *layers, tags=(), **more):
        """Upload what an image needs, and push it."""
        self.upload(repository, b"{}", *layers)
        return self.push(repository, image(*layers, **more), *tags)

    def build(self, reference, *layers):
        """Bring an image into the store as a command does, past the server."""
        for data in (b"{}", *layers):
            self.layout.add_bytes(data, BLOB)
        content = self.layout.add_bytes(image(*layers), OCI_MANIFEST)
        self.layout.tag(content, Reference.parse(reference))
        return content

    def is_visible(self, repository, data, mirror_of=None):
        try:
            found = self.catalog.blob(repository, Digest.of(data), mirror_of)
        except NotFoundError:
            return False
        assert (found.digest, found.size) == (Digest.of(data), len(data))
        return True

    def has(self, repository, name, mirror_of=None):
        try:
            self.catalog.resolve(repository, str(name), mirror_of)
        except NotFoundError:
            return False
        return True


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path)


@pytest.fixture
def catalog(served):
    return served.catalog


# What there is


def test_an_empty_store_shows_nothing_and_is_not_made(served, catalog):
    assert catalog.repositories() == ()
    assert catalog.referrers("a/b", ABSENT) == ()
    for call in (
        lambda: catalog.tags("a/b"),
        lambda: catalog.resolve("a/b", "v1"),
        lambda: catalog.resolve("a/b", str(ABSENT)),
        lambda: catalog.blob("a/b", ABSENT),
        lambda: catalog.delete_tag("a/b", "v1"),
        lambda: catalog.delete_manifest("a/b", ABSENT),
        lambda: catalog.delete_blob("a/b", ABSENT),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert catalog.mount("a/b", ABSENT, None) is None
    assert not served.layout.root.exists()


def test_what_is_pushed_is_there_under_its_tags_and_digest(served, catalog):
    content = served.push_image("a/b", b"one", tags=["v2", "v1", "V3"])
    assert catalog.repositories() == ("a/b",)
    assert catalog.tags("a/b") == ("V3", "v1", "v2")
    assert catalog.resolve("a/b", "v1") == catalog.resolve("a/b", str(content.digest)) == content
    assert served.layout.resolve(Reference.parse("localhost/a/b:v1")) == content


def test_a_push_without_a_tag_is_listed_and_kept_under_its_digest(served, catalog):
    content = served.push_image("a/b", b"one")
    assert catalog.tags("a/b") == ()
    assert catalog.resolve("a/b", str(content.digest)) == content
    assert [entry.repository for entry in served.layout.entries()] == ["localhost/a/b"]


def test_a_tag_moves_and_what_it_pointed_at_stays(served, catalog):
    old = served.push_image("a/b", b"one", tags=["v1"])
    new = served.push_image("a/b", b"two", tags=["v1"])
    assert catalog.resolve("a/b", "v1") == new
    assert catalog.resolve("a/b", str(old.digest)) == old


def test_names_without_a_host_are_served_and_the_namespace_wins(served, catalog):
    bare = served.build("a/b:v1", b"one")
    served.build("a/b:bare", b"one")
    assert catalog.resolve("a/b", "v1") == bare
    pushed = served.push_image("a/b", b"two", tags=["v1"])
    assert catalog.resolve("a/b", "v1") == pushed
    assert catalog.tags("a/b") == ("bare", "v1")
    assert catalog.repositories() == ("a/b",)
    assert served.layout.resolve(Reference.parse("a/b:v1")) == bare


def test_what_other_hosts_have_is_seen_only_by_naming_the_host(served, catalog):
    content = served.build("ghcr.io/a/b:v1", b"one")
    assert catalog.repositories() == ()
    for repository in ("a/b", "ghcr.io/a/b"):
        assert not served.has(repository, "v1")
        assert not served.has(repository, content.digest)
        assert not served.is_visible(repository, b"one")
    assert catalog.resolve("a/b", "v1", "ghcr.io") == content
    assert served.is_visible("a/b", b"one", "ghcr.io")
    assert catalog.tags("a/b", "ghcr.io") == ("v1",)
    assert not served.has("a/b", "v1", "docker.io")


def test_what_was_pushed_here_does_not_answer_for_another_host(served, catalog):
    served.push_image("a/b", b"one", tags=["v1"])
    assert not served.has("a/b", "v1", "ghcr.io")
    assert not served.is_visible("a/b", b"one", "ghcr.io")


def test_a_push_replaces_nothing_of_another_host(served, catalog):
    theirs = served.build("ghcr.io/a/b:v1", b"one")
    served.push_image("ghcr.io/a/b", b"two", tags=["v1"])
    assert served.layout.resolve(Reference.parse("ghcr.io/a/b:v1")) == theirs
    assert str(served.layout.entries()[-1].reference) == "localhost/ghcr.io/a/b:v1"


def test_a_change_by_another_command_is_seen_at_once(served, catalog):
    assert not served.has("a/b", "v1")
    one = served.build("localhost/a/b:v1", b"one")
    assert catalog.resolve("a/b", "v1") == one
    two = served.build("localhost/a/b:v1", b"two")
    assert catalog.resolve("a/b", "v1") == two
    served.layout.untag([Reference.parse("localhost/a/b:v1")])
    assert not served.has("a/b", "v1")


@pytest.mark.parametrize("repository", ["", "..", "../x", "a//b", "/a", "A", "a:v1", "a@sha256:0", "a" * 256, "a\n"])
def test_what_is_no_repository_is_refused_everywhere(catalog, repository):
    for call in (
        lambda: catalog.tags(repository),
        lambda: catalog.resolve(repository, "v1"),
        lambda: catalog.blob(repository, ABSENT),
        lambda: catalog.put_manifest(repository, image(), OCI_MANIFEST, digest=None, tags=[]),
        lambda: catalog.referrers(repository, ABSENT),
        lambda: catalog.mount(repository, ABSENT, None),
        lambda: catalog.delete_tag(repository, "v1"),
        lambda: catalog.delete_manifest(repository, ABSENT),
        lambda: catalog.delete_blob(repository, ABSENT),
    ):
        with pytest.raises(InvalidReferenceError):
            call()


@pytest.mark.parametrize("name", ["sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 32, ":", "a:b"])
def test_what_is_no_digest_is_refused(catalog, name):
    with pytest.raises(ContentError):
        catalog.resolve("a/b", name)


def test_what_is_no_tag_is_refused(served, catalog):
    served.upload("a/b", b"{}")
    for tag in ("", ".x", "a b", "a" * 129):
        with pytest.raises(InvalidReferenceError):
            catalog.resolve("a/b", tag)
        with pytest.raises(InvalidReferenceError):
            served.push("a/b", image(), tag)
    assert catalog.repositories() == ()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"manifests": [null]}', b"\xff", b"[" * 200_000])
def test_a_damaged_index_is_an_error_of_the_store_until_it_is_repaired(served, catalog, damage):
    served.push_image("a/b", b"one", tags=["v1"])
    path = served.layout.root / "index.json"
    good = path.read_bytes()
    path.write_bytes(damage)
    for call in (
        catalog.repositories,
        lambda: catalog.resolve("a/b", "v1"),
        lambda: catalog.blob("a/b", ABSENT),
        lambda: served.push("a/b", image(b"one"), "v2"),
        lambda: catalog.delete_tag("a/b", "v1"),
    ):
        with pytest.raises(StoreError, match=r"index\.json"):
            call()
    assert path.read_bytes() == damage
    path.write_bytes(good)
    assert served.has("a/b", "v1")


def test_entries_that_another_tool_wrote_are_passed_over(served, catalog):
    content = served.push_image("a/b", b"one", tags=["v1"])
    with served.layout.changing() as changing:
        changing._append(content, {"org.opencontainers.image.ref.name": "NOT A NAME"})
        changing._append(content, {"dev.modfile.repository": "a/b:v1"})
        changing._append(content, {})
    assert catalog.repositories() == ("a/b",)


# Blobs


def test_a_blob_is_visible_where_it_was_brought_or_a_manifest_names_it(served):
    served.upload("a", b"linked")
    served.push_image("b", b"named", tags=["v1"])
    assert served.is_visible("a", b"linked")
    assert not served.is_visible("b", b"linked")
    served.links.remove("b", Digest.of(b"named"))
    assert served.is_visible("b", b"named")
    assert not served.is_visible("a", b"named")
    assert not served.is_visible("b", image(b"named"))


@pytest.mark.parametrize("damage", [b"", b"longer than it was"])
@pytest.mark.parametrize("linked", [True, False])
def test_a_blob_of_another_size_is_not_visible(served, damage, linked):
    served.push_image("a", b"one", tags=["v1"])
    if not linked:
        served.links.remove("a", Digest.of(b"one"))
    path = served.layout.blob_path(Digest.of(b"one"))
    path.unlink()
    path.write_bytes(damage)
    assert not served.is_visible("a", b"one")
    path.unlink()
    path.mkdir()
    assert not served.is_visible("a", b"one")


def test_a_manifest_that_is_not_whole_is_not_there_and_can_be_pushed_again(served):
    content = served.push_image("a", b"one", tags=["v1"])
    path = served.layout.blob_path(content.digest)
    path.unlink()
    assert not served.has("a", "v1")
    path.write_bytes(b"x")
    assert not served.has("a", content.digest)
    served.push("a", image(b"one"), "v1")
    assert served.has("a", "v1")


def test_a_manifest_that_has_become_unreadable_hides_nothing_else(served):
    broken = served.push_image("a", b"one", tags=["v1"])
    served.push_image("a", b"two", tags=["v2"])
    for data in (b"one", b"two"):
        served.links.remove("a", Digest.of(data))
    served.layout.blob_path(broken.digest).unlink()
    fresh = served.server()
    assert fresh.blob("a", Digest.of(b"two"))
    with pytest.raises(NotFoundError):
        fresh.blob("a", Digest.of(b"one"))


def test_to_be_told_that_a_blob_is_there_keeps_it_for_a_day(served, catalog, tmp_path):
    content = served.push_image("a", b"one", tags=["v1"])
    served.links.remove("a", Digest.of(b"one"))
    catalog.blob("a", Digest.of(b"one"))
    assert Digest.of(b"one") not in served.links.fresh()
    catalog.blob("a", Digest.of(b"one"), refresh=True)
    assert Digest.of(b"one") in served.links.fresh()
    marker = tmp_path / "links" / "a" / "linked" / f"sha256-{Digest.of(b'one').hex}"
    os.utime(marker, (0, 0))
    catalog.blob("a", Digest.of(b"one"), refresh=True)
    assert marker.stat().st_mtime > 0
    catalog.delete_manifest("a", content.digest)
    prune(served.layout, spared=served.links.fresh)
    assert served.is_visible("a", b"one")


def test_what_was_uploaded_is_spared_by_prune_for_a_day(served, tmp_path):
    served.upload("a", b"one")
    assert prune(served.layout, spared=served.links.fresh).blobs == []
    assert served.is_visible("a", b"one")
    [marker] = (tmp_path / "links" / "a" / "linked").iterdir()
    os.utime(marker, (0, 0))
    assert prune(served.layout, spared=served.links.fresh).blobs == [Digest.of(b"one")]
    assert not served.is_visible("a", b"one")


def test_a_mount_makes_visible_what_the_other_repository_shows(served, catalog):
    served.push_image("a", b"one", tags=["v1"])
    assert catalog.mount("b", ABSENT, "a") is None
    assert catalog.mount("b", Digest.of(b"one"), "c") is None
    assert catalog.mount("b", Digest.of(b"one"), "NO NAME") is None
    assert not served.is_visible("b", b"one")
    assert catalog.mount("b", Digest.of(b"one"), "a") == Descriptor(BLOB, Digest.of(b"one"), 3)
    assert served.is_visible("b", b"one")


@pytest.mark.parametrize("linked", [True, False])
def test_a_mount_without_an_origin_looks_where_the_client_may_read(served, catalog, linked):
    served.push_image("a", b"one", tags=["v1"])
    if not linked:
        served.links.remove("a", Digest.of(b"one"))
    assert catalog.mount("b", Digest.of(b"one"), None, may_read=lambda name: name != "a") is None
    assert catalog.mount("b", Digest.of(b"one"), "a", may_read=lambda name: name != "a") is None
    assert not served.is_visible("b", b"one")
    assert catalog.mount("b", Digest.of(b"one"), None)
    assert served.is_visible("b", b"one")


def test_a_mount_cannot_reach_what_is_another_hosts(served, catalog):
    served.build("ghcr.io/a:v1", b"one")
    for origin in (None, "a", "ghcr.io/a"):
        assert catalog.mount("b", Digest.of(b"one"), origin) is None


# What is taken in


def test_a_manifest_that_names_what_the_pusher_may_not_see_is_refused(served, catalog):
    served.push_image("secret", b"secret", tags=["v1"])
    served.build("ghcr.io/other:v1", b"theirs")
    served.upload("mine", b"{}")
    for data in (b"secret", b"theirs", b"nowhere"):
        with pytest.raises(MissingError) as caught:
            served.push("mine", image(data), "v1")
        assert caught.value.missing == (Digest.of(data),)
        assert not served.is_visible("mine", data)
    with pytest.raises(MissingError):
        served.push("mine", index(image(b"secret")), "v1", media_type=OCI_INDEX)
    assert catalog.repositories() == ("secret",)


def test_all_that_is_missing_is_named_once(served):
    with pytest.raises(MissingError) as caught:
        served.push("a", image(b"one", b"two", b"one"), "v1")
    assert caught.value.missing == (Digest.of(b"{}"), Digest.of(b"one"), Digest.of(b"two"))
    assert "\n" not in str(caught.value)


def test_the_digest_that_is_said_has_to_be_right(served, catalog):
    served.upload("a", b"{}", b"one")
    with pytest.raises(VerificationError):
        served.push("a", image(b"one"), "v1", digest=ABSENT)
    with pytest.raises(VerificationError):
        served.push("a", image(b"one") + b" ", "v1", digest=Digest.of(image(b"one")))
    assert catalog.repositories() == ()


def test_any_kind_of_manifest_is_taken_and_prune_understands_it(served, catalog):
    served.upload("a", b"{}", b"one", b"data")
    artifact = dump({"mediaType": ARTIFACT_MANIFEST, "artifactType": "x/y", "blobs": [entry(b"one", LAYER)]})
    bare = dump({"mediaType": ARTIFACT_MANIFEST, "artifactType": "x/y"})
    untyped = dump({"schemaVersion": 2, "config": entry(b"{}", CONFIG), "layers": []})
    foreign = dump(
        {
            "schemaVersion": 2,
            "config": entry(b"{}", CONFIG),
            "layers": [entry(b"elsewhere", FOREIGN, urls=["http://x"])],
        }
    )
    pushed = [
        (image(b"one"), OCI_MANIFEST),
        (image(), OCI_MANIFEST),
        (image(b"one", media_type=DOCKER_MANIFEST), DOCKER_MANIFEST),
        (index(), OCI_INDEX),
        (index(image(b"one")), OCI_INDEX),
        (index(index(image(b"one")), child=OCI_INDEX), OCI_INDEX),
        (index(image(b"one"), artifactType="x/y"), OCI_INDEX),
        (
            index(image(b"one", media_type=DOCKER_MANIFEST), media_type=DOCKER_LIST, child=DOCKER_MANIFEST),
            DOCKER_LIST,
        ),
        (artifact, ARTIFACT_MANIFEST),
        (bare, ARTIFACT_MANIFEST),
        (untyped, OCI_MANIFEST),
        (foreign, OCI_MANIFEST),
        (image(b"one", somethingElse={"a": [1, None]}), OCI_MANIFEST),
        (image(b"one", subject=entry(b"missing", OCI_MANIFEST)), OCI_MANIFEST),
        (image(b"one", subject=None), OCI_MANIFEST),
        (image(b"one", annotations={"a": "x" * 3_900_000}), OCI_MANIFEST),
    ]
    for number, (data, media_type) in enumerate(pushed):
        content = served.push("a", data, f"v{number}", media_type=media_type)
        assert catalog.resolve("a", f"v{number}") == content == Descriptor(media_type, Digest.of(data), len(data))
    prune(served.layout)
    assert len(catalog.tags("a")) == len(pushed)
    assert all(served.has("a", tag) for tag in catalog.tags("a"))


def test_without_a_content_type_the_manifest_tells_what_it_is(served, catalog):
    served.upload("a", b"{}")
    assert served.push("a", image(), "v1", media_type="").media_type == OCI_MANIFEST
    assert served.push("a", index(image()), "v2", media_type="").media_type == OCI_INDEX


def test_digests_may_be_sha512(served, catalog):
    served.upload("a", b"{}")
    content = served.layout.add_bytes(b"{}", BLOB)
    data = b"layer"
    path = served.layout.blob_path(sha512(data))
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    served.links.add("a", sha512(data), len(data))
    manifest = dump(
        {
            "schemaVersion": 2,
            "config": entry(b"{}", CONFIG, content.digest),
            "layers": [entry(data, LAYER, sha512(data))],
        }
    )
    pushed = served.push("a", manifest, digest=sha512(manifest))
    listed = dump({"schemaVersion": 2, "manifests": [entry(manifest, OCI_MANIFEST, pushed.digest)]})
    top = served.push("a", listed, "v1", media_type=OCI_INDEX, digest=sha512(listed))
    assert catalog.resolve("a", "v1").digest == top.digest == sha512(listed)
    assert catalog.resolve("a", str(sha512(manifest))) == pushed
    assert not served.has("a", Digest.of(manifest))


def test_content_that_a_manifest_carries_itself_is_taken_from_there(served, catalog):
    carried = {"data": base64.b64encode(b"{}").decode()}
    manifest = {"schemaVersion": 2, "config": entry(b"{}", CONFIG, **carried), "layers": []}
    served.push("a", dump(manifest), "v1")
    assert served.is_visible("a", b"{}")
    assert served.layout.blob_path(Digest.of(b"{}")).read_bytes() == b"{}"


@pytest.mark.parametrize("data", ["e30", "fn0=", "", "%%%%", 5, None, ["e30="], "e30=" * 10, "é"])
def test_content_that_is_carried_wrongly_is_missing(served, data):
    manifest = {"schemaVersion": 2, "config": entry(b"{}", CONFIG, data=data), "layers": []}
    with pytest.raises(MissingError):
        served.push("a", dump(manifest), "v1")


GOOD = json.loads(image(b"one"))


@pytest.mark.promise("R1", "R2")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 200_000,
        b'{"schemaVersion":2,"x":' + b"[" * 200_000,
        b'{"schemaVersion":2,"schemaVersion":2}',
        b" " * (MAX_MANIFEST + 1),
        dump({**GOOD, "layers": [None]}),
        dump({**GOOD, "layers": None}),
        dump({**GOOD, "layers": {"a": 1}}),
        dump({**GOOD, "layers": [{**GOOD["config"], "digest": "sha256:../../etc/passwd"}]}),
        dump({**GOOD, "layers": [{**GOOD["config"], "size": -1}]}),
        dump({**GOOD, "layers": [{**GOOD["config"], "size": 10**40}]}),
        dump({**GOOD, "config": None}),
        dump({**GOOD, "subject": "x"}),
        dump({**GOOD, "subject": []}),
        dump({**GOOD, "subject": {}}),
        dump({**GOOD, "annotations": {"a": 1}}),
        dump({**GOOD, "artifactType": 5}),
        dump({**GOOD, "schemaVersion": 1}),
        dump({**GOOD, "mediaType": OCI_INDEX}),
        dump({**GOOD, "mediaType": DOCKER_MANIFEST}),
        dump({**GOOD, "mediaType": 5}),
        dump({**GOOD, "manifests": []}),
        dump({**GOOD, "config": {**GOOD["config"], "size": 3}}),
    ],
    ids=range(27),
)
def test_what_is_no_image_manifest_is_refused(served, catalog, data):
    served.upload("a", b"{}", b"one")
    with pytest.raises(ContentError) as caught:
        served.push("a", data, "v1")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert catalog.repositories() == ()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (dump({"schemaVersion": 2, "manifests": [None]}), OCI_INDEX),
        (dump({"schemaVersion": 2, "manifests": "x"}), OCI_INDEX),
        (dump({"schemaVersion": 2}), OCI_INDEX),
        (dump({"schemaVersion": 2, "manifests": [], "layers": []}), OCI_INDEX),
        (dump({"schemaVersion": 2, "manifests": [], "subject": 5}), OCI_INDEX),
        (index(image(b"one"), child=LAYER), OCI_INDEX),
        (index(image(b"one"), child=OCI_INDEX), OCI_INDEX),
        (index(image(b"one")).replace(b'"size":', b'"size":1'), OCI_INDEX),
        (dump({"mediaType": ARTIFACT_MANIFEST, "blobs": [None]}), ARTIFACT_MANIFEST),
        (dump({"mediaType": ARTIFACT_MANIFEST, "layers": []}), ARTIFACT_MANIFEST),
        (dump({"mediaType": ARTIFACT_MANIFEST, "subject": "x"}), ARTIFACT_MANIFEST),
        (image(b"one"), "application/json"),
        (image(b"one"), "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        (image(b"one"), "x" * 10_000),
    ],
)
def test_what_is_no_manifest_of_its_type_is_refused(served, catalog, data, media_type):
    served.push_image("a", b"one")
    with pytest.raises(ContentError) as caught:
        served.push("a", data, "v1", media_type=media_type)
    assert len(str(caught.value)) < 400
    assert catalog.tags("a") == ()


def test_indexes_are_nested_only_so_deep(served, catalog):
    data = image()
    served.upload("a", b"{}")
    served.push("a", data)
    kind = OCI_MANIFEST
    for _ in range(4):
        data = index(data, child=kind)
        kind = OCI_INDEX
        served.push("a", data, media_type=OCI_INDEX)
    with pytest.raises(ContentError, match="nested"):
        served.push("a", index(data, child=OCI_INDEX), "v1", media_type=OCI_INDEX)


def test_the_largest_manifest_is_taken(served, catalog):
    blobs = [b"%d" % number for number in range(400)]
    served.upload("a", b"{}", *blobs)
    listed = [entry(blobs[number % 400], "a/b") for number in range(34_000)]
    data = dump({"schemaVersion": 2, "config": entry(b"{}", "a/b"), "layers": listed})
    assert MAX_MANIFEST * 0.8 < len(data) <= MAX_MANIFEST
    served.push("a", data, "v1")
    assert served.has("a", "v1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(GOOD["config"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "subject", "annotations"]
)


@settings(deadline=None, max_examples=150)
@given(FIELDS, JSON, st.sampled_from([OCI_MANIFEST, OCI_INDEX, ARTIFACT_MANIFEST, ""]))
def test_no_value_of_a_field_makes_anything_but_an_error_of_ours(tmp_path_factory, key, value, media_type):
    served = Served(tmp_path_factory.getbasetemp() / "fuzzed")
    with contextlib.suppress(ModfileError):
        served.push("a", dump({**GOOD, key: value}), "v1", media_type=media_type)


# What is deleted


def test_a_deleted_tag_leaves_its_manifest(served, catalog):
    content = served.push_image("a", b"one", tags=["v1", "v2"])
    catalog.delete_tag("a", "v1")
    assert catalog.tags("a") == ("v2",)
    with pytest.raises(NotFoundError):
        catalog.delete_tag("a", "v1")
    catalog.delete_tag("a", "v2")
    assert catalog.tags("a") == ()
    assert catalog.resolve("a", str(content.digest)) == content


def test_a_deleted_manifest_takes_its_tags_along_in_its_repository_only(served, catalog):
    content = served.push_image("a", b"one", tags=["v1", "v2"])
    served.push_image("b", b"one", tags=["v1"])
    served.build("ghcr.io/a:v1", b"one")
    catalog.delete_manifest("a", content.digest)
    assert catalog.repositories() == ("b",)
    with pytest.raises(NotFoundError):
        catalog.delete_manifest("a", content.digest)
    assert served.has("b", "v1")
    assert served.has("a", "v1", "ghcr.io")
    prune(served.layout)
    assert served.has("b", content.digest)


def test_what_has_no_host_is_deleted_under_the_name_that_it_is_served_by(served, catalog):
    content = served.build("a:v1", b"one")
    served.push_image("a", b"one", tags=["v1"])
    catalog.delete_tag("a", "v1")
    assert not served.has("a", "v1")
    assert served.has("a", content.digest)
    catalog.delete_manifest("a", content.digest)
    assert not served.has("a", content.digest)
    assert served.layout.entries() == ()


def test_a_deleted_blob_is_out_of_sight_though_a_manifest_names_it(served, catalog):
    served.push_image("a", b"one", tags=["v1"])
    served.push_image("b", b"one", tags=["v1"])
    catalog.delete_blob("a", Digest.of(b"one"))
    assert not served.is_visible("a", b"one")
    assert not Served(served.layout.root.parent).is_visible("a", b"one")
    with pytest.raises(NotFoundError):
        catalog.delete_blob("a", Digest.of(b"one"))
    assert served.is_visible("b", b"one")
    assert served.has("a", "v1")
    with pytest.raises(MissingError):
        served.push("a", image(b"one"), "v2")
    prune(served.layout)
    served.upload("a", b"one")
    served.links.remove("a", Digest.of(b"one"))
    assert served.is_visible("a", b"one")


def test_a_deleted_blob_comes_back_with_a_new_manifest_that_a_command_brings(served, catalog):
    served.push_image("a", b"one", tags=["v1"])
    catalog.delete_blob("a", Digest.of(b"one"))
    served.build("localhost/a:v2", b"one", b"two")
    assert served.is_visible("a", b"one")


def test_what_an_index_names_is_there_and_can_be_deleted_alone(served, catalog):
    child = served.push_image("a", b"one")
    top = served.push("a", index(image(b"one")), "v1", media_type=OCI_INDEX)
    with served.layout.changing() as changing:
        changing.remove_untagged(child)
    assert catalog.resolve("a", str(child.digest)) == child
    catalog.delete_manifest("a", child.digest)
    assert not served.has("a", child.digest)
    with pytest.raises(NotFoundError):
        catalog.delete_manifest("a", child.digest)
    assert catalog.resolve("a", "v1") == top
    served.push("a", image(b"one"))
    assert served.has("a", child.digest)


def test_what_was_hidden_is_forgotten_with_the_last_manifest_that_named_it(served, catalog):
    served.push_image("a", b"one", tags=["v1"])
    catalog.delete_blob("a", Digest.of(b"one"))
    catalog.expire()
    assert served.links.hidden("a") != {}
    catalog.delete_manifest("a", Digest.of(image(b"one")))
    catalog.expire()
    assert served.links.hidden("a") == {}


# Referrers


def test_referrers_are_listed_with_their_type_and_annotations(served, catalog):
    subject = served.push_image("a", b"one", tags=["v1"])
    about = {"mediaType": OCI_MANIFEST, "digest": str(subject.digest), "size": subject.size}
    served.upload("a", b"{}", b"signature")
    pushed = served.catalog.put_manifest(
        "a", image(b"signature", subject=about, annotations={"k": "v"}), OCI_MANIFEST, digest=None, tags=[]
    )
    assert pushed.subject == subject.digest
    typed = served.push("a", image(subject=about, artifactType="x/y"), "signed")
    listed = served.push("a", index(subject=about, artifactType="x/z"), media_type=OCI_INDEX)
    older = dump({"mediaType": ARTIFACT_MANIFEST, "artifactType": "x/o", "subject": about})
    older = served.push("a", older, media_type=ARTIFACT_MANIFEST)
    found = {content.digest: content for content in catalog.referrers("a", subject.digest)}
    assert {digest: content.artifact_type for digest, content in found.items()} == {
        pushed.content.digest: CONFIG,
        typed.digest: "x/y",
        listed.digest: "x/z",
        older.digest: "x/o",
    }
    assert dict(found[pushed.content.digest].annotations) == {"k": "v"}
    assert found[typed.digest].size == typed.size
    assert [content.digest for content in catalog.referrers("a", subject.digest, "x/y")] == [typed.digest]
    assert catalog.referrers("a", subject.digest, "x/none") == ()
    assert catalog.referrers("b", subject.digest) == ()
    catalog.delete_manifest("a", typed.digest)
    assert len(catalog.referrers("a", subject.digest)) == 3


def test_referrers_of_a_subject_that_is_missing_are_listed(served, catalog):
    served.upload("a", b"{}")
    put = catalog.put_manifest(
        "a", image(subject=entry(b"missing", OCI_MANIFEST)), OCI_MANIFEST, digest=None, tags=["v1"]
    )
    assert put.subject == Digest.of(b"missing")
    assert [content.digest for content in catalog.referrers("a", put.subject)] == [put.content.digest]


def test_referrers_that_came_by_the_tag_schema_are_listed_once(served, catalog):
    subject = served.push_image("a", b"one", tags=["v1"])
    about = {"mediaType": OCI_MANIFEST, "digest": str(subject.digest), "size": subject.size}
    plain, known = image(b"one", annotations={"n": "1"}), image(b"one", subject=about)
    served.push("a", plain)
    served.push("a", known)
    listed = dump(
        {
            "schemaVersion": 2,
            "manifests": [
                entry(plain, OCI_MANIFEST, artifactType="x/y", annotations={"k": "v"}),
                entry(known, OCI_MANIFEST, artifactType="x/other"),
            ],
        }
    )
    served.push("a", listed, referrers_tag(subject.digest), media_type=OCI_INDEX)
    found = {content.digest: content for content in catalog.referrers("a", subject.digest)}
    assert found.keys() == {Digest.of(plain), Digest.of(known)}
    assert found[Digest.of(plain)].artifact_type == "x/y"
    assert dict(found[Digest.of(plain)].annotations) == {"k": "v"}
    assert found[Digest.of(known)].artifact_type == CONFIG


def test_untagged_referrers_stay_with_their_subject_when_prune_runs(served, catalog):
    subject = served.push_image("a", b"one", tags=["v1"])
    about = {"mediaType": OCI_MANIFEST, "digest": str(subject.digest), "size": subject.size}
    for data, media_type in (
        (image(subject=about), OCI_MANIFEST),
        (index(subject=about), OCI_INDEX),
        (dump({"mediaType": ARTIFACT_MANIFEST, "artifactType": "x/o", "subject": about}), ARTIFACT_MANIFEST),
    ):
        served.push("a", data, media_type=media_type)
    prune(served.layout)
    assert len(catalog.referrers("a", subject.digest)) == 3


# Many at once


def test_what_is_kept_of_manifests_is_bounded(served):
    contents = []
    for number in range(20):
        blobs = [b"%d-%d" % (number, layer) for layer in range(20)]
        contents.append(served.push_image("a", *blobs))
    manifests = Manifests(served.layout, most_kept=100)
    for content in contents * 2:
        assert len(manifests.facts(content).blobs) == 21
        assert manifests._weight <= 100
        assert manifests._weight == sum(facts.weight for facts in manifests._kept.values())


def test_pushes_at_once_from_several_servers_lose_nothing(served):
    wrong = []

    def work(number):
        try:
            catalog = served.server()
            for turn in range(5):
                data = b"%d-%d" % (number, turn)
                served.upload("a", b"{}", data)
                content = catalog.put_manifest(
                    "a", image(data), OCI_MANIFEST, digest=None, tags=[f"v{number}-{turn}", "latest"]
                ).content
                if catalog.resolve("a", f"v{number}-{turn}") != content:
                    wrong.append(content)
                catalog.delete_tag("a", f"v{number}-{turn}") if turn % 2 else None
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(served.catalog.tags("a")) == 4 * 3 + 1
    assert len({entry.content.digest for entry in served.layout.entries()}) == 20


def test_prune_beside_pushes_takes_nothing_that_is_under_way(served):
    wrong, done = [], threading.Event()

    def sweep():
        while not done.is_set():
            prune(served.layout, spared=served.links.fresh)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for turn in range(15):
            data = b"%d" % turn
            for piece in (b"{}", data):
                with served.layout.writing():
                    served.upload("a", piece)
            served.push("a", image(data), f"v{turn}")
    except ModfileError as error:
        wrong.append(error)
    finally:
        done.set()
        thread.join()
    assert wrong == []
    assert all(served.has("a", f"v{turn}") for turn in range(15))
