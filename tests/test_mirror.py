"""A mirror before a registry: it may lack, fail, lie or break off, and the registry still gives what is right."""

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import ConnectionLostError, NotFoundError, RegistryError, UsageError, VerificationError
from modfile.layout import Layout
from modfile.mirror import Mirror, MirroredSource
from modfile.progress import SILENT
from modfile.reference import Reference
from modfile.registry import Credential, CredentialStore, Registry
from modfile.store import BytesReader, read
from modfile.verbs.pull import pull
from tests.registries import docker
from tests.registries.fake import Answer
from tests.registries.memory import BLOB, MANIFEST, MemorySource
from tests.registry.reach import repository, settings

MIB = 1 << 20
NAME = "llm/tiny"


# Where a mirror is


@pytest.mark.parametrize(
    ("text", "mirror"),
    [
        ("mirror.test", Mirror("mirror.test")),
        ("mirror", Mirror("mirror")),
        ("mirror.test:5000", Mirror("mirror.test:5000")),
        ("[::1]:5000", Mirror("[::1]:5000")),
        ("http://127.0.0.1:5000", Mirror("127.0.0.1:5000", True)),
        ("https://mirror.test/", Mirror("mirror.test", False)),
        ("https://harbor.test/dockerhub", Mirror("harbor.test", False, "dockerhub")),
        ("harbor.test:8443/a/b.c/", Mirror("harbor.test:8443", None, "a/b.c")),
    ],
)
def test_a_mirror_is_a_host_or_a_url(text, mirror):
    assert Mirror.parse(text) == mirror


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "https://", "://mirror.test", "ftp://mirror.test", "mirror.test:0", "mirror.test:x"),
        *("mirror test", "https://mirror.test/UPPER", "https://mirror.test/a?b=c", "https://mirror.test/a#b", "a//b"),
        *("https://mirror.test/a:b", "https://mirror.test/../b", "http://http://mirror.test", "mirror.test\n", "-x-"),
        *("mirror.test:70000", "https://mirror.test/" + "a" * 300),
    ],
)
def test_what_is_no_mirror_is_refused(text):
    with pytest.raises(UsageError, match=r"is not a mirror; expected host:port or https://host\[:port\]\[/prefix\]"):
        Mirror.parse(text)


@pytest.mark.parametrize(
    "text", ["https://alice:hidden@mirror.test", "hidden@mirror.test", f"m.test@sha256:{'0' * 64}"]
)
def test_a_mirrors_url_holds_no_password(text):
    with pytest.raises(UsageError, match="modfile login") as caught:
        Mirror.parse(text)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("mirror", "reference", "there"),
    [
        ("m.test:5000", "r.test/llm/tiny:v1", "m.test:5000/llm/tiny:v1"),
        ("m.test/proxy", "r.test/llm/tiny:v1", "m.test/proxy/llm/tiny:v1"),
        ("m.test", "docker.io/tiny:v1", "m.test/library/tiny:v1"),
        ("m.test/hub", "docker.io/llm/tiny:v1", "m.test/hub/llm/tiny:v1"),
        ("m.test", f"r.test/tiny@sha256:{'0' * 64}", f"m.test/tiny@sha256:{'0' * 64}"),
    ],
)
def test_a_reference_has_its_name_in_the_mirror(mirror, reference, there):
    assert str(Mirror.parse(mirror).reference(Reference.parse(reference))) == there


# Fakes: `fake` is the mirror, `other_fake` the registry


@pytest.fixture
def notes():
    return []


@pytest.fixture
def origin(other_fake):
    return other_fake


@pytest.fixture
def layer():
    return os.urandom(3 * MIB)


@pytest.fixture
def reference(origin, layer):
    """What the registry has; by its name there."""
    publish(origin, layer, b"small")
    return Reference.parse(f"{origin.host}/{NAME}:v1")


def publish(registry, *layers) -> Digest:
    config = b'{"config": true}'
    described = [Descriptor(BLOB, registry.add(data), len(data)).to_json() for data in (config, *layers)]
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    data = json.dumps(body).encode()
    digest = Digest.of(data)
    registry.manifests["v1"] = registry.manifests[str(digest)] = (MANIFEST, data)
    return digest


def mirrored(mirror_host, origin_host, notes, prefix="", **more):
    mirror = Mirror(mirror_host, None, prefix)
    there = repository(mirror_host, f"{prefix}/{NAME}" if prefix else NAME, attempts=1, **more)
    return MirroredSource(there, repository(origin_host, NAME), mirror.reference, notes.append)


def pulled(reference, source, tmp_path) -> Layout:
    """Pull; see that what came is whole."""
    layout = Layout(tmp_path / "store")
    done = pull(reference, source, layout)
    assert layout.resolve(reference) == done.content
    for digest, status in layout.blobs():
        content = Descriptor(BLOB, digest, status.st_size)
        assert read(layout, content, 100 * MIB)
    assert len(list(layout.blobs())) == 4
    return layout


