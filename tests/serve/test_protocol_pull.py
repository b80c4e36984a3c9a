"""Blobs on their way out, and what there is, as the OCI distribution specification has it."""

from __future__ import annotations

import os
import re
import threading
from urllib.parse import urljoin

import pytest

from .wire import EMPTY, INDEX, MANIFEST, codes, descriptor, digest_of, index_of, manifest_of

SIZE = 5000


@pytest.fixture(params=["sha256", "sha512"])
def blob(request, client, repository):
    """A blob in the repository: its path and its bytes."""
    data = os.urandom(SIZE)
    return f"/v2/{repository}/blobs/{client.upload(repository, data, request.param)}", data


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_it_says_that_it_is_a_registry(client, path):
    """Section "Determining Support"."""
    for method in ("GET", "HEAD"):
        answer = client(method, path)
        assert answer.status_code == 200
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_a_blob_and_its_head_say_the_same(client, blob):
    """Sections "Pulling blobs" and "Checking if content exists in the registry"; the connection is kept."""
    path, data = blob
    head, got = client("HEAD", path), client("GET", path)
    assert (head.status_code, got.status_code) == (200, 200)
    assert (head.content, got.content) == (b"", data)
    for answer in (head, got):
        assert answer.headers["Docker-Content-Digest"] == path.rpartition("/")[2]
        assert answer.headers["Content-Length"] == str(SIZE)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("digest", [digest_of(b"nowhere"), digest_of(b"nowhere", "sha512")])
def test_a_blob_that_is_not_there_is_not_found(client, repository, digest):
    """Section "Pulling blobs"; also in a repository that exists."""
    for name in (repository, f"{repository}/other"):
        answer = client("GET", f"/v2/{name}/blobs/{digest}")
        assert (answer.status_code, codes(answer)) == (404, ["BLOB_UNKNOWN"])
        head = client("HEAD", f"/v2/{name}/blobs/{digest}")
        assert (head.status_code, head.content) == (404, b"")
        client.push(repository, "v1", b"layer")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, SIZE),
        ("bytes=-500", SIZE - 500, SIZE),
        ("bytes=2000-99999", 2000, SIZE),
        ("bytes=-99999", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("Bytes= 4999-4999 ", 4999, SIZE),
    ],
)
def test_a_part_of_a_blob_is_sent(client, blob, asked, start, stop):
    """Section "Pulling blobs": RFC 9110, section 14."""
    path, data = blob
    for method, body in (("GET", data[start:stop]), ("HEAD", b"")):
        answer = client(method, path, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, body)
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=500-0", "bytes=5000-", "bytes=5000-6000", "bytes=-0"])
def test_a_part_that_is_not_there_is_refused(client, blob, asked):
    """RFC 9110, section 15.5.17."""
    answer = client("GET", blob[0], headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert codes(answer) == ["SIZE_INVALID"]


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=", "bytes=-", "5-6", "bytes=" + "9" * 30 + "-"],
)
def test_ranges_that_are_not_granted_give_all(client, blob, asked):
    """RFC 9110, section 14.2: a server may pass over a Range."""
    answer = client("GET", blob[0], headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, blob[1])


def test_a_part_is_sent_only_of_what_the_client_means(client, blob):
    """RFC 9110, section 13.1.5."""
    path, data = blob
    tag = client("HEAD", path).headers["ETag"]
    assert client("GET", path, headers={"Range": "bytes=1-2", "If-Range": tag}).content == data[1:3]
    assert client("GET", path, headers={"Range": "bytes=1-2", "If-Range": '"other"'}).content == data


