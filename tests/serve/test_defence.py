"""What a hostile, broken or slow client meets, and that a good one does not notice it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from modfile.serve.access import Access
from modfile.serve.connection import Bounds
from tests.registries.served import serving, serving_here

from .wire import codes, digest_of

MIB = 1 << 20


@pytest.fixture
def dial():
    """Return plain connections to servers."""
    with contextlib.ExitStack() as stack:

        def connection(served, data=b""):
            host, _, port = served.host.partition(":")
            one = stack.enter_context(socket.create_connection((host, int(port)), 20))
            one.sendall(data)
            return one

        yield connection


def everything(one) -> bytes:
    """Return what a server sends until it closes."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def head(path="/v2/", method="GET", *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def status(answer: bytes) -> int:
    return int(re.match(rb"HTTP/1\.1 ([0-9]{3}) ", answer)[1])


CLOSE = "Connection: close"

NOT_HTTP = {
    "both lengths": head("/v2/a/blobs/uploads/", "POST", "Content-Length: 5", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "both lengths, the other way round": head("/v2/", "POST", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "two lengths": head("/v2/a/blobs/uploads/", "POST", "Content-Length: 5", "Content-Length: 6"),
    "a length below 0": head("/v2/a/blobs/uploads/", "POST", "Content-Length: -5"),
    "a length that is none": head("/v2/a/blobs/uploads/", "POST", "Content-Length: 0x5"),
    "a length beyond all bounds": head("/v2/a/blobs/uploads/", "POST", "Content-Length: " + "9" * 40),
    "a blank before a colon": head("/v2/", "GET", "Content-Length : 5"),
    "a folded header": head("/v2/", "GET", "A: b", " c"),
    "a header without a name": head("/v2/", "GET", ": b"),
    "a chunk that is none": head("/v2/a/blobs/uploads/", "POST", "Transfer-Encoding: chunked") + b"xyz\r\n",
    "noise": os.urandom(64) + b"\r\n\r\n",
    "TLS": bytes.fromhex("16030100a5010000a1030362") + b"\0" * 100,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a bare line feed in a header": head("/v2/", "GET", "A: b\rc"),
    "a NUL in the path": b"GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("what", NOT_HTTP)
def test_what_can_be_read_in_two_ways_is_refused(served, dial, what):
    answer = everything(dial(served, NOT_HTTP[what]))
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1") == 1
    body = answer.partition(b"\r\n\r\n")[2]
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity, chunked"])
def test_transfer_codings_that_are_not_known_are_refused(served, dial, coding):
    data = head(f"/v2/a/blobs/uploads/?digest={digest_of(b'')}", "POST", f"Transfer-Encoding: {coding}", CLOSE)
    assert status(everything(dial(served, data + b"0\r\n\r\n"))) in (400, 501)


@pytest.mark.parametrize(
    "lines",
    [
        ["A: " + "x" * (33 << 10)],
        [f"A{number}: x" for number in range(5000)],
        ["A" * (33 << 10) + ": x"],
    ],
)
def test_a_head_larger_than_32_kib_is_refused(served, dial, lines):
    answer = everything(dial(served, head("/v2/", "GET", *lines)))
    assert status(answer) == 431
    assert b'"SIZE_INVALID"' in answer


def test_a_url_larger_than_32_kib_is_refused(served, dial):
    assert status(everything(dial(served, head("/v2/" + "x" * (33 << 10))))) == 431


def test_a_head_of_almost_32_kib_is_read(served, dial):
    assert status(everything(dial(served, head("/v2/", "GET", "A: " + "x" * (31 << 10), CLOSE)))) == 200


def test_a_head_without_end_is_cut_off(served, dial):
    one = dial(served, b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA: ")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(64):
            one.sendall(b"x" * 4096)
            time.sleep(0.001)
    assert status(everything(one) or b"HTTP/1.1 431 ") == 431


def test_trailers_tell_nothing_and_are_bounded(served, dial, repository):
    begun = head(
        f"/v2/{repository}/blobs/uploads/?digest={digest_of(b'')}", "POST", "Transfer-Encoding: chunked", CLOSE
    )
    assert status(everything(dial(served, begun + b"0\r\nOrigin: x\r\n\r\n"))) == 201
    flood = b"0\r\n" + b"".join(b"A%d: %s\r\n" % (number, b"x" * 100) for number in range(1000))
    assert status(everything(dial(served, begun + flood)) or b"HTTP/1.1 431 ") in (201, 431)


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_nothing_is_upgraded_to(served, dial, upgrade):
    one = dial(served, head("/v2/", "GET", f"Upgrade: {upgrade}", "Connection: Upgrade, HTTP2-Settings"))
    assert status(everything(one)) == 200


def test_http_1_0_is_answered_and_closed(served, dial):
    assert status(everything(dial(served, b"GET /v2/ HTTP/1.0\r\n\r\n"))) == 200


def test_requests_one_after_the_other_are_answered_in_turn(served, dial, client, repository):
    """Pipelining: answers come in the order of the requests, whole."""
    data = os.urandom(300_000)
    digest = client.upload(repository, data)
    path = f"/v2/{repository}/blobs/{digest}"
    answer = everything(dial(served, head("/v2/") + head(path) + head("/v2/nothing") + head(path, "GET", CLOSE)))
    assert answer.count(data) == 2
    assert [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", answer.replace(data, b""))] == [200, 200, 404, 200]


# Time


@pytest.fixture
def hasty(tmp_path):
    """A server whose bounds are soon reached."""
    bounds = Bounds(
        connections=20, head_seconds=1.5, idle_seconds=1.5, stall_seconds=1.5, linger_seconds=1.5, linger=2 * MIB
    )
    with serving_here(tmp_path, bounds=bounds, patience=1.5) as one:
        yield one


def test_who_says_nothing_is_let_go(hasty, dial):
    assert everything(dial(hasty)) == b""


@pytest.mark.parametrize("after_another", [True, False])
def test_a_head_in_drops_is_cut_off_in_total(hasty, dial, after_another):
    """However regularly the next byte comes."""
    one = dial(hasty, head() if after_another else b"")
    if after_another:
        before = b""
        while not before.endswith(b"{}"):
            before += one.recv(65536)
    one.settimeout(0.1)
    came, began = b"", time.monotonic()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for byte in head("/v2/", "GET", "A: " + "x" * 500):
            one.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                came += one.recv(65536)
                if came:
                    break
            assert time.monotonic() - began < 15
    assert not came or status(came) == 408


def test_an_idle_connection_is_closed(hasty, dial):
    assert status(everything(dial(hasty, head()))) == 200


def test_a_body_that_does_not_come_is_given_up_and_what_came_is_kept(hasty, dial, connect, repository):
    client = connect(hasty.url)
    location = client.begin(repository)
    answer = everything(dial(hasty, head(location, "PATCH", "Content-Length: 1000") + b"x" * 10))
    assert status(answer) == 408
    assert client("GET", location).headers["Range"] == "0-9"
    data = b"x" * 10 + b"y" * 20
    assert client("PUT", location, params={"digest": digest_of(data)}, data=data[10:]).status_code == 201


def test_a_client_that_takes_nothing_is_let_go(hasty, dial, connect, repository):
    client = connect(hasty.url)
    digest = client.upload(repository, os.urandom(64 * MIB))
    one = dial(hasty, head(f"/v2/{repository}/blobs/{digest}"))
    one.recv(1000)
    time.sleep(4)
    assert len(everything(one)) < 63 * MIB


def test_a_refused_body_is_not_read_forever(hasty, dial):
    one = dial(hasty, head("/v2/a/blobs/uploads/", "POST", "Content-Length: 100000000", "Origin: x"))
    assert status(one.recv(1000)) == 403

    def send_all_of_it():
        for _ in range(1000):
            one.sendall(b"x" * 100_000)
            time.sleep(0.005)

    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        send_all_of_it()


def test_slow_clients_do_not_stop_a_good_one(hasty, dial, connect, repository):
    """More of them than there is room for: the one that was waited for longest gives way."""
    client = connect(hasty.url)
    digest = client.upload(repository, b"good")
    location = client.begin(repository)
    slow = [dial(hasty, b"GET /v2/ HT") for _ in range(30)]
    slow += [dial(hasty, head(location, "PATCH", "Content-Length: 5") + b"x") for _ in range(30)]
    for _ in range(20):
        other = connect(hasty.url)
        assert other("GET", f"/v2/{repository}/blobs/{digest}").content == b"good"
    assert len(slow) == 60


# Memory, files, mishaps


def test_a_client_that_goes_away_leaves_what_it_sent(served, dial, client, repository):
    data = os.urandom(100_000)
    location = client.begin(repository)
    with dial(served, head(location, "PATCH", f"Content-Length: {len(data)}") + data[:60_000]):
        time.sleep(0.5)
    deadline = time.monotonic() + 10
    while client("GET", location).headers["Range"] != "0-59999":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = client("PUT", location, params={"digest": digest_of(data)}, data=data[60_000:])
    assert answer.status_code == 201


def test_a_client_that_comes_back_goes_on_though_its_broken_connection_still_stands(served, dial, client, repository):
    """The end of a connection is noticed late where something between holds it: the latest request counts."""
    data = os.urandom(3_000_000)
    location = client.begin(repository)
    broken = dial(served, head(location, "PATCH", f"Content-Length: {len(data)}") + data[:1_000_000])
    deadline = time.monotonic() + 10
    while True:
        there = int(client("GET", location).headers["Range"].partition("-")[2]) + 1
        headers = {"Content-Range": f"{there}-{len(data) - 1}"}
        answer = client("PATCH", location, data=data[there:], headers=headers)
        if answer.status_code == 202:
            break
        assert answer.status_code == 416  # the broken one brought more meanwhile
        assert time.monotonic() < deadline
    with contextlib.suppress(OSError):
        broken.sendall(data[1_000_000:])
    assert client("PUT", location, params={"digest": digest_of(data)}).status_code == 201
    assert client("GET", "/v2/").status_code == 200


@pytest.mark.promise("G1")
def test_a_mishap_is_told_to_nobody_outside_and_the_server_lives(tmp_path, connect, repository):
    with serving(tmp_path, "--allow-push") as one:
        client = connect(one.url)
        client.push(repository, "v1", b"layer")
        index = one.storage / "store" / "index.json"
        good = index.read_bytes()
        index.write_bytes(b"{")
        answer = client("GET", f"/v2/{repository}/manifests/v1")
        assert (answer.status_code, codes(answer)) == (500, ["UNKNOWN"])
        assert str(one.storage) not in answer.text
        assert f"{index} is damaged" in one.log.read_text()
        assert "Traceback" not in one.log.read_text()
        index.write_bytes(good)
        assert client("GET", f"/v2/{repository}/manifests/v1").status_code == 200


def test_a_link_in_a_blobs_place_is_not_followed(served, client, repository):
    data = os.urandom(10)
    digest = client.upload(repository, data)
    path = served.storage / "store" / "blobs" / "sha256" / digest.partition(":")[2]
    other = served.storage.parent / "secret"
    other.write_bytes(b"0123456789")
    path.unlink()
    path.symlink_to(other)
    assert b"0123456789" not in client("GET", f"/v2/{repository}/blobs/{digest}").content
    path.unlink()


def test_a_blob_that_is_cut_while_it_is_sent_breaks_the_answer_off(served, client, dial, repository):
    digest = client.upload(repository, os.urandom(64 * MIB))
    one = dial(served, head(f"/v2/{repository}/blobs/{digest}"))
    one.recv(1000)
    path = served.storage / "store" / "blobs" / "sha256" / digest.partition(":")[2]
    path.chmod(0o600)
    os.truncate(path, 1000)
    assert len(everything(one)) < 64 * MIB
    assert client("GET", "/v2/").status_code == 200
    path.unlink()


def peak(served) -> int:
    """Return the most memory that a server's process had, in bytes."""
    text = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) << 10


def test_memory_stays_flat(tmp_path, connect, dial, repository):
    """A large blob in, streamed, and out to four clients of which three take nothing."""
    with serving(tmp_path, "--allow-push") as one:
        client = connect(one.url)
        client.push(repository, "v1", b"layer")
        before = peak(one)
        data = os.urandom(MIB)
        pieces = (data for _ in range(256))
        answer = client("PATCH", client.begin(repository), data=pieces)
        digest = digest_of(data * 256)
        assert client("PUT", answer.headers["Location"], params={"digest": digest}).status_code == 201
        for _ in range(3):
            dial(one, head(f"/v2/{repository}/blobs/{digest}"))
        assert len(client("GET", f"/v2/{repository}/blobs/{digest}").content) == 256 * MIB
        assert peak(one) - before < 64 * MIB


def test_what_is_logged_stays_on_its_line(served, client):
    client("GET", "/v2/a/tags/list?x=%0aERROR%20forged&y=\x7f")
    assert not [line for line in served.log.read_text().splitlines() if line.startswith("ERROR forged")]


def test_no_request_is_logged_unless_that_was_asked_for(tmp_path, connect):
    with serving(tmp_path, log_level="warning") as one:
        assert connect(one.url)("GET", "/v2/").status_code == 200
        assert connect(one.url)("GET", "/v2/nothing").status_code == 404
        assert one.log.read_text() == ""


# The end


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.promise("G1")
def test_it_ends_by_a_signal_and_what_was_under_way_goes_on_later(tmp_path, connect, dial, repository, number, code):
    """Idle connections, a download that is not taken and an upload that hangs do not hold it up."""
    data = os.urandom(8 * MIB)
    with serving(tmp_path, "--allow-push") as one:
        client = connect(one.url)
        large = client.upload(repository, os.urandom(64 * MIB))
        location = client.begin(repository)
        dial(one)
        dial(one, head())
        dial(one, head(f"/v2/{repository}/blobs/{large}")).recv(1000)
        dial(one, head(location, "PATCH", f"Content-Length: {len(data)}") + data[: 5 * MIB])
        deadline = time.monotonic() + 10
        while not list((one.storage / "serve-uploads").glob("*")):
            assert time.monotonic() < deadline
        time.sleep(0.5)
        assert one.stop(number) == code
        assert "Traceback" not in one.log.read_text()
        assert "ERROR" not in one.log.read_text()
    with serving(tmp_path, "--allow-push") as one:
        client = connect(one.url)
        begins = int(client("GET", location).headers["Range"].partition("-")[2]) + 1
        assert begins > 1
        answer = client("PUT", location, params={"digest": digest_of(data)}, data=data[begins:])
        assert answer.status_code == 201
        assert client("GET", answer.headers["Location"]).content == data


def test_it_may_be_killed_and_started_again(tmp_path, connect, repository):
    with serving(tmp_path, "--allow-push") as one:
        data = connect(one.url).push(repository, "v1", b"layer")
        one.stop(signal.SIGKILL)
    with serving(tmp_path) as one:
        assert connect(one.url)("GET", f"/v2/{repository}/manifests/v1").content == data


def test_few_files_may_be_open(tmp_path, connect, dial):
    """Connections that find no room wait, and the server goes on when there is some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 64 + max(int(path.name) for path in Path("/proc/self/fd").iterdir())  # who starts the server has some
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        with serving(tmp_path) as one:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            crowd = [dial(one, b"GET") for _ in range(few + 16)]
            for each in crowd:
                each.close()
            assert connect(one.url)("GET", "/v2/").status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_reading_alone_writes_nothing(tmp_path, connect):
    with serving_here(tmp_path, access=Access()) as one:
        assert connect(one.url)("GET", "/v2/a/tags/list").status_code == 404
        assert connect(one.url)("HEAD", f"/v2/a/blobs/{digest_of(b'x')}").status_code == 404
        assert not (one.storage / "store" / "index.json").exists()