def test_the_mirror_is_asked_first_and_is_enough(fake, origin, notes, reference, layer, tmp_path):
    publish(fake, layer, b"small")
    pulled(reference, mirrored(fake.host, origin.host, notes), tmp_path)
    assert origin.seen == []
    assert notes == [f"{reference} comes from the mirror {fake.host}/{NAME}"]


def test_a_prefix_stands_before_the_name(fake, origin, notes, reference, layer, tmp_path):
    publish(fake, layer, b"small")
    pulled(reference, mirrored(fake.host, origin.host, notes, "proxy/hub"), tmp_path)
    assert {seen.path.partition("/llm/tiny/")[0] for seen in fake.seen} == {"/v2/proxy/hub"}


def test_a_mirror_that_has_nothing_is_asked_once(fake, origin, notes, reference, tmp_path):
    pulled(reference, mirrored(fake.host, origin.host, notes), tmp_path)
    assert len(fake.seen) == 1
    assert len(notes) == 1
    assert f"the mirror {fake.host}/{NAME} is passed over" in notes[0]


def test_a_blob_that_the_mirror_lacks_is_all_that_comes_from_the_registry(
    fake, origin, notes, reference, layer, tmp_path
):
    publish(fake, layer, b"small")
    missing = Digest.of(b"small")
    del fake.blobs[str(missing)]
    pulled(reference, mirrored(fake.host, origin.host, notes), tmp_path)
    assert [seen.path for seen in origin.seen] == [f"/v2/{NAME}/blobs/{missing}"]
    assert len(fake.requests("GET", "/blobs/")) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 502, 503])
@pytest.mark.parametrize("where", ["manifests", "blobs"])
def test_a_mirror_that_fails_is_not_asked_again(fake, origin, notes, reference, layer, tmp_path, status, where):
    publish(fake, layer, b"small")
    fake.always("GET", f"/{where}/", Answer(status, {"WWW-Authenticate": 'Basic realm="x"'}))
    source = mirrored(fake.host, origin.host, notes)
    pulled(reference, source, tmp_path)
    before = len(fake.seen)
    assert read(source, Descriptor(BLOB, Digest.of(b"small"), 5), 5) == b"small"
    assert len(fake.seen) == before
    assert len([note for note in notes if "is passed over" in note]) == 1
    assert str(status) in notes[-1]


def test_a_mirror_that_is_down_is_passed_over(origin, notes, reference, tmp_path):
    pulled(reference, mirrored("127.0.0.1:1", origin.host, notes), tmp_path)
    assert len(notes) == 1
    assert "127.0.0.1:1" in notes[0]
    assert "Connection refused" in notes[0]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": MANIFEST, "Docker-Content-Digest": f"sha256:{'0' * 64}"}, b"{}"),
        Answer(200, {"Content-Type": "text/html"}, b"<h1>Sign in</h1>"),
        Answer(200, {"Content-Type": MANIFEST}, b"[" * 100_000),
        Answer(200, {"Content-Type": MANIFEST}, b"x" * (5 << 20)),
        Answer(302, {"Location": "http://127.0.0.1:1/"}),
    ],
)
def test_a_mirror_whose_manifest_is_none_is_passed_over(fake, origin, notes, reference, tmp_path, answer):
    fake.always("GET", "/manifests/", answer)
    pulled(reference, mirrored(fake.host, origin.host, notes), tmp_path)
    assert len(fake.seen) == 1
    assert notes[0].isprintable()


def test_a_manifest_of_another_digest_is_passed_over(fake, origin, notes, reference, tmp_path):
    digest = Digest.of(origin.manifests["v1"][1])
    publish(fake, b"other")
    fake.manifests[str(digest)] = fake.manifests["v1"]
    layout = Layout(tmp_path / "store")
    assert pull(reference.at(digest), mirrored(fake.host, origin.host, notes), layout).content.digest == digest


def test_the_mirror_says_what_a_tag_means(fake, origin, notes, reference, tmp_path):
    """It may be behind; who wants to be sure names a digest."""
    stale = publish(fake, b"an earlier one")
    done = pull(reference, mirrored(fake.host, origin.host, notes), Layout(tmp_path / "store"))
    assert done.content.digest == stale


