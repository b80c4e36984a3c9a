"""Artifacts and what refers to them, between registries and layouts; interruptions on the way."""

import json
import os

import pytest

from modfile.artifact import Artifact, Referrer
from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import (
    ConnectionLostError,
    ContentError,
    ModfileError,
    NotFoundError,
    RegistryError,
    StoreError,
    VerificationError,
)
from modfile.layout import Catalog, DirectoryTarget, Layout, StoreTarget, existing_layout, new_layout
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.referrer import referrers_tag
from modfile.registry.place import RepositoryPlace
from modfile.resumption import Resuming
from modfile.strictjson import dump
from modfile.verbs.closure import closure
from modfile.verbs.copying import Shipment, copy_artifacts, ship
from modfile.verbs.referrers import find_referrers
from tests.registries.fake import Answer
from tests.registries.memory import MemorySource
from tests.registry.reach import repository

EMPTY = "application/vnd.oci.empty.v1+json"
SIGNATURE = "application/vnd.example.signature.v1"


def manifest(source, *layers, subject=None, **more):
    config = source.add(b"{}", EMPTY)
    described = tuple(source.add(data) for data in layers)
    return source.add(Manifest(OCI_MANIFEST, config, described, subject=subject, **more).to_bytes(), OCI_MANIFEST)


def index(source, *inner):
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one.to_json() for one in inner]}
    return source.add(dump(value), OCI_INDEX)


class Listed:
    """An origin whose lists of referrers are what the test says."""

    def __init__(self, source):
        self.source = source
        self.lists = {}

    def refer(self, subject, *listed):
        self.lists.setdefault(subject.digest, []).extend(listed)

    def artifacts(self):
        return ()

    def find(self, name):
        raise NotFoundError(name)

    def referrers(self, subject):
        return tuple(self.lists.get(subject, ()))

    def beside(self, artifact, tag):
        return None


@pytest.fixture
def listed(source):
    return Listed(source)


def place(host, name):
    return RepositoryPlace(repository(host, name), host)


def unique(registry):
    return place(registry.host, f"copying/{os.urandom(6).hex()}")


def found(root, origin, notes=None):
    return [referrer.content for referrer in find_referrers(root, origin, ([] if notes is None else notes).append)]


# Finding referrers


def test_referrers_of_referrers_and_of_an_indexes_manifests_are_found(listed):
    source = listed.source
    inner = [manifest(source, b"a"), manifest(source, b"b")]
    root = index(source, index(source, *inner), inner[0])
    signature = manifest(source, b"s", subject=root)
    report = manifest(source, b"r", subject=inner[1])
    countersigned = manifest(source, b"c", subject=signature)
    listed.refer(root, signature)
    listed.refer(inner[1], report)
    listed.refer(signature, countersigned)
    assert found(root, listed) == [signature, report, countersigned]


def test_what_is_listed_in_several_places_is_brought_once(listed):
    root = manifest(listed.source, b"a")
    signature = manifest(listed.source, b"s", subject=root)
    listed.refer(root, signature, signature)
    assert set(found(root, listed)) == {signature}


@pytest.mark.promise("R2")
def test_what_does_not_refer_or_is_gone_or_no_manifest_is_left_out_and_told(listed):
    root, other = manifest(listed.source, b"a"), manifest(listed.source, b"b")
    gone = Descriptor(OCI_MANIFEST, Digest.of(b"gone"), 4)
    liar, orphan = manifest(listed.source, b"l", subject=other), manifest(listed.source, b"o")
    odd = Descriptor("application/vnd.oci.artifact.manifest.v1+json", Digest.of(b"odd"), 3)
    right = manifest(listed.source, b"s", subject=root)
    listed.refer(root, gone, liar, orphan, odd, right, root)
    notes = []
    assert found(root, listed, notes) == [right]
    assert len(notes) == 5
    assert "not there" in notes[0]


