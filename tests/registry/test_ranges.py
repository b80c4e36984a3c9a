"""Large blobs over several connections at once."""

from __future__ import annotations

import os
import re
import threading

import pytest

from modfile.content import Descriptor
from modfile.errors import AccessDeniedError, ConnectionLostError, NotFoundError, RegistryError, VerificationError
from modfile.progress import SILENT
from modfile.registry import Throttle
from modfile.registry.ranges import SEGMENT, Budget, RangeReader
from tests.registries.fake import Answer

from .reach import read_all, repository

MIB = 1 << 20
SIZE = 5 * SEGMENT + 12_345
DATA = os.urandom(SIZE)


@pytest.fixture
def content(fake):
    return Descriptor("a/b", fake.add(DATA), SIZE)


@pytest.fixture(autouse=True)
def slow(monkeypatch):
    """No line is fast enough for one connection."""
    monkeypatch.setattr("modfile.registry.ranges._ENOUGH", float("inf"))


def ranged(host, name="org/model", **more):
    return repository(host, name, **{"range_threshold": SEGMENT, "attempts": 2} | more)


def asked(fake):
    return sorted(int(re.match(r"bytes=(\d+)-", one.headers["range"])[1]) for one in fake.requests("GET", "blobs"))


def drain(stream, received):
    while data := stream.read(MIB):
        received += data


@pytest.mark.parametrize("start", [0, 1, SEGMENT, SIZE - SEGMENT - 1])
def test_segments_are_given_out_in_order(fake, content, start):
    assert read_all(ranged(fake.host), content, start) == DATA[start:]
    assert asked(fake) == list(range(start, SIZE, SEGMENT))


def test_a_part_of_a_blob_ends_where_it_should(fake, content):
    assert read_all(ranged(fake.host), content, 7, 3 * SEGMENT) == DATA[7 : 3 * SEGMENT]


def test_a_real_registry_gives_ranges(registry, source):
    content = source.add(DATA)
    repo = ranged(registry.host, "ranges/real")
    repo.put(content, source, SILENT)
    assert read_all(repo, content) == DATA
    assert read_all(repo, content, 12_345) == DATA[12_345:]


@pytest.mark.parametrize("size", [1, 1000, SEGMENT, 3 * SEGMENT])
def test_buffers_of_any_size_are_filled(fake, content, size):
    received = bytearray(SIZE)
    at = 0
    with ranged(fake.host).open(content) as stream:
        while at < 3000 and (count := stream.readinto(memoryview(received)[at : at + size])):
            at += count
        while count := stream.readinto(memoryview(received)[at:]):
            at += count
        assert stream.readinto(bytearray(10)) == 0
    assert bytes(received[:at]) == DATA


def test_all_that_is_left_is_read_at_once(fake, content):
    with ranged(fake.host).open(content) as stream:
        assert stream.read() == DATA
        assert stream.read() == b""


def test_several_connections_are_used_at_once(fake, content):
    """Segments are answered only when two of them have been asked for."""
    together = threading.Barrier(2, timeout=10)

    def meet(seen):
        start = int(re.match(r"bytes=(\d+)-", seen.headers["range"])[1])
        if start in (SEGMENT, 2 * SEGMENT):
            fake._lock.release()
            try:
                together.wait()
            finally:
                fake._lock.acquire()

    fake.on("GET", "blobs", meet)
    assert read_all(ranged(fake.host), content) == DATA


@pytest.mark.parametrize(
    "more",
    [
        {"ranges": 1},
        {"range_threshold": SIZE},
        {"connections": 3},
        {"throttle": Throttle(1e9)},
    ],
)
def test_one_connection_is_enough_where_more_are_not_wanted(fake, content, more):
    assert read_all(ranged(fake.host, **more), content) == DATA
    assert len(fake.requests("GET")) == (2 if "connections" in more else 1)


def test_one_connection_is_enough_where_it_is_fast(fake, content, monkeypatch):
    monkeypatch.setattr("modfile.registry.ranges._ENOUGH", 0.0)
    assert read_all(ranged(fake.host), content) == DATA
    assert [one.headers["range"] for one in fake.requests("GET")] == [
        f"bytes=0-{SEGMENT - 1}",
        f"bytes={SEGMENT}-{SIZE - 1}",
    ]


def test_a_line_that_becomes_slow_is_noticed(fake, content, monkeypatch):
    monkeypatch.setattr("modfile.registry.ranges._LEG", SEGMENT)
    monkeypatch.setattr("modfile.registry.ranges._ENOUGH", 1e6)
    ticks = iter(range(1_000_000))
    now = [0.0]

    def clock():
        """Give the time as it would be if every read took a second after the first two segments."""
        now[0] += 0 if next(ticks) < 20 else 1
        return now[0]

    client = ranged(fake.host)._client
    from modfile.registry.download import Download

    download = Download(client, content)
    first = download._fetch(0, SEGMENT, patient=True)
    with RangeReader(download._fetch, first, 0, SIZE, Budget(32), 2, clock) as stream:
        received = bytearray()
        while data := stream.read(MIB):
            received += data
    assert received == DATA
    assert stream._taken == 0


