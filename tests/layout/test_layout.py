import hashlib
import json
import multiprocessing
import os
import stat
import threading

import pytest

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import ConnectionLostError, NotFoundError, StoreError, VerificationError
from modfile.layout import Layout
from modfile.manifest import OCI_MANIFEST
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.store import BytesReader, InMemory

REF = Reference.parse("r.io/a/b:v1")
BLOB = "application/octet-stream"


def describe(data, media_type=BLOB):
    return Descriptor(media_type, Digest.of(data), len(data))


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store", Backoff(sleep=lambda seconds: None))


class Breaking:
    """A source that breaks off after so many bytes, as often as is said; counts the bytes that it gave."""

    def __init__(self, data, every, breaks=10**9, most=10**12):
        self.data, self.every, self.breaks, self.opened = data, every, breaks, []
        self.most = most

    def open(self, content, start=0):
        self.opened.append(start)
        return _Breaking(self, start)


class _Breaking:
    def __init__(self, source, start):
        self.source, self.at, self.left = source, start, min(source.every, source.most - start)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def readinto(self, buffer):
        if self.left == 0 and self.source.breaks:
            self.source.breaks -= 1
            raise ConnectionLostError("cut")
        most = min(len(buffer), self.left) if self.source.breaks else len(buffer)
        piece = self.source.data[self.at : self.at + most]
        buffer[: len(piece)] = piece
        self.at += len(piece)
        self.left -= len(piece)
        return len(piece)


def test_reading_a_store_that_is_not_there_finds_it_empty_and_makes_nothing(layout):
    assert layout.entries() == ()
    with pytest.raises(NotFoundError, match=r"r\.io/a/b:v1 is not in the local store"):
        layout.resolve(REF)
    assert not layout.root.exists()


def test_a_store_is_an_oci_image_layout(layout):
    content = layout.add_bytes(b"{}", OCI_MANIFEST)
    layout.tag(content, REF)
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((layout.root / "index.json").read_bytes())["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "r.io/a/b:v1"}
    assert (layout.root / "blobs/sha256" / hashlib.sha256(b"{}").hexdigest()).read_bytes() == b"{}"


def test_blobs_are_read_only_and_the_store_is_its_owners(layout):
    content = layout.add_bytes(b"x", BLOB)
    assert stat.S_IMODE(layout.blob_path(content.digest).stat().st_mode) == 0o444
    assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (2 << 20) + 1, (5 << 20) + 12345])
def test_content_of_any_size_comes_whole(layout, size):
    data = os.urandom(size)
    assert layout.put(describe(data), InMemory({describe(data): data})) is Outcome.MOVED
    assert layout.blob_path(Digest.of(data)).read_bytes() == data
    assert layout.add(BytesReader(data), size) == Digest.of(data)


def test_a_sha512_digest_is_verified_as_such(layout):
    content = Descriptor(BLOB, Digest("sha512", hashlib.sha512(b"abc").hexdigest()), 3)
    layout.put(content, InMemory({content: b"abc"}))
    assert layout.blob_path(content.digest).parent.name == "sha512"
    wrong = Descriptor(BLOB, Digest("sha512", "0" * 128), 3)
    with pytest.raises(VerificationError):
        layout.put(wrong, InMemory({wrong: b"abc"}))


@pytest.mark.parametrize("sent", [b"", b"abcdefg", b"abcdefghi", b"abcdefgX", b"X" * (3 << 20)])
def test_what_is_not_what_its_digest_says_is_refused_and_not_kept(layout, sent):
    content = describe(b"abcdefgh")
    with pytest.raises(VerificationError):
        layout.put(content, InMemory({content: sent}))
    assert not layout.exists(content)
    assert list(layout.partials()) == []


def test_a_stream_that_breaks_goes_on_where_it_broke(layout):
    data = os.urandom(7 << 20)
    source = Breaking(data, every=1_500_000, breaks=4)
    layout.put(describe(data), source)
    assert source.opened == [0, 1_500_000, 3_000_000, 4_500_000, 6_000_000]
    assert layout.blob_path(Digest.of(data)).read_bytes() == data


def test_a_stream_that_keeps_breaking_is_given_up_and_what_came_stays_for_another_time(layout):
    data = os.urandom(5 << 20)
    with pytest.raises(ConnectionLostError):
        layout.put(describe(data), Breaking(data, every=3 << 20, most=3 << 20))
    ((path, status),) = layout.partials()
    assert status.st_size == 3 << 20
    source = Breaking(data, every=10**9)
    layout.put(describe(data), source)
    assert source.opened == [3 << 20]
    assert layout.blob_path(Digest.of(data)).read_bytes() == data
    assert not path.exists()


def test_a_damaged_partial_of_an_earlier_try_costs_a_fresh_start_only(layout):
    data = os.urandom(5 << 20)
    layout.add_bytes(b"", BLOB)
    partial = layout.root / "ingest" / f"sha256-{Digest.of(data).hex}"
    partial.write_bytes(b"damaged" * 1000)
    source = Breaking(data, every=10**9)
    layout.put(describe(data), source)
    assert source.opened == [7000, 0]
    assert layout.blob_path(Digest.of(data)).read_bytes() == data


