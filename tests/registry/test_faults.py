"""What a registry, or the way to it, may do wrong."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
)
from modfile.progress import SILENT
from modfile.reference import Reference
from modfile.registry import Credential, Registry, RegistrySettings
from tests.registries.fake import Answer

from .reach import CountingMeter, read_all, reference, repository, settings

INDEX = "application/vnd.oci.image.index.v1+json"
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": TYPE}).encode()
ALICE = Credential("alice", "hidden")
DATA = bytes(range(256)) * 400


def blob(fake, data=DATA):
    return Descriptor("application/octet-stream", fake.add(data), len(data))


@pytest.mark.promise("R7")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_and_each_pause_is_short_and_told(fake, status):
    fake.manifests["v1"] = (TYPE, MANIFEST)
    fake.on("GET", "manifests", Answer(status), Answer(status))
    pauses = []
    repo = repository(fake.host, sleep=pauses.append)
    assert repo.resolve(reference(repo)).size == len(MANIFEST)
    assert len(pauses) == 2


@pytest.mark.promise("R7")
@pytest.mark.parametrize("status", [400, 404, 405, 409, 418, 501, 505])
def test_what_will_stay_is_not_tried_again(fake, status):
    fake.always("GET", "manifests", Answer(status))
    pauses = []
    repo = repository(fake.host, sleep=pauses.append)
    with pytest.raises((RegistryError, NotFoundError), match=str(status)):
        repo.resolve(reference(repo))
    assert pauses == []
    assert len(fake.seen) == 1


@pytest.mark.promise("R7")
def test_retry_after_is_waited_for_but_not_for_ever(fake):
    fake.on("GET", "manifests", Answer(429, {"Retry-After": "20"}), Answer(429, {"Retry-After": "100000"}))
    pauses = []
    repo = repository(fake.host, sleep=pauses.append)
    with pytest.raises(RegistryError, match="429"):
        repo.resolve(reference(repo))
    assert pauses == [20.0]


HUB = {"code": "TOOMANYREQUESTS", "message": "You have reached your unauthenticated pull rate limit."}
TOO_MANY = json.dumps({"errors": [HUB]}).encode()


@pytest.mark.parametrize("status", [429, 403, 400])
def test_a_rate_limit_is_said_in_the_registrys_words_with_what_helps(fake, status):
    fake.always("GET", "manifests", Answer(status, {"Retry-After": "21600"}, TOO_MANY))
    repo = repository(fake.host)
    with pytest.raises(RegistryError) as caught:
        repo.resolve(reference(repo))
    text = str(caught.value)
    assert text.startswith(f"{fake.host} limits how much it is asked for: GET http://")
    assert "You have reached your unauthenticated pull rate limit." in text
    assert f"modfile login {fake.host}" in text
    assert text.endswith("it asks to wait 6 hours, try again then")
    assert text.isprintable()
    assert len(fake.seen) == 1


def test_who_is_logged_in_is_not_told_to(fake):
    fake.always("GET", "manifests", Answer(429, {"Retry-After": "999"}, TOO_MANY))
    repo = repository(fake.host, credential=ALICE)
    with pytest.raises(RegistryError, match="it asks to wait 17 minutes") as caught:
        repo.resolve(reference(repo))
    assert "modfile login" not in str(caught.value)


@pytest.mark.promise("R7")
def test_a_rate_limit_that_passes_is_waited_for_and_told(fake, source):
    fake.on("POST", "uploads", Answer(429, {"Retry-After": "7"}, TOO_MANY))
    pauses, meter = [], CountingMeter()
    repository(fake.host, sleep=pauses.append).put(source.add(b"blob"), source, meter)
    assert pauses == [7.0]
    assert "limits how much it is asked for" in meter.notes[0]
    assert "trying again in 7.0 s (2 of 4)" in meter.notes[0]


def test_an_error_that_does_not_pass_is_one_of_the_registry_not_of_the_line(fake):
    fake.always("GET", "blobs", Answer(503))
    with pytest.raises(RegistryError) as caught:
        repository(fake.host).open(blob(fake))
    assert not isinstance(caught.value, ConnectionLostError)
    assert len(fake.seen) == 4


def test_a_registry_that_does_not_answer_is_tried_again_and_named():
    pauses = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RegistryError, match=f"cannot reach http://127.0.0.1:{port}: Connection refused"):
        Registry(f"127.0.0.1:{port}", settings(sleep=pauses.append)).authenticate(None)
    assert len(pauses) == 3


def drip(server, head, done):
    """Answer every connection with a head that never ends, a byte at a time."""

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(head)
            while not done.wait(0.02):
                connection.sendall(b"x")

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],)).start()


@pytest.mark.promise("R8")
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_head_that_drips_is_given_up(head, tls, server_tls, ca_file):
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = server_tls.wrap_socket(server, server_side=True) if tls else server
        threading.Thread(target=drip, args=(listener, head, done), daemon=True).start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        more = {"plain_http": False, "ca_file": ca_file} if tls else {}
        registry = Registry(host, settings(attempts=2, stall_timeout=0.2, **more))
        try:
            if b"{}" in head:
                registry.authenticate(None)
            else:
                with pytest.raises(RegistryError, match="does not answer in time"):
                    registry.authenticate(None)
        finally:
            done.set()
            registry.close()
            listener.close()


def test_a_host_that_has_no_name_is_not_tried_again():
    pauses = []
    with pytest.raises(RegistryError, match=r"cannot reach https://no-such-host\.invalid|looked up"):
        Registry("no-such-host.invalid", settings(sleep=pauses.append)).authenticate(None)


@pytest.mark.promise("R8")
def test_a_registry_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RegistryError, match="does not answer in time"):
            Registry(host, settings(attempts=2, stall_timeout=0.1)).authenticate(None)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 yes\r\n\r\n", b"\0" * 100_000])
def test_a_server_that_does_not_speak_http_is_an_error(said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"

        def speak():
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(said)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(RegistryError, match=host):
            Registry(host, settings(attempts=2)).authenticate(None)
        thread.join()


def test_errors_of_the_registry_are_quoted_on_one_line_and_cut(fake):
    errors = [{"code": "NAME_INVALID", "message": f"bad\r\n\x1b[31mname {'x' * 10_000}"}, "odd", {"code": 7}]
    fake.always("GET", "manifests", Answer(400, body=json.dumps({"errors": errors}).encode()))
    repo = repository(fake.host)
    with pytest.raises(RegistryError, match=r"400 .*: NAME_INVALID: bad \[31mname xxx") as caught:
        repo.resolve(reference(repo))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.promise("R8")
@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b"[" * 50_000, b'{"errors": 7}', b'{"errors": [null]}', b"\xff"]
)
def test_a_failure_with_a_body_that_says_nothing_is_still_explained(fake, body):
    fake.always("GET", "manifests", Answer(400, body=body))
    repo = repository(fake.host)
    with pytest.raises(RegistryError, match="/v2/org/model/manifests/v1: 400 Bad Request"):
        repo.resolve(reference(repo))


@pytest.mark.parametrize("answer", [Answer(400, endless=True), Answer(400, {"Content-Length": "99"}, b"x", cut=1)])
def test_the_body_of_a_failure_is_neither_waited_for_nor_kept(fake, answer):
    fake.always("GET", "manifests", answer)
    repo = repository(fake.host)
    with pytest.raises(RegistryError, match="400 Bad Request"):
        repo.resolve(reference(repo))


def test_access_denied_says_how_to_log_in(fake):
    fake.always("GET", "manifests", Answer(403, body=b'{"errors":[{"code":"DENIED"}]}'))
    repo = repository(fake.host)
    with pytest.raises(AccessDeniedError, match=f"DENIED; log in with: modfile login {fake.host}"):
        repo.resolve(reference(repo))


# Redirects


def demand_password(fake):
    basic = {"WWW-Authenticate": "Basic"}
    fake.on("GET", "blobs", lambda seen: None if seen.authorization else Answer(401, basic))


@pytest.mark.promise("R5")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_without_authorization_on_another_origin(fake, other_fake, status):
    content = blob(other_fake)
    demand_password(fake)
    fake.always(
        "GET", "blobs", Answer(status, {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}?sig=1"})
    )
    assert read_all(repository(fake.host, credential=ALICE), content, 7) == DATA[7:]
    assert [one.authorization for one in other_fake.seen] == [None]
    assert other_fake.seen[0].headers["range"] == f"bytes=7-{len(DATA) - 1}"
    assert other_fake.seen[0].query == {"sig": "1"}


@pytest.mark.promise("R5")
def test_authorization_does_not_come_back_after_a_detour(fake, other_fake):
    content = blob(fake)
    demand_password(fake)
    fake.on("GET", "blobs", Answer(307, {"Location": f"http://{other_fake.host}/back"}))
    other_fake.always("GET", "/back", Answer(307, {"Location": f"http://{fake.host}/v2/stolen/blobs/{content.digest}"}))
    with pytest.raises(AccessDeniedError):
        read_all(repository(fake.host, credential=ALICE, attempts=1), content)
    assert all(one.authorization is None for one in fake.requests("GET", "stolen"))
    assert all(one.authorization is None for one in other_fake.seen)


@pytest.mark.promise("R5")
def test_a_redirect_on_the_same_origin_keeps_authorization(fake):
    content = blob(fake)
    demand_password(fake)
    fake.on("GET", "blobs", Answer(307, {"Location": f"/v2/moved/blobs/{content.digest}"}))
    assert read_all(repository(fake.host, credential=ALICE), content) == DATA


@pytest.mark.promise("R5")
def test_no_more_than_five_redirects_are_followed(fake):
    fake.on("GET", "blobs", lambda seen: Answer(307, {"Location": seen.path}))
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        repository(fake.host).open(blob(fake))
    assert len(fake.seen) == 6


@pytest.mark.promise("R5")
def test_a_redirect_from_https_to_http_is_refused(tls_fake, other_fake, ca_file):
    content = blob(other_fake)
    tls_fake.always("GET", "blobs", Answer(307, {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}"}))
    with pytest.raises(RegistryError, match="from https to http, which is refused"):
        repository(tls_fake.host, plain_http=False, ca_file=ca_file).open(content)
    assert other_fake.seen == []


@pytest.mark.promise("R5")
@pytest.mark.parametrize(
    "location", ["ftp://x/", "file:///etc/passwd", "http://u:p@127.0.0.1/", "http://[::", "http://"]
)
def test_a_redirect_to_nowhere_is_an_error(fake, location):
    fake.always("GET", "blobs", Answer(307, {"Location": location}))
    with pytest.raises(RegistryError):
        repository(fake.host).open(blob(fake))


@pytest.mark.promise("R5")
def test_the_endless_body_of_a_redirect_is_not_read(fake):
    content = blob(fake)
    fake.on("GET", "blobs", Answer(307, {"Location": f"/v2/moved/blobs/{content.digest}"}, endless=True))
    assert read_all(repository(fake.host), content) == DATA


@pytest.mark.promise("R5")
def test_an_expired_redirect_is_asked_for_again(fake, other_fake):
    content = blob(other_fake)
    to = {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}"}
    fake.always("GET", "blobs", Answer(307, to))
    other_fake.on("GET", "blobs", Answer(403))
    assert read_all(repository(fake.host), content) == DATA
    assert len(fake.seen) == 2


@pytest.mark.promise("R5")
@pytest.mark.parametrize(
    "refusal", [Answer(401), Answer(403), Answer(400, body=b"<Error><Code>ExpiredToken</Code></Error>")]
)
def test_a_redirect_that_expires_in_the_middle_is_asked_for_again(fake, other_fake, refusal):
    """The part that is missing is asked for with an address that has expired."""
    content = blob(other_fake)
    fake.always("GET", "blobs", Answer(307, {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}"}))
    other_fake.on("GET", "blobs", refusal)
    assert read_all(repository(fake.host), content, 1000) == DATA[1000:]
    assert len(fake.seen) == 2


@pytest.mark.promise("R5")
def test_a_redirect_that_has_expired_when_the_password_was_asked_for_is_asked_for_again(fake, other_fake):
    content = blob(other_fake)
    to = Answer(307, {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}"})
    basic = Answer(401, {"WWW-Authenticate": "Basic"})
    fake.on("GET", "blobs", lambda seen: to if seen.authorization else basic)
    other_fake.on("GET", "blobs", Answer(403))
    assert read_all(repository(fake.host, credential=ALICE), content) == DATA
    assert {one.authorization for one in other_fake.seen} == {None}


def test_storage_that_lets_nobody_in_is_tried_again_and_no_matter_of_logging_in(fake, other_fake):
    content = blob(other_fake)
    fake.always(
        "GET", "blobs", Answer(307, {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}?sig=s"})
    )
    other_fake.always("GET", "blobs", Answer(403))
    pauses = []
    with pytest.raises(RegistryError, match=f"{other_fake.host}/v2/x/blobs/.*: 403") as caught:
        repository(fake.host, sleep=pauses.append).open(content)
    assert not isinstance(caught.value, AccessDeniedError)
    assert "log in" not in str(caught.value)
    assert "sig" not in str(caught.value)
    assert len(pauses) == 3


def test_a_bad_request_to_the_storage_stays_one(fake, other_fake):
    content = blob(other_fake)
    fake.always("GET", "blobs", Answer(307, {"Location": f"http://{other_fake.host}/v2/x/blobs/{content.digest}"}))
    other_fake.always("GET", "blobs", Answer(400, body=b"<Error><Code>InvalidArgument</Code></Error>"))
    with pytest.raises(RegistryError, match="400"):
        repository(fake.host).open(content)
    assert len(fake.seen) == 1


@pytest.mark.promise("R6")
def test_cookies_and_netrc_are_left_alone(fake, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    fake.manifests["v1"] = (TYPE, MANIFEST)
    fake.on("GET", "manifests", Answer(500, {"Set-Cookie": "a=b"}))
    repo = repository(fake.host)
    repo.resolve(reference(repo))
    assert all("cookie" not in one.headers and one.authorization is None for one in fake.seen)
    assert fake.seen[0].headers["accept-encoding"] == "identity"
    assert fake.seen[0].headers["user-agent"].startswith("modfile")


# Manifests


@pytest.mark.promise("R3")
def test_a_manifest_that_is_not_what_the_reference_says_is_refused(fake):
    wanted = Digest.of(b"wanted")
    fake.manifests[str(wanted)] = (TYPE, MANIFEST)
    repo = repository(fake.host)
    with pytest.raises(VerificationError, match=str(wanted)):
        repo.resolve(reference(repo).at(wanted))
    with pytest.raises(VerificationError, match=str(wanted)):
        repo.open(Descriptor(TYPE, wanted, len(MANIFEST)))


@pytest.mark.promise("R3")
@pytest.mark.parametrize(
    ("header", "error"), [(str(Digest.of(b"lie")), VerificationError), ("sha256:xyz", ContentError), ("", ContentError)]
)
def test_a_registry_that_lies_about_a_digest_is_refused(fake, header, error):
    answer = Answer(200, {"Content-Type": TYPE, "Docker-Content-Digest": header}, MANIFEST)
    fake.always("GET", "manifests", answer)
    repo = repository(fake.host)
    with pytest.raises(error):
        repo.resolve(reference(repo))


def test_the_registry_may_leave_out_its_digest_or_use_another_algorithm(fake):
    sha512 = Digest("sha512", "").again(MANIFEST)
    headers = {"Content-Type": f"{TYPE}; charset=utf-8"}
    fake.on(
        "GET",
        "v1",
        Answer(200, headers, MANIFEST),
        Answer(200, headers | {"Docker-Content-Digest": str(sha512)}, MANIFEST),
    )
    repo = repository(fake.host)
    found = Descriptor(TYPE, Digest.of(MANIFEST), len(MANIFEST))
    assert repo.resolve(reference(repo)) == found
    assert repo.resolve(reference(repo)) == found
    fake.manifests[str(sha512)] = (TYPE, MANIFEST)
    assert repo.resolve(reference(repo).at(sha512)).digest == sha512


@pytest.mark.promise("R2")
def test_a_manifest_larger_than_four_mebibytes_is_refused(fake):
    repo = repository(fake.host)
    fake.manifests["v1"] = (TYPE, b" " * (4 << 20) + b"{}")
    with pytest.raises(RegistryError, match="more than 4194304 bytes"):
        repo.resolve(reference(repo))
    fake.always("GET", "v2", Answer(200, {"Content-Type": TYPE}, endless=True))
    with pytest.raises(RegistryError, match="more than 4194304 bytes"):
        repo.resolve(reference(repo, "v2"))


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (TYPE, b"[]"),
        (TYPE, b"text"),
        (TYPE, json.dumps({"mediaType": INDEX}).encode()),
        (TYPE, b'{"mediaType": 7}'),
        ("text/html", b"{}"),
        ("", b"{}"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}"),
        ("application/json", b'{"mediaType": "text/plain\\n"}'),
    ],
)
def test_what_is_not_a_manifest_is_refused(fake, header, body):
    fake.always("GET", "manifests", Answer(200, {"Content-Type": header}, body))
    repo = repository(fake.host)
    with pytest.raises((ContentError, RegistryError)) as caught:
        repo.resolve(reference(repo))
    assert str(caught.value).isprintable()


def test_a_manifests_own_type_counts_where_the_header_has_none(fake):
    fake.manifests["v1"] = ("application/json", json.dumps({"mediaType": INDEX}).encode())
    repo = repository(fake.host)
    assert repo.resolve(reference(repo)).media_type == INDEX


def test_a_manifest_is_fetched_once_for_resolving_reading_and_tagging(fake):
    fake.manifests["v1"] = (TYPE, MANIFEST)
    repo = repository(fake.host)
    manifest = repo.resolve(reference(repo))
    assert read_all(repo, manifest, 3) == MANIFEST[3:]
    repo.tag(manifest, reference(repo, "v2"))
    assert len(fake.requests("GET")) == 1
    assert fake.manifests["v2"] == (TYPE, MANIFEST)


def test_a_manifest_that_the_registry_stored_as_something_else_is_an_error(fake, source):
    fake.always("PUT", "manifests", Answer(201, {"Docker-Content-Digest": str(Digest.of(b"lie"))}))
    with pytest.raises(VerificationError, match="stored the manifest"):
        repository(fake.host).put(source.add(MANIFEST, TYPE), source, SILENT)


def test_references_of_other_repositories_and_without_a_tag_are_refused(fake):
    repo = repository(fake.host)
    with pytest.raises(UsageError):
        repo.resolve(Reference.parse(f"{fake.host}/other:v1"))
    with pytest.raises(UsageError):
        repo.tag(Descriptor(TYPE, Digest.of(MANIFEST), len(MANIFEST)), reference(repo).at(Digest.of(MANIFEST)))
    assert fake.seen == []


# Blobs


def drain(stream, received):
    """Read a stream to its end, into what is received."""
    while data := stream.read(1 << 16):
        received += data


@pytest.mark.parametrize("cut", [0, 1, 50_000, len(DATA) - 1])
@pytest.mark.parametrize("framing", ["length", "none"])
def test_a_blob_that_breaks_off_is_a_lost_connection(fake, cut, framing):
    content = blob(fake)
    headers = {"Content-Length": str(len(DATA)) if framing == "length" else ""}
    fake.always("GET", "blobs", Answer(200, headers, DATA, cut=cut))
    with repository(fake.host).open(content) as stream:
        received = bytearray()
        with pytest.raises(ConnectionLostError):
            drain(stream, received)
    assert received == DATA[: len(received)]


def test_a_blob_in_chunks_that_breaks_off_is_a_lost_connection(fake):
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    fake.always("GET", "blobs", Answer(200, headers, b"5\r\nabcde\r\nff\r\nab", cut=17))
    with repository(fake.host).open(blob(fake)) as stream, pytest.raises(ConnectionLostError):
        drain(stream, bytearray())


def test_a_blob_in_chunks_that_ends_early_is_left_to_verification(fake):
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    fake.always("GET", "blobs", Answer(200, headers, b"5\r\nabcde\r\n0\r\n\r\n"))
    assert read_all(repository(fake.host), blob(fake)) == b"abcde"


def test_a_blob_goes_on_where_it_broke_off(fake):
    content = blob(fake)
    fake.on("GET", "blobs", Answer(200, {"Content-Length": str(len(DATA))}, DATA, cut=1000))
    repo = repository(fake.host)
    with repo.open(content) as stream:
        first = stream.read(1000)
        with pytest.raises(ConnectionLostError):
            drain(stream, bytearray())
    assert first + read_all(repo, content, len(first)) == DATA


@pytest.mark.promise("R8")
def test_a_stalled_blob_is_a_lost_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
                done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        repo = repository(f"127.0.0.1:{server.getsockname()[1]}", stall_timeout=0.2)
        with repo.open(Descriptor("a/b", Digest.of(b""), 10)) as stream:
            assert stream.read(10) == b"abc"
            with pytest.raises(ConnectionLostError, match="stalled"):
                stream.read(10)
        done.set()
        thread.join()


@pytest.mark.promise("R8")
def test_a_blob_that_drips_is_a_lost_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not done.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        repo = repository(f"127.0.0.1:{server.getsockname()[1]}", stall_timeout=0.3, slowest_rate=10_000)
        with repo.open(Descriptor("a/b", Digest.of(b""), 1_000_000)) as stream:
            with pytest.raises(ConnectionLostError, match="less than 10000 bytes per second"):
                drain(stream, bytearray())
            done.set()
        thread.join()


@pytest.mark.promise("R3")
@pytest.mark.parametrize("length", [len(DATA) - 1, len(DATA) + 1, 0])
def test_a_blob_of_another_size_is_refused(fake, length):
    fake.always("GET", "blobs", Answer(200, {}, bytes(length)))
    with pytest.raises(VerificationError, match=f"has {length}"):
        repository(fake.host).open(blob(fake))


@pytest.mark.promise("R3")
def test_an_endless_blob_shows_one_byte_too_many(fake):
    content = blob(fake)
    fake.always("GET", "blobs", Answer(200, {}, DATA, endless=True))
    with repository(fake.host).open(content) as stream:
        received = 0
        while received <= content.size:
            received += len(stream.read(content.size + 1 - received))
    assert received == content.size + 1


@pytest.mark.parametrize("status", [200, 206])
def test_bounded_reads_end_where_they_should(fake, status):
    content = blob(fake)
    if status == 200:
        fake.always("GET", "blobs", Answer(200, {}, DATA))
    else:
        headers = {"Content-Range": f"bytes 100-199/{len(DATA)}"}
        fake.always("GET", "blobs", Answer(206, headers, DATA[100:], endless=True))
    assert read_all(repository(fake.host), content, 100, 200) == DATA[100:200]


def test_a_range_is_closed_and_never_past_the_end(fake):
    content = blob(fake)
    repo = repository(fake.host)
    assert read_all(repo, content, 10) == DATA[10:]
    assert read_all(repo, content, 10, 20) == DATA[10:20]
    assert read_all(repo, content, 10, 10**9) == DATA[10:]
    assert read_all(repo, content, content.size) == b""
    last = len(DATA) - 1
    assert [one.headers["range"] for one in fake.seen] == [f"bytes=10-{last}", "bytes=10-19", f"bytes=10-{last}"]


def test_a_registry_without_ranges_is_read_past_the_start(fake):
    content = blob(fake)
    fake.always("GET", "blobs", Answer(200, {}, DATA))
    assert read_all(repository(fake.host), content, 60_001) == DATA[60_001:]


@pytest.mark.promise("R3")
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        f"bytes 0-{len(DATA) - 1}/{len(DATA)}",
        f"bytes 11-{len(DATA) - 1}/{len(DATA)}",
        f"bytes 10-{len(DATA)}/{len(DATA)}",
        f"bytes 10-9/{len(DATA)}",
        f"bytes 10-{len(DATA) - 1}/{len(DATA) + 1}",
        f"items 10-{len(DATA) - 1}/{len(DATA)}",
    ],
)
def test_another_range_than_asked_for_is_refused(fake, header):
    fake.always("GET", "blobs", Answer(206, {} if header is None else {"Content-Range": header}, DATA[10:]))
    with pytest.raises((RegistryError, VerificationError)):
        repository(fake.host).open(blob(fake), 10)


def test_a_shorter_range_than_asked_for_is_a_lost_connection_at_its_end(fake):
    headers = {"Content-Range": f"bytes 10-19/{len(DATA)}"}
    fake.always("GET", "blobs", Answer(206, headers, DATA[10:20]))
    with repository(fake.host).open(blob(fake), 10) as stream:
        assert stream.read(100) == DATA[10:20]
        with pytest.raises(ConnectionLostError):
            stream.read(100)


def test_a_blob_that_says_it_is_compressed_is_given_as_it_came(fake):
    fake.always("GET", "blobs", Answer(200, {"Content-Encoding": "gzip"}, DATA))
    assert read_all(repository(fake.host), blob(fake)) == DATA


def test_readinto_gives_the_same_bytes(fake):
    content = blob(fake)
    received = bytearray(len(DATA) + 10)
    at = 0
    with repository(fake.host).open(content) as stream:
        while count := stream.readinto(memoryview(received)[at : at + 7777]):
            at += count
    assert bytes(received[:at]) == DATA


def test_connections_are_used_again(fake):
    content = blob(fake)
    repo = repository(fake.host)
    opened = []
    pool_of = repo._client.session.get_adapter("http://x").poolmanager
    for start in (0, 5, 10):
        read_all(repo, content, start)
        repo.exists(content)
        opened += [pool_of.pools.get(key).num_connections for key in pool_of.pools.keys()]  # noqa: SIM118
    assert set(opened) == {1}


@pytest.mark.parametrize(
    ("answers", "there"),
    [
        ([Answer(200, {"Content-Length": str(len(DATA))})], True),
        ([Answer(200, {"Content-Length": str(len(DATA) - 1)})], False),
        ([Answer(404)], False),
        ([Answer(503), Answer(404)], False),
    ],
)
def test_exists_tells_what_the_registry_has(fake, answers, there):
    fake.on("HEAD", "blobs", *answers)
    assert repository(fake.host).exists(blob(fake)) is there


def test_exists_asks_otherwise_where_head_is_not_allowed(fake):
    fake.always("HEAD", "blobs", Answer(405))
    repo = repository(fake.host)
    assert repo.exists(blob(fake))
    assert not repo.exists(Descriptor("a/b", Digest.of(b"nowhere"), 3))


def test_exists_does_not_guess(fake):
    fake.always("HEAD", "blobs", Answer(400))
    with pytest.raises(RegistryError):
        repository(fake.host).exists(blob(fake))


# Tags


def pages(fake, *answers):
    fake.on("GET", "tags/list", *(Answer(200, headers, json.dumps(body).encode()) for headers, body in answers))


def test_tags_are_read_page_by_page(fake):
    link = {"Link": '</v2/org/model/tags/list?n=2&last=b>; rel="next"'}
    pages(fake, (link, {"tags": ["a", "b"]}), ({}, {"tags": ["c"]}))
    assert repository(fake.host).tags() == ["a", "b", "c"]
    assert fake.seen[1].query == {"n": "2", "last": "b"}


@pytest.mark.promise("R9")
def test_a_listing_stops_at_a_repeated_page(fake):
    link = {"Link": '</v2/org/model/tags/list?n=2>; rel="next"'}
    fake.always("GET", "tags/list", Answer(200, link, b'{"tags": ["a", "b"]}'))
    assert repository(fake.host).tags() == ["a", "b"]
    assert len(fake.seen) == 2


@pytest.mark.parametrize("body", [{"tags": None}, {"tags": []}, {}])
def test_no_tags_are_an_empty_list(fake, body):
    pages(fake, ({}, body))
    assert repository(fake.host).tags() == []


@pytest.mark.promise("R9")
@pytest.mark.parametrize("body", [{"tags": 7}, {"tags": [7]}, {"tags": ["a\nb"]}, {"tags": ["../x"]}])
def test_a_listing_of_what_is_no_tag_is_refused(fake, body):
    pages(fake, ({}, body))
    with pytest.raises(RegistryError, match="not a tag"):
        repository(fake.host).tags()


@pytest.mark.promise("R9")
def test_a_listing_does_not_go_on_at_another_host(fake, other_fake):
    link = {"Link": f'<http://{other_fake.host}/v2/org/model/tags/list>; rel="next"'}
    pages(fake, (link, {"tags": ["a"]}))
    with pytest.raises(RegistryError, match="another host"):
        repository(fake.host).tags()
    assert other_fake.seen == []


# Deleting and mounting


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_tag_is_deleted_by_its_name(fake, status):
    fake.always("DELETE", "manifests/v1$", Answer(status))
    repo = repository(fake.host)
    repo.delete(reference(repo))
    with pytest.raises(NotFoundError):
        repo.delete(reference(repo, "v2"))


@pytest.mark.parametrize("answer", [Answer(405), Answer(400, body=b'{"errors":[{"code":"UNSUPPORTED"}]}')])
def test_a_registry_that_does_not_delete_says_so(fake, answer):
    fake.always("DELETE", "manifests", answer)
    repo = repository(fake.host)
    with pytest.raises(RegistryError, match="does not let manifests be deleted"):
        repo.delete(reference(repo).at(Digest.of(MANIFEST)))


@pytest.mark.parametrize(
    ("answer", "worked"),
    [(Answer(201), True), (Answer(202, {"Location": "/v2/org/model/blobs/uploads/x"}), False), (Answer(404), False)],
)
def test_a_mount_tells_whether_it_worked(fake, answer, worked):
    fake.always("POST", "uploads", answer)
    content = blob(fake)
    assert repository(fake.host).mount(content, "other/model") is worked
    assert fake.seen[0].query == {"mount": str(content.digest), "from": "other/model"}
    assert len(fake.requests("DELETE")) == (1 if answer.status == 202 else 0)


def test_a_mount_that_may_not_be_done_did_not_work(fake):
    fake.always("POST", "uploads", Answer(401, {"WWW-Authenticate": "Basic"}))
    assert not repository(fake.host).mount(blob(fake), "other/model")


def test_settings_have_defaults_that_wait():
    assert RegistrySettings().backoff == Backoff()
    assert RegistrySettings().stall_timeout > 0
