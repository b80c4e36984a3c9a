"""OCI archives as streams: written in order, taken in from a pipe, and what stays of hostile ones: nothing."""

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import sys
import tarfile
import threading
import tracemalloc

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from modfile.artifact import Artifact, Referrer
from modfile.content import Digest
from modfile.errors import ContentError, ModfileError, NotFoundError, StoreError, UsageError, VerificationError
from modfile.layout import Layout
from modfile.manifest import OCI_MANIFEST, Manifest
from modfile.ociarchive import OCIArchive, SpooledArchive, open_archive, receive
from modfile.ociarchive.members import find_members
from modfile.progress import Outcome
from modfile.reference import Reference
from modfile.store import read
from modfile.verbs.copying import Gathered, Shipment, save_artifacts, stream_artifacts
from modfile.verbs.fsck import fsck
from modfile.verbs.load import Naming, load
from modfile.verbs.prune import prune
from tests.registries.memory import MemorySource
from tests.test_ociarchive import LAYOUT, artifact, claiming, index, layout, link, named, save, tar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def store(tmp_path):
    return Layout(tmp_path / "storage/store")


def archive_of(source, *names, directory):
    """Return the bytes of an archive of artifacts, each `(descriptor, name)`."""
    save(directory / "made.tar", source, *names)
    return (directory / "made.tar").read_bytes()


def by_stream(data, store, naming=None, **more):
    with receive(io.BytesIO(data), store, "it") as (archive, target):
        return load(archive, target, naming or Naming(), **more)


def by_file(data, store, naming=None, **more):
    path = store.root.parent.parent / "in.tar"
    path.write_bytes(data)
    with open_archive(path, store) as (archive, target):
        return load(archive, target, naming or Naming(), **more)


@pytest.fixture(params=[by_stream, by_file])
def loading(request):
    """Both ways in: through a pipe, and from a file that is read where it is."""
    return request.param


def files_of(store):
    """Return all that is in a store but its locks."""
    found = (path for path in store.root.rglob("*") if path.is_file() and path.parent.name != "locks")
    return {str(path.relative_to(store.root)) for path in found} - {"oci-layout", "index.json"}


def blobs_of(store):
    return {digest for digest, _ in store.blobs()}


# Written


def test_a_stream_is_the_bytes_of_the_file(tmp_path, source):
    one, two = artifact(source, b"a" * 3_000_000, b"shared"), artifact(source, b"", b"shared")
    shipments = [Shipment(Artifact(one, "one")), Shipment(Artifact(two, "two"))]
    save_artifacts(shipments, source, tmp_path / "a.tar")
    stream = io.BytesIO()
    tally = stream_artifacts(shipments, source, stream)
    assert stream.getvalue() == (tmp_path / "a.tar").read_bytes()
    assert tally.pieces(Outcome.MOVED) == 4


class Narrow(io.RawIOBase):
    """Takes a few bytes at once, as a pipe may; then no more, or none for now."""

    def __init__(self, room, end):
        self.taken = b""
        self._room = room
        self._end = end

    def writable(self):
        return True

    def write(self, data):
        count = min(len(data), 100_000, self._room - len(self.taken))
        if not count:
            if self._end is None:
                return None
            raise self._end
        self.taken += bytes(data[:count])
        return count


def test_an_output_may_take_a_little_at_once(source):
    shipments = [Shipment(Artifact(artifact(source, b"a" * 5_000_000), "one"))]
    stream, narrow = io.BytesIO(), Narrow(1 << 30, None)
    stream_artifacts(shipments, source, stream)
    stream_artifacts(shipments, source, narrow)
    assert narrow.taken == stream.getvalue()


