"""Commands through proxies and mirrors, real ones and broken ones."""

import shutil
import socket
import socketserver
import threading
from contextlib import contextmanager

import pytest

from modfile.environment import proxy_from_environment
from modfile.errors import AccessDeniedError, ModfileError, RegistryError, UsageError
from modfile.reference import Reference
from tests.registries import docker
from tests.registries.proxy import _pump as pump
from tests.registries.serving import Handler, serving
from tests.registries.tinyproxy import tinyproxy
from tests.registry.reach import repository

USER, PASSWORD = "carol", "hidden7"


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with tinyproxy(tmp_path_factory.mktemp("tinyproxy")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A proxy that wants to know who we are."""
    with tinyproxy(tmp_path_factory.mktemp("tinyproxy"), user=USER, password=PASSWORD) as proxy:
        yield proxy


def there_and_back(modfile, ref, tmp_path, *options):
    modfile("build", "-t", ref)
    modfile("push", ref, *options)
    shutil.rmtree(tmp_path / "storage")
    modfile("pull", ref, *options)


def through(proxy, host):
    return [line for line in proxy.requests if host in line]


def test_plain_requests_go_through_the_proxy_that_is_named(modfile, model, registry, tiny, tmp_path):
    ref = f"{registry.host}/proxies/plain:v1"
    there_and_back(modfile, ref, tmp_path, "--proxy", f"http://{tiny.host}")
    methods = {line.partition(" ")[0] for line in through(tiny, f"http://{registry.host}/v2/proxies/plain/")}
    assert methods >= {"HEAD", "GET", "POST", "PUT"}


def test_a_proxy_needs_no_scheme(modfile, model, registry, tiny, tmp_path):
    ref = f"{registry.host}/proxies/bare:v1"
    there_and_back(modfile, ref, tmp_path, "--proxy", tiny.host)
    assert through(tiny, "/v2/proxies/bare/")


def test_tls_goes_through_a_tunnel(modfile, model, tls_registry, tiny, tmp_path):
    ref = f"{tls_registry.host}/proxies/tunnel:v1"
    there_and_back(modfile, ref, tmp_path, "--proxy", f"http://{tiny.host}", "--ca-file", tls_registry.ca_file)
    assert set(through(tiny, tls_registry.host)) == {f"CONNECT {tls_registry.host}"}


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_the_environment_names_the_proxy(modfile, model, registry, tiny, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, f"http://{tiny.host}")
    there_and_back(modfile, f"{registry.host}/proxies/{name.lower()}:v1", tmp_path)
    assert through(tiny, f"/v2/proxies/{name.lower()}/")


def test_https_has_a_proxy_of_its_own(modfile, model, tls_registry, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{tiny.host}")
    before = len(through(tiny, f"CONNECT {tls_registry.host}"))
    there_and_back(modfile, f"{tls_registry.host}/proxies/https:v1", tmp_path, "--ca-file", tls_registry.ca_file)
    assert len(through(tiny, f"CONNECT {tls_registry.host}")) > before


@pytest.mark.parametrize("exception", ["{host}", "127.0.0.1", "example.com, 127.0.0.1", "*"])
def test_no_proxy_is_respected(modfile, model, registry, tmp_path, monkeypatch, exception):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", exception.format(host=registry.host))
    there_and_back(modfile, f"{registry.host}/proxies/direct:v1", tmp_path)


def test_the_option_counts_more_than_no_proxy(modfile, model, registry, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    there_and_back(modfile, f"{registry.host}/proxies/chosen:v1", tmp_path, "--proxy", f"http://{tiny.host}")
    assert through(tiny, "/v2/proxies/chosen/")


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_that_asks_for_a_password_gets_it(modfile, model, registry, tls_registry, guarded, tmp_path, tls):
    host = tls_registry.host if tls else registry.host
    options = ["--ca-file", tls_registry.ca_file] if tls else []
    options += ["--proxy", f"http://{USER}:{PASSWORD}@{guarded.host}"]
    there_and_back(modfile, f"{host}/proxies/guarded:v1", tmp_path, *options)
    assert through(guarded, host)


# Proxies that are broken; in the library, where a pause between tries takes no time


def reached_through(proxy, registry, **more) -> str:
    """Expect an error; see that it names no secret; return it."""
    repo = repository(registry.host, "proxies/none", proxy_for=proxy_from_environment(proxy), **more)
    with pytest.raises(ModfileError) as caught:
        repo.resolve(Reference.parse(f"{repo}:v1"))
    assert type(caught.value) in (RegistryError, AccessDeniedError)
    text = str(caught.value)
    assert "hidden" not in text
    assert text.isprintable()
    return text


def tls(tls_registry):
    return {"plain_http": False, "ca_file": tls_registry.ca_file}


# tinyproxy answers a wrong password with 401, which is a registry's to say.
@pytest.mark.parametrize(("login", "status"), [("", "407"), (f"{USER}:hidden-and-wrong@", "401")])
def test_a_proxy_that_refuses_is_quoted(registry, tls_registry, guarded, login, status):
    proxy = f"http://{login}{guarded.host}"
    assert status in reached_through(proxy, registry)
    assert guarded.host in reached_through(proxy, tls_registry, **tls(tls_registry))


@contextmanager
def answering(status, phrase):
    """A proxy that says the same to everything."""

    class Refusing(Handler):
        def handle_one_request(self):
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                self.send_response(status, phrase)
                self.send_header("Content-Length", "0")
                self.send_header("Connection", "close")
                self.end_headers()
            self.close_connection = True

    with serving(Refusing) as host:
        yield host


@pytest.mark.parametrize(("status", "phrase"), [(503, "Service Unavailable"), (407, "Authenticate"), (403, "No")])
def test_what_a_proxy_answers_is_an_error_on_one_line(registry, tls_registry, status, phrase):
    with answering(status, phrase) as host:
        proxy = f"http://{USER}:{PASSWORD}@{host}"
        assert f"{status} {phrase}" in reached_through(proxy, registry)
        assert f"through the proxy http://{host}" in reached_through(proxy, tls_registry, **tls(tls_registry))


def test_a_proxy_that_is_down_is_named(registry, tls_registry):
    proxy = f"http://{USER}:{PASSWORD}@127.0.0.1:1"
    for one, more in ((registry, {}), (tls_registry, tls(tls_registry))):
        text = reached_through(proxy, one, **more)
        assert "through the proxy http://127.0.0.1:1: Connection refused" in text


def test_a_proxy_that_is_down_does_not_break_the_store(modfile, model, registry, tmp_path):
    ref = f"{registry.host}/proxies/down:v1"
    digest = modfile("build", "-t", ref).stdout
    error = modfile("push", ref, "--proxy", f"ftp://{USER}:{PASSWORD}@127.0.0.1:1", exit_code=2).stderr
    assert "http://, https:// or socks5h://" in error
    assert PASSWORD not in error
    assert modfile("ls", "-q").stdout.split()[0] in digest


@pytest.mark.parametrize("scheme", ["socks5", "SOCKS5H", "socks4", "socks4a"])
def test_without_pysocks_it_is_said_what_to_install(monkeypatch, scheme):
    monkeypatch.setattr("modfile.environment.find_spec", lambda name: None)
    proxy_for = proxy_from_environment(f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:1080")
    with pytest.raises(UsageError, match=r"needs PySocks: pip install 'modfile\[socks\]'") as caught:
        proxy_for("https://registry.test/v2/")
    assert PASSWORD not in str(caught.value)


@pytest.fixture
def socks():
    """A SOCKS5 proxy (RFC 1928, RFC 1929) that wants a password; `seen` has the names that were asked for."""
    pytest.importorskip("socks", reason="the extra `socks` is not installed")
    seen = []

    class Greeting(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.read(self.rfile.read(2)[1])
            self.wfile.write(b"\x05\x02")
            user = self.rfile.read(self.rfile.read(2)[1])
            password = self.rfile.read(self.rfile.read(1)[0])
            right = (user, password) == (USER.encode(), PASSWORD.encode())
            self.wfile.write(b"\x01" + bytes([not right]))
            if right:
                self.connect()

        def connect(self):
            kind = self.rfile.read(4)[3]
            raw = self.rfile.read(4) if kind == 1 else self.rfile.read(self.rfile.read(1)[0])
            host = socket.inet_ntoa(raw) if kind == 1 else raw.decode()
            port = int.from_bytes(self.rfile.read(2), "big")
            seen.append(f"{'name' if kind == 3 else 'address'} {host}:{port}")
            with socket.create_connection((host, port), 10) as other:
                self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
                back = threading.Thread(target=pump, args=(other, self.connection), daemon=True)
                back.start()
                pump(self.connection, other)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeting) as server:
        server.daemon_threads = True
        server.seen = seen
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("tls", [False, True])
def test_a_socks_proxy_carries_everything(modfile, model, registry, tls_registry, socks, tmp_path, tls):
    options = ["--ca-file", tls_registry.ca_file] if tls else []
    port = (tls_registry.host if tls else registry.host).rpartition(":")[2]
    proxy = f"socks5h://{USER}:{PASSWORD}@127.0.0.1:{socks.server_address[1]}"
    there_and_back(modfile, f"localhost:{port}/proxies/socks:v1", tmp_path, "--proxy", proxy, *options)
    assert set(socks.seen) == {f"name localhost:{port}"}


def test_a_socks_proxy_that_refuses_is_named(registry, socks):
    host = f"127.0.0.1:{socks.server_address[1]}"
    text = reached_through(f"socks5://{USER}:hidden-and-wrong@{host}", registry)
    assert f"through the proxy socks5://{host}" in text
    assert socks.seen == []


def test_a_socks_proxy_that_is_down_is_named(registry):
    pytest.importorskip("socks", reason="an extra of its own")
    text = reached_through(f"socks5h://{USER}:{PASSWORD}@127.0.0.1:1", registry)
    assert "through the proxy socks5h://127.0.0.1:1" in text


# Mirrors, as the config file names them


@pytest.fixture
def configured(modfile, tmp_path):
    """Run a command with a config file of these lines."""

    def run(text, *arguments, **more):
        (tmp_path / "config.toml").write_text(text)
        return modfile("--config", tmp_path / "config.toml", *arguments, **more)

    return run


def test_a_pull_goes_through_the_cache_that_the_config_file_names(
    modfile, configured, model, registry, tmp_path, tmp_path_factory
):
    ref = f"{registry.host}/mirrors/cached:v1"
    digest = modfile("build", "-t", ref).stdout
    modfile("push", ref)
    with docker.serving(tmp_path_factory.mktemp("cache"), proxy={"remoteurl": f"http://{registry.host}"}) as mirror:
        config = f"[registry.'{registry.host}']\nmirror = '{mirror}'\n"
        for quiet in ([], ["-q"]):
            shutil.rmtree(tmp_path / "storage")
            done = configured(config, *quiet, "pull", ref)
            assert done.stdout == digest
            assert (f"comes from the mirror {mirror}/mirrors/cached" in done.stderr) is not bool(quiet)
        assert configured(config, "inspect", "--remote", ref).stdout == modfile("inspect", "--remote", ref).stdout


def test_a_push_goes_to_the_registry_itself(configured, model, registry, fake):
    ref = f"{registry.host}/mirrors/pushed:v1"
    config = f"[registry.'{registry.host}']\nmirror = 'http://{fake.host}/some/prefix'\n"
    configured(config, "build", "-t", ref)
    configured(config, "push", ref)
    assert fake.seen == []
    done = configured(config, "pull", ref)
    assert [seen.path for seen in fake.seen] == ["/v2/some/prefix/mirrors/pushed/manifests/v1"]
    assert f"the mirror {fake.host}/some/prefix/mirrors/pushed is passed over" in done.stderr


def test_a_mirror_that_is_down_does_not_stop_a_pull(configured, model, registry, tmp_path):
    ref = f"{registry.host}/mirrors/down:v1"
    config = f"[registry.'{registry.host}']\nmirror = '127.0.0.1:1'\n"
    digest = configured(config, "build", "-t", ref).stdout
    configured(config, "push", ref)
    shutil.rmtree(tmp_path / "storage")
    done = configured(config, "pull", ref)
    assert done.stdout == digest
    assert "the mirror 127.0.0.1:1/mirrors/down is passed over" in done.stderr


def test_a_mirror_has_settings_of_its_own(configured, model, registry, tls_fake, ca_file):
    ref = f"{registry.host}/mirrors/tls:v1"
    config = f"[registry.'{registry.host}']\nmirror = 'https://{tls_fake.host}'\n"
    configured(config, "build", "-t", ref)
    configured(config, "push", ref)
    assert "certificate is not trusted" in configured(config, "pull", ref).stderr
    assert "404" in configured(config + f"[registry.'{tls_fake.host}']\nca_file = '{ca_file}'\n", "pull", ref).stderr
    assert "certificate is not trusted" in configured(config, "pull", ref, "--insecure", exit_code=1).stderr


@pytest.mark.parametrize("mirror", ["ftp://mirror.test", "https://alice:hidden@mirror.test", ""])
def test_a_mirror_that_is_none_is_an_error_of_the_config_file(configured, mirror):
    error = configured(f"[registry.'r.test']\nmirror = '{mirror}'\n", "ls", exit_code=2).stderr
    assert "config.toml: registry.'r.test': mirror: " in error
    assert "hidden" not in error
