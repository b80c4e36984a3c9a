"""OCI archives: what is written byte for byte, and what is refused of what others wrote."""

import gzip
import io
import json
import os
import tarfile
from contextlib import suppress

import pytest

from modfile.artifact import Artifact
from modfile.content import Descriptor, Digest
from modfile.errors import (
    ConnectionLostError,
    ContentError,
    ModfileError,
    NotFoundError,
    StoreError,
    UsageError,
    VerificationError,
)
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.ociarchive import ArchiveWriter, OCIArchive, TarPlan
from modfile.ociarchive.members import find_members
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.store import InMemory, read
from modfile.verbs.copying import Shipment, save_artifacts
from tests.registries.memory import MemorySource
from tests.registry.reach import CountingMeter

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def artifact(source, *layers):
    config = source.add(b"{}", "application/vnd.cncf.model.config.v1+json")
    described = tuple(source.add(data, "application/vnd.cncf.model.weight.v1.raw") for data in layers)
    return source.add(Manifest(OCI_MANIFEST, config, described).to_bytes(), OCI_MANIFEST)


def save(path, source, *named, **more):
    """Save artifacts, each `(descriptor, name)`."""
    return save_artifacts([Shipment(Artifact(content, name)) for content, name in named], source, path, **more)


def tar(path, entries, tail=bytes(1024), file_format=tarfile.PAX_FORMAT):
    """Write a tar by hand: `(name or TarInfo, bytes)` each."""
    data = b""
    for name, content in entries:
        member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
        if not isinstance(name, tarfile.TarInfo):
            member.size = len(content)
        data += member.tobuf(file_format, "utf-8", "surrogateescape") + content + bytes(-len(content) % 512)
    path.write_bytes(data + tail)
    return path


def index(*entries):
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}).encode()


def entry(content, **annotations):
    return content.to_json() | ({"annotations": annotations} if annotations else {})


def named(content, name):
    return entry(content, **{"org.opencontainers.image.ref.name": name})


def layout(source, *entries):
    """Return the members of a layout with all that a source has."""
    blobs = [(f"blobs/{digest.algorithm}/{digest.hex}", data) for digest, data in source.content.items()]
    return [("oci-layout", LAYOUT), ("index.json", index(*entries)), *blobs]