@pytest.mark.parametrize("room", [0, 100, 3000, 2_500_000])
@pytest.mark.parametrize("end", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"), None])
def test_an_output_that_takes_no_more_is_told(source, room, end):
    shipments = [Shipment(Artifact(artifact(source, b"a" * 5_000_000), "one"))]
    with pytest.raises(StoreError, match="the archive cannot be written"):
        stream_artifacts(shipments, source, Narrow(room, end))


@pytest.mark.promise("R3")
@pytest.mark.parametrize("sent", [b"", b"WEIGHTS", b"weights and more", b"weig", None])
def test_what_came_of_a_stream_with_wrong_bytes_is_no_archive(source, store, sent):
    root = artifact(source, b"weights", b"another layer")
    if sent is None:
        del source.content[Digest.of(b"weights")]
    else:
        source.content[Digest.of(b"weights")] = sent
    stream = io.BytesIO()
    with pytest.raises((VerificationError, NotFoundError)):
        stream_artifacts([Shipment(Artifact(root, "r.io/a:v1"))], source, stream)
    with pytest.raises((ContentError, VerificationError)):
        by_stream(stream.getvalue(), store)
    assert files_of(store) == set()


def test_artifacts_of_several_sources_are_read_each_where_it_is():
    near, far = MemorySource(), MemorySource()
    one, two = artifact(near, b"near", b"shared"), artifact(far, b"far", b"shared")
    shipments = [Shipment(Artifact(one, "a:1")), Shipment(Artifact(two, "b:1"))]
    both = Gathered([(shipments[:1], near), (shipments[1:], far)])
    near.opened.clear()
    far.opened.clear()
    stream_artifacts(shipments, both, io.BytesIO())
    assert (Digest.of(b"shared"), 0) in near.opened
    assert (Digest.of(b"shared"), 0) not in far.opened
    assert (Digest.of(b"far"), 0) in far.opened
    with pytest.raises(NotFoundError):
        both.open(near.add(b"of nobody"))


# Taken in


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: data,
        gzip.compress,
        zstd.compress,
        lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
        lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:]),
    ],
    ids=["plain", "gzip", "zstd", "members", "frames"],
)
def test_what_is_loaded_is_what_was_saved(tmp_path, source, store, loading, pack):
    one, two = artifact(source, b"", b"shared", os.urandom(3_000_000)), artifact(source, b"b", b"shared")
    data = archive_of(source, (one, "r.io/one:v1"), (two, "two:v1"), directory=tmp_path)
    done = loading(pack(data), store)
    assert [shipment.artifact for shipment in done.shipments] == [Artifact(one, "r.io/one:v1"), Artifact(two, "two:v1")]
    assert store.resolve(Reference.parse("r.io/one:v1")) == one
    assert store.resolve(Reference.parse("two:v1")) == two
    assert blobs_of(store) == set(source.content)
    assert not list(store.partials())
    assert not fsck(store).findings
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in (store.root / "blobs").rglob("*/*"))
    again = loading(pack(data), store)
    assert (again.tally.pieces(Outcome.MOVED), again.tally.pieces(Outcome.SKIPPED)) == (0, 5)
    assert not list(store.partials())


def test_whatever_order_a_tar_is_in_it_is_loaded(tmp_path, source, store):
    root = artifact(source, b"layer", b"x" * 2000)
    members = layout(source, named(root, "r.io/a:v1"))
    for order in (members, members[::-1], members[2:] + members[:2]):
        for file_format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            more = [(link("blobs", "", tarfile.DIRTYPE), b""), ("./other", b"z" * 5000), *order]
            data = tar(tmp_path / "a.tar", more, bytes(10240), file_format).read_bytes()
            assert by_stream(data, store).shipments[0].artifact == Artifact(root, "r.io/a:v1")


def test_a_blob_of_512_bits_is_loaded(tmp_path, source, store, loading):
    long = source.add(b"long", "a/b", "sha512")
    config = source.add(b"{}", "a/b")
    root = source.add(Manifest(OCI_MANIFEST, config, (long,)).to_bytes(), OCI_MANIFEST)
    loading(archive_of(source, (root, "r.io/a:v1"), directory=tmp_path), store)
    assert read(store, long, 4) == b"long"


@pytest.mark.promise("S1")
def test_what_nothing_names_does_not_stay(tmp_path, source, store):
    root = artifact(source, b"layer")
    wanted = set(source.content)
    stray = artifact(source, b"of nobody")
    data = tar(tmp_path / "a.tar", layout(source, named(root, "r.io/a:v1"))).read_bytes()
    by_stream(data, store)
    assert blobs_of(store) == wanted
    assert stray.digest not in wanted
    assert not list(store.partials())


