import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import AccessDeniedError, RegistryError, StoreError
from modfile.layout import Layout
from modfile.manifest import MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.partial import Partial
from modfile.reference import Reference
from modfile.strictjson import dump
from modfile.verbs.copy import copy
from modfile.verbs.fsck import Wrong, fsck
from modfile.verbs.prune import prune
from modfile.verbs.repair import repair
from tests.registries.memory import MemorySource

V1, V2 = Reference.parse("r.io/a/b:v1"), Reference.parse("r.io/a/b:v2")
OTHER, LOCAL = Reference.parse("other.io/c:v1"), Reference.parse("tiny:v1")
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
CONFIG = "application/vnd.cncf.model.config.v1+json"


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store", Backoff(sleep=lambda seconds: None))


@pytest.fixture
def origin(layout, tmp_path):
    """What a registry has: all that the store had when this is called."""

    def keep():
        shutil.copytree(layout.root, tmp_path / "origin", dirs_exist_ok=True)
        return Layout(tmp_path / "origin")

    return keep


def artifact(layout, name, reference=None, subject=None, shared=()):
    layer = layout.add_bytes(name.encode() * 10, WEIGHT)
    config = layout.add_bytes(f'{{"n": "{name}"}}'.encode(), CONFIG)
    content = layout.add_bytes(
        Manifest(OCI_MANIFEST, config, (layer, *shared), subject=subject).to_bytes(), OCI_MANIFEST
    )
    if reference:
        layout.tag(content, reference)
    return content


def index_of(layout, *children):
    data = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child.to_json() for child in children]})
    return layout.add_bytes(data, OCI_INDEX)


def layer_of(layout, content):
    return Manifest.parse(layout.blob_path(content.digest).read_bytes()).layers[0]


def found(layout):
    return [(one.wrong, one.digest, one.references) for one in fsck(layout).findings]


def mend(layout, *origins):
    """Repair from sources by host; give the results by digest (or by subject)."""
    sources = dict(origins)
    done = repair(layout, fsck(layout), lambda reference: sources.get(reference.host))
    return {one.finding.digest or one.finding.subject: one for one in done.treated}


def snapshot(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and "locks" not in path.parts
    }


def flip(path):
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(3)
        byte = file.read(1)
        file.seek(3)
        file.write(bytes([byte[0] ^ 1]))


def rewrite(data):
    def write(path):
        path.chmod(0o600)
        path.write_bytes(data(path.read_bytes()))

    return write


def replace_with(make):
    def replace(path):
        path.unlink()
        make(path)

    return replace


def full_directory(path):
    path.mkdir()
    (path / "somebody's").write_text("own")


def make_socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


DAMAGE = {
    "flipped": (flip, Wrong.DAMAGED),
    "truncated": (rewrite(lambda data: data[:5]), Wrong.WRONG_SIZE),
    "extended": (rewrite(lambda data: data + b"x"), Wrong.WRONG_SIZE),
    "emptied": (rewrite(lambda data: b""), Wrong.WRONG_SIZE),
    "removed": (Path.unlink, Wrong.MISSING),
    "a dangling link": (replace_with(lambda path: path.symlink_to("nowhere")), Wrong.NOT_A_FILE),
    "a directory": (replace_with(Path.mkdir), Wrong.NOT_A_FILE),
    "a directory with files": (replace_with(full_directory), Wrong.NOT_A_FILE),
    "a FIFO": (replace_with(os.mkfifo), Wrong.NOT_A_FILE),
    "a socket": (replace_with(make_socket), Wrong.NOT_A_FILE),
}
damaged_in_all_ways = pytest.mark.parametrize(("damage", "wrong"), DAMAGE.values(), ids=DAMAGE)


def test_a_store_that_is_not_there_is_all_right_and_stays_away(layout):
    report = fsck(layout)
    assert (report.findings, report.blobs, report.references) == ((), 0, 0)
    assert not layout.root.exists()
    assert repair(layout, report, lambda reference: None).treated == ()
    assert not layout.root.exists()


