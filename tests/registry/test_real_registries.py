"""What only a registry that others wrote can prove."""

from __future__ import annotations

import json
import os
import threading

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import AccessDeniedError, NotFoundError, RegistryError, UsageError, VerificationError
from modfile.progress import SILENT, Outcome
from modfile.registry import Credential, CredentialStore, Registry
from tests.registries.memory import MANIFEST

from .reach import CountingMeter, read_all, reference, repository, settings

MIB = 1 << 20


def manifest_of(*layers: Descriptor, **more) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [one.to_json() for one in layers]}
    return json.dumps(value | more, indent=3).encode()  # an indentation of its own, which must be kept


def push(repo, source, *blobs: bytes, **more) -> Descriptor:
    layers = [source.add(data) for data in blobs]
    for layer in (*layers, source.add(b"{}")):
        repo.put(layer, source, SILENT)
    manifest = source.add(manifest_of(*layers, **more), MANIFEST)
    repo.put(manifest, source, SILENT)
    return manifest


@pytest.mark.parametrize("size", [0, 1, 5, 3 * MIB, 3 * MIB + 1])
def test_a_blob_comes_back_as_it_went(registry, source, size):
    repo = repository(registry.host, f"sizes/of-{size}", chunk_size=MIB)
    data = os.urandom(size)
    content, meter = source.add(data), CountingMeter()
    assert not repo.exists(content) or size == 0
    assert repo.put(content, source, meter) is Outcome.MOVED
    assert repo.exists(content)
    assert read_all(repo, content) == data
    assert meter.done == size


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (1, None), (5, 7), (99_999, None), (100_000, None), (7, 7)])
def test_a_part_of_a_blob_is_read(registry, source, start, stop):
    repo = repository(registry.host)
    data = os.urandom(100_000)
    content = source.add(data)
    repo.put(content, source, SILENT)
    assert read_all(repo, content, start, stop) == data[start:stop]


def test_a_manifest_keeps_its_bytes_and_gets_a_tag(registry, source):
    repo = repository(registry.host, "manifests/kept")
    manifest = push(repo, source, b"layer")
    repo.tag(manifest, reference(repo))
    again = repository(registry.host, "manifests/kept")
    assert again.resolve(reference(repo)) == manifest
    assert again.resolve(reference(repo).at(manifest.digest)) == manifest
    assert read_all(again, manifest) == source.content[manifest.digest]
    assert again.exists(manifest)


def test_a_manifest_is_tagged_that_was_pushed_by_somebody_else(registry, source):
    repo = repository(registry.host, "manifests/tagged")
    manifest = push(repo, source, b"layer")
    other = repository(registry.host, "manifests/tagged")
    other.tag(manifest, reference(repo, "late"))
    assert other.tags() == ["late"]


def test_what_is_not_there_is_not_found(registry, source):
    repo = repository(registry.host, "nothing/here")
    with pytest.raises(NotFoundError, match="nothing/here:v1 is not in the registry"):
        repo.resolve(reference(repo))
    with pytest.raises(NotFoundError):
        repo.open(source.add(b"nowhere"))
    with pytest.raises(NotFoundError):
        repo.tags()
    with pytest.raises(NotFoundError):
        repo.delete(reference(repo).at(Digest.of(b"nowhere")))
    assert not repo.exists(source.add(b"nowhere"))
    assert not repo.exists(source.add(b"{}", MANIFEST))


def test_a_blob_of_another_repository_is_mounted(registry, source):
    content = source.add(os.urandom(1000))
    repository(registry.host, "mount/from").put(content, source, SILENT)
    repo = repository(registry.host, "mount/to")
    assert not repo.mount(source.add(b"nowhere"), "mount/from")
    assert repo.mount(content, "mount/from")
    assert repo.exists(content)


def test_a_registry_that_does_not_let_tags_be_deleted_says_so(docker_registry, source):
    repo = repository(docker_registry.host, "tags/kept")
    repo.tag(push(repo, source, b"layer"), reference(repo))
    with pytest.raises(RegistryError, match="does not let tags be deleted"):
        repo.delete(reference(repo))


