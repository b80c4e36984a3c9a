"""What another pair of eyes found: delays, silent clients of TLS, full disks, and clients that ask in unusual ways."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
import threading
import time

import pytest

from modfile.content import Digest
from modfile.errors import NotFoundError, StoreError
from modfile.layout import Layout
from modfile.manifest import OCI_MANIFEST
from modfile.serve import server as servers
from modfile.serve.access import Access
from modfile.serve.app import create_app
from modfile.serve.backend import Backend
from modfile.serve.catalog import Catalog
from modfile.serve.connection import Bounds
from modfile.serve.links import Links
from modfile.serve.refusals import FullError
from modfile.serve.uploads import Uploads
from modfile.verbs.prune import prune
from tests.registries.served import serving

from .wire import descriptor, digest_of, manifest_of

MIB = 1 << 20


def no_room(*_):
    """Fail as a full disk does."""
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise StoreError("the disk is full") from error


class Shelf:
    """A store as a server has it, whose disk may be full, and whose clock may be set."""

    def __init__(self, directory):
        self.now = time.time()
        self.layout = FullLayout(directory / "store")
        self.links = FullLinks(directory / "links", lambda: self.now)
        self.catalog = Catalog(self.layout, self.links)
        self.uploads = Uploads(directory / "serve-uploads", self.layout, self.links)

    def fill(self):
        self.layout.full = self.links.full = True

    def put(self, repository, data, *tags):
        digest = None if tags else Digest.of(data)
        return self.catalog.put_manifest(repository, data, OCI_MANIFEST, digest=digest, tags=tags).content.digest

    def upload(self, repository, data):
        session = self.uploads.start(repository)
        with self.uploads.writer(repository, session) as inlet:
            inlet.write(data)
        return self.uploads.finish(repository, session, Digest.of(data)).digest


class FullLayout(Layout):
    full = False

    def changing(self):
        return no_room() if self.full else super().changing()


class FullLinks(Links):
    full = False

    def add(self, repository, digest, size):
        return no_room() if self.full else super().add(repository, digest, size)

    def hide(self, repository, digest, manifests):
        return no_room() if self.full else super().hide(repository, digest, manifests)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


@contextlib.contextmanager
def running(shelf, tls=None, bounds=None):
    """Run a server on a thread; hand out its URL and itself."""
    sockets = servers.listen(servers.addresses("127.0.0.1", 0))
    app = create_app(Backend(shelf.layout, shelf.catalog, shelf.uploads), Access(push=True))
    server, ready = servers.Server(app, sockets, tls, bounds), threading.Event()
    thread = threading.Thread(target=server.serve_until_signal, args=[ready.set])
    thread.start()
    try:
        assert ready.wait(10)
        yield servers.url(sockets[0], tls is not None), server
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def dial(url):
    host, _, port = url.partition("://")[2].partition(":")
    return socket.create_connection((host, int(port)), 10)


# Connections


@pytest.mark.parametrize("secure", [False, True])
def test_small_answers_do_not_wait_for_the_client_to_confirm_the_headers(shelf, connect, server_tls, ca_file, secure):
    with running(shelf, server_tls if secure else None) as (url, server):
        assert connect(url, verify=str(ca_file))("GET", "/v2/").status_code == 200
        (connection,) = server.server_state.connections
        one = connection.transport.get_extra_info("socket")
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_never_ends_the_handshake_of_tls_gives_way(shelf, connect, server_tls, ca_file):
    """No deadline is reached here: it is the number that counts."""
    bounds = Bounds(connections=8, head_seconds=300.0)
    with running(shelf, server_tls, bounds) as (url, _), contextlib.ExitStack() as stack:
        silent = [stack.enter_context(dial(url)) for _ in range(40)]
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""
        client = connect(url, verify=str(ca_file))
        digest = client.upload("a/b", b"data")
        assert client("GET", f"/v2/a/b/blobs/{digest}").content == b"data"
        silent[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)


def test_plain_http_on_a_port_of_tls_is_let_go(shelf, connect, server_tls, ca_file):
    with running(shelf, server_tls) as (url, _):
        with dial(url) as one, contextlib.suppress(ConnectionResetError):
            one.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in one.recv(1000)
        assert connect(url, verify=str(ca_file))("GET", "/v2/").status_code == 200


def test_a_client_that_breaks_off_a_pull_is_no_error_of_the_servers(tmp_path, connect):
    with serving(tmp_path, "--allow-push") as served:
        path = f"/v2/a/b/blobs/{connect(served.url).upload('a/b', os.urandom(64 * MIB))}"
        for _ in range(10):
            with dial(served.url) as one:
                one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                one.recv(1000)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that it is reset
        logged = rf"GET {path} \d+"
        deadline = time.monotonic() + 20
        while len(re.findall(logged, served.log.read_text())) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        log = served.log.read_text()
    assert len(re.findall(logged, log)) == 10
    assert "ERROR" not in log


def test_of_two_who_go_on_with_one_upload_the_first_is_told(shelf, connect):
    with running(shelf) as (url, _):
        client = connect(url)
        location = client.begin("a/b")
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
        with dial(url) as first:
            first.sendall(head.encode() + b"first")
            answer = client("PATCH", location, data=b"later", headers={"Content-Range": "5-9"})
            while answer.status_code == 416:  # the first has not begun
                answer = client("PATCH", location, data=b"later", headers={"Content-Range": "5-9"})
            assert (answer.status_code, answer.headers["Range"]) == (202, "0-9")
            told = first.recv(10_000)
        assert told.startswith(b"HTTP/1.1 409 ")
        assert b"a later request goes on" in told
        done = client("PUT", location, params={"digest": digest_of(b"firstlater")})
        assert done.status_code == 201


# A full disk


def test_a_full_disk_keeps_nobody_from_reading(shelf, connect):
    """HEAD by who may push writes a marker, for which there may be no room."""
    layer = shelf.upload("a/b", b"layer")
    shelf.upload("a/b", b"{}")
    manifest = shelf.put("a/b", manifest_of(descriptor(b"layer")), "v1")
    shelf.now += 25 * 3600
    shelf.fill()
    with running(shelf) as (url, _):
        client = connect(url)
        for name in (f"blobs/{layer}", f"manifests/{manifest}", "manifests/v1"):
            assert client("HEAD", f"/v2/a/b/{name}").status_code == 200
            assert client("GET", f"/v2/a/b/{name}").status_code == 200


@pytest.mark.parametrize("name", ["manifests/v1", "manifests/{manifest}", "blobs/{layer}"])
def test_a_delete_for_which_the_disk_has_no_room_says_so(shelf, connect, name):
    layer = shelf.upload("a/b", b"layer")
    shelf.upload("a/b", b"{}")
    manifest = shelf.put("a/b", manifest_of(descriptor(b"layer")), "v1")
    path = f"/v2/a/b/{name.format(layer=layer, manifest=manifest)}"
    shelf.fill()
    with running(shelf) as (url, _):
        client = connect(url)
        assert client("DELETE", path).status_code == 507
        assert client("GET", path).status_code == 200


def test_a_mount_for_which_the_disk_has_no_room_is_refused(shelf):
    digest = shelf.upload("a/b", b"layer")
    shelf.fill()
    with pytest.raises(FullError):
        shelf.catalog.mount("c", digest, "a/b")


# Prune


@pytest.mark.parametrize("refresh", [False, True])
def test_a_manifest_that_a_pusher_was_told_is_there_stays_for_the_index_that_follows(shelf, refresh):
    """Its tag has moved on, so that nothing else keeps it."""
    shelf.upload("a/b", b"{}")
    old = shelf.put("a/b", manifest_of(annotations={"n": "1"}), "v1")
    shelf.put("a/b", manifest_of(annotations={"n": "2"}), "v1")
    shelf.now += 25 * 3600
    assert shelf.catalog.resolve("a/b", str(old), refresh=refresh).digest == old
    prune(shelf.layout, spared=shelf.links.fresh)
    if refresh:
        assert shelf.catalog.resolve("a/b", str(old)).digest == old
    else:
        with pytest.raises(NotFoundError):
            shelf.catalog.resolve("a/b", str(old))


def test_only_who_may_push_has_a_manifest_spared(tmp_path, connect):
    with serving(tmp_path, "--allow-push") as served:
        data = connect(served.url).push("a/b", "v1")
    marker = tmp_path / "storage" / "links" / "a+b" / "linked" / digest_of(data).replace(":", "-")
    assert not marker.exists()
    with serving(tmp_path) as served:
        assert connect(served.url)("HEAD", f"/v2/a/b/manifests/{digest_of(data)}").status_code == 200
        assert not marker.exists()
    with serving(tmp_path, "--allow-push") as served:
        client = connect(served.url)
        assert client("HEAD", "/v2/a/b/manifests/v1").status_code == 200
        assert not marker.exists()
        assert client("HEAD", f"/v2/a/b/manifests/{digest_of(data)}").status_code == 200
        assert marker.exists()


# Questions


@pytest.mark.parametrize("origin", ["", "UPPER", "../..", "a//b", "a" * 300])
def test_what_cannot_be_a_repository_is_nothing_to_mount_from(client, repository, origin):
    """Section "Mounting a blob from another repository": 202, an upload, where it cannot be mounted."""
    digest = client.upload(f"{repository}/from", b"layer")
    answer = client("POST", f"/v2/{repository}/blobs/uploads/", params={"mount": digest, "from": origin})
    assert answer.status_code == 202
    done = client("PUT", answer.headers["Location"], params={"digest": digest}, data=b"layer")
    assert done.status_code == 201


@pytest.mark.parametrize("n", [2**31 - 1, 2**63 - 1])
def test_as_many_tags_as_there_can_be_are_all_tags(client, repository, n):
    client.push(repository, "v1")
    answer = client("GET", f"/v2/{repository}/tags/list", params={"n": n})
    assert answer.json()["tags"] == ["v1"]
    assert "Link" not in answer.headers