@pytest.mark.promise("S6")
def test_a_whole_store_is_all_right_and_nothing_of_it_is_changed(layout):
    one = artifact(layout, "one", V1)
    layout.tag(index_of(layout, one, artifact(layout, "two")), V2)
    artifact(layout, "signature", V1.at(Digest.of(b"")), subject=one)
    before = snapshot(layout.root)
    report = fsck(layout)
    assert (report.findings, report.references, report.blobs, report.orphans) == ((), 3, 10, ())
    assert report.bytes == sum(status.st_size for _, status in layout.blobs())
    assert snapshot(layout.root) == before


@pytest.mark.promise("S6")
@pytest.mark.parametrize("which", ["layer", "manifest"])
@damaged_in_all_ways
def test_what_is_wrong_with_a_blob_is_named_with_its_tags_and_mended(layout, origin, damage, wrong, which):
    content = artifact(layout, "one", V1)
    artifact(layout, "other", V2)
    bad = content if which == "manifest" else layer_of(layout, content)
    whole, registry = snapshot(layout.root), origin()
    damage(layout.blob_path(bad.digest))
    assert found(layout) == [(wrong, bad.digest, ("r.io/a/b:v1",))]
    done = mend(layout, ("r.io", registry))
    assert [one.done for one in done.values()] == ["fetched again from r.io/a/b"]
    kept = {name for name in snapshot(layout.root) if name.startswith("damaged/")}
    assert bool(kept) == (damage is DAMAGE["a directory with files"][0])
    assert {name: data for name, data in snapshot(layout.root).items() if name not in kept} == whole
    assert found(layout) == []
    assert layout.blob_path(bad.digest).stat().st_mode & 0o777 == 0o444
    assert mend(layout, ("r.io", registry)) == {}


@pytest.mark.promise("S6", "G1")
@damaged_in_all_ways
def test_what_cannot_be_fetched_is_kept_and_said(layout, damage, wrong):
    content = artifact(layout, "one", V1)
    bad = layer_of(layout, content)
    damage(layout.blob_path(bad.digest))
    blob = layout.blob_path(bad.digest)
    was = blob.read_bytes() if blob.is_file() else None
    for reached in ([], [("r.io", MemorySource())]):
        (one,) = mend(layout, *reached).values()
        assert one.done is None
        assert "modfile pull r.io/a/b:v1" in one.reason
    if was is not None:
        assert (layout.root / f"damaged/sha256-{bad.digest.hex}").read_bytes() == was
    assert (wrong is Wrong.MISSING) == (not list(layout.damaged()))
    assert found(layout) == [(Wrong.MISSING, bad.digest, ("r.io/a/b:v1",))]
    assert len(layout.entries()) == 1