def test_what_a_client_has_is_not_sent_again(client, repository, blob):
    """RFC 9110, section 13.1.2."""
    client.push(repository, "v1")
    for path in (blob[0], f"/v2/{repository}/manifests/v1"):
        answer = client("GET", path)
        again = client("GET", path, headers={"If-None-Match": f'"x", W/{answer.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert client("GET", path, headers={"If-None-Match": '"x"'}).content == answer.content


def test_a_deleted_blob_is_gone_from_its_repository_only(client, repository, blob):
    """Section "Deleting Blobs"."""
    path, data = blob
    digest = path.rpartition("/")[2]
    mounted = client("POST", f"/v2/{repository}/b/blobs/uploads/", params={"mount": digest, "from": repository})
    assert mounted.status_code == 201
    assert client("DELETE", path).status_code == 202
    for method in ("GET", "HEAD", "DELETE"):
        assert client(method, path).status_code == 404
    assert client("GET", mounted.headers["Location"]).content == data


def test_many_clients_read_at_once(served, connect, client, repository):
    """Section "Pulling blobs"; every one gets its own bytes."""
    blobs = {client.upload(repository, data): data for data in (os.urandom(3_000_000) for _ in range(4))}
    right = []

    def work(digest):
        one = connect(served.url)
        for _ in range(3):
            right.append(one("GET", f"/v2/{repository}/blobs/{digest}").content == blobs[digest])

    threads = [threading.Thread(target=work, args=[digest]) for digest in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 12


# Tags


@pytest.fixture
def tagged(client, repository):
    """A repository with tags, whose order by bytes is not that of a dictionary."""
    data = client.push(repository, "a")
    for tag in ("B", "_", "v1.10", "v1.9"):
        assert client.put(repository, tag, data).status_code == 201
    return repository


ORDERED = ["B", "_", "a", "v1.10", "v1.9"]


def test_all_tags_are_listed_in_order(client, tagged):
    """Section "Listing Tags"."""
    answer = client("GET", f"/v2/{tagged}/tags/list")
    assert answer.json() == {"name": tagged, "tags": ORDERED}
    assert "Link" not in answer.headers


@pytest.mark.parametrize("last", [*ORDERED, "A", "zzz", "not a tag"])
def test_tags_after_one_are_listed(client, tagged, last):
    """Section "Listing Tags": not including `last`, whether it exists or not."""
    answer = client("GET", f"/v2/{tagged}/tags/list", params={"last": last})
    assert answer.json()["tags"] == [tag for tag in ORDERED if tag > last]


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 999_999_999])
def test_tags_are_listed_in_pages(client, tagged, n):
    """Section "Listing Tags": `n`, and a Link to the next page while there is one (RFC 8288)."""
    path, pages = f"/v2/{tagged}/tags/list?n={n}", []
    while path:
        answer = client("GET", path)
        pages.append(answer.json()["tags"])
        link = answer.headers.get("Link")
        match = re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', link or "")
        assert bool(match) == (link is not None)
        path = match and match[1]
    assert [tag for page in pages for tag in page] == ORDERED
    assert [len(page) for page in pages[:-1]] == [n] * (len(pages) - 1)
    assert pages[-1]


def test_no_tags_are_listed_where_none_are_asked_for(client, tagged):
    """Section "Listing Tags": with n=0 an empty list, and no Link."""
    answer = client("GET", f"/v2/{tagged}/tags/list?n=0")
    assert answer.json()["tags"] == []
    assert "Link" not in answer.headers


@pytest.mark.parametrize("n", ["-1", "x", "1.5", "9" * 30, ""])
def test_a_number_of_tags_that_is_none_is_refused(client, tagged, n):
    """Section "Listing Tags": `<int>`."""
    answer = client("GET", f"/v2/{tagged}/tags/list", params={"n": n})
    assert (answer.status_code, codes(answer)) == (400, ["UNSUPPORTED"])


def test_a_repository_that_is_not_there_has_no_tags(client, repository):
    """Section "Listing Tags"."""
    answer = client("GET", f"/v2/{repository}/tags/list")
    assert (answer.status_code, codes(answer)) == (404, ["NAME_UNKNOWN"])


def test_repositories_are_listed(client, tagged):
    """What the reference registry lists; the specification leaves `_catalog` open."""
    names, path = [], "/v2/_catalog?n=2"
    while path:
        answer = client("GET", path)
        names += answer.json()["repositories"]
        path = answer.links.get("next", {}).get("url")
    assert tagged in names
    assert names == sorted(set(names))
    assert client("GET", "/v2/_catalog?n=0").json() == {"repositories": []}


# Referrers


def refer(client, repository, subject, **more):
    """Push a manifest about a subject; return it."""
    client.upload(repository, b"{}")
    data = manifest_of(subject=descriptor(subject, MANIFEST), **more)
    answer = client.put(repository, digest_of(data), data)
    assert (answer.status_code, answer.headers["OCI-Subject"]) == (201, digest_of(subject))
    return data


def referrers(client, repository, subject, **params):
    answer = client("GET", f"/v2/{repository}/referrers/{digest_of(subject)}", params=params)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, INDEX)
    value = answer.json()
    assert (value["schemaVersion"], value["mediaType"]) == (2, INDEX)
    return answer, {item["digest"]: item for item in value["manifests"]}


