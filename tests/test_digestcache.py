import os
import threading
from types import SimpleNamespace

import pytest

from modfile.content import Digest
from modfile.digestcache import DigestCache

LATER = 4_000_000_000_000_000_000
DIGEST = Digest.of(b"x")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.db"


@pytest.fixture
def open_cache(path):
    """Open the cache, at a time that is told; closed at the end."""
    opened = []

    def open_it(now_ns=LATER, at=path):
        opened.append(DigestCache(at, now_ns=lambda: now_ns))
        return opened[-1]

    yield open_it
    for cache in opened:
        cache.close()


@pytest.fixture
def status(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    return file.stat()


def test_what_was_remembered_is_known_in_another_process_too(open_cache, status):
    cache = open_cache()
    cache.put(status, DIGEST)
    cache.close()
    assert open_cache().get(status) == DIGEST


@pytest.mark.promise("W7")
def test_a_file_that_changed_is_unknown(open_cache, status, tmp_path):
    cache = open_cache()
    cache.put(status, DIGEST)
    os.utime(tmp_path / "file", ns=(0, status.st_mtime_ns + 1))
    assert cache.get((tmp_path / "file").stat()) is None


@pytest.mark.promise("W7")
def test_a_file_whose_time_was_set_back_after_a_change_is_unknown(open_cache, status, tmp_path):
    cache = open_cache()
    cache.put(status, DIGEST)
    (tmp_path / "file").write_bytes(b"y")
    os.utime(tmp_path / "file", ns=(0, status.st_mtime_ns))
    assert cache.get((tmp_path / "file").stat()) is None


@pytest.mark.promise("W7")
def test_a_file_too_young_for_its_times_to_tell_changes_apart_is_not_remembered(open_cache, status):
    cache = open_cache(status.st_ctime_ns + 1_000_000)
    cache.put(status, DIGEST)
    assert cache.get(status) is None


@pytest.mark.parametrize("damage", [b"not a database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_cache_is_begun_anew(path, open_cache, status, damage):
    path.write_bytes(damage)
    cache = open_cache()
    assert cache.get(status) is None
    cache.put(status, DIGEST)
    assert cache.get(status) == DIGEST


def test_a_cache_that_cannot_be_opened_is_done_without(open_cache, tmp_path, status):
    cache = open_cache(at=tmp_path / "missing" / "cache.db")
    cache.put(status, DIGEST)
    assert cache.get(status) is None


def test_threads_share_it(open_cache, status):
    cache = open_cache()
    threads = [threading.Thread(target=lambda: [cache.put(status, DIGEST) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get(status) == DIGEST


def test_inode_numbers_of_64_bits_fit(open_cache):
    huge = SimpleNamespace(st_dev=2**64 - 1, st_ino=2**64 - 1, st_size=1, st_mtime_ns=1, st_ctime_ns=1)
    cache = open_cache()
    cache.put(huge, DIGEST)
    assert cache.get(huge) == DIGEST