def test_a_list_that_leads_on_without_end_is_refused(listed):
    root = last = manifest(listed.source, b"a")
    for number in range(20):
        last, before = manifest(listed.source, bytes([number]), subject=last), last
        listed.refer(before, last)
    with pytest.raises(ContentError, match="nested more than 8 deep"):
        found(root, listed)


def test_a_referrer_that_is_listed_twice_is_found_once(listed):
    root = manifest(listed.source, b"a")
    signature = manifest(listed.source, b"s", subject=root)
    listed.refer(root, signature, signature)
    assert found(root, listed) == [signature]


def test_a_referrer_that_is_not_its_digest_is_refused(listed):
    root = manifest(listed.source, b"a")
    signature = manifest(listed.source, b"s", subject=root)
    listed.refer(root, signature)
    listed.source.content[signature.digest] += b" "
    with pytest.raises(VerificationError):
        found(root, listed)


def test_a_closure_reads_a_manifest_once_however_many_indexes_list_it(source):
    root = manifest(source, b"a")
    for _ in range(3):
        root = index(source, *[root] * 500)
    source.opened = []
    assert len(closure([root], source)) == 6
    assert len(source.opened) == 4


@pytest.mark.parametrize("blob_first", [True, False])
def test_a_closure_has_what_a_manifest_leads_to_though_an_image_has_it_as_a_layer(source, blob_first):
    """An archive would lack it, and nobody would be told."""
    inner = manifest(source, b"weights")
    keeping = manifest(source, source.content[inner.digest])
    root = index(source, *([inner, keeping] if blob_first else [keeping, inner]))
    found = closure([root], source)
    assert Digest.of(b"weights") in found
    assert found[inner.digest].media_type == OCI_MANIFEST


@pytest.mark.parametrize("harm", ["size", "depth", "blob"])
def test_a_closure_that_cannot_be_is_refused(source, harm):
    root = manifest(source, b"a")
    if harm == "size":
        config = source.add(b"{}", EMPTY)
        longer = Descriptor(config.media_type, config.digest, 3)
        root = source.add(Manifest(OCI_MANIFEST, config, (longer,)).to_bytes(), OCI_MANIFEST)
    elif harm == "depth":
        for _ in range(8):
            root = index(source, root)
    else:
        root = source.add(b"x")
    with pytest.raises(ContentError):
        closure([root], source)


# The registry's API, and the tag where there is none


def serve_referrers(fake):
    """Give the fake registry the API: it finds referrers among its manifests."""

    def answer(seen):
        subject = seen.path.rpartition("/")[2]
        matching = {}
        for media_type, data in fake.manifests.values():
            if (json.loads(data).get("subject") or {}).get("digest") == subject:
                digest = Digest.of(data)
                matching[digest] = Descriptor(media_type, digest, len(data)).to_json()
        return listing(*matching.values())

    fake.on("GET", "/referrers/", answer)


def listing(*entries, **headers):
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return Answer(200, {"Content-Type": OCI_INDEX} | headers, json.dumps(value).encode())


def publish(target, source, tag, root, *referrers):
    """Copy an artifact and what refers to it to a place."""
    name = f"{target.store}:{tag}"
    shipment = Shipment(Artifact(root, name), tuple(Referrer(one, subject.digest) for one, subject in referrers))
    copy_artifacts([shipment], source, target)
    return name


def test_referrers_come_along_through_the_api_transitively(fake, other_fake, source):
    serve_referrers(fake)
    serve_referrers(other_fake)
    root = manifest(source, b"model")
    signature = manifest(source, b"s", subject=root)
    countersigned = manifest(source, b"c", subject=signature)
    old, new = place(fake.host, "a/b"), place(other_fake.host, "c/d")
    name = publish(old, source, "v1", root, (signature, root), (countersigned, signature))
    shipment = ship(old.find(name), f"{new.store}:v2", old, pytest.fail)
    copy_artifacts([shipment], old.source, new)
    assert [content.digest for content in new.referrers(root.digest)] == [signature.digest]
    assert [content.digest for content in new.referrers(signature.digest)] == [countersigned.digest]
    assert not any(name.startswith("sha256-") for name in other_fake.manifests)
    assert other_fake.requests("PUT", "/manifests/")[-1].path == "/v2/c/d/manifests/v2"