def test_a_partial_longer_than_the_content_is_begun_anew(layout):
    data = b"short"
    layout.add_bytes(b"", BLOB)
    (layout.root / "ingest" / f"sha256-{Digest.of(data).hex}").write_bytes(b"longer than that")
    layout.put(describe(data), InMemory({describe(data): data}))
    assert layout.blob_path(Digest.of(data)).read_bytes() == data


def test_of_two_that_bring_the_same_content_one_waits_and_finds_it_there(layout):
    data = os.urandom(4 << 20)
    started, go_on = threading.Event(), threading.Event()

    class Slow(InMemory):
        def open(self, content, start=0):
            started.set()
            go_on.wait(10)
            return super().open(content, start)

    outcomes = []
    first = threading.Thread(target=lambda: outcomes.append(layout.put(describe(data), Slow({describe(data): data}))))
    first.start()
    started.wait(10)
    notes = []

    class Noting(type(SILENT)):
        def note(self, text):
            notes.append(text)
            go_on.set()

    second = layout.put(describe(data), InMemory({describe(data): data}), Noting())
    first.join()
    assert (outcomes, second) == ([Outcome.MOVED], Outcome.SKIPPED)
    assert "waiting for another process" in notes[0]


@pytest.mark.parametrize(("size", "sent"), [(4, b"abc"), (2, b"abc")])
def test_adding_other_than_the_size_that_was_said_is_refused(layout, size, sent):
    with pytest.raises(VerificationError):
        layout.add(BytesReader(sent), size)
    assert list(layout.partials()) == []


def test_a_truncated_blob_counts_as_missing_and_is_brought_anew(layout):
    content = layout.add_bytes(b"weights", BLOB)
    layout.blob_path(content.digest).chmod(0o600)
    layout.blob_path(content.digest).write_bytes(b"wei")
    assert not layout.exists(content)
    with pytest.raises(VerificationError, match="3 bytes, not 7"), layout.open(content):
        pass
    layout.put(content, InMemory({content: b"weights"}))
    assert layout.blob_path(content.digest).read_bytes() == b"weights"


def test_a_manifest_that_is_not_here_cannot_be_tagged(layout):
    with pytest.raises(NotFoundError):
        layout.tag(describe(b"{}", OCI_MANIFEST), REF)
    assert layout.entries() == ()


def test_a_blob_that_is_a_link_is_not_followed(layout, tmp_path):
    content = layout.add_bytes(b"weights", BLOB)
    layout.blob_path(content.digest).unlink()
    (tmp_path / "elsewhere").write_bytes(b"weights")
    layout.blob_path(content.digest).symlink_to(tmp_path / "elsewhere")
    assert not layout.exists(content)
    with pytest.raises(StoreError), layout.open(content):
        pass


@pytest.mark.parametrize("version", ['{"imageLayoutVersion": "2.0.0"}', "{}", "junk", None])
def test_a_layout_of_another_version_is_refused(layout, version):
    layout.tag(layout.add_bytes(b"{}", OCI_MANIFEST), REF)
    (layout.root / "oci-layout").unlink()
    if version is not None:
        (layout.root / "oci-layout").write_text(version)
    with pytest.raises(StoreError, match="OCI image layout"):
        layout.entries()


def test_a_store_that_cannot_be_made_is_an_error_that_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Layout(tmp_path / "file" / "store").add_bytes(b"x", BLOB)


def test_an_index_that_fails_to_be_changed_stays_as_it_was(layout):
    layout.tag(layout.add_bytes(b"{}", OCI_MANIFEST), REF)
    before = (layout.root / "index.json").read_bytes()

    def change_and_fail():
        with layout.changing() as index:
            index.untag(REF)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert (layout.root / "index.json").read_bytes() == before


@pytest.mark.parametrize("what", ["a FIFO", "a directory"])
@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_what_is_no_file_in_place_of_a_small_file_is_refused_and_not_waited_for(layout, name, what):
    layout.tag(layout.add_bytes(b"{}", OCI_MANIFEST), REF)
    path = layout.root / name
    path.unlink()
    if what == "a FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()
    raised = []

    def use(work):
        try:
            work()
        except StoreError as error:
            raised.append(str(error))

    for work in (layout.entries, lambda: layout.resolve(REF), lambda: layout.untag([REF])):
        thread = threading.Thread(target=use, args=(work,), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    assert len(raised) == 3
    assert all(name in text for text in raised)


def test_a_link_to_an_index_is_read_as_ever(layout, tmp_path):
    layout.tag(layout.add_bytes(b"{}", OCI_MANIFEST), REF)
    (layout.root / "index.json").rename(tmp_path / "elsewhere.json")
    (layout.root / "index.json").symlink_to(tmp_path / "elsewhere.json")
    assert [entry.reference for entry in layout.entries()] == [REF]


def _tag_many(root, worker):
    layout = Layout(root)
    for number in range(20):
        content = layout.add_bytes(f'{{"n": {worker * 1000 + number}}}'.encode(), OCI_MANIFEST)
        layout.tag(content, Reference.parse(f"r.io/w{worker}:n{number}"))


def test_several_processes_at_once_lose_no_tag(layout):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_tag_many, args=(layout.root, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert {entry.name for entry in layout.entries()} == {f"r.io/w{w}:n{n}" for w in range(4) for n in range(20)}