def test_a_link_to_the_very_bytes_is_no_blob(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    registry, path = origin(), layout.blob_path(bad.digest)
    elsewhere = layout.root.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert found(layout) == [(Wrong.NOT_A_FILE, bad.digest, ("r.io/a/b:v1",))]
    mend(layout, ("r.io", registry))
    assert found(layout) == []
    assert elsewhere.exists()


@pytest.mark.promise("S6")
def test_a_blob_touches_every_tag_that_needs_it(layout):
    shared = layout.add_bytes(b"shared by all", WEIGHT)
    artifact(layout, "one", V1, shared=(shared,))
    layout.tag(index_of(layout, artifact(layout, "two", shared=(shared,))), OTHER)
    three = artifact(layout, "three", LOCAL, shared=(shared,))
    untagged = artifact(layout, "four", V1.at(Digest.of(b"")), shared=(shared,))
    flip(layout.blob_path(shared.digest))
    names = ("other.io/c:v1", f"r.io/a/b@{untagged.digest}", "r.io/a/b:v1", "tiny:v1")
    assert [(one, sorted(touched)) for _, one, touched in found(layout)] == [(shared.digest, sorted(names))]
    assert three


@pytest.mark.promise("S6")
def test_each_origin_is_asked_until_one_gives_it(layout, origin):
    shared = layout.add_bytes(b"shared by all", WEIGHT)
    artifact(layout, "one", V1, shared=(shared,))
    artifact(layout, "two", OTHER, shared=(shared,))
    registry = origin()
    flip(layout.blob_path(shared.digest))
    done = mend(layout, ("r.io", MemorySource()), ("other.io", registry))
    assert done[shared.digest].done == "fetched again from other.io/c"


class Failing:
    """A source that fails in a way of its own."""

    def __init__(self, error):
        self.error = error

    def open(self, content, start=0):
        raise self.error


@pytest.mark.promise("S6", "G1")
@pytest.mark.parametrize("error", [AccessDeniedError("not logged in"), RegistryError("r.io does not answer")])
def test_a_host_that_fails_keeps_no_other_from_being_asked(layout, origin, error):
    one = layer_of(layout, artifact(layout, "one", V1))
    two = layer_of(layout, artifact(layout, "two", OTHER))
    registry = origin()
    for bad in (one, two):
        flip(layout.blob_path(bad.digest))

    def find_source(reference):
        if reference.host == "r.io" and isinstance(error, AccessDeniedError):
            raise error  # as credentials that cannot be read do
        return registry if reference.host == "other.io" else Failing(error)

    done = {one.finding.digest: one for one in repair(layout, fsck(layout), find_source).treated}
    assert done[two.digest].done
    assert str(error) in done[one.digest].reason
    assert done[one.digest].set_aside.read_bytes() != registry.blob_path(one.digest).read_bytes()
    assert [left.finding.digest for left in repair(layout, fsck(layout), find_source).left] == [one.digest]


@pytest.mark.promise("S6", "R3")
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:]])
def test_wrong_bytes_from_the_registry_are_not_let_in(layout, change):
    bad = layer_of(layout, artifact(layout, "one", V1))
    source = MemorySource()
    source.content[bad.digest] = change(layout.blob_path(bad.digest).read_bytes())
    flip(layout.blob_path(bad.digest))
    (one,) = mend(layout, ("r.io", source)).values()
    assert one.done is None
    assert not layout.exists(bad)
    assert one.set_aside.exists()
    assert list((layout.root / "ingest").iterdir()) == []


def test_a_name_without_a_host_has_no_origin_and_it_is_said_what_to_do(layout):
    bad = layer_of(layout, artifact(layout, "one", LOCAL))
    flip(layout.blob_path(bad.digest))
    (one,) = mend(layout, ("r.io", MemorySource())).values()
    assert one.done is None
    assert "modfile rm tiny:v1" in one.reason


def test_what_can_be_done_is_said_of_a_name_that_has_a_registry(layout):
    shared = layout.add_bytes(b"shared by all", WEIGHT)
    artifact(layout, "one", LOCAL, shared=(shared,))
    artifact(layout, "two", V1, shared=(shared,))
    flip(layout.blob_path(shared.digest))
    (one,) = mend(layout, ("r.io", MemorySource())).values()
    assert "`modfile pull r.io/a/b:v1`" in one.reason


def test_names_that_other_tools_wrote_touch_as_they_are(layout):
    content = artifact(layout, "one")
    with layout.changing() as index:
        index._append(content, {"org.opencontainers.image.ref.name": "Not A Reference"})
        index._append(content, {"dev.modfile.repository": "NOT/a repository"})
        index._append(content, {})
    flip(layout.blob_path(layer_of(layout, content).digest))
    ((_, _, names),) = found(layout)
    assert set(names) == {"Not A Reference", f"NOT/a repository@{content.digest}", str(content.digest)}
    (one,) = mend(layout).values()
    assert one.done is None


@pytest.mark.promise("S6")
def test_all_of_an_artifact_comes_back_through_nested_indexes(layout, origin):
    inner = index_of(layout, artifact(layout, "one"), artifact(layout, "two"))
    layout.tag(index_of(layout, inner), V1)
    registry, whole = origin(), snapshot(layout.root)
    for digest, _ in list(layout.blobs()):
        flip(layout.blob_path(digest))
    assert len(fsck(layout).findings) == 8
    done = mend(layout, ("r.io", registry))
    assert {one.done for one in done.values()} == {"fetched again from r.io/a/b"}
    assert snapshot(layout.root) == whole
    assert list(layout.damaged()) == []


