"""Manifests, tags and deletes, as the OCI distribution specification has it."""

from __future__ import annotations

import json
import threading

import pytest

from .wire import EMPTY, INDEX, MANIFEST, codes, descriptor, digest_of, index_of, manifest_of

MAX_MANIFEST = 4 << 20


def assert_there(client, repository, name, data, media_type=MANIFEST):
    digest = name if ":" in name else digest_of(data)
    for method, body in (("GET", data), ("HEAD", b"")):
        answer = client(method, f"/v2/{repository}/manifests/{name}")
        assert (answer.status_code, answer.content) == (200, body)
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Docker-Content-Digest"] == digest


def assert_missing(client, repository, name):
    for method in ("GET", "HEAD", "DELETE"):
        answer = client(method, f"/v2/{repository}/manifests/{name}")
        assert answer.status_code == 404
        if method != "HEAD":
            assert codes(answer) == ["MANIFEST_UNKNOWN"]


@pytest.mark.parametrize("by_tag", [True, False])
def test_a_manifest_comes_back_as_the_very_bytes(client, repository, by_tag):
    """Section "Pushing Manifests": stored in the exact byte representation."""
    client.upload(repository, b"{}")
    data = json.dumps(json.loads(manifest_of()), indent=7).encode() + b"\n\n"
    name = "v1" if by_tag else digest_of(data)
    answer = client.put(repository, name, data, f"{MANIFEST}; charset=utf-8")
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == digest_of(data)
    assert answer.headers["Location"] == f"/v2/{repository}/manifests/{name}"
    assert "OCI-Subject" not in answer.headers
    assert client("GET", answer.headers["Location"]).content == data
    for known in {name, digest_of(data)}:
        assert_there(client, repository, known, data)


