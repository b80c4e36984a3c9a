"""Blobs on their way up, over bad lines and to registries with manners of their own."""

from __future__ import annotations

import io
import os
import tracemalloc

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import (
    AccessDeniedError,
    ConnectionLostError,
    NotFoundError,
    RegistryError,
    StoreError,
    VerificationError,
)
from modfile.progress import SILENT, Outcome
from modfile.registry import Credential
from tests.registries.fake import Answer

from .reach import CountingMeter, repository

MIB = 1 << 20
ALICE = Credential("alice", "hidden")
UNKNOWN = b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'


def push(fake, source, size=4 * MIB, **more):
    """Push a blob in chunks of one mebibyte; return its digest and the meter."""
    content, meter = source.add(os.urandom(size)), CountingMeter()
    assert repository(fake.host, chunk_size=MIB, **more).put(content, source, meter) is Outcome.MOVED
    assert fake.blobs[str(content.digest)] == source.content[content.digest]
    assert meter.done == size
    return content, meter


def ranges(fake):
    return [one.headers["content-range"] for one in fake.requests("PATCH")]


def test_a_small_blob_goes_in_one_put(fake, source):
    content, _ = push(fake, source, MIB)
    assert [one.method for one in fake.seen] == ["POST", "PUT"]
    assert fake.seen[1].query == {"state": "a/b", "digest": str(content.digest)}
    assert fake.seen[1].headers["content-length"] == str(MIB)
    assert "transfer-encoding" not in fake.seen[1].headers


def test_an_empty_blob_goes_in_one_put(fake, source):
    push(fake, source, 0)
    assert fake.seen[1].headers["content-length"] == "0"


def test_a_large_blob_goes_in_chunks(fake, source):
    push(fake, source, 2 * MIB + 5)
    last = 2 * MIB + 4
    assert ranges(fake) == [f"0-{MIB - 1}", f"{MIB}-{2 * MIB - 1}", f"{2 * MIB}-{last}"]
    assert len(source.opened) == 1


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_chunk_that_fails_goes_again_from_where_the_registry_is(fake, source, number, status):
    answers = iter([None] * number + [Answer(status)])
    fake.on("PATCH", "uploads", lambda seen: next(answers, None))
    _, meter = push(fake, source)
    assert f"goes on at byte {number * MIB}" in " ".join(meter.notes)
    assert len(meter.notes) == 2


def test_a_cut_inside_a_chunk_goes_on_at_the_byte_that_the_registry_names(fake, source):
    """The connection breaks after half of the second chunk was kept."""

    def cut(seen):
        if seen.headers["content-range"].startswith(f"{MIB}-") and len(fake.requests("PATCH")) == 2:
            fake.uploads["session-1"] += seen.body[: MIB // 2]
            return Answer(200, {"Content-Length": "10"}, b"x", cut=0)
        return None

    fake.on("PATCH", "uploads", cut)
    fake.on("GET", "uploads", Answer(500))
    push(fake, source)
    assert ranges(fake)[2].startswith(f"{MIB + MIB // 2}-")


def test_a_registry_that_lost_a_chunk_gets_it_again(fake, source):
    def lose(seen):
        if len(fake.requests("PATCH")) != 3:
            return None
        del fake.uploads["session-1"][MIB:]
        return Answer(503)

    fake.on("PATCH", "uploads", lose)
    content, meter = push(fake, source)
    assert source.opened == [(content.digest, 0), (content.digest, MIB)]
    assert min(meter.steps) < 0


def test_a_session_that_is_gone_is_begun_anew(fake, source):
    answers = iter([None, Answer(503)])
    fake.on("PATCH", "uploads", lambda seen: next(answers, None))
    fake.on("GET", "uploads", Answer(404, body=UNKNOWN))
    content, meter = push(fake, source)
    assert len(fake.requests("POST")) == 2
    assert source.opened == [(content.digest, 0), (content.digest, 0)]
    assert min(meter.steps) < 0


def test_a_registry_that_takes_less_of_a_chunk_gets_the_rest(fake, source):
    def take_less(seen):
        if len(fake.requests("PATCH")) != 1:
            return None
        fake.uploads["session-1"] += seen.body[:1000]
        return Answer(202, {"Location": seen.path, "Range": "0-999"})

    fake.on("PATCH", "uploads", take_less)
    push(fake, source)
    assert ranges(fake)[1].startswith("1000-")


def test_a_chunk_out_of_order_is_put_right(fake, source):
    fake.on("PATCH", "uploads", Answer(416))
    push(fake, source)
    assert len(fake.requests("GET", "uploads")) == 1


def test_a_registry_that_never_gets_further_is_given_up(fake, source):
    fake.always("PATCH", "uploads", Answer(503))
    pauses = []
    content = source.add(os.urandom(4 * MIB))
    with pytest.raises(RegistryError, match="503") as caught:
        repository(fake.host, chunk_size=MIB, sleep=pauses.append).put(content, source, SILENT)
    assert not isinstance(caught.value, ConnectionLostError)
    assert len(pauses) == 3
    assert len(fake.requests("DELETE", "uploads")) == 1


def test_progress_gives_new_tries(fake, source):
    fake.on("PATCH", "uploads", lambda seen: Answer(503) if len(fake.requests("PATCH")) % 2 else None)
    push(fake, source, 8 * MIB, attempts=2)


def test_retry_after_of_an_upload_is_waited_for(fake, source):
    fake.on("PATCH", "uploads", Answer(429, {"Retry-After": "11"}))
    pauses = []
    push(fake, source, sleep=pauses.append)
    assert pauses == [11.0]


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(405),
        Answer(404),
        Answer(501),
        Answer(400, body=b'{"errors":[{"code":"UNSUPPORTED"}]}'),
    ],
)
def test_a_registry_that_refuses_chunks_gets_the_whole(fake, source, refusal):
    fake.always("PATCH", "uploads", refusal)
    push(fake, source)
    assert len(fake.requests("PATCH")) == 1
    assert fake.requests("PUT")[0].headers["content-length"] == str(4 * MIB)


