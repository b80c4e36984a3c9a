import dataclasses
import threading
import time

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import StoreError
from modfile.layout import Layout
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.partial import Partial
from modfile.reference import Reference
from modfile.strictjson import dump
from modfile.verbs.prune import prune

V1, V2 = Reference.parse("r.io/a/b:v1"), Reference.parse("r.io/a/b:v2")


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


def artifact(layout, name, reference=None, subject=None):
    layer = layout.add_bytes(name.encode(), "application/vnd.cncf.model.weight.v1.raw")
    config = layout.add_bytes(f'{{"n": "{name}"}}'.encode(), "application/vnd.cncf.model.config.v1+json")
    data = Manifest(OCI_MANIFEST, config, (layer,), subject=subject).to_bytes()
    content = layout.add_bytes(data, OCI_MANIFEST)
    if reference:
        layout.tag(content, reference)
    return content


def blobs(layout):
    return {digest for digest, _ in layout.blobs()}


def test_what_a_tag_needs_stays_and_the_rest_goes(layout):
    artifact(layout, "one", V1)
    kept = blobs(layout)
    artifact(layout, "two", V2)
    layout.untag([V2])
    done = prune(layout)
    assert blobs(layout) == kept
    assert len(done.blobs) == 3
    assert len(done.manifests) == 1
    assert prune(layout).bytes == 0


def test_untagged_manifests_stay_if_asked(layout):
    artifact(layout, "one", V1)
    layout.untag([V1])
    before = blobs(layout)
    assert prune(layout, remove_untagged=False).blobs == []
    assert blobs(layout) == before


def test_a_dry_run_says_the_same_and_removes_nothing(layout):
    artifact(layout, "one", V1)
    layout.untag([V1])
    (layout.root / "ingest" / "sha256-left").write_bytes(b"x" * 5000)
    before, index = blobs(layout), (layout.root / "index.json").read_bytes()
    said = prune(layout, dry_run=True)
    assert (blobs(layout), (layout.root / "index.json").read_bytes()) == (before, index)
    assert (layout.root / "ingest" / "sha256-left").exists()
    done = prune(layout)
    assert (said.manifests, said.blobs, said.partials) == (done.manifests, done.blobs, done.partials)
    assert said.partials == 1


def test_a_store_that_is_not_there_has_nothing_to_free(layout):
    assert prune(layout).bytes == 0
    assert not layout.root.exists()


def test_what_an_index_leads_to_stays(layout):
    child = artifact(layout, "one")
    index = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.to_json()]})
    layout.tag(layout.add_bytes(index, OCI_INDEX), V1)
    before = blobs(layout)
    prune(layout)
    assert blobs(layout) == before


def test_a_referrer_of_what_stays_stays_and_goes_with_it(layout):
    subject = artifact(layout, "one", V1)
    signature = artifact(layout, "signature", V1.at(Digest.of(b"")), subject)
    of_the_signature = artifact(layout, "of the signature", V1.at(Digest.of(b"")), signature)
    before = blobs(layout)
    prune(layout)
    assert blobs(layout) == before
    layout.untag([V1])
    prune(layout)
    assert blobs(layout) == set()
    assert layout.entries() == ()
    assert of_the_signature


@pytest.mark.promise("S6")
@pytest.mark.parametrize("damage", ["missing", "changed", "shorter"])
def test_nothing_is_removed_while_a_manifest_cannot_be_read(layout, damage):
    content = artifact(layout, "one", V1)
    artifact(layout, "two")
    blob = layout.blob_path(content.digest)
    blob.chmod(0o600)
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(b"x" * (content.size if damage == "changed" else 3))
    before = blobs(layout)
    with pytest.raises(StoreError, match=r"nothing was removed, because r\.io/a/b:v1 cannot be read"):
        prune(layout)
    assert blobs(layout) == before
    assert len(layout.entries()) == 1


@pytest.mark.promise("S6")
def test_a_partial_that_somebody_writes_is_not_touched(layout):
    layout.add_bytes(b"", "a/b")
    import os

    ingest = os.open(layout.root / "ingest", os.O_RDONLY)
    with Partial(ingest, "sha256-live"):
        (layout.root / "ingest" / "sha256-dead").write_bytes(b"")
        assert prune(layout).partials == 1
        assert (layout.root / "ingest" / "sha256-live").exists()
    os.close(ingest)


@pytest.mark.promise("S6")
def test_prune_waits_for_who_is_writing(layout):
    with layout.writing():
        content = layout.add_bytes(b"{}", "a/b")
        thread = threading.Thread(target=prune, args=(layout,))
        thread.start()
        time.sleep(0.2)
        data = Manifest(OCI_MANIFEST, content, ()).to_bytes()
        layout.tag(layout.add_bytes(data, OCI_MANIFEST), V1)
    thread.join(10)
    assert layout.exists(content)


def test_a_blob_named_by_two_artifacts_goes_with_the_last(layout):
    one = artifact(layout, "shared", V1)
    manifest = Manifest.parse(layout.blob_path(one.digest).read_bytes())
    data = dataclasses.replace(manifest, annotations={"other": "1"}).to_bytes()
    layout.tag(layout.add_bytes(data, OCI_MANIFEST), V2)
    layout.untag([V1])
    prune(layout)
    assert layout.exists(manifest.layers[0])
    assert isinstance(manifest.layers[0], Descriptor)
    layout.untag([V2])
    prune(layout)
    assert not layout.exists(manifest.layers[0])