def test_referrers_come_along_through_the_tag_schema_and_are_kept_beside_those_there(docker_registry, source):
    old, new = unique(docker_registry), unique(docker_registry)
    root = manifest(source, b"model")
    signature = manifest(source, b"s", subject=root, artifact_type=SIGNATURE, annotations={"by": "me"})
    report = manifest(source, b"r", subject=root)
    countersigned = manifest(source, b"c", subject=signature)
    name = publish(old, source, "v1", root, (signature, root), (countersigned, signature))
    publish(new, source, "v1", root, (report, root))
    shipment = ship(old.find(name), f"{new.store}:v1", old, pytest.fail)
    for _ in range(2):  # the second time nothing changes
        copy_artifacts([shipment], old.source, new)
        assert [content.digest for content in new.referrers(root.digest)] == [report.digest, signature.digest]
    assert [content.digest for content in new.referrers(signature.digest)] == [countersigned.digest]
    told = new.referrers(root.digest)
    assert (told[0].artifact_type, told[1].artifact_type) == (EMPTY, SIGNATURE)
    assert dict(told[1].annotations) == {"by": "me"}
    assert sorted(new.store.tags()) == sorted(["v1", referrers_tag(root.digest), referrers_tag(signature.digest)])
    assert [artifact.name for artifact in new.artifacts()] == [f"{new.store}:v1"]


def test_an_artifact_that_itself_refers_to_another_is_listed(registry, source):
    new = unique(registry)
    root = manifest(source, b"model")
    signature = manifest(source, b"s", subject=root)
    publish(new, source, "sig", signature)
    assert [content.digest for content in new.referrers(root.digest)] == [signature.digest]


@pytest.mark.parametrize(
    "answer",
    [Answer(404), Answer(405), Answer(501), Answer(200, {"Content-Type": "text/html"}, b"<html>")],
    ids=["404", "405", "501", "a page for people"],
)
def test_a_registry_without_the_api_is_known_by_its_answer(fake, source, answer):
    fake.always("GET", "/referrers/", answer)
    new = place(fake.host, "a/b")
    root = manifest(source, b"model")
    signature = manifest(source, b"s", subject=root)
    publish(new, source, "v1", root, (signature, root))
    assert referrers_tag(root.digest) in fake.manifests
    assert [content.digest for content in new.referrers(root.digest)] == [signature.digest]
    assert len(fake.requests("GET", "/referrers/")) == 1


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_registry_that_fails_is_not_one_without_referrers(fake, status):
    fake.always("GET", "/referrers/", Answer(status))
    with pytest.raises(ModfileError, match=str(status)):
        place(fake.host, "a/b").referrers(Digest.of(b"x"))


@pytest.mark.promise("R9")
def test_pages_are_followed_until_one_says_nothing_new(fake):
    contents = [Descriptor(OCI_MANIFEST, Digest.of(bytes([number])), 1) for number in range(3)]

    def answer(seen):
        number = int(seen.query.get("page", "0"))
        link = f'</v2/a/b/referrers/x?page={number + 1}>; rel="next"'
        return listing(contents[min(number, 2)].to_json(), Link=link)

    fake.on("GET", "/referrers/", answer)
    assert list(place(fake.host, "a/b").referrers(Digest.of(b"x"))) == contents
    assert len(fake.requests("GET", "/referrers/")) == 4


@pytest.mark.promise("R4")
def test_a_next_page_on_another_host_is_not_asked_for(fake, other_fake):
    one = Descriptor(OCI_MANIFEST, Digest.of(b"1"), 1).to_json()
    fake.always("GET", "/referrers/", listing(one, Link=f'<http://{other_fake.host}/v2/x>; rel="next"'))
    with pytest.raises(RegistryError, match="another host"):
        place(fake.host, "a/b").referrers(Digest.of(b"x"))
    assert other_fake.seen == []