def test_what_has_no_name_and_refers_to_nothing_is_left_out_and_told(tmp_path, source, store, loading):
    root, stray = artifact(source, b"layer"), artifact(source, b"of nobody")
    members = layout(source, named(root, "r.io/a:v1"), stray.to_json())
    told = []
    loading(tar(tmp_path / "a.tar", members).read_bytes(), store, note=told.append)
    assert [line for line in told if str(stray.digest) in line and "left out" in line]
    assert stray.digest not in blobs_of(store)


def test_signatures_come_along(tmp_path, source, store, loading):
    root = artifact(source, b"layer")
    config = source.add(b"{}", "application/vnd.oci.empty.v1+json")
    signature = source.add(Manifest(OCI_MANIFEST, config, (), subject=root).to_bytes(), OCI_MANIFEST)
    cosign = source.add(Manifest(OCI_MANIFEST, config, (config,)).to_bytes(), OCI_MANIFEST)
    tag = f"sha256-{root.digest.hex}.sig"
    shipment = Shipment(
        Artifact(root, "r.io/a:v1"), (Referrer(signature, root.digest),), (Artifact(cosign, f"r.io/a:{tag}"),)
    )
    save_artifacts([shipment], source, tmp_path / "signed.tar")
    done = loading((tmp_path / "signed.tar").read_bytes(), store)
    assert [one.artifact.name for one in done.shipments] == ["r.io/a:v1"]
    assert done.shipments[0].referrers == shipment.referrers
    assert store.resolve(Reference.parse(f"r.io/a:{tag}")) == cosign
    prune(store)
    assert {signature.digest, cosign.digest} <= blobs_of(store)
    renamed = loading((tmp_path / "signed.tar").read_bytes(), store, Naming(name=Reference.parse("here/b:v2")))
    assert renamed.shipments[0].attached == (Artifact(cosign, f"here/b:{tag}"),)
    assert store.resolve(Reference.parse(f"here/b:{tag}")) == cosign


# Names


@pytest.mark.parametrize(
    ("name", "naming", "expected"),
    [
        ("r.io/a/b:v1", Naming(), "r.io/a/b:v1"),
        ("r.io/a/b", Naming(), "r.io/a/b:latest"),
        ("a:v1", Naming(), "a:v1"),
        ("r.io/a/b:v1", Naming(repository=Reference.parse_repository("x.io/y")), "r.io/a/b:v1"),
        ("v1", Naming(repository=Reference.parse_repository("x.io/y")), "x.io/y:v1"),
        ("v1", Naming(repository=Reference.parse_repository("y")), "y:v1"),
        ("V_1.0", Naming(repository=Reference.parse_repository("y")), "y:V_1.0"),
        ("v1", Naming(name=Reference.parse("x.io/y:z")), "x.io/y:z"),
        ("any text: at all", Naming(name=Reference.parse("x")), "x:latest"),
        (None, Naming(name=Reference.parse("x:1")), "x:1"),
        ("v1", Naming(), r"says only tags of its artifacts \('v1'\); say --repository HOST/REPOSITORY or --name"),
        ("any text", Naming(), "does not say what its artifact is called .* say --name"),
        ("any text", Naming(repository=Reference.parse_repository("y")), "say --name"),
        ("../../x", Naming(repository=Reference.parse_repository("y")), "say --name"),
        ("v1\n", Naming(repository=Reference.parse_repository("y")), "say --name"),
        ("", Naming(), "say --name"),
        (None, Naming(repository=Reference.parse_repository("y")), "say --name"),
    ],
)
def test_what_an_artifact_is_called_in_the_store(tmp_path, source, store, loading, name, naming, expected):
    root = artifact(source, b"layer")
    entry = root.to_json() if name is None else named(root, name)
    data = tar(tmp_path / "a.tar", layout(source, entry)).read_bytes()
    if "say " in expected:
        with pytest.raises(UsageError, match=expected):
            loading(data, store, naming)
        assert files_of(store) == set()
    else:
        assert loading(data, store, naming).shipments[0].artifact.name == expected
        assert store.resolve(Reference.parse(expected)) == root