def test_chunks_shrink_where_they_are_too_large(fake, source):
    fake.on("PATCH", "uploads", lambda seen: Answer(413) if len(seen.body) > 2 * MIB else None)
    content = source.add(os.urandom(17 * MIB))
    repository(fake.host, chunk_size=8 * MIB).put(content, source, SILENT)
    assert fake.blobs[str(content.digest)] == source.content[content.digest]
    assert ranges(fake)[:3] == [f"0-{8 * MIB - 1}", f"0-{4 * MIB - 1}", f"0-{2 * MIB - 1}"]


def test_a_whole_blob_that_is_too_large_goes_in_chunks(fake, source):
    fake.on("PUT", "uploads", lambda seen: Answer(413) if len(seen.body) > MIB else None)
    fake.on("PATCH", "uploads", lambda seen: Answer(413) if len(seen.body) > MIB else None)
    content = source.add(os.urandom(5 * MIB))
    repository(fake.host, chunk_size=8 * MIB).put(content, source, SILENT)
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


def test_what_is_too_large_in_any_size_is_an_error(fake, source):
    fake.always("PATCH", "uploads", Answer(413))
    fake.always("PUT", "uploads", Answer(413))
    for size in (10, 5 * MIB):
        with pytest.raises(RegistryError, match="413"):
            repository(fake.host, chunk_size=2 * MIB).put(source.add(os.urandom(size)), source, SILENT)


@pytest.mark.parametrize(("least", "patches"), [("2097152", 3), ("1", 5), ("99999999999999999999", 5), ("x", 5)])
def test_the_least_chunk_length_is_honoured(fake, source, least, patches):
    def begin(seen):
        answer = fake._usual(seen)
        answer.headers["OCI-Chunk-Min-Length"] = least
        return answer

    fake.on("POST", "uploads", begin)
    push(fake, source, 5 * MIB)
    assert len(fake.requests("PATCH")) == patches


def test_a_least_chunk_length_above_the_size_means_one_put(fake, source):
    def begin(seen):
        answer = fake._usual(seen)
        answer.headers["OCI-Chunk-Min-Length"] = str(100 * MIB)
        return answer

    fake.on("POST", "uploads", begin)
    push(fake, source)
    assert fake.requests("PATCH") == []


def test_an_absolute_location_is_followed_without_authorization_on_another_origin(fake, other_fake, source):
    basic = {"WWW-Authenticate": "Basic"}
    other_fake.uploads["elsewhere"] = bytearray()
    location = {"Location": f"http://{other_fake.host}/v2/x/blobs/uploads/elsewhere?token=1"}
    fake.on("POST", "uploads", lambda seen: Answer(202, location) if seen.authorization else Answer(401, basic))
    content = source.add(os.urandom(3 * MIB))
    repository(fake.host, credential=ALICE, chunk_size=MIB).put(content, source, SILENT)
    assert other_fake.blobs[str(content.digest)] == source.content[content.digest]
    assert {one.authorization for one in other_fake.seen} == {None}


