"""What the tests share: a store, a small model, and registries, real ones as processes and fakes on threads."""

from __future__ import annotations

import signal
import subprocess
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

from modfile.storage import Storage
from tests.hubs.server import Hub, serving_hub
from tests.models import small_model
from tests.registries import docker, served
from tests.registries.fake import FakeRegistry, fake_registry
from tests.registries.memory import MemorySource
from tests.registries.proxy import Proxy, http_proxy
from tests.registries.tokens import ISSUER, SERVICE, TokenServer, token_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path


# Whoever starts the tests in the background lets them ignore interrupts, and what they start would do so as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class PlainRegistry:
    """A registry that lets everybody do everything."""

    host: str


@dataclass(frozen=True)
class PasswordRegistry:
    """A docker-registry with Basic authentication."""

    host: str
    username: str
    password: str


@dataclass(frozen=True)
class TlsRegistry:
    """A docker-registry with a certificate of a CA that nobody trusts."""

    host: str
    ca_file: Path


@dataclass(frozen=True)
class TokenRegistry:
    """A docker-registry that sends its users to a token server."""

    host: str
    username: str
    password: str
    identity_token: str
    tokens: TokenServer


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRegistry]:
    """Debian's docker-registry."""
    with docker.serving(tmp_path_factory.mktemp("registry")) as host:
        yield PlainRegistry(host)


@pytest.fixture(scope="session")
def served_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRegistry]:
    """Our own: `modfile serve` as a process."""
    with served.serving(tmp_path_factory.mktemp("served"), "--allow-push", log_level="error") as server:
        yield PlainRegistry(server.host)


@pytest.fixture(scope="session", params=["docker", "served"])
def registry(request: pytest.FixtureRequest) -> PlainRegistry:
    """Each of the two, so that what is true of one is true of the other."""
    one: PlainRegistry = request.getfixturevalue(f"{request.param}_registry")
    return one


@pytest.fixture(scope="session")
def htpasswd_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PasswordRegistry]:
    directory = tmp_path_factory.mktemp("htpasswd-registry")
    username, password = "alice", "correct horse: battery staple"
    htpasswd = docker.program("htpasswd", "apache2-utils")
    argv = [htpasswd, "-inB", "-C", "4", username]
    users = subprocess.run(argv, input=password, capture_output=True, text=True, check=True).stdout
    (directory / "users").write_text(users)
    auth = {"htpasswd": {"realm": "tests", "path": str(directory / "users")}}
    with docker.serving(directory, auth=auth) as host:
        yield PasswordRegistry(host, username, password)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server on 127.0.0.1 needs to speak TLS."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def tls_registry(
    authority: trustme.CA, ca_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TlsRegistry]:
    directory = tmp_path_factory.mktemp("tls-registry")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(directory / "certificate.pem"), append=True)
    tls = {"certificate": str(directory / "certificate.pem"), "key": str(directory / "key.pem")}
    with docker.serving(directory, {"tls": tls}) as host:
        yield TlsRegistry(host, ca_file)


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenRegistry]:
    directory = tmp_path_factory.mktemp("token-registry")
    username, password, identity_token = "bob", "token password", "identity-token-of-bob"
    with token_server(username, password, identity_token) as tokens:
        (directory / "root.pem").write_bytes(tokens.certificate)
        token = {
            "realm": f"http://{tokens.host}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(directory / "root.pem"),
        }
        with docker.serving(directory, auth={"token": token}) as host:
            yield TokenRegistry(host, username, password, identity_token, tokens)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as one:
        yield one


@pytest.fixture
def other_fake() -> Iterator[FakeRegistry]:
    """Another server, on a port of its own."""
    with fake_registry() as one:
        yield one


@pytest.fixture
def tls_fake(server_tls: ssl.SSLContext) -> Iterator[FakeRegistry]:
    with fake_registry(server_tls) as one:
        yield one


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub of models on loopback, with none yet; nothing is set in the environment."""
    with serving_hub() as one:
        yield one


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with http_proxy() as one:
        yield one


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(tmp_path / "storage")
    yield storage
    storage.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path / "tiny")


@pytest.fixture
def unused_name(request: pytest.FixtureRequest) -> str:
    """A repository's name that no other test uses."""
    text = f"{request.path.stem}-{request.node.name}".lower()
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in text).split()
    return f"{'-'.join(words)[:80].strip('-')}-{zlib.crc32(request.node.nodeid.encode()):08x}"


@pytest.fixture
def source() -> MemorySource:
    return MemorySource()