def test_a_registry_without_ranges_is_read_once(fake, content):
    fake.always("GET", "blobs", Answer(200, {}, DATA))
    assert read_all(ranged(fake.host), content) == DATA
    assert len(fake.requests("GET")) == 1


def test_a_registry_without_ranges_is_read_past_the_start(fake, content):
    fake.always("GET", "blobs", Answer(200, {}, DATA))
    assert read_all(ranged(fake.host), content, 777) == DATA[777:]
    assert len(fake.requests("GET")) == 1


def segment_answers(fake, segment, *answers):
    """Give these answers, then the usual ones, to requests for a segment."""
    left = iter(answers)

    def answer(seen):
        start = int(re.match(r"bytes=(\d+)-", seen.headers["range"])[1])
        return next(left, None) if start // SEGMENT == segment else None

    fake.on("GET", "blobs", answer)


def cut(segment, there):
    """Return an answer with a segment that breaks off after so many bytes."""
    start = segment * SEGMENT
    body = DATA[start : start + SEGMENT]
    last = start + len(body) - 1
    return Answer(206, {"Content-Range": f"bytes {start}-{last}/{SIZE}"}, body, cut=there)


def test_a_segment_that_breaks_off_is_asked_for_from_there(fake, content):
    segment_answers(fake, 2, cut(2, 300_000))
    assert read_all(ranged(fake.host), content) == DATA
    again = [start for start in asked(fake) if start % SEGMENT]
    assert len(again) == 1
    assert 2 * SEGMENT < again[0] <= 2 * SEGMENT + 300_000


def test_a_segment_that_keeps_breaking_off_is_a_lost_connection_at_its_byte(fake, content):
    segment_answers(fake, 3, *[cut(3, 0)] * 20)
    received = bytearray()
    with ranged(fake.host).open(content) as stream, pytest.raises(ConnectionLostError):
        drain(stream, received)
    assert received == DATA[: 3 * SEGMENT]
    assert asked(fake).count(3 * SEGMENT) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_asked_for_too_much_is_asked_for_less(fake, content, status):
    repo = ranged(fake.host)
    segment_answers(fake, 2, Answer(status))
    received = bytearray()
    with repo.open(content) as stream, pytest.raises(ConnectionLostError, match=str(status)):
        drain(stream, received)
    assert received == DATA[: 2 * SEGMENT]
    assert read_all(repo, content, len(received)) == DATA[len(received) :]
    assert f"bytes={3 * SEGMENT}-{SIZE - 1}" in [one.headers["range"] for one in fake.requests("GET")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404), NotFoundError),
        (Answer(403), AccessDeniedError),
        (Answer(206, {"Content-Range": f"bytes 0-9/{SIZE}"}, bytes(10)), RegistryError),
        (Answer(206, {"Content-Range": f"bytes {SEGMENT}-{SEGMENT}/{SIZE + 1}"}, b"x"), VerificationError),
        (Answer(206, {}, b"x"), RegistryError),
        (Answer(200, {}, DATA), ConnectionLostError),
    ],
)
def test_a_segment_that_is_none_is_an_error(fake, content, answer, error):
    segment_answers(fake, 1, *[answer] * 20)
    received = bytearray()
    with ranged(fake.host).open(content) as stream, pytest.raises(error):
        drain(stream, received)
    assert received == DATA[:SEGMENT]


def test_a_first_segment_of_another_size_is_refused(fake, content):
    with pytest.raises(VerificationError):
        ranged(fake.host).open(Descriptor("a/b", content.digest, SIZE + 1))


def test_a_stream_that_is_left_early_asks_for_no_more(fake, content):
    repo = ranged(fake.host)
    for _ in range(20):
        with repo.open(content) as stream:
            while stream._reader.__class__.__name__ != "_Segments":
                stream.read(MIB)
    assert repo._client.budget.take(100) == 8


def test_all_blobs_of_a_registry_share_the_segments():
    budget = Budget(32)
    assert [budget.take(4), budget.take(4), budget.take(4)] == [4, 4, 0]
    budget.give_back(4)
    assert budget.take(100) == 4
    budget.give_back(1)
    assert budget.take(4) == 0  # one connection more is none more
    budget.give_back(3)
    budget.close()
    assert budget.take(4) == 0


@pytest.mark.parametrize(("connections", "segments"), [(1, 0), (3, 0), (4, 2), (10, 5), (1000, 8)])
def test_half_of_the_connections_stay_for_other_work(connections, segments):
    assert Budget(connections).take(100) == segments


def test_many_blobs_at_once_come_whole(fake):
    contents = [os.urandom(3 * SEGMENT + number) for number in range(4)]
    described = [Descriptor("a/b", fake.add(data), len(data)) for data in contents]
    repo = ranged(fake.host)
    received = {}

    def work(number):
        received[number] = read_all(repo, described[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [received[number] for number in range(4)] == contents
    assert repo._client.budget.take(100) == 8