def test_a_deleted_manifest_is_gone_with_its_tags(registry, source):
    repo = repository(registry.host, "manifests/deleted")
    manifest = push(repo, source, b"layer")
    repo.tag(manifest, reference(repo))
    repo.delete(reference(repo).at(manifest.digest))
    fresh = repository(registry.host, "manifests/deleted")
    assert not fresh.exists(manifest)
    try:
        tags = fresh.tags()
    except NotFoundError:  # some know no repository that holds nothing
        tags = ()
    assert list(tags) == []


def test_wrong_bytes_are_never_given_to_the_registry(registry, source):
    repo = repository(registry.host, "wrong/bytes", chunk_size=MIB)
    for size in (10, 3 * MIB):
        content = source.add(os.urandom(size))
        source.content[content.digest] = os.urandom(size)
        with pytest.raises(VerificationError):
            repo.put(content, source, SILENT)
        assert not repo.exists(content)


def test_a_manifest_that_the_registry_does_not_like_says_why(registry, source):
    repo = repository(registry.host, "manifests/bad")
    manifest = source.add(manifest_of(Descriptor("a/b", Digest.of(b"never pushed"), 12)), MANIFEST)
    with pytest.raises((RegistryError, NotFoundError), match="MANIFEST_BLOB_UNKNOWN"):
        repo.put(manifest, source, SILENT)


def test_many_threads_share_a_repository(registry, source):
    repo = repository(registry.host, "many/threads", chunk_size=MIB, connections=4)
    contents = [source.add(os.urandom(MIB + number)) for number in range(12)]
    failures = []

    def transfer(content):
        try:
            repo.put(content, source, SILENT)
            assert read_all(repo, content) == source.content[content.digest]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=transfer, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_password_registry_lets_in_who_has_the_password(htpasswd_registry, source, tmp_path):
    known = Credential(htpasswd_registry.username, htpasswd_registry.password)
    host = htpasswd_registry.host
    Registry(host, settings()).authenticate(known)
    store = CredentialStore([tmp_path / "config.json"])
    store.set(host, known)
    repo = Registry(host, settings(), store).repository("org/model")
    manifest = push(repo, source, os.urandom(1000))
    repo.tag(manifest, reference(repo))
    assert repo.resolve(reference(repo)) == manifest


@pytest.mark.parametrize("credential", [None, Credential("alice", "hidden"), Credential("x", identity_token="hidden")])
def test_a_password_registry_refuses_others_and_says_how_to_log_in(htpasswd_registry, source, credential):
    host = htpasswd_registry.host
    with pytest.raises(AccessDeniedError, match=f"modfile login {host}") as caught:
        Registry(host, settings()).authenticate(credential)
    assert "hidden" not in str(caught.value)
    repo = repository(host, credential=credential)
    for work in (lambda: repo.resolve(reference(repo)), lambda: repo.put(source.add(b"x"), source, SILENT)):
        with pytest.raises(AccessDeniedError, match=f"modfile login {host}"):
            work()


@pytest.mark.parametrize("with_token", [False, True])
def test_a_token_registry_lets_in_who_the_token_server_knows(token_registry, source, with_token):
    identity = Credential("", identity_token=token_registry.identity_token)
    known = identity if with_token else Credential(token_registry.username, token_registry.password)
    Registry(token_registry.host, settings()).authenticate(known)
    name = f"private/{'token' if with_token else 'password'}"
    repo = repository(token_registry.host, name, known, chunk_size=MIB)
    manifest = push(repo, source, os.urandom(3 * MIB))
    repo.tag(manifest, reference(repo))
    assert repo.resolve(reference(repo)) == manifest
    other = repository(token_registry.host, f"{name}-copy", known)
    layer = next(iter(source.content))
    assert other.mount(Descriptor("a/b", layer, 3 * MIB), name)


def test_a_token_is_asked_for_once_per_scope(token_registry, source):
    known = Credential(token_registry.username, token_registry.password)
    repo = repository(token_registry.host, "private/counted", known)
    before = len(token_registry.tokens.asked)
    for number in range(5):
        content = source.add(os.urandom(100 + number))
        repo.exists(content)
        repo.put(content, source, SILENT)
        read_all(repo, content)
    asked = token_registry.tokens.asked[before:]
    assert sorted(asked) == [("repository:private/counted:pull",), ("repository:private/counted:pull,push",)]


