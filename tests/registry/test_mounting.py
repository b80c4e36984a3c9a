"""Blobs that another repository of the registry has."""

from __future__ import annotations

import os

import pytest

from modfile.errors import AccessDeniedError, RegistryError
from modfile.progress import SILENT, Outcome
from modfile.registry import Credential, Registry
from tests.registries.fake import Answer

from .reach import CountingMeter, Credentials, read_all, repository, settings

MIB = 1 << 20
ALICE = Credential("alice", "hidden")


def mounting(host, *names, credential=None, name="org/model", **more):
    """Return a repository that may mount from others."""
    registry = Registry(host, settings(**more), Credentials(credential), mounts=lambda digest: names)
    return registry.repository(name)


def asked(fake):
    return [one.query.get("from") for one in fake.requests("POST", "uploads")]


class Unread:
    """A source that must not be opened."""

    def open(self, content, start=0):
        raise AssertionError("the content was read")


def test_a_mounted_blob_is_not_read(registry, source):
    content = source.add(os.urandom(3 * MIB))
    repository(registry.host, "mounted/from").put(content, source, SILENT)
    repo, meter = mounting(registry.host, "no/such", "mounted/from", name="mounted/to"), CountingMeter()
    assert repo.put(content, Unread(), meter) is Outcome.MOUNTED
    assert meter.done == 0
    assert read_all(repo, content) == source.content[content.digest]


def test_what_cannot_be_mounted_is_sent_in_the_session_that_the_mount_began(registry, source):
    content = source.add(os.urandom(3 * MIB))
    repo = mounting(registry.host, "no/such", "mounted/elsewhere", name="mounted/nothing", chunk_size=MIB)
    assert repo.put(content, source, SILENT) is Outcome.MOVED
    assert read_all(repo, content) == source.content[content.digest]


def test_a_token_for_the_other_repository_is_asked_for_with_our_own(token_registry, source):
    known = Credential(token_registry.username, token_registry.password)
    content = source.add(os.urandom(1000))
    repository(token_registry.host, "private/mount-from", known).put(content, source, SILENT)
    repo = mounting(token_registry.host, "private/mount-from", credential=known, name="private/mount-to")
    assert repo.put(content, Unread(), SILENT) is Outcome.MOUNTED
    scopes = {"repository:private/mount-from:pull", "repository:private/mount-to:pull,push"}
    assert set(token_registry.tokens.asked[-1]) == scopes


def test_the_last_candidates_session_is_used_and_the_others_are_cancelled(fake, source):
    content = source.add(b"blob")
    assert mounting(fake.host, "a/a", "b/b").put(content, source, SILENT) is Outcome.MOVED
    assert asked(fake) == ["a/a", "b/b"]
    assert [one.path.rpartition("/")[2] for one in fake.requests("DELETE")] == ["session-1"]
    assert fake.requests("PUT")[0].path.endswith("session-2")


def test_three_repositories_are_tried_at_most_and_never_our_own(fake, source):
    names = ["org/model", "a/a", "a/a", "b/b", "c/c", "d/d"]
    mounting(fake.host, *names).put(source.add(b"blob"), source, SILENT)
    assert asked(fake) == ["a/a", "b/b", "c/c"]


def test_manifests_are_not_mounted(fake, source):
    manifest = source.add(b"{}", "application/vnd.oci.image.manifest.v1+json")
    mounting(fake.host, "a/a").put(manifest, source, SILENT)
    assert fake.requests("POST") == []


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(401),
        Answer(401, {"WWW-Authenticate": "Basic"}),
        Answer(403, body=b'{"errors":[{"code":"DENIED"}]}'),
        Answer(400, body=b'{"errors":[{"code":"UNSUPPORTED"}]}'),
        Answer(404, body=b'{"errors":[{"code":"NAME_UNKNOWN"}]}'),
        Answer(405),
        Answer(202),
        Answer(202, {"Location": ""}),
        Answer(503),
        Answer(200),
    ],
)
def test_a_registry_that_does_not_mount_gets_the_blob(fake, source, refusal):
    fake.on("POST", "uploads", lambda seen: refusal if "mount" in seen.query else None)
    content = source.add(b"blob")
    assert mounting(fake.host, "a/a", "b/b").put(content, source, SILENT) is Outcome.MOVED
    assert fake.blobs[str(content.digest)] == b"blob"
    assert asked(fake)[-1] is None


def test_a_repository_that_lets_nobody_in_is_asked_once(fake, source):
    fake.on("POST", "uploads", lambda seen: Answer(403) if "mount" in seen.query else None)
    repo = mounting(fake.host, "a/a")
    for data in (b"one", b"two", b"three"):
        repo.put(source.add(data), source, SILENT)
    assert asked(fake) == ["a/a", None, None, None]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_token_server_that_refuses_two_scopes_at_once_does_not_fail_the_push(fake, source, status):
    def tokens(seen):
        # The fake keeps only the last of several parameters of one name, which is the mount's source.
        return Answer(status) if "org/model" not in seen.query["scope"] else Answer(body=b'{"token": "t"}')

    challenge = Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'})
    fake.on("GET", "^/token", tokens)
    fake.on("POST", "uploads", lambda seen: None if seen.authorization == "Bearer t" else challenge)
    content = source.add(b"blob")
    assert mounting(fake.host, "a/a", credential=ALICE).put(content, source, SILENT) is Outcome.MOVED
    assert fake.blobs[str(content.digest)] == b"blob"


def test_who_may_not_push_at_all_is_told_so(fake, source):
    fake.always("POST", "uploads", Answer(403, body=b'{"errors":[{"code":"DENIED"}]}'))
    with pytest.raises(AccessDeniedError, match="DENIED"):
        mounting(fake.host, "a/a").put(source.add(b"blob"), Unread(), SILENT)


def test_a_session_of_a_mount_keeps_to_the_least_chunk_length(fake, source):
    def begin(seen):
        answer = fake._usual(seen)
        answer.headers["OCI-Chunk-Min-Length"] = str(2 * MIB)
        return answer

    fake.on("POST", "uploads", begin)
    content = source.add(os.urandom(5 * MIB))
    mounting(fake.host, "a/a", chunk_size=MIB).put(content, source, SILENT)
    assert len(fake.requests("PATCH")) == 3
    assert len(fake.requests("POST")) == 1


def test_an_upload_that_has_to_start_over_asks_for_the_mount_again(fake, source):
    """It is the registry's only way to begin one that may save all of the bytes."""
    content = source.add(os.urandom(3 * MIB))
    fake.on("PATCH", "uploads", Answer(503))
    fake.on("GET", "uploads", Answer(404))
    fake.on("POST", "uploads", lambda seen: Answer(201) if len(fake.requests("POST")) == 2 else None)
    assert mounting(fake.host, "a/a", chunk_size=MIB).put(content, source, SILENT) is Outcome.MOUNTED


def test_a_registry_whose_mounts_lead_nowhere_is_an_error(fake, source):
    fake.always("POST", "uploads", Answer(202, {"Location": "ftp://x/"}))
    with pytest.raises(RegistryError):
        mounting(fake.host, "a/a").put(source.add(b"blob"), source, SILENT)