def test_another_origin_that_asks_for_credentials_gets_none(fake, other_fake, source):
    location = {"Location": f"http://{other_fake.host}/v2/x/blobs/uploads/elsewhere"}
    fake.always("POST", "uploads", Answer(202, location))
    other_fake.always("PUT", "", Answer(401, {"WWW-Authenticate": "Basic"}))
    with pytest.raises(AccessDeniedError):
        repository(fake.host, credential=ALICE).put(source.add(b"blob"), source, SILENT)
    assert {one.authorization for one in other_fake.seen} == {None}


@pytest.mark.parametrize("headers", [{}, {"Location": ""}, {"Location": "ftp://x/"}, {"Location": "http://u:p@x/"}])
def test_an_upload_without_a_place_to_go_to_is_an_error(fake, source, headers):
    fake.always("POST", "uploads", Answer(202, headers))
    with pytest.raises(RegistryError):
        repository(fake.host).put(source.add(b"blob"), source, SILENT)


def test_an_upload_does_not_go_from_https_to_http(tls_fake, other_fake, ca_file, source):
    tls_fake.always("POST", "uploads", Answer(202, {"Location": f"http://{other_fake.host}/v2/x/blobs/uploads/1"}))
    with pytest.raises(RegistryError, match="from https to http"):
        repository(tls_fake.host, plain_http=False, ca_file=ca_file).put(source.add(b"blob"), source, SILENT)
    assert other_fake.seen == []


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirected_upload_sends_its_body_again(fake, source, status):
    def once(seen):
        if len(fake.requests("PUT")) > 1:
            return None
        return Answer(status, {"Location": f"{seen.path}?digest={seen.query['digest']}"})

    fake.on("PUT", "uploads", once)
    push(fake, source, MIB)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_turn_an_upload_into_a_get_is_an_error(fake, source, status):
    fake.always("POST", "uploads", Answer(status, {"Location": "/elsewhere"}))
    with pytest.raises(RegistryError):
        repository(fake.host).put(source.add(b"blob"), source, SILENT)
    assert fake.requests("GET") == []


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_an_answer_that_was_lost_after_all_arrived_counts(fake, source, size):
    """The registry has stored the blob, and the connection breaks before it says so."""

    def lose(seen):
        if len(fake.requests("PUT")) > 1:
            return None
        fake._usual(seen)
        fake.uploads.clear()
        return Answer(200, {"Content-Length": "10"}, b"", cut=0)

    fake.on("PUT", "uploads", lose)
    push(fake, source, size)
    assert len(fake.requests("PUT")) == 1


def test_a_registry_that_received_something_else_gets_it_once_more(fake, source):
    def spoil(seen):
        if len(fake.requests("PATCH")) == 2:
            seen.body = bytes(len(seen.body))

    fake.on("PATCH", "uploads", spoil)
    _, meter = push(fake, source)
    assert "DIGEST_INVALID: wrong digest; starting over" in meter.notes[0]