@pytest.mark.promise("S6")
def test_what_a_manifest_leads_to_that_had_to_be_fetched_is_fetched_as_well(layout, origin):
    layout.tag(index_of(layout, artifact(layout, "one")), V1)
    registry, whole = origin(), snapshot(layout.root)
    for digest, _ in list(layout.blobs()):
        layout.remove_blob(digest)
    assert len(fsck(layout).findings) == 1  # nobody knows of the others
    done = mend(layout, ("r.io", registry))
    assert len(done) == 4
    assert {one.done for one in done.values()} == {"fetched again from r.io/a/b"}
    assert snapshot(layout.root) == whole


def test_a_manifest_comes_by_its_digest_though_the_tag_has_moved(layout, origin):
    content = artifact(layout, "one", V1)
    registry = origin()
    artifact(registry, "moved", V1)
    layout.blob_path(content.digest).unlink()
    mend(layout, ("r.io", registry))
    assert found(layout) == []
    assert layout.resolve(V1).digest == content.digest


def test_a_referrer_is_checked_and_mended_like_its_subject(layout, origin):
    subject = artifact(layout, "one", V1)
    signature = artifact(layout, "signature", V1.at(Digest.of(b"")), subject)
    registry = origin()
    flip(layout.blob_path(signature.digest))
    assert found(layout) == [(Wrong.DAMAGED, signature.digest, (f"r.io/a/b@{signature.digest}",))]
    with pytest.raises(StoreError, match=f"r.io/a/b@{signature.digest} cannot be read"):
        prune(layout)
    assert mend(layout, ("r.io", registry))[signature.digest].done
    prune(layout)
    assert layout.exists(signature)


def test_a_subject_that_is_not_there_is_nothing_wrong(layout):
    artifact(layout, "signature", V1, Descriptor(OCI_MANIFEST, Digest.of(b"elsewhere"), 9))
    assert found(layout) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"not json", b"[]", b"{}", b'{"schemaVersion":2,"schemaVersion":2}', b"[" * 100_000, b"\xff\xfe"],
)
def test_a_manifest_that_is_none_is_named_and_left_alone(layout, data):
    layout.tag(layout.add_bytes(data, OCI_MANIFEST), V1)
    ((wrong, digest, names),) = found(layout)
    assert (wrong, names) == (Wrong.MALFORMED, ("r.io/a/b:v1",))
    (one,) = mend(layout, ("r.io", layout)).values()
    assert one.done is None
    assert "modfile rm" in one.reason
    assert layout.blob_path(digest).read_bytes() == data


def test_a_manifest_that_is_too_large_is_not_read(layout):
    data = b" " * (MAX_MANIFEST + 1)
    layout.tag(layout.add_bytes(data, OCI_MANIFEST), V1)
    ((wrong, _, _),) = found(layout)
    assert wrong is Wrong.MALFORMED


def test_what_is_no_manifest_and_too_many_indexes_are_named(layout):
    unknown = layout.add_bytes(b"{}", "application/vnd.future.manifest.v9+json")
    layout.tag(unknown, V1)
    deep = artifact(layout, "deep")
    for _ in range(5):
        deep = index_of(layout, deep)
    layout.tag(deep, V2)
    report = fsck(layout)
    assert {one.wrong for one in report.findings} == {Wrong.MALFORMED}
    assert sorted(one.references for one in report.findings) == [("r.io/a/b:v1",), ("r.io/a/b:v2",)]
    assert any("nested" in one.detail for one in report.findings)