@pytest.mark.promise("R1", "R2")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"manifests":{}}',
        b'{"manifests":[1]}',
        b'{"manifests":[],"manifests":[]}',
        b"[" * 100_000,
        b'{"manifests":[{"mediaType":"a/b","size":1,"digest":"sha256:../../x"}]}',
    ],
)
def test_a_list_that_is_none_is_an_error(fake, body):
    fake.always("GET", "/referrers/", Answer(200, {"Content-Type": OCI_INDEX}, body))
    with pytest.raises(ContentError):
        place(fake.host, "a/b").referrers(Digest.of(b"x"))


def test_what_stands_under_the_tag_and_is_no_list_is_not_overwritten(fake, source):
    new = place(fake.host, "a/b")
    root = manifest(source, b"model")
    publish(new, source, referrers_tag(root.digest), manifest(source, b"something else"))
    before = dict(fake.manifests)
    with pytest.raises(ContentError, match="should be a list of referrers"):
        publish(new, source, "v1", root, (manifest(source, b"s", subject=root), root))
    assert fake.manifests[referrers_tag(root.digest)] == before[referrers_tag(root.digest)]
    assert "v1" not in fake.manifests


# Layouts


def test_referrers_go_from_a_registry_through_the_store_and_a_layout_and_back(registry, source, tmp_path):
    old, new = unique(registry), unique(registry)
    root = manifest(source, b"model")
    signature = manifest(source, b"s", subject=root)
    countersigned = manifest(source, b"c", subject=signature)
    name = publish(old, source, "v1", root, (signature, root), (countersigned, signature))
    store = Layout(tmp_path / "store")
    shipment = ship(old.find(name), "r.io/kept:v1", old, pytest.fail)
    copy_artifacts([shipment], old.source, StoreTarget(store))
    catalog = Catalog(store, store.entries(), "the store")
    assert [artifact.name for artifact in catalog.artifacts()] == ["r.io/kept:v1"]
    assert {entry.repository for entry in store.entries()} == {"r.io/kept"}
    shipment = ship(catalog.find("r.io/kept:v1"), "any text: at all", catalog, pytest.fail)
    copy_artifacts([shipment], store, DirectoryTarget(new_layout(tmp_path / "layout")))
    layout = existing_layout(tmp_path / "layout")
    catalog = Catalog(layout, layout.entries(), "the layout")
    found = catalog.find(None)
    assert (found.name, found.content.digest) == ("any text: at all", root.digest)
    shipment = ship(found, f"{new.store}:v1", catalog, pytest.fail)
    assert [referrer.content.digest for referrer in shipment.referrers] == [signature.digest, countersigned.digest]
    copy_artifacts([shipment], layout, new)
    assert [content.digest for content in new.referrers(signature.digest)] == [countersigned.digest]


def test_a_list_under_a_tag_in_a_layout_is_read_as_one(source, tmp_path):
    layout = Layout(tmp_path / "layout")
    root = manifest(source, b"model")
    signature = manifest(source, b"s", subject=root)
    target = DirectoryTarget(layout)
    shipments = [
        Shipment(Artifact(root, "v1")),
        Shipment(Artifact(index(source, signature), referrers_tag(root.digest))),
    ]
    copy_artifacts(shipments, source, target)
    catalog = Catalog(layout, layout.entries(), "it")
    assert [artifact.name for artifact in catalog.artifacts()] == ["v1"]
    assert [content.digest for content in catalog.referrers(root.digest)] == [signature.digest]