def test_referrers_are_listed_with_their_types_and_annotations(client, repository):
    """Section "Listing Referrers"."""
    subject = client.push(repository, "v1")
    typed = refer(client, repository, subject, artifactType="a/sbom", annotations={"k": "v"})
    untyped = refer(client, repository, subject, annotations={"n": "2"})
    index = index_of(subject=descriptor(subject, MANIFEST))
    assert client.put(repository, digest_of(index), index, INDEX).headers["OCI-Subject"] == digest_of(subject)
    answer, found = referrers(client, repository, subject)
    assert "OCI-Filters-Applied" not in answer.headers
    assert found == {
        digest_of(typed): descriptor(typed, MANIFEST, artifactType="a/sbom", annotations={"k": "v"}),
        digest_of(untyped): descriptor(untyped, MANIFEST, artifactType=EMPTY, annotations={"n": "2"}),
        digest_of(index): descriptor(index, INDEX),
    }


def test_referrers_are_filtered_by_type(client, repository):
    """Section "Listing Referrers": the header says which filter was applied, also if nothing is left."""
    subject = client.push(repository, "v1")
    wanted = refer(client, repository, subject, artifactType="a/sbom")
    refer(client, repository, subject, artifactType="a/signature")
    for kind, expected in (("a/sbom", {digest_of(wanted)}), ("a/none", set()), (EMPTY, set())):
        answer, found = referrers(client, repository, subject, artifactType=kind)
        assert set(found) == expected
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"


def test_what_nothing_refers_to_has_no_referrers(client, repository):
    """Section "Listing Referrers": an empty list, never 404, whether there is such a repository or not."""
    assert referrers(client, repository, b"nothing")[1] == {}
    assert referrers(client, repository, client.push(repository, "v1"))[1] == {}


def test_referrers_may_come_before_their_subject(client, repository):
    """Section "Push": a missing subject is no reason to refuse."""
    data = refer(client, repository, b"not there", artifactType="a/b")
    assert set(referrers(client, repository, b"not there")[1]) == {digest_of(data)}


def test_referrers_that_were_pushed_by_the_tag_schema_are_listed(client, repository):
    """Section "Enabling the Referrers API": those listed in an index tagged `sha256-<hex>`."""
    subject = client.push(repository, "v1")
    by_api = refer(client, repository, subject, artifactType="a/new")
    client.upload(repository, b"{}")
    old = manifest_of(artifactType="a/old", subject=descriptor(subject, MANIFEST), annotations={"by": "tag"})
    assert client.put(repository, digest_of(old), old).status_code == 201
    listed = index_of(descriptor(old, MANIFEST, artifactType="a/old", annotations={"by": "tag"}))
    assert client.put(repository, digest_of(subject).replace(":", "-"), listed, INDEX).status_code == 201
    _, found = referrers(client, repository, subject)
    assert set(found) == {digest_of(by_api), digest_of(old)}
    assert found[digest_of(old)]["annotations"] == {"by": "tag"}


def test_a_deleted_referrer_is_listed_no_more(client, repository):
    """Section "Deleting Manifests"."""
    subject = client.push(repository, "v1")
    data = refer(client, repository, subject)
    assert client("DELETE", f"/v2/{repository}/manifests/{digest_of(data)}").status_code == 202
    assert referrers(client, repository, subject)[1] == {}


@pytest.mark.parametrize("digest", ["sha256:x", "latest", "md5:" + "0" * 32])
def test_referrers_of_what_is_no_digest_are_refused(client, repository, digest):
    """Section "Listing Referrers": 400."""
    answer = client("GET", f"/v2/{repository}/referrers/{digest}")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


def test_more_referrers_than_a_manifest_has_room_for_come_in_pages(client, repository):
    """Section "Listing Referrers": a Link to the next page; every page is as small as a manifest has to be."""
    subject = client.push(repository, "v1")
    pushed = {
        digest_of(
            refer(client, repository, subject, artifactType="a/b", annotations={"n": str(n), "k": "v" * 1_000_000})
        )
        for n in range(6)
    }
    path, found, pages = f"/v2/{repository}/referrers/{digest_of(subject)}?artifactType=a/b", [], 0
    while path:
        answer = client("GET", path)
        assert len(answer.content) <= 4 << 20
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        found += [item["digest"] for item in answer.json()["manifests"]]
        link = answer.links.get("next", {}).get("url")
        path, pages = link and urljoin(path, link), pages + 1
    assert (sorted(found), pages) == (sorted(pushed), 2)