KINDS = {
    "image": lambda client, name: manifest_of(descriptor(b"layer")),
    "no layers": lambda client, name: manifest_of(),
    "artifact": lambda client, name: manifest_of(descriptor(b"layer"), artifactType="a/b"),
    "data fields": lambda client, name: manifest_of(config=descriptor(b"{}", EMPTY) | {"data": "e30="}),
    "unknown fields": lambda client, name: manifest_of(descriptor(b"layer", unknown=[1]), **{"org.unknown": {"a": 1}}),
    "non-distributable layers": lambda client, name: manifest_of(
        descriptor(b"elsewhere", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", urls=["https://x.y/z"])
    ),
    "missing subject": lambda client, name: manifest_of(subject=descriptor(b"not there", MANIFEST)),
    "large": lambda client, name: manifest_of(annotations={"large": "x" * 3_900_000}),
    "empty index": lambda client, name: index_of(),
    "index": lambda client, name: index_of(descriptor(client.push(name, "one", b"layer"), MANIFEST)),
    "artifact index": lambda client, name: index_of(artifactType="a/b", subject=descriptor(b"not there", MANIFEST)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_manifests_of_all_kinds_are_taken(client, repository, kind, algorithm):
    """Section "Pushing Manifests"; the OCI image specification has the kinds."""
    client.upload(repository, b"{}")
    client.upload(repository, b"layer")
    data = KINDS[kind](client, repository)
    media_type = json.loads(data)["mediaType"]
    name = digest_of(data, algorithm)
    assert client.put(repository, name, data, media_type).status_code == 201
    assert_there(client, repository, name, data, media_type)


def test_an_index_may_be_nested(client, repository):
    """Section "Pushing Manifests"."""
    inner = index_of(descriptor(client.push(repository, "one"), MANIFEST))
    outer = index_of(descriptor(inner, INDEX))
    assert client.put(repository, digest_of(inner), inner, INDEX).status_code == 201
    assert client.put(repository, "nested", outer, INDEX).status_code == 201
    assert_there(client, repository, "nested", outer, INDEX)


def test_a_manifest_is_pushed_with_several_tags(client, repository):
    """Section "Pushing Manifests", newer drafts: `?tag=`, each confirmed in OCI-Tag."""
    client.upload(repository, b"{}")
    data, tags = manifest_of(), [f"v{number}" for number in range(12)]
    query = "&".join(f"tag={tag}" for tag in tags)
    answer = client.put(repository, f"{digest_of(data)}?{query}", data)
    assert answer.status_code == 201
    assert answer.headers["OCI-Tag"].split(", ") == tags
    for tag in tags:
        assert_there(client, repository, tag, data)


@pytest.mark.parametrize("bad", ["-no-tag", "a/b", "x" * 129])
def test_no_tag_is_made_where_one_of_them_is_none(client, repository, bad):
    """Section "Pulling manifests": the grammar of a tag."""
    client.upload(repository, b"{}")
    data = manifest_of()
    answer = client("PUT", f"/v2/{repository}/manifests/{digest_of(data)}", params={"tag": ["good", bad]}, data=data)
    assert (answer.status_code, codes(answer)) == (400, ["NAME_INVALID"])
    assert_missing(client, repository, "good")


@pytest.mark.parametrize("name", [digest_of(b"other"), digest_of(b"other", "sha512")])
def test_a_manifest_that_is_not_what_its_digest_says_is_refused(client, repository, name):
    """Section "Pushing Manifests"."""
    client.upload(repository, b"{}")
    answer = client.put(repository, name, manifest_of())
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    assert_missing(client, repository, name)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["sha256:abc", "sha256:" + "G" * 64, "md5:" + "0" * 32])
@pytest.mark.promise("R1")
def test_a_manifest_is_not_looked_for_by_what_is_no_digest(client, repository, method, name):
    """Section "Pulling manifests"."""
    answer = client(method, f"/v2/{repository}/manifests/{name}", data=b"{}" if method == "PUT" else None)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


def test_a_tag_that_cannot_be_is_not_there_and_not_made(client, repository):
    """Section "Pulling manifests": the grammar of a tag."""
    client.upload(repository, b"{}")
    for tag in (".INVALID_MANIFEST_NAME", "-v1", "x" * 129):
        assert codes(client("GET", f"/v2/{repository}/manifests/{tag}")) == ["MANIFEST_UNKNOWN"]
        assert codes(client.put(repository, tag, manifest_of())) == ["NAME_INVALID"]


def test_a_manifest_that_is_not_there_is_not_found(client, repository):
    """Section "Pulling manifests"; also in a repository that exists, and by another's digest."""
    assert_missing(client, repository, "v1")
    data = client.push(repository, "v1")
    assert_missing(client, repository, "v2")
    assert_missing(client, f"{repository}/other", digest_of(data))


def test_what_a_manifest_names_has_to_be_in_its_repository(client, repository):
    """Section "Push": MANIFEST_BLOB_UNKNOWN; in another repository is not enough."""
    client.push(f"{repository}/other", "v1", b"layer")
    missing = [digest_of(b"layer"), digest_of(b"never")]
    client.upload(repository, b"{}")
    answer = client.put(repository, "v1", manifest_of(descriptor(b"layer"), descriptor(b"never")))
    assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_BLOB_UNKNOWN"])
    assert answer.json()["errors"][0]["detail"] == missing
    answer = client.put(repository, "v1", index_of(descriptor(b"{}", MANIFEST)), INDEX)
    assert answer.status_code in (400, 404)
    assert_missing(client, repository, "v1")


BROKEN = {
    "no JSON": b"{",
    "not UTF-8": b'{"\xff": 1}',
    "a list": b"[]",
    "a key twice": b'{"schemaVersion": 2, "schemaVersion": 2}',
    "too deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "layers of null": manifest_of().replace(b'"layers": []', b'"layers": [null]'),
    "layers that are no list": manifest_of(layers={}),
    "a subject that is no object": manifest_of(subject="sha256:x"),
    "a subject without a digest": manifest_of(subject={"mediaType": MANIFEST, "size": 1}),
    "a size below 0": manifest_of(descriptor(b"layer") | {"size": -1}),
    "a size that is too large": manifest_of(descriptor(b"layer") | {"size": 2**63}),
    "a digest that is none": manifest_of(descriptor(b"layer") | {"digest": "../../x"}),
    "no config": b'{"schemaVersion": 2, "mediaType": "%s", "layers": []}' % MANIFEST.encode(),
    "another media type": manifest_of(mediaType=INDEX),
    "both an image and an index": manifest_of(manifests=[]),
    "annotations that are no texts": manifest_of(annotations={"a": 1}),
    "nothing": b"",
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.promise("R1", "R2")
def test_a_broken_manifest_is_refused(client, repository, what):
    """Section "Pushing Manifests": MANIFEST_INVALID."""
    client.upload(repository, b"{}")
    client.upload(repository, b"layer")
    answer = client.put(repository, "v1", BROKEN[what])
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])
    assert_missing(client, repository, "v1")


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.promise("R2")
def test_a_manifest_that_is_too_large_is_refused(client, repository, announced):
    """Section "Pushing Manifests": 413, whether its length is said beforehand or not."""
    data = b" " * (MAX_MANIFEST + 1)
    headers = {"Content-Type": MANIFEST}
    answer = client(
        "PUT", f"/v2/{repository}/manifests/v1", data=data if announced else iter([data[:9], data[9:]]), headers=headers
    )
    assert (answer.status_code, codes(answer)) == (413, ["MANIFEST_INVALID"])
    assert client("GET", "/v2/").status_code == 200


def test_a_deleted_tag_leaves_its_manifest(client, repository):
    """Section "Deleting tags"."""
    data = client.push(repository, "v1")
    assert client("DELETE", f"/v2/{repository}/manifests/v1").status_code == 202
    assert_missing(client, repository, "v1")
    assert_there(client, repository, digest_of(data), data)
    assert client("GET", f"/v2/{repository}/tags/list").json()["tags"] == []


def test_a_deleted_manifest_takes_its_tags_along(client, repository):
    """Section "Deleting Manifests": any tag that points to the digest is gone, in this repository only."""
    data = client.push(repository, "v1")
    client.put(repository, "v2", data)
    client.push(f"{repository}/other", "v1")
    assert client("DELETE", f"/v2/{repository}/manifests/{digest_of(data)}").status_code == 202
    for name in ("v1", "v2", digest_of(data)):
        assert_missing(client, repository, name)
    assert_there(client, f"{repository}/other", "v1", data)


def test_a_tag_moves(client, repository):
    """Section "Pushing Manifests"; what it pointed at stays."""
    first, second = client.push(repository, "v1", b"first"), client.push(repository, "v1", b"second")
    assert_there(client, repository, "v1", second)
    assert_there(client, repository, digest_of(first), first)


def test_tags_that_are_pushed_at_once_are_all_there(served, connect, client, repository):
    """Section "Pushing Manifests": nobody's tag is lost."""
    data = client.push(repository, "v0")
    tags = [f"v{number}" for number in range(1, 25)]

    def work(some):
        one = connect(served.url)
        for tag in some:
            assert one.put(repository, tag, data).status_code == 201

    threads = [threading.Thread(target=work, args=[tags[at::6]]) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client("GET", f"/v2/{repository}/tags/list").json()["tags"] == sorted(["v0", *tags])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("POST", "/v2/", 405),
        ("PATCH", "/v2/a/manifests/v1", 405),
        ("PUT", "/v2/a/tags/list", 405),
        ("GET", "/v2/a/blobs/uploads/", 405),
        ("OPTIONS", "/v2/a/tags/list", 405),
        ("DELETE", "/v2/a/referrers/x", 405),
    ],
)
def test_what_is_no_endpoint_is_an_error_of_the_same_form(client, method, path, status):
    """Section "Error Codes"."""
    answer = client(method, path)
    assert (answer.status_code, codes(answer)) == (status, ["UNSUPPORTED"])