def test_a_name_moves_and_what_others_wrote_stays(source, tmp_path):
    layout = Layout(tmp_path / "layout")
    one, two = manifest(source, b"1"), manifest(source, b"2")
    copy_artifacts([Shipment(Artifact(one, "v1")), Shipment(Artifact(one, "other"))], source, DirectoryTarget(layout))
    path = tmp_path / "layout/index.json"
    value = json.loads(path.read_text())
    value["annotations"] = {"written": "by hand"}
    path.write_text(json.dumps(value))
    copy_artifacts([Shipment(Artifact(two, "v1")), Shipment(Artifact(two))], source, DirectoryTarget(layout))
    assert {(entry.name, entry.content.digest) for entry in layout.entries()} == {
        ("other", one.digest),
        ("v1", two.digest),
    }
    assert json.loads(path.read_text())["annotations"] == {"written": "by hand"}


@pytest.mark.parametrize("what", ["fifo", "large", "directory"])
def test_a_layout_whose_index_is_no_small_file_is_refused(tmp_path, what):
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    path = tmp_path / "index.json"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    for opened in (existing_layout, new_layout):
        with pytest.raises(ContentError, match=r"index\.json"):
            opened(tmp_path)


def test_a_directory_of_something_else_is_neither_read_nor_written(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ContentError, match="not an OCI image layout"):
        existing_layout(tmp_path)
    with pytest.raises(StoreError, match="choose another directory"):
        new_layout(tmp_path)
    with pytest.raises(NotFoundError):
        existing_layout(tmp_path / "missing")
    with pytest.raises(StoreError):
        new_layout(tmp_path / "notes.txt")


# On the way


def test_between_registries_a_blob_goes_on_where_its_source_broke(fake, registry, source):
    data = os.urandom(3_000_000)
    root = manifest(source, data)
    old, new = place(fake.host, "a/b"), unique(registry)
    name = publish(old, source, "v1", root)
    blob = f"/blobs/{Digest.of(data)}"
    fake.on("GET", blob, Answer(200, {"Content-Length": str(len(data))}, data, cut=1_000_000))
    notes = []
    resuming = Resuming(old.source, Backoff(sleep=lambda seconds: None), notes.append)
    shipment = Shipment(Artifact(old.find(name).content, f"{new.store}:v1"))
    tally = copy_artifacts([shipment], resuming, new)
    assert tally.pieces(Outcome.MOVED) == 2
    starts = [one.headers["range"] for one in fake.requests("GET", blob) if "range" in one.headers]
    assert starts
    assert all(int(start.removeprefix("bytes=").partition("-")[0]) > 0 for start in starts)
    assert len(notes) == 1


def test_a_source_that_keeps_breaking_is_given_up(source):
    content = source.add(b"x" * 1000)

    class Dead(MemorySource):
        def open(self, content, start=0):
            raise ConnectionLostError("the line is dead")

    with pytest.raises(ConnectionLostError), Resuming(Dead(), Backoff(sleep=lambda s: None), SILENT.note).open(content):
        pass


def test_the_name_comes_last_and_not_at_all_where_something_is_missing(fake, source):
    new = place(fake.host, "a/b")
    root = manifest(source, b"weights", b"more")
    del source.content[Digest.of(b"weights")]
    with pytest.raises(NotFoundError):
        publish(new, source, "v1", root)
    assert fake.manifests == {}


def test_a_damaged_blob_leaves_no_tag_and_no_referrer(fake, source):
    new = place(fake.host, "a/b")
    root = manifest(source, b"model")
    signature = manifest(source, b"signature", subject=root)
    source.content[Digest.of(b"signature")] = b"SIGNATURE"
    with pytest.raises(VerificationError):
        publish(new, source, "v1", root, (signature, root))
    assert set(fake.manifests) == {str(root.digest)}


def test_the_other_tags_of_a_mirror_are_whole_when_one_fails(registry, source):
    new = unique(registry)
    good, bad = manifest(source, b"good"), manifest(source, b"bad")
    del source.content[Digest.of(b"bad")]
    shipments = [Shipment(Artifact(root, f"{new.store}:{tag}")) for root, tag in ((good, "good"), (bad, "bad"))]
    with pytest.raises(NotFoundError):
        copy_artifacts(shipments, source, new)
    assert new.store.tags() == ["good"]
    assert new.store.resolve(Reference.parse(f"{new.store}:good")).digest == good.digest