@pytest.mark.parametrize("where", ["entry", "child"])
def test_nothing_is_removed_while_it_is_not_known_what_something_leads_to(layout, where):
    layer = layout.add_bytes(b"a layer of it", "a/b")
    unknown = layout.add_bytes(dump({"blobs": [layer.to_json()]}), "application/vnd.future.manifest.v9+json")
    if where == "child":
        index = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [unknown.to_json()]})
        unknown = layout.add_bytes(index, OCI_INDEX)
    layout.tag(unknown, V1)
    with pytest.raises(StoreError, match=r"nothing was removed.*vnd\.future\.manifest"):
        prune(layout)
    assert layout.exists(layer)


def test_who_prunes_is_told_that_there_is_something_to_wait_for(layout):
    notes = []
    with layout.writing():
        thread = threading.Thread(target=lambda: prune(layout, note=notes.append))
        thread.start()
        while not notes:
            time.sleep(0.01)
    thread.join(10)
    assert "waiting" in notes[0]


@pytest.mark.promise("S6")
@pytest.mark.parametrize("damage", ["missing", "changed", "shorter"])
def test_nothing_is_removed_while_an_untagged_manifest_cannot_be_read(layout, damage):
    """It may be the signature of something that stays."""
    subject = artifact(layout, "one", V1)
    signature = artifact(layout, "signature", V1.at(Digest.of(b"")), subject)
    whole = layout.blob_path(signature.digest).read_bytes()
    blob = layout.blob_path(signature.digest)
    blob.unlink()
    if damage != "missing":
        blob.write_bytes(b"x" * (signature.size if damage == "changed" else 3))
    before, index = blobs(layout), (layout.root / "index.json").read_bytes()
    with pytest.raises(StoreError, match=f"nothing was removed, because r.io/a/b@{signature.digest} cannot be read"):
        prune(layout)
    assert (blobs(layout), (layout.root / "index.json").read_bytes()) == (before, index)
    blob.write_bytes(whole)
    assert prune(layout).blobs == []
    assert layout.exists(signature)


def test_an_untagged_manifest_that_can_be_taken_away_keeps_nothing_back(layout):
    signature = artifact(layout, "signature", V1.at(Digest.of(b"")))
    layout.blob_path(signature.digest).unlink()
    layout.untag([V1.at(signature.digest)])
    assert len(prune(layout).blobs) == 2


def test_an_untagged_manifest_that_is_none_goes(layout):
    layout.tag(layout.add_bytes(b"not json", OCI_MANIFEST), V1.at(Digest.of(b"")))
    assert len(prune(layout).blobs) == 1
    assert layout.entries() == ()


@pytest.mark.promise("S6")
@pytest.mark.parametrize("data", [b"", b"{", b'{"manifests": [1]}'])
def test_nothing_is_removed_while_the_index_cannot_be_read(layout, data):
    artifact(layout, "one", V1)
    artifact(layout, "two")
    (layout.root / "index.json").write_bytes(data)
    before = blobs(layout)
    with pytest.raises(StoreError, match=r"index\.json is damaged"):
        prune(layout)
    assert blobs(layout) == before
    assert (layout.root / "index.json").read_bytes() == data


@pytest.mark.parametrize("kind", ["file", "link", "empty directory", "full directory"])
def test_what_was_set_aside_goes_unless_it_has_something_in_it(layout, kind):
    artifact(layout, "one", V1)
    path = layout.root / "damaged" / ("sha256-" + "0" * 64)
    path.parent.mkdir()
    if kind == "file":
        path.write_bytes(b"x")
    elif kind == "link":
        path.symlink_to(layout.root)
    else:
        path.mkdir()
        if kind == "full directory":
            (path / "mine").write_text("x")
    (layout.root / "damaged/notes").write_text("mine")
    assert prune(layout, dry_run=True).damaged == 1
    assert prune(layout).damaged == (kind != "full directory")
    left = {found.name for found in path.parent.iterdir()}
    assert left == {"notes", path.name} if kind == "full directory" else left == {"notes"}
    assert layout.root.exists()


def test_what_is_spared_stays_with_what_it_leads_to(layout):
    loose = layout.add_bytes(b"loose", "application/octet-stream")
    manifest = artifact(layout, "one", V1)
    layout.untag([V1])
    before = blobs(layout)
    assert prune(layout, spared=lambda: {loose.digest, manifest.digest}).blobs == []
    assert blobs(layout) == before
    assert [entry.content.digest for entry in layout.entries()] == [manifest.digest]
    assert len(prune(layout).blobs) == len(before)


def test_what_is_spared_is_asked_for_once_nobody_writes_any_more(layout):
    asked = []
    started = threading.Event()

    def spared():
        asked.append(True)
        return ()

    def sweep():
        started.set()
        prune(layout, spared=spared)

    with layout.writing():
        thread = threading.Thread(target=sweep)
        thread.start()
        started.wait()
        time.sleep(0.1)
        assert asked == []
    thread.join()
    assert asked == [True]