def test_the_full_name_that_docker_save_writes_counts(tmp_path, source, store, loading):
    root = artifact(source, b"layer")
    entry = named(root, "v1")
    entry["annotations"]["io.containerd.image.name"] = "docker.io/library/tiny:v1"
    loading(tar(tmp_path / "a.tar", [("manifest.json", b"[]"), *layout(source, entry)]).read_bytes(), store)
    assert store.resolve(Reference.parse("docker.io/library/tiny:v1")) == root
    entry["annotations"]["io.containerd.image.name"] = "NO REFERENCE"
    with pytest.raises(UsageError, match="says only tags"):
        loading(tar(tmp_path / "b.tar", layout(source, entry)).read_bytes(), store)


def test_several_artifacts_need_names_of_their_own(tmp_path, source, store, loading):
    one, two = artifact(source, b"a"), artifact(source, b"b")
    data = archive_of(source, (one, "v1"), (two, "v2"), directory=tmp_path)
    with pytest.raises(
        UsageError, match=r"only tags of its artifacts \('v1', 'v2'\); say --repository HOST/REPOSITORY$"
    ):
        loading(data, store)
    with pytest.raises(UsageError, match="there are several artifacts"):
        loading(data, store, Naming(name=Reference.parse("x:1")))
    loading(data, store, Naming(repository=Reference.parse_repository("r.io/x")))
    assert [entry.name for entry in store.entries()] == ["r.io/x:v1", "r.io/x:v2"]
    clash = tar(tmp_path / "b.tar", layout(source, named(one, "y/x:v1"), named(two, "y/x:v1"))).read_bytes()
    with pytest.raises(UsageError, match="would be called 'y/x:v1'"):
        loading(clash, store)
    with pytest.raises(NotFoundError, match="there is no artifact"):
        loading(tar(tmp_path / "c.tar", layout(source)).read_bytes(), store)


# Broken and hostile


def broken(tmp_path, source, harm):
    """Return an archive of two artifacts, one of them harmed."""
    one, two = artifact(source, b"right", b"shared"), artifact(source, b"wrong", b"shared")
    members = dict(layout(source, named(one, "r.io/one:v1"), named(two, "r.io/two:v1")))
    digest = Digest.of(b"wrong")
    name = f"blobs/sha256/{digest.hex}"
    manifest = f"blobs/sha256/{two.digest.hex}"
    if harm == "a blob with other bytes":
        members[name] = b"WRONG"
    elif harm == "a blob that is longer":
        members[name] = b"wrong and more"
    elif harm == "a blob that is shorter":
        members[name] = b"wro"
    elif harm == "no blob":
        del members[name]
    elif harm == "no manifest":
        del members[manifest]
    elif harm == "a manifest with other bytes":
        members[manifest] = members[manifest].replace(b"wrong", b"right") + b" "
    elif harm == "a manifest that is none":
        none = source.add(b"{}", OCI_MANIFEST)
        members["index.json"] = index(named(one, "r.io/one:v1"), named(none, "r.io/two:v1"))
        members[f"blobs/sha256/{none.digest.hex}"] = b"{}"
    elif harm == "a size that lies":
        entry = named(two, "r.io/two:v1") | {"size": two.size + 1}
        members["index.json"] = index(named(one, "r.io/one:v1"), entry)
    elif harm == "a layer as an artifact":
        members["index.json"] = index(named(one, "r.io/one:v1"), named(two, "r.io/two:v1") | {"mediaType": "a/b"})
    return tar(tmp_path / "broken.tar", members.items()).read_bytes()


@pytest.mark.promise("G1", "R3", "S4")
@pytest.mark.parametrize(
    "harm",
    [
        "a blob with other bytes",
        "a blob that is longer",
        "a blob that is shorter",
        "no blob",
        "no manifest",
        "a manifest with other bytes",
        "a manifest that is none",
        "a size that lies",
        "a layer as an artifact",
    ],
)
def test_of_a_broken_archive_nothing_is_named_and_what_was_there_stays(tmp_path, source, store, loading, harm):
    old = artifact(source, b"old")
    loading(archive_of(source, (old, "r.io/one:v1"), directory=tmp_path), store)
    before = files_of(store)
    with pytest.raises((ContentError, VerificationError)) as caught:
        loading(broken(tmp_path, MemorySource(), harm), store)
    assert "\n" not in str(caught.value)
    assert [(entry.name, entry.content.digest) for entry in store.entries()] == [("r.io/one:v1", old.digest)]
    assert not list(store.partials())
    assert not fsck(store).findings
    if loading is by_stream:
        assert files_of(store) == before
    assert Digest.of(b"wrong") not in blobs_of(store)


