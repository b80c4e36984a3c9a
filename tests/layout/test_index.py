import json

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import StoreError
from modfile.layout.index import REF_NAME, REPOSITORY, Index
from modfile.manifest import OCI_MANIFEST
from modfile.reference import Reference

ONE = Descriptor(OCI_MANIFEST, Digest.of(b"one"), 3)
TWO = Descriptor(OCI_MANIFEST, Digest.of(b"two"), 3)
V1, V2 = Reference.parse("r.io/a/b:v1"), Reference.parse("r.io/a/b:v2")


def names(index):
    return [(entry.name, entry.repository, entry.content.digest) for entry in index]


def test_a_tag_points_at_what_it_was_last_given():
    index = Index.empty()
    index.tag(ONE, V1)
    index.tag(TWO, V1)
    assert index.find(V1).digest == TWO.digest


def test_what_lost_its_tag_stays_as_an_untagged_manifest_of_its_repository():
    index = Index.empty()
    index.tag(ONE, V1)
    index.tag(TWO, V1)
    assert names(index) == [(None, "r.io/a/b", ONE.digest), ("r.io/a/b:v1", "r.io/a/b", TWO.digest)]


def test_an_untagged_manifest_that_is_tagged_again_is_listed_once():
    index = Index.empty()
    index.tag(ONE, V1)
    index.untag(V1)
    index.tag(ONE, V2)
    assert names(index) == [("r.io/a/b:v2", "r.io/a/b", ONE.digest)]


def test_of_two_tags_one_taken_away_leaves_the_other_alone():
    index = Index.empty()
    index.tag(ONE, V1)
    index.tag(ONE, V2)
    index.untag(V1)
    assert names(index) == [("r.io/a/b:v2", "r.io/a/b", ONE.digest)]


def test_a_reference_by_digest_is_of_its_repository_only():
    index = Index.empty()
    index.tag(ONE, V1)
    assert index.find(V1.at(ONE.digest)) is not None
    assert index.find(Reference.parse(f"other.io/a/b@{ONE.digest}")) is None


def test_listing_without_a_tag_twice_lists_once():
    index = Index.empty()
    index.tag(ONE, V1.at(ONE.digest))
    index.tag(ONE, V1.at(ONE.digest))
    assert names(index) == [(None, "r.io/a/b", ONE.digest)]


def test_what_other_tools_wrote_is_kept():
    foreign = {
        "schemaVersion": 2,
        "x-vendor": {"a": 1},
        "manifests": [
            ONE.to_json() | {"annotations": {REF_NAME: "Not A Reference!"}, "platform": {"os": "linux"}, "x": 1},
        ],
    }
    index = Index.parse(json.dumps(foreign).encode(), "index.json")
    index.tag(TWO, V1)
    after = json.loads(index.to_bytes())
    assert after["manifests"][0] == foreign["manifests"][0]
    assert after["x-vendor"] == {"a": 1}


def test_removing_a_digest_removes_all_of_its_names_in_the_repository_only():
    index = Index.empty()
    other = Reference.parse("other.io/a:v1")
    for reference in (V1, V2, other):
        index.tag(ONE, reference)
    index.remove(V1.at(ONE.digest))
    assert names(index) == [("other.io/a:v1", "other.io/a", ONE.digest)]


def test_the_untagged_are_marked_with_their_repository():
    index = Index.empty()
    index.tag(ONE, V1)
    index.untag(V1)
    assert json.loads(index.to_bytes())["manifests"][0]["annotations"] == {REPOSITORY: "r.io/a/b"}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"manifests": {}}',
        b'{"manifests": [1]}',
        b'{"manifests": [{"mediaType": "a/b", "digest": "sha256:zz", "size": 1}]}',
        b'{"manifests": [], "manifests": []}',
        b"\xff\xfe",
        b"[" * 200_000,
    ],
)
def test_a_damaged_index_is_an_error_that_names_it(damage):
    with pytest.raises(StoreError, match=r"index\.json is damaged"):
        Index.parse(damage, "index.json")
