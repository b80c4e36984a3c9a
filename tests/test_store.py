"""What every store promises (one line of parametrisation a store), and the small sources."""

import os

import pytest

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, NotFoundError, VerificationError
from modfile.layout import Layout
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings
from modfile.store import Combined, InMemory, read
from modfile.strictjson import dump
from modfile.verbs.copy import Tally, copy
from tests.registries.memory import MemorySource

BLOB = "application/octet-stream"


@pytest.fixture(params=["layout", "docker", "served"])
def store(request, tmp_path):
    """Return a store, and a function from a tag to a reference of its own."""
    backoff = Backoff(sleep=lambda seconds: None)
    if request.param == "layout":
        yield Layout(tmp_path / "store", backoff), lambda tag: Reference.parse(f"r.io/contract/x:{tag}")
        return
    host = request.getfixturevalue(f"{request.param}_registry").host
    name = f"contract/{os.urandom(8).hex()}"
    registry = Registry(host, RegistrySettings(backoff=backoff))
    yield registry.repository(name), lambda tag: Reference.parse(f"{host}/{name}:{tag}")
    registry.close()


def artifact(source, *layers, subject=None):
    """Put layers, an empty config and a manifest into a source; return the manifest's descriptor."""
    config = source.add(b"{}", "application/vnd.cncf.model.config.v1+json")
    described = tuple(source.add(data, "application/vnd.cncf.model.weight.v1.raw") for data in layers)
    return source.add(Manifest(OCI_MANIFEST, config, described, subject=subject).to_bytes(), OCI_MANIFEST)


def content_of(store, content, start=0):
    with store.open(content, start) as stream:
        pieces = []
        while piece := stream.read(100_000):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, 3_000_001])
def test_what_is_put_is_there_and_comes_back(store, size):
    store, _ = store
    source, data = MemorySource(), os.urandom(size)
    content = source.add(data)
    assert not store.exists(content)
    assert store.put(content, source, SILENT) is Outcome.MOVED
    assert store.exists(content)
    assert content_of(store, content) == data


@pytest.mark.parametrize("start", [0, 1, 499_999, 500_000])
def test_content_can_be_opened_at_any_offset(store, start):
    store, _ = store
    source, data = MemorySource(), os.urandom(500_000)
    content = source.add(data)
    store.put(content, source, SILENT)
    assert content_of(store, content, start) == data[start:]
    with store.open(content, start) as stream:
        buffer = memoryview(bytearray(1 << 20))
        filled = 0
        while count := stream.readinto(buffer[filled:]):
            filled += count
    assert bytes(buffer[:filled]) == data[start:]


@pytest.mark.parametrize("sent", [b"", b"wrong", b"right, and more", b"righ"])
def test_other_bytes_than_the_digest_says_are_refused_and_not_there(store, sent):
    store, _ = store
    content = Descriptor(BLOB, Digest.of(b"right"), 5)
    with pytest.raises(VerificationError):
        store.put(content, InMemory({content: sent}), SILENT)
    assert not store.exists(content)


def test_what_is_not_there_is_not_found(store):
    store, reference = store
    missing = Descriptor(BLOB, Digest.of(os.urandom(8)), 8)
    assert not store.exists(missing)
    with pytest.raises(NotFoundError), store.open(missing) as stream:
        stream.read(1)
    with pytest.raises(NotFoundError):
        store.resolve(reference("none"))
    with pytest.raises(NotFoundError):
        store.tag(Descriptor(OCI_MANIFEST, Digest.of(b"{}"), 2), reference("v1"))


def test_a_tag_points_at_what_it_was_last_given(store):
    store, reference = store
    source = MemorySource()
    one, two = artifact(source, b"one"), artifact(source, b"two")
    for root in (one, two, one):
        copy(root, source, store)
        store.tag(root, reference("v1"))
        assert store.resolve(reference("v1")).digest == root.digest
    by_digest = reference("v1").at(one.digest)
    assert store.resolve(by_digest).digest == one.digest


def test_a_copy_moves_what_is_not_there_and_nothing_twice(store):
    store, _ = store
    source = MemorySource()
    first = artifact(source, b"shared", b"one", b"one")
    tally = copy(first, source, store)
    assert (tally.pieces(Outcome.MOVED), tally.pieces(Outcome.SKIPPED)) == (3, 0)
    again = copy(artifact(source, b"shared", b"two"), source, store)
    assert (again.pieces(Outcome.MOVED), again.pieces(Outcome.SKIPPED)) == (1, 2)


