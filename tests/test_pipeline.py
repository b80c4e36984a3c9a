import errno
import fcntl
import hashlib
import os
import threading
import time

import pytest

from modfile.pipeline import BLOCK, SMALL, FileReader, FileWriter, pump
from modfile.store import BytesReader

SIZES = [0, 1, BLOCK, SMALL, SMALL + 1, 5 * BLOCK + 17]


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


class Dribble(BytesReader):
    """Gives at most 70,001 bytes at once, as a socket may."""

    def readinto(self, buffer, /):
        return super().readinto(memoryview(buffer)[:70_001])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reader", [BytesReader, Dribble])
def test_all_is_read_hashed_and_written(file, size, reader):
    data, hasher, seen = os.urandom(size), hashlib.sha256(), []
    assert pump(reader(data), hasher, FileWriter(file), size, seen.append) == size
    assert os.pread(file, size + 1, 0) == data
    assert hasher.digest() == hashlib.sha256(data).digest()
    assert sum(seen) == size


@pytest.mark.parametrize("limit", [0, 10, SMALL + 5])
def test_one_byte_past_the_limit_is_read_and_no_more(limit):
    reader = BytesReader(bytes(limit + 1000))
    assert pump(reader, hashlib.sha256(), None, limit, lambda count: None) == limit + 1
    assert len(reader.read()) == 999


@pytest.mark.parametrize("size", [100, 3 * BLOCK])
def test_a_file_is_read_and_written_from_an_offset_on(file, tmp_path, size):
    data = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(data)
    os.pwrite(file, b"0123456789", 0)
    with source.open("rb") as opened:
        pump(FileReader(opened.fileno(), 7), hashlib.sha256(), FileWriter(file, 10), size, lambda count: None)
    assert os.pread(file, size + 10, 0) == b"0123456789" + data[7:]


class Failing(BytesReader):
    def readinto(self, buffer, /):
        count = super().readinto(buffer)
        if not count:
            raise ConnectionError("cut")
        return count


@pytest.mark.parametrize("size", [100, 4 * BLOCK + 5])
def test_what_came_before_a_cut_is_hashed_and_written(file, size):
    data, hasher = os.urandom(size), hashlib.sha256()
    with pytest.raises(ConnectionError):
        pump(Failing(data), hasher, FileWriter(file), size * 2, lambda count: None)
    assert os.pread(file, size + 1, 0) == data
    assert hasher.digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("size", [100, 9 * BLOCK])
def test_a_disk_that_takes_no_more_is_what_is_told_even_if_the_source_breaks_too(size):
    class Full:
        position = 0

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        pump(Failing(bytes(size)), hashlib.sha256(), Full(), size * 2, lambda count: None)


@pytest.mark.parametrize("size", [100, 9 * BLOCK])
def test_the_work_stops_when_the_one_who_is_told_of_it_says_so(size):
    def stop(count):
        raise InterruptedError

    reader = BytesReader(bytes(size))
    with pytest.raises(InterruptedError):
        pump(reader, hashlib.sha256(), None, size, stop)
    assert len(reader.read()) == max(0, size - BLOCK)


@pytest.mark.parametrize("start", [0, 1, 4096, 5000])
@pytest.mark.parametrize("skew", [0, 1])
def test_blocks_are_written_whole_wherever_they_lie_and_the_flags_stay(file, start, skew):
    data = memoryview(bytearray(os.urandom(BLOCK + 4097)))[skew:]
    before = fcntl.fcntl(file, fcntl.F_GETFL)
    writer = FileWriter(file, start)
    for piece in (data[:BLOCK], data[BLOCK:]):
        writer.write(piece)
    assert os.pread(file, 2 * BLOCK, start) == data
    assert writer.position == os.fstat(file).st_size == start + len(data)
    assert fcntl.fcntl(file, fcntl.F_GETFL) == before


def test_the_flags_stay_when_the_disk_is_full():
    full = os.open("/dev/full", os.O_WRONLY)
    before = fcntl.fcntl(full, fcntl.F_GETFL)
    try:
        with pytest.raises(OSError, match="No space left"):
            FileWriter(full).write(memoryview(bytes(BLOCK)))
        assert fcntl.fcntl(full, fcntl.F_GETFL) == before
    finally:
        os.close(full)


def test_what_a_slow_source_gave_is_not_kept_back():
    """What waits in a buffer is lost when the process is killed."""
    written = threading.Event()

    class Slow(BytesReader):
        given = 0

        def readinto(self, buffer, /):
            self.given += 1
            if self.given == 2:
                time.sleep(1.1)
            if self.given == 3:
                assert written.wait(10), "nothing is written while the source has nothing more"
                return 0
            return super().readinto(buffer[:5000])

    class Noticed:
        position = 0

        def write(self, data):
            written.set()

    assert pump(Slow(bytes(SMALL)), hashlib.sha256(), Noticed(), SMALL + 1, lambda count: None) == 10_000


def test_a_file_in_the_page_cache_stays_there(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(8 * BLOCK))
    with path.open("rb") as opened:
        fd = opened.fileno()
        os.fsync(fd)
        opened.read()

        def cached():
            try:
                return sum(os.preadv(fd, [bytearray(1)], at, os.RWF_NOWAIT) for at in range(0, 8 * BLOCK, BLOCK))
            except BlockingIOError:
                return 0

        try:
            before = cached()
        except OSError:
            pytest.skip("the file system does not tell")
        if not before:
            pytest.skip("the machine is short of memory")
        pump(FileReader(fd), hashlib.sha256(), None, 8 * BLOCK, lambda count: None)
        assert cached() == before


def test_a_file_that_knows_no_uncached_reads_and_writes_is_read_and_written_plainly():
    """A pipe takes neither offsets nor flags; memory files take no flags on some kernels."""
    source, target = os.memfd_create("source"), os.memfd_create("target")
    data = os.urandom(3 * BLOCK)
    os.write(source, data)
    try:
        pump(FileReader(source), hashlib.sha256(), FileWriter(target), len(data), lambda count: None)
        assert os.pread(target, len(data), 0) == data
    finally:
        os.close(source)
        os.close(target)
