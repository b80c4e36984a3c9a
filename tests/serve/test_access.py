"""Who may do what: the defaults, passwords, and what the server is not started with."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import bcrypt
import pytest
import requests

from modfile.errors import UsageError
from modfile.serve.access import Access, Action
from modfile.serve.answers import Refusal
from modfile.serve.htpasswd import Htpasswd
from tests.registries.served import PROGRAM, environment, serving

from .wire import codes, digest_of

PASSWORD = "correct horse: battery stäple"


def line(user, password, cost=4):
    return f"{user}:{bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()}\n"


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text("# the team\n\n" + line("alice", PASSWORD) + line("bob", "b" * 80))
    return path


@pytest.fixture(scope="module")
def guarded(users, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("guarded"), "--allow-push", "--htpasswd", users, log_level="debug") as one:
        yield one


@pytest.fixture(scope="module")
def half_open(users, tmp_path_factory):
    options = ("--allow-push", "--htpasswd", users, "--anonymous-read")
    with serving(tmp_path_factory.mktemp("half-open"), *options) as one:
        yield one


@pytest.fixture
def alice(connect, guarded):
    return connect(guarded.url, ("alice", PASSWORD.encode()))


WRITES = [
    ("POST", "/v2/a/blobs/uploads/"),
    ("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'x')}"),
    ("GET", f"/v2/a/blobs/uploads/{'0' * 32}"),
    ("PATCH", f"/v2/a/blobs/uploads/{'0' * 32}"),
    ("PUT", f"/v2/a/blobs/uploads/{'0' * 32}?digest={digest_of(b'x')}"),
    ("DELETE", f"/v2/a/blobs/uploads/{'0' * 32}"),
    ("PUT", "/v2/a/manifests/v1"),
    ("DELETE", "/v2/a/manifests/v1"),
    ("DELETE", f"/v2/a/blobs/{digest_of(b'x')}"),
]
READS = [
    ("GET", "/v2/a/manifests/v1"),
    ("HEAD", "/v2/a/manifests/v1"),
    ("GET", f"/v2/a/blobs/{digest_of(b'x')}"),
    ("GET", "/v2/a/tags/list"),
    ("GET", f"/v2/a/referrers/{digest_of(b'x')}"),
    ("GET", "/v2/_catalog"),
]


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("read-only")) as one:
        yield one


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_nobody_writes_unless_that_was_asked_for(connect, read_only, method, path):
    answer = connect(read_only.url)(method, path)
    assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
    assert not list((read_only.storage / "serve-uploads").glob("*"))


@pytest.mark.parametrize(("method", "path"), READS)
def test_everybody_on_this_machine_reads(connect, read_only, method, path):
    assert connect(read_only.url)(method, path).status_code in (200, 404)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v2/"), *READS, *WRITES])
@pytest.mark.parametrize(
    "auth", [None, ("alice", "wrong"), ("nobody", PASSWORD.encode()), ("", "x"), ("alice", ""), ("alice", "a\0b")]
)
def test_who_has_no_password_gets_nothing(connect, guarded, method, path, auth):
    answer = connect(guarded.url, auth)(method, path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
    if method != "HEAD":
        assert codes(answer) == ["UNAUTHORIZED"]


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !", "Basic YWxpY2U=", "Bearer abc", "Basic " + "A" * 8000, "Basic /////w==", "Digest a=b"],
)
def test_what_is_no_password_lets_nobody_in(connect, guarded, header):
    answer = connect(guarded.url)("GET", "/v2/", headers={"Authorization": header})
    assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])


def test_who_has_a_password_pushes_pulls_and_deletes(alice):
    assert alice("GET", "/v2/").status_code == 200
    alice.push("team/model", "v1", b"layer")
    assert alice("GET", "/v2/team/model/tags/list").json()["tags"] == ["v1"]
    assert alice("DELETE", "/v2/team/model/manifests/v1").status_code == 202


def test_of_a_long_password_what_bcrypt_looks_at_counts(connect, guarded):
    """`htpasswd` and the reference registry look at 72 bytes."""
    assert connect(guarded.url, ("bob", "b" * 72))("GET", "/v2/").status_code == 200
    assert connect(guarded.url, ("bob", "b" * 71))("GET", "/v2/").status_code == 401


def test_no_password_is_logged(connect, guarded):
    for auth in (("alice", PASSWORD.encode()), ("alice", "hidden-guess")):
        connect(guarded.url, auth)("GET", "/v2/")
    log = guarded.log.read_text()
    assert "alice GET /v2/ 200" in log
    assert "- GET /v2/ 401" in log
    for secret in ("hidden-guess", "battery", "Basic ", "uthorization", "$2"):
        assert secret not in log


def test_anonymous_readers_pull_and_do_not_write(connect, half_open):
    owner, anybody = connect(half_open.url, ("alice", PASSWORD.encode())), connect(half_open.url)
    owner.push("public", "v1", b"layer")
    assert anybody("GET", "/v2/public/manifests/v1").status_code == 200
    assert anybody("GET", f"/v2/public/blobs/{digest_of(b'layer')}").content == b"layer"
    assert anybody("GET", "/v2/public/manifests/v1", headers={"Authorization": "Basic Og=="}).status_code == 200
    for method, path in WRITES:
        assert anybody(method, path).status_code == 401
    wrong = connect(half_open.url, ("alice", "wrong"))
    assert wrong("GET", "/v2/public/manifests/v1").status_code == 401


def test_anonymous_readers_learn_that_there_is_a_login(connect, half_open):
    """Clients ask `/v2/` first; one that is not challenged there would not use its password for a push."""
    assert connect(half_open.url)("GET", "/v2/").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:5000", "null", ""])
def test_a_web_page_does_not_write(served, connect, method, origin):
    """Not even one whose own name leads to this machine (DNS rebinding)."""
    answer = connect(served.url)(method, "/v2/a/blobs/uploads/", headers={"Origin": origin})
    assert (answer.status_code, codes(answer)) == (403, ["DENIED"])


@pytest.mark.parametrize("host", ["evil.example", "ghcr.io", "../../x", "a b"])
def test_the_host_header_means_nothing(served, connect, repository, host):
    client = connect(served.url)
    client.push(repository, "v1", b"layer")
    headers = {"Host": host, "X-Forwarded-Host": host}
    assert client("GET", f"/v2/{repository}/manifests/v1", headers=headers).status_code == 200
    begun = client("POST", f"/v2/{repository}/blobs/uploads/", headers=headers)
    assert begun.headers["Location"].startswith(f"/v2/{repository}/")
    index = (served.storage / "store" / "index.json").read_text()
    assert f"localhost/{repository}:v1" in index
    assert host not in index


def test_permission_is_looked_at_before_the_body_is_read(read_only):
    """The refusal comes although no byte of the body does."""
    import socket

    host, _, port = read_only.host.partition(":")
    with socket.create_connection((host, int(port)), 10) as one:
        one.sendall(
            b"PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert one.recv(100).startswith(b"HTTP/1.1 403 ")


def test_a_client_that_sends_all_of_it_gets_to_read_the_refusal(connect, read_only):
    answer = connect(read_only.url)("PUT", "/v2/a/manifests/v1", data=b"x" * 3_000_000)
    assert codes(answer) == ["DENIED"]


# The file


def test_users_come_and_go_while_the_server_runs(connect, tmp_path):
    path = tmp_path / "users"
    path.write_text(line("alice", "one"))
    with serving(tmp_path, "--htpasswd", path) as one:
        alice, bob = connect(one.url, ("alice", "one")), connect(one.url, ("bob", "two"))
        assert [client("GET", "/v2/").status_code for client in (alice, bob)] == [200, 401]
        path.write_text(line("bob", "two") + "alice:plain\n")
        assert [client("GET", "/v2/").status_code for client in (alice, bob)] == [401, 200]
        path.unlink()
        assert [client("GET", "/v2/").status_code for client in (alice, bob)] == [401, 200]
        path.write_text(line("alice", "new"))
        assert [client("GET", "/v2/").status_code for client in (alice, bob)] == [401, 401]
        assert connect(one.url, ("alice", "new"))("GET", "/v2/").status_code == 200
        assert "users:2: alice's password is not hashed by bcrypt" in one.log.read_text()


def test_a_password_that_was_right_costs_nothing_the_next_time(tmp_path):
    path = tmp_path / "users"
    path.write_text(line("alice", "one", cost=10))

    async def ask():
        users = Htpasswd(path)
        began = time.process_time()
        assert await users.knows("alice", "one")
        first = time.process_time() - began
        began = time.process_time()
        for _ in range(100):
            assert await users.knows("alice", "one")
        hundred = time.process_time() - began
        users.close()
        return first, hundred

    first, hundred = asyncio.run(ask())
    assert hundred < first * 10  # a hundred times the first, without what is remembered


def test_requests_that_come_together_look_at_a_password_once(tmp_path):
    path = tmp_path / "users"
    path.write_text(line("alice", "one", cost=8))

    async def ask():
        users = Htpasswd(path)
        answers = await asyncio.gather(*[users.knows("alice", "one") for _ in range(2000)])
        users.close()
        return answers

    assert asyncio.run(ask()) == [True] * 2000


def test_too_many_guesses_at_once_are_refused(tmp_path):
    path = tmp_path / "users"
    path.write_text(line("alice", "one", cost=8))

    async def ask():
        users = Htpasswd(path)
        guesses = [users.knows("alice", str(number)) for number in range(200)]
        answers = await asyncio.gather(*guesses, return_exceptions=True)
        assert await users.knows("alice", "one")
        users.close()
        return answers

    answers = asyncio.run(ask())
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert refused
    assert {answer.status for answer in refused} == {429}
    assert {answer for answer in answers if not isinstance(answer, Refusal)} == {False}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no user; add one with: htpasswd -B"),
        ("# nobody\n", "has no user"),
        ("alice\n", ":1: is not user:hash"),
        ("alice:{SHA}x\n", ":1: alice's password is not hashed by bcrypt"),
        ("alice:$apr1$x$y\n", "not hashed by bcrypt"),
        ("alice:$2y$31$" + "a" * 53 + "\n", "at a cost of 4 to 16"),
        ("alice:$2y$05$short\n", "not hashed by bcrypt"),
        (b"\xff\xfe:\n", "is not UTF-8"),
        (b"#" * (5 << 20), "is larger than 4 MiB"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_lets_nobody_in_is_an_error(tmp_path, text, problem):
    path = tmp_path / "users"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=problem) as caught:
        Htpasswd(path)
    assert "$2y$" not in str(caught.value)


def test_a_file_that_is_none_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(UsageError, match="--htpasswd"):
            Htpasswd(path)


def test_wrong_lines_are_told_of_and_the_others_count(tmp_path):
    path = tmp_path / "users"
    path.write_text(line("alice", "one") + "bob:plain\n" + line("alice", "again"))
    users = Htpasswd(path)
    assert [warning.partition(": ")[0] for warning in users.warnings] == [f"{path}:2", f"{path}:3"]
    assert asyncio.run(users.knows("alice", "one"))
    assert "plain" not in str(users.warnings)
    users.close()


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/v2/", Action.LOGIN),
        ("HEAD", "/v2", Action.LOGIN),
        ("POST", "/v2/", Action.PUSH),
        ("GET", "/v2/a/tags/list", Action.PULL),
        ("HEAD", "/v2/a/blobs/x", Action.PULL),
        ("GET", "/v2/a/blobs/uploads/x", Action.PUSH),
        ("OPTIONS", "/v2/a/tags/list", Action.PUSH),
        ("BREW", "/", Action.PUSH),
        ("GET", "/", Action.PULL),
    ],
)
def test_what_a_request_wants_is_seen_by_its_method_and_path(method, path, action):
    assert Action.of(method, path) is action


def test_nothing_is_allowed_that_was_not_said():
    with pytest.raises(Refusal) as caught:
        asyncio.run(Access().check(Action.PUSH, {}))
    assert caught.value.status == 403


# The command


def start(tmp_path, *options, seconds=20):
    """Run the command where it should not start; return how it ended."""
    argv = [*PROGRAM, "--storage-dir", tmp_path / "storage", "serve", *options]
    return subprocess.run(
        [str(part) for part in argv], env=environment(tmp_path), capture_output=True, text=True, timeout=seconds
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--host", "0.0.0.0", "--allow-push"], "name users with --htpasswd FILE, or say --insecure-allow-push"),
        (["--host", "::", "--allow-push"], "--insecure-allow-push"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid: "),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 5000: Cannot assign requested address"),
        (["--anonymous-read"], "give --htpasswd too"),
        (["--htpasswd", "nowhere"], "--htpasswd nowhere: No such file or directory"),
        (["--read-only", "--insecure-allow-push"], "exclude each other"),
        (["--tls-cert", "x"], "--tls-cert and --tls-key belong together"),
        (["--tls-cert", "nowhere", "--tls-key", "x"], "--tls-cert nowhere: No such file or directory"),
        (["--namespace", "no host"], "is not a host"),
        (["--port", "70000"], "Invalid value for '--port'"),
    ],
)
@pytest.mark.promise("G1")
def test_what_makes_no_sense_is_said_in_one_line(tmp_path, options, problem):
    done = start(tmp_path, *options)
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


@pytest.mark.promise("G1")
def test_an_address_in_use_is_said_in_one_line(tmp_path, served):
    done = start(tmp_path, "--port", served.host.rpartition(":")[2])
    assert (done.returncode, done.stdout) == (2, "")
    assert "another program listens there; take another --port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_other_hosts_may_read_without_a_word(tmp_path):
    with serving(tmp_path, "--host", "0.0.0.0") as one:
        port = one.url.rpartition(":")[2]
        assert requests.get(f"http://127.0.0.1:{port}/v2/", timeout=10).status_code == 200
        assert one.log.read_text().count("warning") == 0


def test_other_hosts_push_if_that_is_said_twice(tmp_path, connect):
    with serving(tmp_path, "--host", "0.0.0.0", "--insecure-allow-push") as one:
        connect(f"http://127.0.0.1:{one.url.rpartition(':')[2]}").push("a", "v1", b"layer")


def test_passwords_in_the_clear_are_warned_of(tmp_path, users):
    with serving(tmp_path, "--host", "0.0.0.0", "--allow-push", "--htpasswd", users) as one:
        assert "warning: passwords for 0.0.0.0 cross the network in the clear" in one.log.read_text()


# TLS


@pytest.fixture
def certificate(authority, tmp_path):
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(tmp_path / "cert.pem"), append=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_it_speaks_tls(certificate, ca_file, connect, tmp_path):
    cert, key = certificate
    with serving(tmp_path, "--allow-push", "--tls-cert", cert, "--tls-key", key) as one:
        assert one.url.startswith("https://127.0.0.1:")
        client = connect(one.url, verify=str(ca_file))
        layer = os.urandom(5_000_000)
        client.push("a", "v1", layer)
        path = f"/v2/a/blobs/{digest_of(layer)}"
        assert client("GET", path).content == layer
        assert client("GET", path, headers={"Range": "bytes=5-9"}).content == layer[5:10]
        assert client("HEAD", path).headers["Content-Length"] == "5000000"
        empty = client.upload("a", b"")
        assert client("GET", f"/v2/a/blobs/{empty}").content == b""


@pytest.mark.parametrize(
    ("cert", "key", "problem"),
    [
        ("cert.pem", "cert.pem", "expected PEM files"),
        ("key.pem", "key.pem", "expected PEM files"),
        ("cert.pem", "other.pem", "they do not belong together"),
        ("cert.pem", "encrypted.pem", "is encrypted"),
        ("empty", "key.pem", "expected PEM files"),
        ("cert.pem", "nowhere", "--tls-key"),
    ],
)
@pytest.mark.promise("G1")
def test_a_certificate_that_is_none_is_said_in_one_line(certificate, authority, tmp_path, cert, key, problem):
    from cryptography.hazmat.primitives import serialization as forms

    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    private = forms.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    (tmp_path / "encrypted.pem").write_bytes(
        private.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"hidden password")
        )
    )
    (tmp_path / "empty").touch()
    done = start(tmp_path, "--tls-cert", tmp_path / cert, "--tls-key", tmp_path / key)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert problem in done.stderr


def test_users_of_many_connections_are_let_in_at_once(guarded, connect):
    """Passwords are looked at off the event loop, and one look serves all."""
    clients = [connect(guarded.url, ("alice", PASSWORD.encode())) for _ in range(20)]
    statuses = []
    threads = [
        threading.Thread(target=lambda one=one: statuses.append(one("GET", "/v2/").status_code)) for one in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 20


def test_other_commands_start_without_the_server():
    code = (
        "import sys, modfile_cmd.main;"
        "print([m for m in ('starlette', 'uvicorn', 'bcrypt', 'asyncio', 'modfile.serve') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