@pytest.mark.parametrize("cut", [0, 1, MIB, 3 * MIB - 1])
def test_a_stream_that_breaks_off_goes_on_from_the_registry(fake, origin, notes, reference, layer, tmp_path, cut):
    publish(fake, layer, b"small")
    digest = Digest.of(layer)
    fake.always("GET", f"/blobs/{digest}", Answer(200, {}, layer, cut=cut))
    pulled(reference, mirrored(fake.host, origin.host, notes), tmp_path)
    (asked,) = origin.requests("GET", str(digest))
    assert asked.headers.get("range") == (f"bytes={cut}-{3 * MIB - 1}" if cut else None)
    assert "is passed over" in notes[-1]


def test_small_content_that_breaks_off_goes_on_as_well(fake, origin, notes, reference):
    fake.always("GET", "/blobs/", Answer(200, {}, b"small", cut=2))
    source = mirrored(fake.host, origin.host, notes)
    assert read(source, Descriptor(BLOB, Digest.of(b"small"), 5), 5) == b"small"


def test_a_part_is_read_on_from_the_registry(fake, origin, notes, reference, layer):
    content = Descriptor(BLOB, Digest.of(layer), len(layer))
    tail = layer[MIB:]
    headers = {"Content-Range": f"bytes {MIB}-{3 * MIB - 1}/{3 * MIB}"}
    fake.always("GET", "/blobs/", Answer(206, headers, tail, cut=100))
    with mirrored(fake.host, origin.host, notes).open(content, MIB) as stream:
        assert stream.read() == tail
    assert origin.seen[0].headers["range"] == f"bytes={MIB + 100}-{3 * MIB - 1}"


def test_a_registry_that_breaks_off_too_is_for_the_target_to_open_again(
    fake, origin, notes, reference, layer, tmp_path
):
    publish(fake, layer, b"small")
    digest = Digest.of(layer)
    fake.always("GET", f"/blobs/{digest}", Answer(200, {}, layer, cut=100))
    headers = {"Content-Range": f"bytes 100-{3 * MIB - 1}/{3 * MIB}"}
    origin.on("GET", f"/blobs/{digest}", Answer(206, headers, layer[100:], cut=MIB))
    pauses = []
    layout = Layout(tmp_path / "store")
    layout._backoff = settings(sleep=pauses.append).backoff
    pull(reference, mirrored(fake.host, origin.host, notes), layout)
    assert [seen.headers["range"] for seen in origin.requests("GET", str(digest))] == [
        f"bytes=100-{3 * MIB - 1}",
        f"bytes={MIB + 100}-{3 * MIB - 1}",
    ]


def test_a_blob_of_another_size_is_passed_over(fake, origin, notes, reference, layer, tmp_path):
    publish(fake, layer, b"small")
    fake.blobs[str(Digest.of(layer))] = layer + b"x"
    pulled(reference, mirrored(fake.host, origin.host, notes), tmp_path)
    assert "is said to be 3145728 bytes large" in notes[-1]


def test_wrong_bytes_are_never_stored(fake, origin, notes, reference, layer, tmp_path):
    publish(fake, layer, b"small")
    fake.blobs[str(Digest.of(layer))] = os.urandom(3 * MIB)
    layout = Layout(tmp_path / "store")
    with pytest.raises(VerificationError, match=str(Digest.of(layer))):
        pull(reference, mirrored(fake.host, origin.host, notes), layout)
    assert Digest.of(layer) not in {digest for digest, _ in layout.blobs()}
    with pytest.raises(NotFoundError):
        layout.resolve(reference)
    assert notes == [f"{reference} comes from the mirror {fake.host}/{NAME}"]
    pulled(reference, repository(origin.host, NAME), tmp_path)


def test_who_asks_again_for_a_blob_is_given_the_registrys(fake, origin, notes, reference):
    fake.blobs[str(Digest.of(b"small"))] = b"wrong"
    source, content = mirrored(fake.host, origin.host, notes), Descriptor(BLOB, Digest.of(b"small"), 5)
    with pytest.raises(VerificationError):
        read(source, content, 5)
    assert read(source, content, 5) == b"small"


def test_what_neither_has_is_the_registrys_to_say(fake, origin, notes, reference):
    source = mirrored(fake.host, origin.host, notes)
    nowhere = Reference.parse(f"{origin.host}/{NAME}:v2")
    with pytest.raises(NotFoundError, match=f"{nowhere} is not in the registry"):
        source.resolve(nowhere)
    with pytest.raises(NotFoundError), source.open(Descriptor(BLOB, Digest.of(b"nowhere"), 7)):
        pass


def test_both_down_is_the_registrys_failure(notes):
    source = mirrored("127.0.0.1:1", "127.0.0.1:2", notes)
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:2"):
        source.resolve(Reference.parse(f"127.0.0.1:2/{NAME}:v1"))
    assert "127.0.0.1:1" in notes[0]


def test_wrong_usage_is_wrong_for_the_mirror_as_well(origin, notes, reference, tmp_path):
    source = mirrored("127.0.0.1:1", origin.host, notes, plain_http=False, ca_file=tmp_path / "none.pem")
    with pytest.raises(UsageError, match="CA file"):
        source.resolve(reference)