@pytest.mark.parametrize("where", ["index", "manifest"])
def test_a_size_that_is_said_wrongly_is_not_the_blobs_fault(layout, where):
    content = artifact(layout, "one", V1)
    layer = layer_of(layout, content)
    if where == "manifest":
        wrong = layer
        lie = Descriptor(layer.media_type, layer.digest, layer.size + 1)
        layout.tag(layout.add_bytes(Manifest(OCI_MANIFEST, layer, (lie,)).to_bytes(), OCI_MANIFEST), V1)
    else:
        wrong = content
        with layout.changing() as index:
            index.tag(Descriptor(content.media_type, content.digest, content.size + 1), V1)
    kinds = {one.digest: one.wrong for one in fsck(layout).findings}
    assert kinds[wrong.digest] is Wrong.MISDESCRIBED
    assert mend(layout, ("r.io", layout))[wrong.digest].done is None
    assert layout.blob_path(wrong.digest).exists()


def test_a_name_that_stands_for_two_manifests_is_named(layout):
    one, two = artifact(layout, "one", V1), artifact(layout, "two")
    with layout.changing() as index:
        index._append(two, {"org.opencontainers.image.ref.name": str(V1)})
    (finding,) = fsck(layout).findings
    assert (finding.wrong, finding.references) == (Wrong.AMBIGUOUS, ("r.io/a/b:v1",))
    assert str(one.digest) in finding.detail
    (done,) = mend(layout).values()
    assert "modfile rm" in done.reason


def test_what_stands_among_the_blobs_and_is_none_is_named_and_left_alone(layout):
    artifact(layout, "one", V1)
    names = ["blobs/notes.txt", "blobs/sha256/README", "blobs/sha256/" + "A" * 64, "blobs/md5"]
    for name in names[:-1]:
        (layout.root / name).write_text("mine")
    (layout.root / "blobs/md5").mkdir()
    (layout.root / "blobs/sha256" / os.fsdecode(b"\xff\n")).write_text("")
    assert {one.wrong for one in fsck(layout).findings} == {Wrong.FOREIGN}
    assert {one.subject for one in fsck(layout).findings} >= set(names)
    assert all(one.done is None for one in mend(layout).values())
    assert all((layout.root / name).exists() for name in names)


@pytest.mark.promise("S6")
def test_what_nothing_needs_and_what_is_under_way_is_told_but_is_no_problem(layout):
    artifact(layout, "one", V1)
    orphan = layout.add_bytes(b"nobody's", WEIGHT)
    (layout.root / "ingest/sha256-dead").write_bytes(b"half")
    ingest = os.open(layout.root / "ingest", os.O_RDONLY)
    with Partial(ingest, "sha256-live"):
        report = fsck(layout)
    os.close(ingest)
    assert report.findings == ()
    assert (report.orphans, report.orphan_bytes) == ((orphan.digest,), 8)
    assert (report.live_partials, report.dead_partials) == (1, 1)
    assert fsck(layout).dead_partials == 2


@pytest.mark.promise("S6")
def test_a_damaged_blob_that_nothing_needs_cannot_take_the_place_of_a_whole_one(layout):
    artifact(layout, "one", V1)
    orphan = layout.add_bytes(b"nobody's", WEIGHT)
    flip(layout.blob_path(orphan.digest))
    assert found(layout) == [(Wrong.DAMAGED, orphan.digest, ())]
    (one,) = mend(layout).values()
    assert one.done == "set aside, since nothing needs it"
    assert one.set_aside.exists()
    assert layout.add_bytes(b"nobody's", WEIGHT) == orphan
    assert found(layout) == []
    assert prune(layout).damaged == 1


@pytest.mark.promise("S6", "G1")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("index.json", b""),
        ("index.json", b'{"manifests": 1}'),
        ("index.json", None),
        ("oci-layout", b'{"imageLayoutVersion":"2.0"}'),
    ],
)
def test_with_a_damaged_index_the_blobs_are_checked_all_the_same(layout, name, data):
    bad = layer_of(layout, artifact(layout, "one", V1))
    flip(layout.blob_path(bad.digest))
    path = layout.root / name
    path.unlink()
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    before = snapshot(layout.root)
    report = fsck(layout)
    assert [(one.wrong, one.digest) for one in report.findings] == [(Wrong.INDEX, None), (Wrong.DAMAGED, bad.digest)]
    assert (report.orphans, report.blobs) == ((), 3)
    done = mend(layout, ("r.io", layout))
    assert [one.done for one in done.values()] == [None, None]
    with pytest.raises(StoreError):
        prune(layout)
    assert snapshot(layout.root) == before


