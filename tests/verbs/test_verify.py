import json
import os
import socket
from pathlib import Path

import pytest

from modfile.content import Digest
from modfile.errors import DestinationError, NotFoundError, VerificationError
from modfile.layout import Layout
from modfile.reference import Reference
from modfile.store import Combined
from modfile.verbs.extract import extract
from modfile.verbs.verify import repair, verify_directory, verify_store
from tests.faults.scenario import make_artifact

pytestmark = pytest.mark.promise("W9")

REF = Reference.parse("r.io/llm/tiny:v1")
FILES = {"a.bin": b"a" * 5000, "b/c.bin": b"c" * 3_000_000, "b/d/e.txt": b"", "ümläut 🙂": b"u"}


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "store")
    make_artifact(layout, REF, FILES)
    return layout


@pytest.fixture
def out(tmp_path, layout):
    extract(REF, layout, tmp_path / "out")
    return tmp_path / "out"


def test_a_directory_that_was_extracted_is_right(layout, out):
    found = verify_directory(REF, layout, out)
    assert set(found.right) == FILES.keys()
    assert not found.differs()


def flip(path):
    """Change a byte and nothing else that tells: size and time stay."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap_for_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def swap_for_fifo(path):
    path.unlink()
    os.mkfifo(path)


def swap_for_socket(path):
    path.unlink()
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (flip, "is sha256:"),
        (lambda path: path.write_bytes(b""), "has 0 bytes, not 5,000"),
        (lambda path: path.write_bytes(b"a" * 5001), "has 5,001 bytes, not 5,000"),
        (swap_for_link, "is a symbolic link, not a file"),
        (swap_for_fifo, "is a FIFO, not a file"),
        (swap_for_socket, "is a socket, not a file"),
    ],
)
def test_whatever_is_not_the_file_is_told(layout, out, change, problem):
    change(out / "a.bin")
    found = verify_directory(REF, layout, out)
    assert [path for path, _ in found.changed] == ["a.bin"]
    assert problem in found.changed[0][1]
    assert found.differs()
    assert set(found.right) == FILES.keys() - {"a.bin"}


def test_what_is_missing_and_what_is_extra_is_listed(layout, out):
    (out / "b/c.bin").unlink()
    (out / "b/d/e.txt").unlink()
    (out / "b/d").rmdir()
    (out / "b/d").write_text("a file where a directory was")
    (out / "link").symlink_to("/etc/passwd")
    (out / "empty").mkdir()
    (out / "b/deep/er").mkdir(parents=True)
    (out / "b/deep/er/x").write_text("x")
    found = verify_directory(REF, layout, out)
    assert found.missing == ("b/c.bin", "b/d/e.txt")
    assert found.extra == ("b/d", "b/deep/er/x", "link")
    assert found.changed == ()
    said = json.loads(json.dumps(found.to_json()))
    assert (said["Missing"], said["Extra"]) == (list(found.missing), list(found.extra))


def test_a_linked_directory_is_not_looked_into(layout, out, tmp_path):
    (out / "b").rename(tmp_path / "elsewhere")
    (out / "b").symlink_to(tmp_path / "elsewhere")
    found = verify_directory(REF, layout, out)
    assert found.missing == ("b/c.bin", "b/d/e.txt")
    assert found.extra == ("b",)


def test_extra_files_are_no_difference_if_they_may_be_there(layout, out):
    (out / "mine").write_text("mine")
    found = verify_directory(REF, layout, out)
    assert found.differs()
    assert not found.differs(allow_extra=True)
    (out / "a.bin").unlink()
    assert verify_directory(REF, layout, out).differs(allow_extra=True)


def test_names_that_are_no_text_are_extra(layout, out):
    (out / os.fsdecode(b"\xff")).write_text("x")
    (out / "line\nbreak").write_text("x")
    assert verify_directory(REF, layout, out).extra == ("line\nbreak", os.fsdecode(b"\xff"))


def test_there_has_to_be_a_directory(layout, tmp_path):
    with pytest.raises(NotFoundError, match="nowhere is not there"):
        verify_directory(REF, layout, tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DestinationError, match="Not a directory"):
        verify_directory(REF, layout, tmp_path / "file")
    with pytest.raises(NotFoundError, match="v2"):
        verify_directory(Reference.parse("r.io/llm/tiny:v2"), layout, tmp_path)


class Counting:
    """A source that tells which blobs were opened."""

    def __init__(self, layout):
        self._layout = layout
        self.opened = []

    def resolve(self, reference):
        return self._layout.resolve(reference)

    def open(self, content, start=0):
        self.opened.append(content.digest)
        return self._layout.open(content, start)


def test_the_manifest_alone_is_enough(layout, out):
    source = Counting(layout)
    assert not verify_directory(REF, source, out, manifest_alone=True).differs()
    assert source.opened == [layout.resolve(REF).digest]


def test_only_what_differs_is_fetched_for_a_repair(layout, out):
    flip(out / "b/c.bin")
    (out / "a.bin").unlink()
    (out / "mine").write_text("mine")
    inode = (out / "ümläut 🙂").stat().st_ino
    source = Counting(layout)
    found = repair(verify_directory(REF, source, out), REF, Combined((source, layout)), out)
    assert set(source.opened) == {layout.resolve(REF).digest} | {
        Digest.of(FILES[path]) for path in ("a.bin", "b/c.bin")
    }
    assert found.repaired == ("a.bin", "b/c.bin")
    assert not found.differs(allow_extra=True)
    assert found.differs()
    assert (out / "ümläut 🙂").stat().st_ino == inode
    again = verify_directory(REF, layout, out)
    assert (again.missing, again.changed, again.extra) == ((), (), ("mine",))


def test_a_name_like_a_glob_is_repaired_as_the_name_it_is(layout, out):
    make_artifact(layout, REF, {"a[b": b"1", "*": b"2", "x/{": b"3", "other": b"4"})
    extract(REF, layout, out, overwrite=True)
    for path in ("a[b", "*", "x/{"):
        (out / path).unlink()
    found = repair(verify_directory(REF, layout, out), REF, layout, out)
    assert found.repaired == ("*", "a[b", "x/{")
    assert not verify_directory(REF, layout, out).differs()


def test_a_repair_takes_what_was_compared_even_if_the_tag_moved(layout, out):
    found = verify_directory(REF, layout, out)
    (out / "a.bin").unlink()
    found = verify_directory(REF, layout, out)
    make_artifact(layout, REF, {"a.bin": b"new"})
    repair(found, REF, layout, out)
    assert (out / "a.bin").read_bytes() == FILES["a.bin"]


def test_a_repair_from_a_damaged_store_changes_nothing(layout, out):
    (out / "a.bin").write_bytes(b"x")
    (out / "b/c.bin").write_bytes(b"x")
    blob = layout.blob_path(Digest.of(FILES["a.bin"]))
    blob.chmod(0o600)
    flip(blob)
    found = verify_directory(REF, layout, out)
    with pytest.raises(VerificationError):
        repair(found, REF, layout, out)
    assert (out / "a.bin").read_bytes() == (out / "b/c.bin").read_bytes() == b"x"


@pytest.mark.promise("S5")
def test_the_blobs_of_a_store_are_verified_too(layout):
    assert not verify_store(REF, layout).differs()
    blob = layout.blob_path(Digest.of(FILES["b/c.bin"]))
    blob.chmod(0o600)
    flip(blob)
    assert not verify_store(REF, layout, by_size=True).differs()
    found = verify_store(REF, layout)
    assert [path for path, _ in found.changed] == ["b/c.bin"]
    blob.unlink()
    assert verify_store(REF, layout, by_size=True).missing == ("b/c.bin",)
    assert verify_store(REF, layout).hint is None