@pytest.mark.promise("G1")
def test_a_stream_that_ends_at_any_byte_before_its_end_brings_nothing(tmp_path, source, store):
    root = artifact(source, b"l" * 600)
    whole = archive_of(source, (root, "r.io/a:v1"), directory=tmp_path)
    for size in range(len(whole)):
        with pytest.raises(ContentError, match="it"), receive(io.BytesIO(whole[:size]), store, "it"):
            pass
    assert files_of(store) == set()
    by_stream(whole, store)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_compressed_stream_that_ends_at_any_byte_before_its_end_brings_nothing(tmp_path, source, store, compress):
    root = artifact(source, b"l" * 600)
    packed = compress(archive_of(source, (root, "r.io/a:v1"), directory=tmp_path))
    for size in range(len(packed)):
        with pytest.raises(ContentError, match="it"), receive(io.BytesIO(packed[:size]), store, "it"):
            pass
    for tail in (b"x", bytes(600), packed[:100]):
        with pytest.raises(ContentError, match="it"), receive(io.BytesIO(packed + tail), store, "it"):
            pass
    assert files_of(store) == set()


def test_a_file_that_ends_at_any_byte_before_its_end_is_refused(tmp_path, source):
    whole = archive_of(source, (artifact(source, b"l" * 600), "v1"), directory=tmp_path)
    path = tmp_path / "cut.tar"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ContentError), OCIArchive.open_file(path):
            pass


@pytest.mark.promise("G1")
def test_a_bit_that_flips_anywhere_is_noticed_or_does_not_matter(tmp_path, source, store):
    root = artifact(source, b"layer")
    whole = archive_of(source, (root, "r.io/a:v1"), directory=tmp_path)
    for at in range(0, len(whole), 23):
        harmed = bytearray(whole)
        harmed[at] ^= 0x20
        try:
            done = by_stream(bytes(harmed), store)
        except ModfileError:
            continue
        assert done.shipments[0].artifact.content == root
    assert blobs_of(store) <= set(source.content)
    assert not list(store.partials())
    assert not fsck(store).findings


@pytest.mark.parametrize("tail", [bytes(512), bytes(1000), bytes(1024) + b"x", bytes(1024) + bytes(9000) + b"x"])
def test_what_comes_behind_the_end_is_refused(tmp_path, source, store, tail):
    root = artifact(source, b"layer")
    path = tar(tmp_path / "a.tar", layout(source, named(root, "r.io/a:v1")), tail)
    with pytest.raises(ContentError), receive(io.BytesIO(path.read_bytes()), store, "it"):
        pass
    with pytest.raises(ContentError), OCIArchive.open_file(path):
        pass


class Endless(io.RawIOBase):
    """A stream that begins in some way and goes on with the same byte for ever."""

    def __init__(self, start, byte=b"\0"):
        self._start = io.BytesIO(start)
        self._byte = byte
        self.given = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        count = self._start.readinto(buffer)
        if not count:
            buffer[:] = self._byte * len(buffer)
            count = len(buffer)
        self.given += count
        return count


@pytest.mark.promise("W6")
@pytest.mark.parametrize(
    ("start", "told", "most"),
    [
        (b"", "goes on after its end", 20 << 20),
        (claiming("index.json", 1 << 30).tobuf(), "index.json has 1,073,741,824 bytes, more than", 1 << 20),
        (claiming("oci-layout", 1 << 30).tobuf(), "oci-layout has 1,073,741,824 bytes, more than", 1 << 20),
        (claiming("blobs/sha256/" + "a" * 64, 1 << 60).tobuf(tarfile.GNU_FORMAT), "bytes more are needed", 1 << 20),
        (claiming("./blobs/sha256/" + "a" * 64, 3 << 20).tobuf(), "should be sha256:aaaa", 5 << 20),
    ],
)
def test_a_stream_without_end_ends(store, start, told, most):
    stream = Endless(start)
    with pytest.raises(ModfileError, match=told), receive(stream, store, "it"):
        pass
    assert stream.given <= most
    assert files_of(store) == set()