@pytest.mark.promise("S6")
@pytest.mark.parametrize("data", [None, b"", b"\0" * 30])
def test_the_mark_of_a_layout_is_written_anew_and_the_rest_is_mended_then(layout, origin, data):
    bad = layer_of(layout, artifact(layout, "one", V1))
    registry, whole = origin(), snapshot(layout.root)
    flip(layout.blob_path(bad.digest))
    path = layout.root / "oci-layout"
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    done = mend(layout, ("r.io", registry))
    assert done["index.json"].done == "oci-layout was written anew"
    assert done[bad.digest].finding.references == ("r.io/a/b:v1",)
    assert snapshot(layout.root) == whole


def test_a_blob_that_not_even_its_owner_may_read_is_made_readable(layout):
    bad = layer_of(layout, artifact(layout, "one", V1))
    path = layout.blob_path(bad.digest)
    path.chmod(0)
    assert layout.make_readable(bad.digest)
    assert path.stat().st_mode & 0o777 == 0o444
    assert not layout.make_readable(bad.digest)
    assert not layout.make_readable(Digest.of(b"not there"))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read anything
        return
    assert [wrong for wrong, _, _ in found(layout)] == [Wrong.UNREADABLE]
    assert mend(layout)[bad.digest].done == "made readable"


@pytest.mark.promise("S6")
def test_what_is_set_aside_takes_the_place_of_nothing_and_goes_when_the_blob_is_whole(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    registry = origin()
    for text in ("first", "second", "third"):
        path = layout.blob_path(bad.digest)
        if path.exists():
            path.unlink()
        path.write_text(text)
        path.chmod(0o640)
        mend(layout)
    names = [f"sha256-{bad.digest.hex}", f"sha256-{bad.digest.hex}.2", f"sha256-{bad.digest.hex}.3"]
    kept = {path.name: path for _, path, _ in layout.damaged()}
    assert [kept[name].read_text() for name in names] == ["first", "second", "third"]
    assert kept[names[0]].stat().st_mode & 0o777 == 0o640
    assert len(fsck(layout).set_aside) == 3
    mend(layout, ("r.io", registry))
    assert list(layout.damaged()) == []
    assert found(layout) == []


@pytest.mark.promise("S6")
def test_prune_keeps_the_only_copy_of_what_is_needed(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    orphan = layer_of(layout, artifact(layout, "two", V2))
    registry = origin()
    flip(layout.blob_path(bad.digest))
    flip(layout.blob_path(orphan.digest))
    mend(layout)
    assert len(list(layout.damaged())) == 2
    assert prune(layout).damaged == 0
    layout.untag([V2])
    assert prune(layout, dry_run=True).damaged == 1
    assert len(list(layout.damaged())) == 2
    assert prune(layout).damaged == 1
    layout.put(bad, registry)
    assert prune(layout).damaged == 1
    assert list(layout.damaged()) == []


def test_a_blob_that_was_mended_by_another_hand_is_not_touched(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    registry = origin()
    flip(layout.blob_path(bad.digest))
    report = fsck(layout)
    path = layout.blob_path(bad.digest)
    path.write_bytes(registry.blob_path(bad.digest).read_bytes())
    (one,) = repair(layout, report, lambda reference: None).treated
    assert (one.done, one.set_aside) == ("right by now", None)


def test_a_tag_that_went_after_the_check_needs_nothing_any_more(layout):
    bad = layer_of(layout, artifact(layout, "one", V1))
    layout.blob_path(bad.digest).unlink()
    report = fsck(layout)
    layout.untag([V1])
    prune(layout)
    (one,) = repair(layout, report, lambda reference: None).treated
    assert one.done == "nothing needs it any more"


@pytest.mark.promise("S6", "S3")
def test_repair_waits_for_who_is_writing_before_it_sets_anything_aside(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    registry, notes = origin(), []
    flip(layout.blob_path(bad.digest))
    report = fsck(layout)
    waits = threading.Event()

    def note(text):
        notes.append(text)
        waits.set()

    work = threading.Thread(target=repair, args=(layout, report, lambda reference: registry), kwargs={"note": note})
    with layout.writing():
        work.start()
        assert waits.wait(30)
        assert layout.blob_path(bad.digest).exists()
    work.join(30)
    assert "waiting" in notes[0]
    assert found(layout) == []


class Interfering:
    """A progress that lets something happen in the middle of a check: before so many blobs are read."""

    def __init__(self, act, before=1):
        self.act, self.left = act, before

    def start(self, label, size):
        self.left -= 1
        if not self.left:
            self.act()
        return self

    def advance(self, amount):
        pass

    def resume(self, amount):
        pass

    def note(self, text):
        pass

    def finish(self, outcome):
        pass


@pytest.mark.promise("S6", "S3")
def test_what_is_removed_with_its_tag_during_a_check_is_nothing_wrong(layout):
    artifact(layout, "one", V1)
    artifact(layout, "two", V2)

    def act():
        layout.untag([V1])
        prune(layout)

    report = fsck(layout, progress=Interfering(act), concurrency=1)
    assert (report.findings, report.references, report.blobs) == ((), 1, 3)


@pytest.mark.promise("S6", "S3")
def test_what_is_mended_during_a_check_is_nothing_wrong(layout, origin):
    bad = layer_of(layout, artifact(layout, "one" * 1000, V1))  # the largest is read first
    registry, path = origin(), layout.blob_path(bad.digest)
    flip(path)
    whole = registry.blob_path(bad.digest).read_bytes()
    report = fsck(layout, progress=Interfering(lambda: path.write_bytes(whole), before=2), concurrency=1)
    assert report.findings == ()


class Racing(Layout):
    """A store in which something happens at a moment that is hard to hit."""

    def __init__(self, root, *, listed=None, waited=None):
        super().__init__(root)
        self._listed, self._waited = listed, waited

    def entries(self):
        entries, act, self._listed = super().entries(), self._listed, None
        if act:
            act()
        return entries

    def collecting(self, note):
        if self._waited:
            self._waited()
        return super().collecting(note)


@pytest.mark.promise("S6", "S3")
def test_a_tag_that_goes_once_the_index_was_read_leaves_nothing_behind(layout):
    artifact(layout, "one", V1)

    def act():
        layout.untag([V1])
        prune(layout)

    report = fsck(Racing(layout.root, listed=act))
    assert (report.findings, report.references, report.orphans) == ((), 0, ())


@pytest.mark.promise("S6", "S3")
def test_a_blob_that_is_brought_while_repair_waits_is_not_set_aside(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    registry, path = origin(), layout.blob_path(bad.digest)
    flip(path)
    report, whole = fsck(layout), registry.blob_path(bad.digest).read_bytes()
    store = Racing(layout.root, waited=lambda: path.write_bytes(whole))
    (one,) = repair(store, report, lambda reference: None).treated
    assert (one.done, one.set_aside) == ("right by now", None)
    assert path.read_bytes() == whole


@pytest.mark.promise("S6", "S3")
def test_what_comes_during_a_check_is_checked(layout):
    artifact(layout, "one", V1)

    def act():
        flip(layout.blob_path(layer_of(layout, artifact(layout, "two", V2)).digest))

    report = fsck(layout, progress=Interfering(act), concurrency=1)
    assert [one.references for one in report.findings] == [("r.io/a/b:v2",)]
    assert report.orphans == ()


@pytest.mark.promise("S6", "S3")
def test_a_check_beside_others_that_bring_remove_and_prune_finds_nothing_wrong(layout, tmp_path):
    registry = Layout(tmp_path / "registry")
    names = [V1, V2, OTHER]
    contents = [artifact(registry, str(reference) * 1000, reference) for reference in names]
    stop, errors = threading.Event(), []

    def work(reference, content):
        try:
            while not stop.is_set():
                with layout.writing():
                    copy(content, registry, layout)
                    layout.tag(content, reference)
                layout.untag([reference])
                prune(layout)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(names, contents, strict=True)]
    for thread in threads:
        thread.start()
    reports = [fsck(layout) for _ in range(15)]
    stop.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert [report.findings for report in reports if report.findings] == []
    assert fsck(layout).findings == ()


def test_what_is_read_is_told_of(layout):
    artifact(layout, "one", V1)
    seen = []

    class Counting(Interfering):
        def start(self, label, size):
            seen.append(size)
            return self

        def advance(self, amount):
            seen.append(-amount)

    fsck(layout, progress=Counting(None))
    assert sum(seen) == 0
    assert len(seen) == 6


def test_larger_blobs_and_sha512_are_checked_as_well(layout):
    data = os.urandom(5_000_001)
    large = Descriptor(WEIGHT, Digest("sha512", "").again(data), len(data))
    source = MemorySource()
    source.content[large.digest] = data
    layout.put(large, source)
    artifact(layout, "one", V1, shared=(large,))
    assert found(layout) == []
    flip(layout.blob_path(large.digest))
    assert found(layout) == [(Wrong.DAMAGED, large.digest, ("r.io/a/b:v1",))]
    assert mend(layout, ("r.io", source))[large.digest].done
    assert found(layout) == []


@pytest.mark.promise("S6")
def test_a_disk_that_is_full_loses_nothing(layout, origin):
    bad = layer_of(layout, artifact(layout, "one", V1))
    flip(layout.blob_path(bad.digest))

    class Full(MemorySource):
        def open(self, content, start=0):
            raise OSError(28, "No space left on device")

    (one,) = mend(layout, ("r.io", Full())).values()
    assert "No space left" in one.reason
    assert one.set_aside.exists()


def test_reading_a_blob_that_is_a_fifo_ends(layout):
    bad = layer_of(layout, artifact(layout, "one", V1))
    path = layout.blob_path(bad.digest)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Exception, match="not a file"), layout.open(bad):
        pass


def test_the_report_is_json_with_stable_keys(layout):
    bad = layer_of(layout, artifact(layout, "one", V1))
    flip(layout.blob_path(bad.digest))
    report = fsck(layout)
    keys = ["References", "Blobs", "Bytes", "Problems", "Orphans", "Partials", "SetAside", "NotFetched"]
    assert list(report.to_json()) == keys
    (problem,) = report.to_json()["Problems"]
    assert problem == {
        "Problem": "damaged",
        "Subject": str(bad.digest),
        "Digest": str(bad.digest),
        "Detail": report.findings[0].detail,
        "References": ["r.io/a/b:v1"],
    }
    (treated,) = repair(layout, report, lambda reference: None).to_json()["Problems"]
    assert list(treated) == [*problem, "Repaired", "Outcome", "SetAside"]
    assert treated["SetAside"].endswith(f"damaged/sha256-{bad.digest.hex}")


def test_a_listing_passes_over_what_went_meanwhile(layout):
    for data in (b"one", b"two", b"three"):
        layout.add_bytes(data, WEIGHT)
        (layout.root / "ingest" / data.decode()).write_bytes(data)
    blobs = layout.blobs()
    first, _ = next(blobs)
    for digest in {Digest.of(data) for data in (b"one", b"two", b"three")} - {first}:
        layout.remove_blob(digest)
    assert list(blobs) == []
    partials = layout.partials()
    first, _ = next(partials)
    for path in set((layout.root / "ingest").iterdir()) - {first}:
        path.unlink()
    assert list(partials) == []


def test_a_layer_that_may_be_elsewhere_only_is_not_missed(tmp_path):
    layout = Layout(tmp_path / "store")
    config = layout.add_bytes(b"{}", "application/vnd.oci.image.config.v1+json")
    elsewhere = Descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar", Digest.of(b"elsewhere"), 9)
    manifest = Manifest(OCI_MANIFEST, config, (elsewhere,))
    layout.tag(layout.add_bytes(manifest.to_bytes(), OCI_MANIFEST), Reference.parse("r.io/windows:v1"))
    assert fsck(layout).findings == ()
