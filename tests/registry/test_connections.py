"""Bodies come straight into a buffer, and connections serve again."""

import os

import pytest

from modfile.errors import ConnectionLostError
from modfile.registry import Registry
from tests.registries.fake import Answer
from tests.registry.reach import settings

pytestmark = pytest.mark.promise("R8")


@pytest.fixture
def repository(registry):
    connected = Registry(registry.host, settings())
    yield connected.repository(f"connections/{os.urandom(6).hex()}"), connected
    connected.close()


def connections_made(registry, host):
    adapter = registry._transport.session.get_adapter(f"http://{host}/")
    return adapter.poolmanager.connection_from_url(f"http://{host}/").num_connections


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_a_connection_serves_again_after_a_body_was_received(repository, registry, source, size):
    repository, connected = repository
    data = os.urandom(size)
    content = source.add(data)
    repository.put(content, source)
    before = connections_made(connected, registry.host)
    for _ in range(5):
        with repository.open(content) as stream:
            buffer, at = memoryview(bytearray(size + 10)), 0
            while count := stream.readinto(buffer[at:]):
                at += count
        assert bytes(buffer[:at]) == data
    assert connections_made(connected, registry.host) == before


def test_reading_in_both_ways_gives_all_of_the_bytes_once(repository, source):
    repository, _ = repository
    data = os.urandom(1_000_000)
    content = source.add(data)
    repository.put(content, source)
    with repository.open(content) as stream:
        first = stream.read(10)
        buffer = memoryview(bytearray(100_000))
        second = bytes(buffer[: stream.readinto(buffer)])
        rest = stream.read()
    assert first + second + rest == data


def test_a_body_that_is_not_read_to_its_end_costs_its_connection_only(repository, source):
    repository, _ = repository
    data = os.urandom(1_000_000)
    content = source.add(data)
    repository.put(content, source)
    for _ in range(3):
        with repository.open(content) as stream:
            assert stream.read(100) == data[:100]
    with repository.open(content, 999_990) as stream:
        assert stream.read() == data[999_990:]


@pytest.mark.parametrize("way", ["read", "readinto"])
def test_a_body_that_ends_early_is_a_lost_connection_either_way(fake, source, way):
    data = b"x" * 200_000
    content = source.add(data)
    fake.always("GET", "/blobs/", Answer(200, body=data, cut=150_000))
    connected = Registry(fake.host, settings())
    stream = connected.repository("a/b").open(content).__enter__()

    def read_all():
        while stream.read(10_000) if way == "read" else stream.readinto(bytearray(10_000)):
            pass

    with pytest.raises(ConnectionLostError):
        read_all()
    connected.close()