@pytest.mark.promise("W6")
@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_bomb_stops_early(store, compress):
    size = 256 << 20
    blob = claiming("blobs/sha256/" + "a" * 64, size).tobuf()
    bomb = compress(blob + bytes(size))
    assert len(bomb) < 1 << 20
    with pytest.raises(ContentError, match="unpacks to more than 200 times its size"):
        by_stream(bomb, store)
    assert files_of(store) == set()


@pytest.mark.parametrize("name", ["bzip2", "xz", "garbage behind"])
def test_what_cannot_be_unpacked_is_told(tmp_path, source, store, loading, name):
    data = archive_of(source, (artifact(source, b"x"), "v1"), directory=tmp_path)
    packed = {"bzip2": bz2.compress, "xz": lzma.compress, "garbage behind": lambda d: gzip.compress(d) + b"junk"}
    with pytest.raises(ContentError, match=r"decompress it first|gzip data is broken"):
        loading(packed[name](data), store)
    assert files_of(store) == set()


BLOB = "blobs/sha256/" + Digest.of(b"x").hex


@pytest.mark.promise("W2", "W5")
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([], "there is no oci-layout"),
        ([("oci-layout", LAYOUT)], "there is no index.json"),
        ([("manifest.json", b"[]"), ("repositories", b"{}")], "is a docker-archive"),
        ([("oci-layout", b'{"imageLayoutVersion":"2.0"}'), ("index.json", index())], "of version '2.0'"),
        ([("oci-layout", LAYOUT), ("index.json", b"{")], "not JSON"),
        ([("oci-layout", LAYOUT), ("index.json", index()), ("./index.json", index())], "stands in it twice"),
        ([(BLOB, b"x"), (BLOB, b"x")], "stands in it twice"),
        ([(BLOB, b"x"), ("./" + BLOB, b"y")], "stands in it twice"),
        ([(link(BLOB, "/etc/passwd"), b"")], "not a regular file"),
        ([(link(BLOB, "oci-layout", tarfile.LNKTYPE), b"")], "not a regular file"),
        ([(link("index.json", "/etc/passwd"), b"")], "not a regular file"),
        ([(link("index.json", "", tarfile.FIFOTYPE), b"")], "not a regular file"),
        ([(link(BLOB, "", tarfile.CHRTYPE), b"")], "not a regular file"),
        ([(claiming("elsewhere", 1 << 40), b"")], "is cut off"),
    ],
)
def test_a_stream_that_is_none_or_lies_is_refused(tmp_path, store, members, told):
    data = tar(tmp_path / "a.tar", members).read_bytes()
    with pytest.raises(ContentError, match=told):
        by_stream(data, store)
    assert files_of(store) == set()


@pytest.mark.promise("W1", "W2")
@pytest.mark.parametrize(
    "name",
    [
        "../escape",
        "/tmp/escape-of-modfile",
        "blobs/sha256/../../../escape",
        "blobs/sha256/" + "A" * 64,
        "blobs/sha256/" + "a" * 63,
        "blobs/md5/" + "a" * 32,
        ".//index.json",
        "index.json/",
        "blobs/sha256/" + "a" * 64 + "/x",
        "\udcff\udcfe",
        "a\0b",
    ],
)
def test_other_names_are_passed_over_and_nothing_is_written_by_them(tmp_path, source, store, loading, name):
    root = artifact(source, b"layer")
    member = tarfile.TarInfo("x")
    member.size = 3
    member.pax_headers = {"path": name}
    tricks = [(member, b"abc"), (link("x/" + "y" * 90, "/etc"), b"")]
    if "\0" not in name:
        plain = claiming(name, 3)
        tricks.append((plain, b"abc"))
    data = tar(tmp_path / "a.tar", [*tricks, *layout(source, named(root, "r.io/a:v1"))]).read_bytes()
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(store.root.parent)}
    loading(data, store)
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(store.root.parent)}
    assert {path.name for path in after - before} <= {"in.tar"}
    assert blobs_of(store) == set(source.content)
    assert not os.path.lexists("/tmp/escape-of-modfile")