def test_a_manifest_comes_as_the_bytes_that_it_is(store):
    store, _ = store
    source = MemorySource()
    config = source.add(b"{}", "application/vnd.cncf.model.config.v1+json")
    spaced = (
        b'{ "schemaVersion": 2,\n "config": ' + dump(config.to_json()) + b', "layers": [ ], "x":1.50,\n"mediaType": "'
    )
    root = source.add(spaced + OCI_MANIFEST.encode() + b'" }', OCI_MANIFEST)
    copy(root, source, store)
    assert content_of(store, root) == spaced + OCI_MANIFEST.encode() + b'" }'


def test_an_index_comes_with_its_manifests(store):
    store, reference = store
    source = MemorySource()
    inner = [artifact(source, b"a"), artifact(source, b"b")]
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.to_json() for child in inner]}
    root = source.add(dump(value), OCI_INDEX)
    copy(root, source, store)
    store.tag(root, reference("all"))
    assert all(store.exists(child) for child in inner)


def test_indexes_that_are_nested_without_end_are_refused(store):
    store, _ = store
    source = MemorySource()
    root = artifact(source, b"x")
    for _ in range(10):
        value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [root.to_json()]}
        root = source.add(dump(value), OCI_INDEX)
    with pytest.raises(ContentError, match="nested"):
        copy(root, source, store)


def test_a_copy_whose_source_lacks_a_blob_leaves_no_manifest(store):
    store, _ = store
    source = MemorySource()
    config = source.add(b"{}", "application/vnd.cncf.model.config.v1+json")
    missing = Descriptor("application/vnd.cncf.model.weight.v1.raw", Digest.of(b"gone"), 4)
    root = source.add(Manifest(OCI_MANIFEST, config, (missing,)).to_bytes(), OCI_MANIFEST)
    with pytest.raises(NotFoundError):
        copy(root, source, store)
    assert not store.exists(root)


def test_content_is_read_up_to_a_limit_and_verified():
    content = Descriptor(BLOB, Digest.of(b"abc"), 3)
    assert read(InMemory({content: b"abc"}), content, 3) == b"abc"
    with pytest.raises(ContentError, match="more than the 2 allowed"):
        read(InMemory({content: b"abc"}), content, 2)
    for wrong in (b"", b"ab", b"abcd", b"abd", b"x" * 1_000_000):
        with pytest.raises(VerificationError):
            read(InMemory({content: wrong}), content, 3)


def test_of_several_sources_the_first_that_has_content_gives_it_and_the_last_knows_names():
    one, two = MemorySource(), MemorySource()
    a, b = one.add(b"a"), two.add(b"b")
    both = Combined((one, two))
    assert (read(both, a, 1), read(both, b, 1)) == (b"a", b"b")
    with pytest.raises(NotFoundError):
        read(both, Descriptor(BLOB, Digest.of(b"c"), 1), 1)


def test_what_was_found_before_another_brought_it_counts_as_brought():
    tally = Tally()
    for outcome in (Outcome.SKIPPED, Outcome.MOVED, Outcome.SKIPPED):
        tally.add(Digest.of(b"a"), 100, outcome)
    assert (tally.pieces(Outcome.MOVED), tally.pieces(Outcome.SKIPPED)) == (1, 0)


def test_a_tally_counts_content_once_as_it_was_first_told():
    now = iter([10.0, 12.0])
    tally, other = Tally(lambda: next(now)), Tally()
    tally.add(Digest.of(b"a"), 100, Outcome.MOVED)
    other.add(Digest.of(b"a"), 100, Outcome.SKIPPED)
    other.add(Digest.of(b"b"), 5, Outcome.MOUNTED)
    tally.update(other)
    assert tally.to_json() == {
        "Moved": {"Pieces": 1, "Bytes": 100},
        "Skipped": {"Pieces": 0, "Bytes": 0},
        "Mounted": {"Pieces": 1, "Bytes": 5},
        "Resumed": {"Pieces": 0, "Bytes": 0},
        "Seconds": 2.0,
        "BytesPerSecond": 50,
    }
