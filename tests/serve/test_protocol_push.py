"""Blobs on their way in, as the OCI distribution specification has it."""

from __future__ import annotations

import os
import threading

import pytest
import requests

from .wire import codes, digest_of

ALGORITHMS = ["sha256", "sha512"]


def chunked(data, size=1000):
    """Give data piece by piece, which requests sends without a Content-Length."""
    return (data[at : at + size] for at in range(0, len(data), size))


def patch(client, location, data, start=None):
    said = {} if start is None else {"Content-Range": f"{start}-{start + len(data) - 1}"}
    return client("PATCH", location, data=data, headers={"Content-Type": "application/octet-stream"} | said)


def finish(client, location, digest, data=b"", **headers):
    return client("PUT", location, params={"digest": digest}, data=data, headers=headers)


def holds(client, answer, data):
    """Tell whether a finished upload's Location gives the data."""
    assert answer.status_code == 201, answer.text
    return client("GET", answer.headers["Location"]).content == data


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_blob_comes_in_one_request(client, repository, algorithm, size):
    """Section "Single POST"."""
    data = os.urandom(size)
    digest = digest_of(data, algorithm)
    answer = client("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data=data)
    assert holds(client, answer, data)
    assert answer.headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_blob_comes_after_its_session_began(client, repository, algorithm, size):
    """Section "POST then PUT"; the Location is a path, which is right behind any proxy."""
    data = os.urandom(size)
    begun = client("POST", f"/v2/{repository}/blobs/uploads/")
    assert begun.status_code == 202
    assert begun.headers["Location"].startswith(f"/v2/{repository}/blobs/uploads/")
    assert holds(client, finish(client, begun.headers["Location"], digest_of(data, algorithm), data), data)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_is_streamed_without_its_length(client, repository, algorithm):
    """Section "Pushing a blob in chunks": a chunk without Content-Length and Content-Range, of any length."""
    data = os.urandom(200_000)
    answer = patch(client, client.begin(repository), chunked(data))
    assert answer.status_code == 202
    assert answer.headers["Range"] == "0-199999"
    assert holds(client, finish(client, answer.headers["Location"], digest_of(data, algorithm)), data)


@pytest.mark.parametrize("last_by", ["PATCH", "PUT"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_comes_in_chunks(client, repository, algorithm, last_by):
    """Section "Pushing a blob in chunks"."""
    data, digest = (whole := os.urandom(2500)), digest_of(whole, algorithm)
    begun = client("POST", f"/v2/{repository}/blobs/uploads/?digest-algorithm={algorithm}")
    location = begun.headers["Location"]
    for start in (0, 1000):
        answer = patch(client, location, data[start : start + 1000], start)
        assert (answer.status_code, answer.headers["Range"]) == (202, f"0-{start + 999}")
        location = answer.headers["Location"]
    if last_by == "PATCH":
        answer = finish(client, patch(client, location, data[2000:], 2000).headers["Location"], digest)
    else:
        answer = finish(client, location, digest, data[2000:], **{"Content-Range": "2000-2499"})
    assert holds(client, answer, data)


@pytest.mark.parametrize("by", ["PATCH", "PUT"])
@pytest.mark.parametrize("start", [0, 500, 1500])
def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(client, repository, by, start):
    """Section "Pushing a blob in chunks": 416, then the status says where it goes on."""
    data = os.urandom(2000)
    location = client.begin(repository)
    patch(client, location, data[:1000], 0)
    wrong = data[start : start + 100]
    if by == "PATCH":
        answer = patch(client, location, wrong, start)
    else:
        said = {"Content-Range": f"{start}-{start + len(wrong) - 1}"}
        answer = finish(client, location, digest_of(data), wrong, **said)
    assert answer.status_code == 416
    assert codes(answer) == ["BLOB_UPLOAD_INVALID"]
    assert (answer.headers["Range"], answer.headers["Location"]) == ("0-999", location)
    status = client("GET", location)
    assert (status.status_code, status.content, status.headers["Range"]) == (204, b"", "0-999")
    location = patch(client, status.headers["Location"], data[1000:], 1000).headers["Location"]
    assert holds(client, finish(client, location, digest_of(data)), data)


def test_the_status_of_an_upload_without_bytes_is_told(client, repository):
    """Endpoint end-13."""
    status = client("GET", client.begin(repository))
    assert (status.status_code, status.headers["Range"]) == (204, "0-0")


@pytest.mark.parametrize(
    ("header", "code"), [("5", "BLOB_UPLOAD_INVALID"), ("9-5", "BLOB_UPLOAD_INVALID"), ("0-5", "SIZE_INVALID")]
)
def test_a_content_range_that_is_none_or_not_of_the_chunk_is_refused(client, repository, header, code):
    """Section "Pushing a blob in chunks": `^[0-9]+-[0-9]+$`, inclusive on both ends."""
    answer = client("PATCH", client.begin(repository), data=b"123", headers={"Content-Range": header})
    assert (answer.status_code, codes(answer)) == (400, [code])


@pytest.mark.parametrize("way", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_content_that_is_not_what_its_digest_says_is_refused(client, repository, way, algorithm):
    """Section "Pushing blobs"; nothing of it is there afterwards, and the session is gone."""
    data, digest = os.urandom(1000), digest_of(b"other", algorithm)
    location = client.begin(repository)
    if way == "POST":
        answer = client("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data=data)
    elif way == "PUT":
        answer = finish(client, location, digest, data)
    else:
        answer = finish(client, patch(client, location, data).headers["Location"], digest)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    assert client("HEAD", f"/v2/{repository}/blobs/{digest}").status_code == 404
    if way != "POST":
        assert codes(client("GET", location)) == ["BLOB_UPLOAD_UNKNOWN"]


@pytest.mark.parametrize("digest", ["", "sha256:abc", "md5:" + "0" * 32, "sha256:" + "A" * 64, "../../etc/passwd"])
@pytest.mark.promise("R1")
def test_a_digest_that_is_none_is_refused_before_anything_is_done_with_it(client, repository, digest):
    """Section "Pushing blobs": invalid, or of an algorithm that is not supported."""
    location = client.begin(repository)
    for answer in (
        client("POST", f"/v2/{repository}/blobs/uploads/", params={"digest": digest}, data=b"x"),
        client("POST", f"/v2/{repository}/blobs/uploads/", params={"mount": digest}),
        finish(client, location, digest, b"x"),
    ):
        assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    assert client("GET", location).headers["Range"] == "0-0"


def test_an_upload_is_not_finished_without_a_digest(client, repository):
    """Section "Pushing a blob in chunks": the closing PUT includes the digest."""
    answer = client("PUT", client.begin(repository), data=b"x")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


def test_an_unknown_digest_algorithm_is_refused(client, repository):
    """Endpoint end-4c."""
    answer = client("POST", f"/v2/{repository}/blobs/uploads/?digest-algorithm=md5")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("origin", [True, False])
def test_a_blob_of_another_repository_is_mounted(client, repository, origin):
    """Section "Mounting a blob from another repository"; without `from` it is found by itself."""
    data = os.urandom(100)
    digest = client.upload(f"{repository}/from", data)
    params = {"mount": digest} | ({"from": f"{repository}/from"} if origin else {})
    answer = client("POST", f"/v2/{repository}/to/blobs/uploads/", params=params)
    assert holds(client, answer, data)
    assert answer.headers["Location"] == f"/v2/{repository}/to/blobs/{digest}"


@pytest.mark.parametrize("origin", ["elsewhere", None])
def test_what_cannot_be_mounted_is_uploaded_in_the_session_that_begins(client, repository, origin):
    """Section "Mounting a blob from another repository": 202 as for an upload."""
    data = os.urandom(100)
    params = {"mount": digest_of(data)} | ({"from": f"{repository}/{origin}"} if origin else {})
    answer = client("POST", f"/v2/{repository}/blobs/uploads/", params=params)
    assert answer.status_code == 202
    assert holds(client, finish(client, answer.headers["Location"], digest_of(data), data), data)


def test_a_cancelled_upload_is_gone(client, repository):
    """Section "Cancel a blob upload"."""
    location = client.begin(repository)
    patch(client, location, b"some bytes")
    answer = client("DELETE", location)
    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        answer = client(method, location)
        assert (answer.status_code, codes(answer)) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert codes(finish(client, location, digest_of(b""))) == ["BLOB_UPLOAD_UNKNOWN"]


@pytest.mark.parametrize("session", ["0" * 32, "nothing", "..%2F..%2Findex.json", "%00", "a" * 300])
@pytest.mark.promise("R1")
def test_a_session_that_is_none_is_not_found(client, repository, session):
    """Endpoints end-5, end-6, end-13 and end-14: 404."""
    location = f"/v2/{repository}/blobs/uploads/{session}"
    for answer in (
        client("GET", location),
        client("PATCH", location, data=b"x"),
        finish(client, location, digest_of(b"x"), b"x"),
        client("DELETE", location),
    ):
        assert answer.status_code == 404
        assert codes(answer) in (["BLOB_UPLOAD_UNKNOWN"], ["UNSUPPORTED"])


def test_a_session_is_of_one_repository(client, repository):
    """Endpoint end-5: nobody writes to an upload by another name."""
    location = client.begin(repository)
    other = location.replace(repository, f"{repository}/other")
    assert codes(patch(client, other, b"x")) == ["BLOB_UPLOAD_UNKNOWN"]
    assert patch(client, location, b"x").status_code == 202


@pytest.mark.parametrize(
    "name", ["UPPER", "a//b", "a/../b", "-a", "a" * 256, "%2e%2e/%2e%2e/etc", "a%00b", "a%2F..%2Fb"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "blobs/uploads/"),
        ("GET", "tags/list"),
        ("GET", "manifests/v1"),
        ("PUT", "manifests/v1"),
        ("DELETE", "manifests/v1"),
        ("GET", f"blobs/{digest_of(b'')}"),
        ("DELETE", f"blobs/{digest_of(b'')}"),
        ("GET", f"referrers/{digest_of(b'')}"),
    ],
)
@pytest.mark.promise("R1")
def test_a_name_that_is_none_is_refused(client, name, method, path):
    """Section "Pulling manifests": the grammar of `<name>`."""
    prepared = client.session.prepare_request(requests.Request(method, client.url))
    prepared.url = f"{client.url}/v2/{name}/{path}"  # as it is, with nothing made canonical
    answer = client.session.send(prepared, timeout=30)
    assert (answer.status_code, codes(answer)) == (400, ["NAME_INVALID"])


def test_uploads_of_one_blob_at_once_all_succeed(served, connect, repository):
    """Section "Pushing blobs": sessions do not know of each other."""
    data = os.urandom(2_000_000)
    clients = [connect(served.url) for _ in range(6)]
    statuses = []

    def work(client):
        location = client.begin(repository)
        statuses.append(finish(client, location, digest_of(data), chunked(data, 100_000)).status_code)

    threads = [threading.Thread(target=work, args=[one]) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 6
    assert clients[0]("GET", f"/v2/{repository}/blobs/{digest_of(data)}").content == data