def test_each_side_gets_its_own_credentials_only(fake, origin, notes, reference, layer, tmp_path):
    store = CredentialStore([tmp_path / "config.json"])
    store.set(origin.host, Credential("alice", "hidden-origin"))
    store.set(fake.host, Credential("bob", "hidden-mirror"))
    for registry in (fake, origin):
        publish(registry, layer, b"small")

        def ask(seen):
            return None if seen.authorization else Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})

        registry.on("GET", "/v2/", ask)
    fake.always("GET", f"/blobs/{Digest.of(layer)}", Answer(503))
    there = Registry(fake.host, settings(attempts=1), store).repository(NAME)
    here = Registry(origin.host, settings(), store).repository(NAME)
    pulled(reference, MirroredSource(there, here, Mirror(fake.host).reference, notes.append), tmp_path)
    mine = [{seen.authorization for seen in registry.seen} - {None} for registry in (fake, origin)]
    assert mine == [{"Basic Ym9iOmhpZGRlbi1taXJyb3I="}, {"Basic YWxpY2U6aGlkZGVuLW9yaWdpbg=="}]


def test_many_threads_tell_of_a_failure_once(fake, origin, notes):
    contents = [Descriptor(BLOB, origin.add(data), len(data)) for data in (os.urandom(1000) for _ in range(20))]
    fake.always("GET", "/blobs/", Answer(500))
    source, failures = mirrored(fake.host, origin.host, notes), []

    def work(content):
        try:
            read(source, content, 1000)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(notes) == 1


@pytest.mark.parametrize("error", [RegistryError("400"), NotFoundError("404"), ConnectionLostError("broke off")])
def test_a_stream_may_fail_in_any_way(error):
    class Failing(BytesReader):
        def readinto(self, buffer):
            if count := super().readinto(buffer):
                return count
            raise error

    class FailingSource(MemorySource):
        @contextlib.contextmanager
        def open(self, content, start=0):
            yield Failing(b"da")

    origin, notes = MemorySource(), []
    content = origin.add(b"data")
    source = MirroredSource(FailingSource(), origin, lambda reference: reference, notes.append)
    assert read(source, content, 10) == b"data"
    assert origin.opened == [(content.digest, 2)]
    assert len(notes) == 1


def test_manifests_may_be_read_as_often_as_one_likes():
    mirror, origin = MemorySource(), MemorySource()
    manifest = mirror.add(b"{}", MANIFEST)
    source = MirroredSource(mirror, origin, lambda reference: reference, lambda text: None)
    assert [read(source, manifest, 10) for _ in range(3)] == [b"{}"] * 3


# A docker-registry that fetches through to another


def test_a_pull_through_cache_serves_when_the_registry_is_gone(notes, source, layer, tmp_path):
    with contextlib.ExitStack() as running, contextlib.ExitStack() as cache:
        (tmp_path / "origin").mkdir()
        (tmp_path / "cache").mkdir()
        host = running.enter_context(docker.serving(tmp_path / "origin"))
        mirror = cache.enter_context(docker.serving(tmp_path / "cache", proxy={"remoteurl": f"http://{host}"}))
        origin = repository(host, NAME)
        contents = [source.add(data) for data in (b"{}", layer, b"small")]
        body = {"schemaVersion": 2, "mediaType": MANIFEST}
        body |= {"config": contents[0].to_json(), "layers": [content.to_json() for content in contents[1:]]}
        manifest = source.add(json.dumps(body).encode(), MANIFEST)
        for content in (*contents, manifest):
            origin.put(content, source, SILENT)
        reference = Reference.parse(f"{host}/{NAME}:v1")
        origin.tag(manifest, reference)

        pulled(reference, mirrored(mirror, host, notes), tmp_path / "first")
        _wait_for([content.digest for content in (*contents, manifest)], tmp_path / "cache")
        running.close()
        pulled(reference, mirrored(mirror, host, notes), tmp_path / "second")
        assert notes == [f"{reference} comes from the mirror {mirror}/{NAME}"] * 2
        cache.close()
        with pytest.raises(RegistryError, match=host):
            pull(reference, mirrored(mirror, host, notes), Layout(tmp_path / "third"))
        assert "is passed over" in notes[-1]


def _wait_for(digests, directory: Path) -> None:
    """The cache keeps what it serves a moment after it has served it."""
    deadline = time.monotonic() + 30
    blobs = directory / "data/docker/registry/v2/blobs/sha256"
    while not all((blobs / digest.hex[:2] / digest.hex / "data").exists() for digest in digests):
        assert time.monotonic() < deadline
        time.sleep(0.05)
