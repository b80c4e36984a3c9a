"""A bound on bytes per second."""

from __future__ import annotations

import os
import threading

import pytest

from modfile.content import Descriptor
from modfile.errors import UsageError
from modfile.progress import SILENT
from modfile.registry import Throttle

from .reach import read_all, repository

MIB = 1 << 20


class Time:
    """A clock that goes on only where somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def throttle(self, rate):
        return Throttle(rate, self.clock, self.sleep)


@pytest.fixture
def time():
    return Time()


def test_bytes_take_their_time(time):
    throttle = time.throttle(1000)
    for _ in range(10):
        throttle.take(500)
    assert time.now == pytest.approx(1005)
    assert time.pauses == pytest.approx([0.5] * 10)


def test_time_in_which_nothing_passed_is_lost(time):
    throttle = time.throttle(1000)
    time.now += 3600
    throttle.take(1000)
    assert time.pauses == pytest.approx([1.0])


def test_time_that_the_line_took_counts(time):
    throttle = time.throttle(1000)
    throttle.take(1000)
    time.now += 0.75
    throttle.take(1000)
    assert time.pauses == pytest.approx([1.0, 1.0])
    throttle.take(0)
    assert len(time.pauses) == 2


@pytest.mark.parametrize(("rate", "block"), [(1, 1024), (8192, 1024), (1 << 20, 1 << 17), (1e12, 1 << 18)])
def test_blocks_are_small_beside_the_rate(rate, block):
    assert Throttle(rate).block == block


@pytest.mark.parametrize("rate", [0, -1, 0.5, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match="at least 1 byte per second"):
        Throttle(rate)


def test_many_threads_share_one_rate():
    """Each waits for its own place in the timetable, which is read here instead of waited for."""
    pauses = []
    throttle = Throttle(1000, lambda: 0.0, pauses.append)
    threads = [threading.Thread(target=lambda: [throttle.take(100) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pauses) == pytest.approx([0.1 * number for number in range(1, 401)])


def test_uploads_and_downloads_share_a_throttle(fake, source, time):
    content = source.add(os.urandom(3 * MIB))
    repo = repository(fake.host, throttle=time.throttle(MIB), chunk_size=MIB)
    repo.put(content, source, SILENT)
    assert time.now == pytest.approx(1003)
    assert read_all(repo, content) == source.content[content.digest]
    assert time.now == pytest.approx(1006, abs=0.01)
    assert max(time.pauses) <= 0.126


def test_our_own_bound_is_not_taken_for_a_bad_line(fake, time):
    """A rate far below the slowest that a line may have."""
    data = bytes(50_000)
    content = Descriptor("a/b", fake.add(data), len(data))
    repo = repository(fake.host, throttle=time.throttle(100), slowest_rate=10_000, stall_timeout=5)
    assert read_all(repo, content) == data
    assert time.now == pytest.approx(1500, abs=1)