def test_a_token_registry_lets_everybody_pull_what_is_public(token_registry, source):
    known = Credential(token_registry.username, token_registry.password)
    repo = repository(token_registry.host, "public/model", known)
    manifest = push(repo, source, b"layer")
    repo.tag(manifest, reference(repo))
    nobody = repository(token_registry.host, "public/model")
    assert nobody.resolve(reference(nobody)) == manifest
    with pytest.raises(AccessDeniedError, match="modfile login"):
        nobody.put(source.add(b"new"), source, SILENT)


@pytest.mark.parametrize("credential", [Credential("bob", "hidden"), Credential("", identity_token="hidden")])
def test_a_token_server_that_refuses_is_quoted_on_one_line(token_registry, credential):
    with pytest.raises(AccessDeniedError, match="wrong password") as caught:
        Registry(token_registry.host, settings()).authenticate(credential)
    assert "hidden" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_tls_registry_is_trusted_by_its_ca(tls_registry, source):
    repo = repository(tls_registry.host, plain_http=False, ca_file=tls_registry.ca_file, chunk_size=MIB)
    data = os.urandom(3 * MIB)
    content = source.add(data)
    repo.put(content, source, SILENT)
    assert read_all(repo, content) == data
    assert read_all(repo, content, 5, 10) == data[5:10]


def test_a_tls_registry_is_trusted_unseen_if_that_is_asked_for(tls_registry):
    Registry(tls_registry.host, settings(plain_http=False, insecure=True)).authenticate(None)


def test_an_unknown_ca_is_not_trusted(tls_registry):
    pauses = []
    with pytest.raises(RegistryError, match=r"its certificate is not trusted .* --ca-file") as caught:
        Registry(tls_registry.host, settings(plain_http=False, sleep=pauses.append)).authenticate(None)
    assert "--insecure" in str(caught.value)
    assert pauses == []


def test_plain_http_to_a_tls_registry_says_so(tls_registry):
    with pytest.raises(RegistryError, match="speaks HTTPS, not plain HTTP"):
        Registry(tls_registry.host, settings()).authenticate(None)


def test_tls_to_a_plain_registry_says_so(registry):
    with pytest.raises(RegistryError, match="does not speak TLS; use --plain-http"):
        Registry(registry.host, settings(plain_http=False)).authenticate(None)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none_is_an_error_that_names_it(tls_registry, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"cannot use the CA file .*ca\.pem"):
        Registry(tls_registry.host, settings(plain_http=False, ca_file=path)).authenticate(None)


def test_a_proxy_is_used_for_plain_requests(registry, proxy, source):
    asked = []

    def proxy_for(url):
        asked.append(url)
        return f"http://user:hidden@{proxy.host}"

    repo = repository(registry.host, proxy_for=proxy_for)
    content = source.add(os.urandom(100))
    repo.put(content, source, SILENT)
    assert read_all(repo, content) == source.content[content.digest]
    assert all(line.partition(" ")[2].startswith(f"http://{registry.host}/v2/") for line in proxy.seen)
    assert set(proxy.authorizations) == {"Basic dXNlcjpoaWRkZW4="}
    assert asked[0].startswith(f"http://{registry.host}/v2/")


def test_a_proxy_is_a_tunnel_for_tls(tls_registry, proxy, source):
    more = {"plain_http": False, "ca_file": tls_registry.ca_file}
    repo = repository(tls_registry.host, proxy_for=lambda url: f"http://{proxy.host}", **more)
    content = source.add(os.urandom(2 * MIB))
    repo.put(content, source, SILENT)
    assert read_all(repo, content) == source.content[content.digest]
    assert set(proxy.seen) == {f"CONNECT {tls_registry.host}"}


def test_a_proxy_that_is_not_there_is_named_without_its_password(registry):
    more = {"proxy_for": lambda url: "http://user:hidden@127.0.0.1:1"}
    with pytest.raises(RegistryError, match=r"through the proxy http://127\.0\.0\.1:1") as caught:
        Registry(registry.host, settings(**more)).authenticate(None)
    assert "hidden" not in str(caught.value)