def link(name, to, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def claiming(name, size):
    member = tarfile.TarInfo(name)
    member.size = size
    return member


# Written


def test_what_is_saved_is_read_back(tmp_path, source):
    layers = [b"", b"x", os.urandom(5_000_000)]
    root = artifact(source, *layers)
    tally = save(tmp_path / "a.tar", source, (root, "v1"))
    assert (tally.pieces(Outcome.MOVED), tally.bytes(Outcome.MOVED)) == (4, 5_000_003)
    with OCIArchive.open_file(tmp_path / "a.tar") as archive:
        assert archive.catalog().find(None) == Artifact(root, "v1")
        for digest, data in source.content.items():
            assert read(archive, Descriptor("a/b", digest, len(data)), len(data)) == data
            assert read_from(archive, Descriptor("a/b", digest, len(data)), len(data) // 2) == data[len(data) // 2 :]


def read_from(archive, content, start):
    with archive.open(content, start) as stream:
        return b"".join(iter(lambda: stream.read(100_000), b""))


def test_the_same_artifacts_are_the_same_bytes_whatever_the_order_and_the_machine(tmp_path, source):
    one, two = artifact(source, b"a", b"shared"), artifact(source, b"b", b"shared")
    save(tmp_path / "one.tar", source, (one, "one"), (two, "two"), concurrency=1)
    save(tmp_path / "two.tar", source, (two, "two"), (one, "one"), concurrency=4)
    data = (tmp_path / "one.tar").read_bytes()
    assert data == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        members = archive.getmembers()
    names = [member.name for member in members]
    assert names[:2] == ["oci-layout", "index.json"]
    assert names[2:] == sorted(set(names[2:]))
    assert len(names) == 2 + len(source.content)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in members} == {
        (0, 0, 0, "", "", 0o644, tarfile.REGTYPE)
    }
    last = members[-1]
    assert len(data) == last.offset_data + last.size + -last.size % 512 + 1024
    assert data.endswith(bytes(1024))


def test_a_blob_of_512_bits_and_one_too_large_for_a_plain_header_have_their_place(tmp_path):
    long = Descriptor("a/b", Digest("sha512", "ab" * 64), 5)
    large = Descriptor("a/b", Digest.of(b"large"), 9 << 30)
    plan = TarPlan([], [large, long])
    assert [slot.content for slot in plan.slots] == [large, long]
    with (tmp_path / "sparse.tar").open("w+b") as file:
        file.truncate(plan.size)
        file.write(plan.head)
        for slot in plan.slots:
            file.seek(slot.start)
            file.write(slot.header)
        file.flush()
        found = find_members(file.fileno(), plan.size, "plan")
    assert {name: member.size for name, member in found.items() if name.startswith("blobs/")} == {
        f"blobs/sha256/{large.digest.hex}": 9 << 30,
        f"blobs/sha512/{'ab' * 64}": 5,
    }


def test_two_artifacts_cannot_have_one_name(tmp_path, source):
    one, two = artifact(source, b"a"), artifact(source, b"b")
    with pytest.raises(UsageError, match="would be called 'v1'"):
        save(tmp_path / "a.tar", source, (one, "v1"), (two, "v1"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise("R3", "W3")
@pytest.mark.parametrize("sent", [b"", b"WEIGHTS", b"weights and more", b"weig"])
def test_wrong_bytes_leave_the_archive_as_it_was(tmp_path, source, sent):
    root = artifact(source, b"weights", b"another layer")
    path = tmp_path / "a.tar"
    path.write_bytes(b"before")
    source.content[Digest.of(b"weights")] = sent
    with pytest.raises(VerificationError):
        save(path, source, (root, "v1"))
    assert path.read_bytes() == b"before"
    assert [item.name for item in tmp_path.iterdir()] == ["a.tar"]


class Breaking(MemorySource):
    """Breaks off in the middle of one blob."""

    broken: Digest

    def open(self, content, start=0):
        stream = super().open(content, start)
        if content.digest != self.broken:
            return stream
        half = content.size // 2

        class Broken(io.BytesIO):
            def readinto(self, buffer):
                if self.tell() >= half:
                    raise ConnectionLostError("the line broke")
                return super().readinto(memoryview(buffer)[: half - self.tell()])

        return Broken(stream.getvalue())


def test_what_broke_off_goes_on_with_what_was_whole(tmp_path):
    source = Breaking()
    root = artifact(source, b"1" * 100_000, b"2" * 50_000)
    source.broken = Digest.of(b"2" * 50_000)
    path = tmp_path / "a.tar"
    path.write_bytes(b"before")
    with pytest.raises(ConnectionLostError):
        save(path, source, (root, "v1"), concurrency=1)
    assert path.read_bytes() == b"before"
    source.broken, source.opened = Digest.of(b"none"), []
    tally = save(path, source, (root, "v1"), concurrency=1)
    assert tally.resumed >= 100_000
    assert (Digest.of(b"1" * 100_000), 0) not in source.opened
    save(tmp_path / "fresh.tar", source, (root, "v1"))
    assert path.read_bytes() == (tmp_path / "fresh.tar").read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.tar", "fresh.tar"]


@pytest.mark.parametrize("harm", ["bytes", "another", "longer"])
def test_what_an_earlier_try_left_is_not_trusted(tmp_path, source, harm):
    root = artifact(source, b"1" * 100_000)
    plan = TarPlan([Artifact(root, "v1")], [])
    save(tmp_path / "right.tar", source, (root, "v1"))
    right = (tmp_path / "right.tar").read_bytes()
    left = bytearray(right)
    if harm == "bytes":
        at = right.index(b"1" * 100)
        left[at + 50_000] ^= 1
    elif harm == "another":
        left[: len(plan.head)] = os.urandom(len(plan.head))
        left[-100:] = b"x" * 100
    else:
        left += b"y" * 5000
    (tmp_path / ".a.tar.modfile-partial").write_bytes(left)
    save(tmp_path / "a.tar", source, (root, "v1"))
    assert (tmp_path / "a.tar").read_bytes() == right


def test_too_many_bytes_touch_nothing_of_the_next_blob(tmp_path):
    contents = [Descriptor("a/b", Digest.of(data), 512) for data in (b"a" * 512, b"b" * 512)]
    plan = TarPlan([], contents)
    first, second = (slot.content for slot in plan.slots)
    right = {Digest.of(data): data for data in (b"a" * 512, b"b" * 512)}
    path = tmp_path / "a.tar"
    with ArchiveWriter.to_file(path, plan) as writer:
        writer.put(second, InMemory({second: right[second.digest]}), SILENT)
        with pytest.raises(VerificationError):
            writer.put(first, InMemory({first: right[first.digest] + b"z" * 512}), SILENT)
        meter = CountingMeter()
        assert writer.put(second, InMemory({}), meter) is Outcome.SKIPPED
        assert meter.done == 512
        writer.put(first, InMemory({first: right[first.digest]}), SILENT)
    with OCIArchive.open_file(path) as archive:
        assert read(archive, second, 512) == right[second.digest]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_an_archive_that_is_replaced_keeps_its_mode(tmp_path, source, mode):
    path = tmp_path / "a.tar"
    path.write_bytes(b"before")
    path.chmod(mode)
    save(path, source, (artifact(source, b"x"), "v1"))
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_archive_is_for_whom_the_umask_says(tmp_path, source, umask, mode):
    before = os.umask(umask)
    try:
        save(tmp_path / "a.tar", source, (artifact(source, b"x"), "v1"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.tar").stat().st_mode & 0o7777 == mode


def test_an_archive_that_does_not_fit_is_not_begun(tmp_path):
    plan = TarPlan([], [Descriptor("a/b", Digest.of(b"x"), 1 << 60)])
    with pytest.raises(StoreError, match=r"a\.tar cannot be written: No space left .* bytes more are needed"):
        ArchiveWriter.to_file(tmp_path / "a.tar", plan).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_only_a_file_is_replaced(tmp_path, source):
    root = artifact(source, b"x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    os.mkfifo(tmp_path / "fifo")
    for name in ("directory", "link", "fifo"):
        with pytest.raises(StoreError, match="is there and is not a file"):
            save(tmp_path / name, source, (root, "v1"))
    with pytest.raises(StoreError, match="cannot be written"):
        save(tmp_path / "missing/a.tar", source, (root, "v1"))


# Read


def test_members_are_found_whoever_wrote_the_tar_and_other_names_are_passed_over(tmp_path, source):
    root = artifact(source, b"layer")
    extra = [
        (link("repositories", "/etc/passwd"), b""),
        ("manifest.json", b"[]"),
        ("../../escape", b"x"),
        (link("blobs", "sha256", tarfile.DIRTYPE), b""),
        ("blobs/sha256/ABC", b"x"),
    ]
    members = [*extra, *((f"./{name}", data) for name, data in layout(source, named(root, "v1")))]
    for file_format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tar(tmp_path / "a.tar", members, bytes(10240), file_format)
        with OCIArchive.open_file(path) as archive:
            assert archive.catalog().find("v1") == Artifact(root, "v1")
            assert read(archive, root, root.size) == source.content[root.digest]
    assert [item.name for item in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.promise("R3", "R2")
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([], "there is no oci-layout"),
        ([("oci-layout", LAYOUT)], "there is no index.json"),
        ([("manifest.json", b"[]"), ("repositories", b"{}")], "Docker 25"),
        ([("oci-layout", LAYOUT), ("index.json", b"{}")], "manifests are not a list"),
        ([("oci-layout", LAYOUT), ("index.json", b"{")], "not JSON"),
        ([("oci-layout", LAYOUT), ("index.json", b'{"manifests":[],"manifests":[]}')], "stands twice"),
        ([("oci-layout", LAYOUT), ("index.json", index({"mediaType": "a/b", "size": 1}))], "is not a digest"),
        ([("oci-layout", LAYOUT), ("index.json", b"[" * 100_000)], "nested too deeply"),
        ([("oci-layout", b'{"imageLayoutVersion":"2.0"}'), ("index.json", index())], "of version '2.0'"),
        ([("oci-layout", b"[]"), ("index.json", index())], "not a JSON object"),
        ([("oci-layout", b" " * 5000), ("index.json", index())], "more than the 1,024 allowed"),
        (
            [("oci-layout", LAYOUT), (claiming("index.json", 33 << 20), bytes(33 << 20))],
            "more than the 33,554,432 allowed",
        ),
        ([("oci-layout", LAYOUT), ("index.json", index()), ("./index.json", index())], "stands in it twice"),
        ([("oci-layout", LAYOUT), (link("index.json", "/etc/passwd"), b"")], "not a regular file"),
        ([("oci-layout", LAYOUT), (link("index.json", "oci-layout", tarfile.LNKTYPE), b"")], "not a regular file"),
        ([("oci-layout", LAYOUT), (link("index.json", "", tarfile.FIFOTYPE), b"")], "not a regular file"),
        ([("oci-layout", LAYOUT), (link("blobs/sha256/" + "a" * 64, "/etc/passwd"), b"")], "not a regular file"),
        ([("oci-layout", LAYOUT), (claiming("index.json", 1 << 40), b"")], "are left of the archive"),
        ([("x", b""), (claiming("some-other-file", 1 << 62), b"")], "are left of the archive"),
    ],
)
def test_an_archive_that_is_none_or_lies_is_refused(tmp_path, members, told):
    path = tar(tmp_path / "a.tar", members)
    with pytest.raises(ContentError, match=told), OCIArchive.open_file(path) as archive:
        archive.catalog()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "cut off, or is not a tar archive"),
        (b"x" * 511, "cut off, or is not a tar archive"),
        (b"x" * 5000, "not a tar archive"),
        (gzip.compress(os.urandom(5000)), "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed with zstd"),
    ],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, data, told):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(ContentError, match=told), OCIArchive.open_file(tmp_path / "a.tar"):
        pass


def test_an_archive_that_is_cut_off_anywhere_is_an_error(tmp_path, source):
    root = artifact(source, b"l" * 1000)
    save(tmp_path / "a.tar", source, (root, "v1"))
    whole = (tmp_path / "a.tar").read_bytes()
    for size in range(0, len(whole) - 1024, 100):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(ContentError), OCIArchive.open_file(tmp_path / "cut.tar"):
            pass


def test_any_bit_that_flips_is_noticed_or_does_not_matter(tmp_path, source):
    root = artifact(source, b"layer")
    save(tmp_path / "a.tar", source, (root, "v1"))
    whole = (tmp_path / "a.tar").read_bytes()
    for at in range(0, len(whole), 37):
        harmed = bytearray(whole)
        harmed[at] ^= 0x20
        (tmp_path / "harmed.tar").write_bytes(harmed)
        with suppress(ModfileError), OCIArchive.open_file(tmp_path / "harmed.tar") as archive:
            found = archive.catalog().find(None)
            assert read(archive, found.content, 1 << 20) == source.content[root.digest]


@pytest.mark.parametrize("records", [{"size": "-1"}, {"size": "x"}, {"size": "9" * 30}, {"GNU.sparse.major": "1"}])
def test_a_pax_header_that_lies_about_a_blob_is_refused(tmp_path, records):
    member = claiming("index.json", 3)
    member.pax_headers = records
    path = tar(tmp_path / "a.tar", [("oci-layout", LAYOUT), (member, b"{} ")])
    with pytest.raises(ContentError), OCIArchive.open_file(path):
        pass


def test_an_extended_header_without_end_is_not_read(tmp_path):
    huge = claiming("././@PaxHeader", 1 << 33)
    huge.type = tarfile.XHDTYPE
    (tmp_path / "a.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ContentError, match="extended header of 8,589,934,592 bytes"):
        OCIArchive.open_file(tmp_path / "a.tar").__enter__()


def test_a_blob_of_another_size_or_none_is_told(tmp_path, source):
    root = artifact(source, b"layer")
    save(tmp_path / "a.tar", source, (root, "v1"))
    with OCIArchive.open_file(tmp_path / "a.tar") as archive:
        longer = Descriptor(root.media_type, root.digest, root.size + 1)
        assert (archive.exists(root), archive.exists(longer)) == (True, False)
        with pytest.raises(VerificationError, match=r"has .* bytes, not"), archive.open(longer):
            pass
        with pytest.raises(NotFoundError), archive.open(Descriptor("a/b", Digest.of(b"none"), 4)):
            pass


def test_a_blob_that_is_not_its_digest_is_refused_when_it_is_read(tmp_path, source):
    root = artifact(source, b"layer")
    members = [(name, data.replace(b"layer", b"LAYER")) for name, data in layout(source, named(root, "v1"))]
    with OCIArchive.open_file(tar(tmp_path / "a.tar", members)) as archive, pytest.raises(VerificationError):
        save_artifacts([Shipment(archive.catalog().find("v1"))], archive, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize("kind", ["directory", "fifo", "missing"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "a.tar"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises((StoreError, NotFoundError)), OCIArchive.open_file(path):
        pass


# Names


def test_names_are_matched_as_they_stand_then_as_references_then_as_docker_writes_them(tmp_path, source):
    one, two, three, four = (artifact(source, bytes([number])) for number in range(4))
    entries = [
        named(one, "v1"),
        named(two, "r.io/a/b:latest"),
        entry(
            three, **{"org.opencontainers.image.ref.name": "x1", "io.containerd.image.name": "docker.io/library/m:x1"}
        ),
        entry(four),
    ]
    with OCIArchive.open_file(tar(tmp_path / "a.tar", layout(source, *entries))) as archive:
        catalog = archive.catalog()
        for name, content in (
            ("v1", one),
            ("r.io/a/b", two),
            ("r.io/a/b:latest", two),
            (f"r.io/a/b@{two.digest}", two),
            ("docker.io/library/m:x1", three),
            (f"@{four.digest}", four),
        ):
            assert catalog.find(name).content == content, name
        assert archive.resolve(Reference.parse("r.io/a/b")) == two
        with pytest.raises(NotFoundError, match=r"'v2' is not in .* \(it has 'v1', 'r.io/a/b:latest', 'x1'\)"):
            catalog.find("v2")
        for bad in ("@sha256:abc", "NOT a name", "@"):
            with pytest.raises(NotFoundError):
                catalog.find(bad)
        with pytest.raises(UsageError, match="there are several artifacts"):
            catalog.find(None)
        assert [artifact.name for artifact in catalog.artifacts()] == ["v1", "r.io/a/b:latest", "x1"]


def test_a_name_that_two_artifacts_have_needs_a_digest(tmp_path, source):
    one, two = artifact(source, b"1"), artifact(source, b"2")
    path = tar(tmp_path / "a.tar", layout(source, named(one, "latest"), named(two, "latest")))
    with OCIArchive.open_file(path) as archive:
        with pytest.raises(UsageError, match="several artifacts are called 'latest'"):
            archive.catalog().find("latest")
        assert archive.catalog().find(f"@{two.digest}").content == two


def test_the_only_artifact_is_the_one_that_refers_to_no_other(tmp_path, source):
    root = artifact(source, b"model")
    config = source.add(b"{}", "application/vnd.oci.empty.v1+json")
    signature = source.add(Manifest(OCI_MANIFEST, config, (), subject=root).to_bytes(), OCI_MANIFEST)
    path = tar(tmp_path / "a.tar", layout(source, entry(signature), entry(root)))
    with OCIArchive.open_file(path) as archive:
        catalog = archive.catalog()
        assert catalog.find(None).content == root
        assert [content.digest for content in catalog.referrers(root.digest)] == [signature.digest]
    path = tar(tmp_path / "b.tar", layout(source))
    with OCIArchive.open_file(path) as archive, pytest.raises(NotFoundError, match="there is no artifact in"):
        archive.catalog().find(None)