def test_entries_are_counted(tmp_path, source, store):
    root = artifact(source, b"layer")
    data = tar(tmp_path / "a.tar", [*[(f"x{n}", b"") for n in range(50)], *layout(source, named(root, "r.io/a:v1"))])
    with SpooledArchive.receive(io.BytesIO(data.read_bytes()), store, "it", most=55):
        pass
    with data.open("rb") as file:
        assert len(find_members(file.fileno(), data.stat().st_size, "it", most=55)) == 5
        with pytest.raises(ContentError, match="more than 54 entries"):
            find_members(file.fileno(), data.stat().st_size, "it", most=54)
    with (
        pytest.raises(ContentError, match="more than 54 entries"),
        SpooledArchive.receive(io.BytesIO(data.read_bytes()), store, "it", most=54),
    ):
        pass
    assert files_of(store) == set()


def test_memory_does_not_grow_with_a_blob(store):
    size = 192 << 20
    head = claiming("blobs/sha256/" + "a" * 64, size).tobuf()
    tracemalloc.start()
    try:
        with pytest.raises(VerificationError), receive(Endless(head), store, "it"):
            pass
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_a_stream_that_fails_is_named(tmp_path, source, store):
    class Failing(io.BytesIO):
        def readinto(self, buffer):
            if self.tell() > 1000:
                raise OSError(5, "Input/output error")
            return super().readinto(memoryview(buffer)[:600])

    class Waiting(io.BytesIO):
        def readinto(self, buffer):
            return None

    data = archive_of(source, (artifact(source, b"x" * 5000), "v1"), directory=tmp_path)
    with pytest.raises(StoreError, match=r"^standard input cannot be read: Input/output error"):
        receive(Failing(data), store, "standard input").__enter__()
    with pytest.raises(StoreError, match="O_NONBLOCK"):
        receive(Waiting(data), store, "standard input").__enter__()
    assert files_of(store) == set()


def test_what_the_store_has_is_not_written_again(tmp_path, source, store):
    one, two = artifact(source, b"shared", b"a"), artifact(source, b"shared", b"b")
    by_stream(archive_of(source, (one, "r.io/a:v1"), directory=tmp_path), store)
    data = archive_of(source, (one, "r.io/a:v1"), (two, "r.io/b:v1"), directory=tmp_path)
    with receive(io.BytesIO(data), store, "it") as (archive, target):
        assert len(list(store.partials())) == 2  # the other layer and the other manifest
        load(archive, target, Naming())
    assert blobs_of(store) == set(source.content)
    harmed = data.replace(b"shared", b"SHARED")
    with pytest.raises(VerificationError, match="it is damaged"):
        by_stream(harmed, store)


@pytest.mark.promise("S6")
def test_while_an_archive_comes_in_nothing_is_collected(tmp_path, source, store):
    """What it needs may be in the store already, and nothing of the index leads there yet."""
    root = artifact(source, b"layer")
    data = archive_of(source, (root, "r.io/a:v1"), directory=tmp_path)
    by_stream(data, store)
    store.untag([Reference.parse("r.io/a:v1")])
    with receive(io.BytesIO(data), store, "it") as (archive, target):
        waiting = []
        pruning = threading.Thread(target=lambda: prune(Layout(store.root), note=waiting.append))
        pruning.start()
        while not waiting:
            pruning.join(0.01)
        load(archive, target, Naming())
    pruning.join()
    assert store.resolve(Reference.parse("r.io/a:v1")) == root
    assert blobs_of(store) == set(source.content)


