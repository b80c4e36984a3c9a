import errno
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess

import pytest

from modfile import reflink
from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import VerificationError
from modfile.layout import Layout
from modfile.partial import Partial
from modfile.pipeline import BLOCK, SMALL, FileReader
from modfile.progress import SILENT
from modfile.store import BytesReader

SIZE = 2 * BLOCK + 4321
XFS_LEAST = 300 << 20


def copied(source, target):
    """Clone by copying, and be told of it."""
    data = os.pread(source, os.fstat(source).st_size, 0)
    os.pwrite(target, data, 0)
    return True


def refuse(source, target):
    return False


@pytest.fixture
def directory(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(params=["xfs", "btrfs"])
def cloning(request, tmp_path):
    """A directory on a file system that can clone."""
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(XFS_LEAST)
    make = shutil.which(f"mkfs.{request.param}", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    steps = [[make, "-q", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]]
    if make is None or any(subprocess.run(step, capture_output=True).returncode for step in steps):
        pytest.skip(f"{request.param} cannot be made or mounted here")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def all_of(fd):
    return os.pread(fd, os.fstat(fd).st_size, 0)


def take(partial, reader, limit, told=None):
    partial.take(reader, limit, (told if told is not None else []).append)


@pytest.mark.parametrize("clone", [copied, refuse, reflink.clone])
def test_a_file_is_taken_in_whole_whether_it_can_be_cloned_or_not(directory, source, tmp_path, clone):
    told = []
    with Partial(directory, "partial", clone=clone) as partial:
        take(partial, FileReader(source), SIZE, told)
        assert partial.size == sum(told) == SIZE
        assert partial.digest == Digest.of(all_of(source))
        partial.publish(directory, "there", 0o444, 1_000_000_000)
    there = tmp_path / "there"
    assert there.read_bytes() == all_of(source)
    assert stat.S_IMODE(there.stat().st_mode) == 0o444
    assert there.stat().st_mtime_ns == 1_000_000_000


def test_what_was_cloned_is_what_is_hashed(directory, source):
    """The source may be another by the time that it would be read."""

    def other(source, target):
        os.pwrite(target, bytes(SIZE), 0)
        return True

    with Partial(directory, "partial", clone=other) as partial:
        take(partial, FileReader(source), SIZE)
        assert partial.digest == Digest.of(bytes(SIZE))


@pytest.mark.parametrize("limit", [SIZE - 1, SMALL + 1])
def test_a_clone_larger_than_was_said_is_found_out(directory, source, limit):
    with Partial(directory, "partial", clone=copied) as partial:
        take(partial, FileReader(source), limit)
        assert partial.size == limit + 1


def test_a_clone_smaller_than_was_said_is_found_out(directory, source):
    with Partial(directory, "partial", clone=copied) as partial:
        take(partial, FileReader(source), SIZE + 10)
        assert partial.size == SIZE


@pytest.mark.parametrize(
    ("reader", "before", "limit"),
    [
        pytest.param(lambda fd: FileReader(fd, 1), b"", SIZE, id="not from the start"),
        pytest.param(FileReader, b"behind this", SIZE, id="behind what is there"),
        pytest.param(lambda fd: BytesReader(all_of(fd)), b"", SIZE, id="no file"),
        pytest.param(FileReader, b"", SMALL, id="small"),
    ],
)
def test_only_all_of_a_large_file_is_cloned(directory, source, reader, before, limit):
    def never(source, target):
        raise AssertionError

    with Partial(directory, "partial", clone=never) as partial:
        take(partial, BytesReader(before), len(before))
        take(partial, reader(source), limit + len(before))
        assert partial.size > len(before)


def test_work_that_is_stopped_while_a_clone_is_hashed_goes_on_from_all_of_it(directory, source):
    def stop(count):
        raise InterruptedError

    with Partial(directory, "partial", clone=copied) as partial, pytest.raises(InterruptedError):
        partial.take(FileReader(source), SIZE, stop)
    with Partial(directory, "partial") as partial:
        assert partial.resume(SIZE, lambda count: None) == SIZE
        assert partial.digest == Digest.of(all_of(source))


@pytest.mark.parametrize("there", [1, 4095, 4096, BLOCK + 7])
def test_a_file_gone_on_with_in_mid_page_is_whole(directory, source, tmp_path, there):
    data = all_of(source)
    (tmp_path / "partial").write_bytes(data[:there])
    with Partial(directory, "partial") as partial:
        assert partial.resume(SIZE, lambda count: None) == there
        take(partial, FileReader(source, there), SIZE)
        assert partial.digest == Digest.of(data)
    assert (tmp_path / "partial").read_bytes() == data


def test_damage_is_found_in_what_came_by_a_clone(tmp_path):
    """A blob of another store that is not what its name says is not taken over."""
    origin, target = Layout(tmp_path / "origin"), Layout(tmp_path / "target", Backoff(sleep=lambda seconds: None))
    digest = origin.add(BytesReader(bytes(SIZE)), SIZE)
    path = origin.blob_path(digest)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"!")
    content = Descriptor("application/octet-stream", digest, SIZE)
    with pytest.raises(VerificationError):
        target.put(content, origin)
    assert not target.exists(content)
    assert not list(target.partials())


def test_a_file_system_that_cannot_clone_leaves_the_target_empty(source):
    target = os.memfd_create("target")
    try:
        assert not reflink.clone(source, target)
        assert os.fstat(target).st_size == 0
    finally:
        os.close(target)


def test_a_clone_shares_the_bytes_and_leaves_the_source_as_it_was(cloning):
    data = os.urandom(SIZE)
    path = cloning / "source"
    path.write_bytes(data)
    before = path.stat()
    layout = Layout(cloning / "store")
    with path.open("rb") as file:
        digest = layout.add(FileReader(file.fileno()), SIZE)
    assert digest.hex == hashlib.sha256(data).hexdigest()
    blob = layout.blob_path(digest)
    assert blob.read_bytes() == data
    assert _first_extent(blob) == _first_extent(path) != 0
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    with path.open("r+b") as file:
        file.write(b"changed")
    assert blob.read_bytes() == data


def test_a_blob_is_cloned_into_another_store_of_the_same_file_system(cloning):
    origin, target = Layout(cloning / "origin"), Layout(cloning / "target")
    digest = origin.add(BytesReader(os.urandom(SIZE)), SIZE)
    target.put(Descriptor("application/octet-stream", digest, SIZE), origin, SILENT)
    assert _first_extent(target.blob_path(digest)) == _first_extent(origin.blob_path(digest)) != 0


def test_a_file_of_another_file_system_is_copied(cloning, tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    layout = Layout(cloning / "store")
    with path.open("rb") as file:
        digest = layout.add(FileReader(file.fileno()), SIZE)
    assert layout.blob_path(digest).read_bytes() == path.read_bytes()


def _first_extent(path):
    """Return where on the disk a file's first bytes are (`FS_IOC_FIEMAP`, Documentation/filesystems/fiemap.rst)."""
    request = bytearray((0).to_bytes(8, "little") + (2**64 - 1).to_bytes(8, "little"))
    request += (1).to_bytes(4, "little") + bytes(4) + (1).to_bytes(4, "little") + bytes(4)
    request += bytes(56)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        fcntl.ioctl(file.fileno(), 0xC020660B, request)
    assert int.from_bytes(request[20:24], "little") == 1, errno.ENODATA
    return int.from_bytes(request[40:48], "little")
