import errno
import hashlib
import os

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