@pytest.mark.promise("S4")
def test_what_a_killed_load_left_is_swept(source, store):
    with store.writing():
        (store.root / "ingest/new-0123456789abcdef").write_bytes(b"left")
    prune(store)
    assert not list(store.partials())


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
def test_what_is_no_file_is_told_or_read_as_a_stream(tmp_path, source, store, kind):
    path = tmp_path / "in"
    if kind == "missing":
        with pytest.raises(NotFoundError, match="in does not exist"):
            open_archive(path, store).__enter__()
    elif kind == "directory":
        path.mkdir()
        with pytest.raises(StoreError, match="is a directory"):
            open_archive(path, store).__enter__()
    else:
        os.mkfifo(path)
        root = artifact(source, b"layer")
        data = archive_of(source, (root, "r.io/a:v1"), directory=tmp_path)
        writing = threading.Thread(target=path.write_bytes, args=(data,))
        writing.start()
        with open_archive(path, store) as (archive, target):
            load(archive, target, Naming())
        writing.join()
        assert store.resolve(Reference.parse("r.io/a:v1")) == root


def test_a_disk_that_does_not_take_it_is_told_and_nothing_stays(tmp_path, source, store):
    data = archive_of(source, (artifact(source, b"x"), "r.io/a:v1"), directory=tmp_path)
    with store.writing():
        pass
    (store.root / "ingest").rmdir()
    (store.root / "ingest").write_bytes(b"")
    with pytest.raises(StoreError, match="ingest"):
        by_stream(data, store)
    assert json.loads((store.root / "index.json").read_text() if (store.root / "index.json").exists() else "{}") == {}


NAMES = (
    "a",
    "b/c",
    "./d",
    "../e",
    "repositories",
    "index.json",
    "oci-layout",
    "./index.json",
    BLOB,
    "other",
    "manifest.json",
    "blobs/sha256",
)
KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)


def likely(most, *others):
    """Choose the first in most cases."""
    return st.integers(0, 7).flatmap(lambda n: st.sampled_from(others) if n == 7 else st.just(most))


@st.composite
def archives(draw):
    """Archives that are nearly right: members out of order, missing, twice, of other kinds, of other sizes, cut off."""
    source = MemorySource()
    members = layout(source, named(artifact(source, b"layer"), "r.io/a:v1"))
    members = draw(st.permutations(members))[: draw(likely(len(members), len(members) - 1))]
    for _ in range(draw(st.integers(0, 2))):
        data = draw(st.sampled_from([b"", b"x", LAYOUT, index()]))
        member = claiming(draw(st.sampled_from(NAMES)), draw(likely(len(data), 0, 1, 513, 1 << 40)))
        member.type = draw(likely(*KINDS))
        if draw(likely(False, True)):
            member.pax_headers = draw(
                st.dictionaries(
                    st.sampled_from(["path", "size", "linkpath", "mtime", "GNU.sparse.name"]),
                    st.sampled_from(["1", "index.json", "other", "", "-1", "9" * 20, BLOB]),
                    max_size=2,
                )
            )
        members.insert(draw(st.integers(0, len(members))), (member, data))
    tail = draw(likely(bytes(1024), bytes(512), b"", bytes(10240), bytes(1023), bytes(1024) + b"x"))
    return members, tail, draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))


@pytest.mark.promise("G1")
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(archives())
def test_both_ways_in_take_the_same_archives_for_right(tmp_path, made):
    members, tail, file_format = made
    data = tar(tmp_path / "a.tar", members, tail, file_format).read_bytes()
    told = []
    for loading in (by_stream, by_file):
        store = Layout(tmp_path / loading.__name__ / "store")
        shutil.rmtree(store.root, ignore_errors=True)
        try:
            done = loading(data, store)
            told.append([(one.artifact.name, one.artifact.content.digest) for one in done.shipments])
        except ModfileError as error:
            told.append(None)
            lines = str(error).count("\n")
        else:
            lines = 0
        assert not lines
        assert bool(store.entries()) is bool(told[-1])
        assert not list(store.partials())
        assert not fsck(store).findings
    event("loaded" if told[0] else "refused")
    stray = [data for member, data in members if isinstance(member, tarfile.TarInfo) and member.name == BLOB]
    if stray and told[0] is None:
        return  # a stream is refused for a blob that is wrong even if nothing leads to it
    assert told[0] == told[1]