def test_a_registry_that_always_finds_a_wrong_digest_is_an_error(fake, source):
    fake.always("PUT", "uploads", Answer(400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}'))
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        repository(fake.host).put(source.add(b"blob"), source, SILENT)
    assert len(fake.requests("PUT")) == 2


def test_a_registry_that_stored_something_else_is_an_error(fake, source):
    fake.always("PUT", "uploads", Answer(201, {"Docker-Content-Digest": str(Digest.of(b"lie"))}))
    with pytest.raises(VerificationError, match="stored"):
        repository(fake.host).put(source.add(b"blob"), source, SILENT)


@pytest.mark.parametrize("header", ["0-99999999", "bytes=0-99999999", "5-10", "x", "0-", "0-5, 7-9"])
def test_a_registry_that_says_what_cannot_be_is_not_believed(fake, source, header):
    fake.on("PATCH", "uploads", lambda seen: Answer(202, {"Location": seen.path, "Range": header}))
    with pytest.raises(RegistryError, match=r"Range|more than it was sent"):
        repository(fake.host, chunk_size=MIB).put(source.add(os.urandom(3 * MIB)), source, SILENT)


class OtherSource:
    """Gives other bytes than its descriptors say."""

    def __init__(self, data):
        self.data = data

    def open(self, content, start=0):
        return io.BytesIO(self.data[start:])


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
@pytest.mark.parametrize("change", ["shorter", "longer", "different"])
def test_bytes_that_are_not_what_is_said_never_get_the_digest(fake, size, change):
    data = os.urandom(size)
    content = Descriptor("a/b", Digest.of(data), size)
    given = {
        "shorter": data[:-1],
        "longer": data + b"x",
        "different": data[:-1] + bytes([data[-1] ^ 1]) if data else b"x",
    }
    if given[change] == data:
        return
    with pytest.raises(VerificationError):
        repository(fake.host, chunk_size=MIB).put(content, OtherSource(given[change]), SILENT)
    assert fake.blobs == {}
    assert not any("digest" in one.query and len(one.body) == size for one in fake.requests("PUT"))
    assert len(fake.requests("DELETE", "uploads")) == 1


def test_a_source_without_the_content_is_its_own_error(fake, source):
    with pytest.raises(NotFoundError, match="is not here"):
        repository(fake.host).put(Descriptor("a/b", Digest.of(b"blob"), 4), source, SILENT)


def test_a_source_that_cannot_be_read_is_not_taken_for_a_bad_line(fake):
    class Broken:
        def open(self, content, start=0):
            return BrokenStream()

    class BrokenStream(io.RawIOBase):
        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    pauses = []
    repo = repository(fake.host, sleep=pauses.append)
    with pytest.raises(StoreError, match="Input/output error"):
        repo.put(Descriptor("a/b", Digest.of(b"blob"), 4), Broken(), SILENT)
    assert pauses == []


def test_a_source_whose_own_line_breaks_is_opened_again_where_it_broke(fake, source):
    data = os.urandom(4 * MIB)
    content = source.add(data)

    class Flaky:
        def __init__(self):
            self.opened = []

        def open(self, content, start=0):
            self.opened.append(start)
            return FlakyStream(data[start:], 2 * MIB + 7 if len(self.opened) == 1 else len(data) + 1)

    class FlakyStream(io.BytesIO):
        def __init__(self, data, end):
            super().__init__(data)
            self.end = end

        def readinto(self, buffer):
            if self.tell() >= self.end:
                raise ConnectionLostError("the source broke off")
            return super().readinto(memoryview(buffer)[: self.end - self.tell()])

    flaky = Flaky()
    repository(fake.host, chunk_size=MIB).put(content, flaky, SILENT)
    assert fake.blobs[str(content.digest)] == data
    assert flaky.opened == [0, 2 * MIB]


def test_a_meter_that_raises_stops_the_upload(fake, source):
    class Stop(Exception):
        pass

    class Stopping(CountingMeter):
        def resume(self, amount):
            pass

        def advance(self, amount):
            raise Stop

    with pytest.raises(Stop):
        repository(fake.host).put(source.add(b"blob"), source, Stopping())
    assert fake.blobs == {}


def test_a_failed_upload_is_cancelled_if_possible_and_the_first_error_told(fake, source):
    fake.always("PUT", "uploads", Answer(403))
    fake.always("DELETE", "uploads", Answer(500))
    with pytest.raises(AccessDeniedError):
        repository(fake.host).put(source.add(b"blob"), source, SILENT)


def test_a_token_that_expires_in_the_middle_is_renewed(fake, source):
    taken = iter(range(100))

    def guard(seen):
        if seen.authorization == f"Bearer {len(fake.requests('GET', '^/token'))}" and next(taken) != 3:
            return None
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'})

    for method in ("POST", "PATCH", "PUT"):
        fake.on(method, "^/v2/", guard)
    fake.on(
        "GET",
        "^/token",
        lambda seen: Answer(body=b'{"token": "%d", "expires_in": 900}' % len(fake.requests("GET", "^/token"))),
    )
    push(fake, source)
    assert len(fake.requests("GET", "^/token")) == 2


def test_memory_does_not_grow_with_the_blob(registry):
    class Endless:
        """So many zeros, made while they are read."""

        def open(self, content, start=0):
            return Zeros(content.size - start)

    class Zeros(io.RawIOBase):
        def __init__(self, left):
            self.left = left

        def readinto(self, buffer):
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = bytes(size)
            return size

    size = 192 * MIB
    hasher = Digest.of(b"").hasher()
    for _ in range(192):
        hasher.update(bytes(MIB))
    content = Descriptor("a/b", Digest("sha256", hasher.hexdigest()), size)
    repo = repository(registry.host, "large/blob")
    repo.exists(content)
    tracemalloc.start()
    try:
        repo.put(content, Endless(), SILENT)
        with repo.open(content) as stream:
            received = sum(len(data) for data in iter(lambda: stream.read(MIB), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert received == size
    assert peak < 16 * MIB
