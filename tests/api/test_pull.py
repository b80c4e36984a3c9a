"""`modfile.pull`: a directory that is whole, shared, and the store's own bytes."""

import dataclasses
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

import pytest

import modfile
from modfile import Session
from modfile.content import Digest
from modfile.errors import (
    ContentError,
    InvalidReferenceError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
)
from modfile.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE
from modfile.progress import SILENT
from modfile.reference import Reference
from modfile.snapshots import Snapshots, prune_snapshots, spared
from modfile.snapshots.marker import Marker
from modfile.verbs.prune import prune
from tests.registries.fake import Answer

from .conftest import FILES, files_below

ROOT = Path(__file__).parents[2]


def packed(*files):
    """Return a tar of (path, data)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in files:
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def blob(session, data):
    return session.storage.layout.blob_path(Digest.of(data))


def marker_of(path):
    return path.with_name(f".{path.name}.json")


def blobs_sent(fake):
    return [seen.path for seen in fake.requests("GET", "/blobs/")]


def store(session, name, *layers):
    """Put an artifact of our making into the store; a layer is (path, data, format)."""
    layout, descriptors = session.storage.layout, []
    for path, data, form in layers:
        content = layout.add_bytes(data, f"application/vnd.cncf.model.weight.v1.{form}")
        annotations = {"org.cncf.model.filepath": path} if path else {}
        descriptors.append(dataclasses.replace(content, annotations=annotations))
    config = layout.add_bytes(b"{}", CONFIG_TYPE)
    data = Manifest(OCI_MANIFEST, config, tuple(descriptors), ARTIFACT_TYPE).to_bytes()
    layout.tag(layout.add_bytes(data, OCI_MANIFEST), Reference.parse(name))


# The directory


def test_it_is_the_model(ref, session, model):
    path = modfile.pull(ref, session=session)
    assert files_below(path) == FILES
    for name in FILES:
        assert (path / name).read_bytes() == (model / name).read_bytes()


def test_nothing_is_on_disk_twice_and_nothing_can_be_written(ref, session, model):
    path = modfile.pull(ref, session=session)
    for name in FILES:
        status, kept = (path / name).stat(), blob(session, (model / name).read_bytes()).stat()
        assert stat.S_IMODE(status.st_mode) == 0o444
        assert status.st_ino == kept.st_ino or status.st_nlink == 1  # the blob itself, or its blocks


def test_where_the_blobs_are_on_another_disk_the_files_are_copies(ref, session, tmp_path, model):
    other = Path("/dev/shm")
    if other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    with tempfile.TemporaryDirectory(dir=other) as elsewhere:
        session.storage_directory.mkdir()
        (session.storage_directory / "models").symlink_to(elsewhere)
        path = modfile.pull(ref, session=session)
        assert path.stat().st_dev == other.stat().st_dev
        for name in FILES:
            assert (path / name).read_bytes() == (model / name).read_bytes()
            assert (path / name).stat().st_mode & 0o777 == 0o444
        assert modfile.pull(ref, local_files_only=True, session=session) == path


def test_it_is_the_same_one_again_and_only_the_tag_is_looked_up(ref, session, fake):
    first = modfile.pull(ref, session=session)
    inodes = {path: path.stat().st_ino for path in (first, first / "config.json")}
    fake.seen.clear()
    assert modfile.pull(ref, session=session) == first
    assert [(seen.method, seen.path) for seen in fake.seen] == [("GET", "/v2/llm/tiny/manifests/v1")]
    assert inodes == {path: path.stat().st_ino for path in inodes}


def test_a_digest_that_is_there_is_not_looked_up(ref, session, fake):
    path = modfile.pull(ref, session=session)
    fake.seen.clear()
    assert modfile.pull(ref.removesuffix(":v1"), revision=f"sha256:{path.name}", session=session) == path
    assert fake.seen == []


def test_a_tag_that_moved_is_another_directory(ref, session, fake, model, tmp_path):
    first = modfile.pull(ref, session=session)
    (model / "config.json").write_text("{}")
    with Session(tmp_path / "builder") as builder:
        modfile.build(model, ref, reproducible=True, session=builder)
        modfile.push(ref, session=builder)
    second = modfile.pull(ref, session=session)
    assert (second / "config.json").read_text() == "{}"
    assert (first / "config.json").read_text() != "{}"


def test_the_surroundings_are_found_as_the_program_finds_them(ref, tmp_path, monkeypatch):
    monkeypatch.setenv("MODFILE_STORAGE_DIR", str(tmp_path / "elsewhere"))
    path = modfile.pull(ref)
    assert path.is_relative_to(tmp_path / "elsewhere" / "models")
    monkeypatch.setenv("MODFILE_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(UsageError, match="does not exist"):
        modfile.pull(ref)


@pytest.mark.parametrize("host", ["[::1]:5000", "127.0.0.1:5000", "localhost", "r.io", None])
def test_no_path_holds_what_loaders_take_for_a_pattern_or_an_end(session, tmp_path, host):
    snapshots = Snapshots(Path("models"), session.storage.layout)
    path = snapshots.path(Reference(host, "a/b", "v1"), Digest.of(b""))
    assert len(path.parts) == 4
    assert not set(str(path)) & set("[]:*?")


def test_no_two_repositories_have_one_place(session):
    snapshots = Snapshots(Path("models"), session.storage.layout)
    hosts = ["[::1]:5000", "[::1:5000]", "r.io", "r.io:5000", "localhost", "local.io", None]
    references = [Reference(host, name, "v1") for host in hosts for name in ("a/b", "a-b", "a__b", "a.b")]
    assert len({snapshots.path(reference, Digest.of(b"")) for reference in references}) == len(references)


# Names


def test_a_name_without_a_host_is_of_the_local_store(session, model):
    modfile.build(model, "tiny:v1", session=session)
    assert files_below(modfile.pull("tiny", revision="v1", session=session)) == FILES
    with pytest.raises(NotFoundError, match="is not in the local store"):
        modfile.pull("tiny:v2", session=session)


@pytest.mark.parametrize(
    ("ref", "revision", "error"),
    [
        ("r.io/a:v1", "v2", UsageError),
        ("r.io/a:latest", "v2", UsageError),
        (f"r.io/a@sha256:{'0' * 64}", "v1", UsageError),
        ("r.io/a", "sha256:../..", InvalidReferenceError),
        ("r.io/a", "../v1", InvalidReferenceError),
        ("r.io/a", "", InvalidReferenceError),
        ("r.io/../a", None, InvalidReferenceError),
        ("", None, InvalidReferenceError),
    ],
)
def test_a_name_that_is_none_is_refused(session, ref, revision, error):
    with pytest.raises(error):
        modfile.pull(ref, revision=revision, session=session)
    assert not (session.storage_directory / "models").exists()


# Without the registry


def test_offline_means_that_nobody_is_asked(ref, session, fake):
    with pytest.raises(NotFoundError, match="no registry was to be asked"):
        modfile.pull(ref, local_files_only=True, session=session)
    path = modfile.pull(ref, session=session)
    fake.seen.clear()
    assert modfile.pull(ref, local_files_only=True, session=session) == path
    assert fake.seen == []


def test_a_registry_that_fails_is_done_without_where_the_store_has_the_name(ref, session, fake, notes):
    path = modfile.pull(ref, session=session)
    fake.always("GET", "/manifests/", Answer(503))
    assert modfile.pull(ref, session=session) == path
    assert any("is taken from the local store, since" in note for note in notes)


def test_a_registry_that_fails_is_an_error_where_it_does_not(ref, session, fake):
    fake.always("GET", "/manifests/", Answer(503))
    with pytest.raises(RegistryError):
        modfile.pull(ref, connection=modfile.Connection(attempts=1), session=session)
    assert not list((session.storage_directory / "models").rglob("*"))


# Parts


def test_parts_come_to_the_same_directory_which_grows(ref, session, fake):
    path = modfile.pull(ref, allow_patterns="*.json", session=session)
    assert files_below(path) == ["config.json"]
    assert len(blobs_sent(fake)) == 2  # with the artifact's config
    assert modfile.pull(ref, allow_patterns=["data/", "*.bin"], ignore_patterns="*.py", session=session) == path
    assert files_below(path) == ["config.json", "data/train.csv"]
    assert modfile.pull(ref, session=session) == path
    assert files_below(path) == FILES
    assert len(blobs_sent(fake)) == len(set(blobs_sent(fake))) == 6


def test_a_star_means_every_directory_as_in_huggingface_hub(ref, session):
    path = modfile.pull(ref, allow_patterns="*.csv", session=session)
    assert files_below(path) == ["data/train.csv"]


def test_patterns_that_leave_nothing_are_an_error(ref, session, fake):
    with pytest.raises(NotFoundError, match=r"the patterns leave no file of .*config\.json"):
        modfile.pull(ref, allow_patterns=["*.gguf"], session=session)
    assert not [path for path in (session.storage_directory / "models").rglob("*") if path.is_file()]


def test_a_part_does_not_make_the_store_say_that_it_has_the_artifact(ref, session, fake):
    path = modfile.pull(ref, allow_patterns="*.json", session=session)
    assert session.storage.layout.entries() == ()
    fake.seen.clear()
    assert modfile.pull(ref, allow_patterns="*.json", local_files_only=True, session=session) == path
    with pytest.raises(NotFoundError):
        modfile.pull(ref, allow_patterns="*.py", local_files_only=True, session=session)
    assert fake.seen == []
    assert files_below(path) == ["config.json"]


def test_a_directory_of_ones_own_gets_files_that_may_be_changed(ref, session, tmp_path, model):
    out = tmp_path / "out"
    assert modfile.pull(ref, local_dir=out, ignore_patterns=["*.csv"], session=session) == out
    assert files_below(out) == [name for name in FILES if name != "data/train.csv"]
    assert stat.S_IMODE((out / "config.json").stat().st_mode) & stat.S_IWUSR
    (out / "config.json").write_text("{}")
    assert files_below(session.storage_directory / "store" / "blobs") == []
    modfile.pull(ref, local_dir=out, session=session)
    assert (out / "config.json").read_bytes() == (model / "config.json").read_bytes()


# Damage


@pytest.mark.promise("S5")
def test_a_damaged_blob_does_not_become_a_model(session, model):
    modfile.build(model, "tiny:v1", session=session)
    path = blob(session, (model / "model.safetensors").read_bytes())
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match=r"model\.safetensors: the blob .* is damaged .*fsck --repair"):
        modfile.pull("tiny:v1", session=session)
    assert not [found for found in (session.storage_directory / "models").rglob("*") if found.is_file()]


def test_a_blob_that_may_be_written_is_made_read_only_first(session, model):
    """Other tools' layouts have such blobs."""
    modfile.build(model, "tiny:v1", session=session)
    kept = blob(session, (model / "config.json").read_bytes())
    kept.chmod(0o644)
    path = modfile.pull("tiny:v1", session=session)
    assert stat.S_IMODE((path / "config.json").stat().st_mode) == 0o444


def test_a_file_that_was_taken_away_or_replaced_comes_again(ref, session, model):
    path = modfile.pull(ref, session=session)
    (path / "config.json").unlink()
    (path / "run.py").unlink()
    (path / "run.py").write_text("something else, of another size")
    assert modfile.pull(ref, local_files_only=True, session=session) == path
    for name in FILES:
        assert (path / name).read_bytes() == (model / name).read_bytes()


def test_what_sizes_and_times_do_not_tell_force_verify_does(ref, session, model):
    path = modfile.pull(ref, session=session)
    before = (path / "run.py").stat()
    data = (path / "run.py").read_bytes()
    (path / "run.py").unlink()
    (path / "run.py").write_bytes(bytes(len(data)))
    os.utime(path / "run.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (modfile.pull(ref, session=session) / "run.py").read_bytes() == bytes(len(data))
    assert (modfile.pull(ref, force_verify=True, session=session) / "run.py").read_bytes() == data


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"version": 1}', "[" * 100_000, '{"version": 1, "files": {"x": [1]}}']
)
def test_a_marker_that_is_none_means_that_all_is_laid_out_again(ref, session, text):
    path = modfile.pull(ref, session=session)
    marker_of(path).write_text(text)
    assert files_below(modfile.pull(ref, local_files_only=True, session=session)) == FILES
    assert json.loads(marker_of(path).read_text())["complete"]


def test_what_a_marker_says_leads_nowhere_else(ref, session, tmp_path):
    """Whoever may write it may write the store as well; but it is no way to make us touch other files."""
    path = modfile.pull(ref, session=session)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    said = json.loads(marker_of(path).read_text())
    said["complete"] = False
    status = outside.stat()
    said["files"]["../../../../../outside"] = [str(Digest.of(b"mine")), 4, status.st_mtime_ns, None]
    marker_of(path).write_text(json.dumps(said))
    assert files_below(modfile.pull(ref, session=session)) == FILES
    assert sorted(json.loads(marker_of(path).read_text())["files"]) == FILES
    assert outside.read_text() == "mine"
    assert outside.stat().st_nlink == 1


# Hostile artifacts


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a\\b", "", "a\0b"])
@pytest.mark.promise("W1")
def test_a_path_that_is_not_safe_is_refused_before_anything_is_written(session, path):
    store(session, "bad:v1", (path or None, b"x", "raw"))
    with pytest.raises(ContentError):
        modfile.pull("bad:v1", session=session)
    assert not [found for found in (session.storage_directory / "models").rglob("*") if found.is_file()]


def test_an_index_of_several_manifests_is_no_model(session):
    layout = session.storage.layout
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    layout.tag(layout.add_bytes(data, OCI_INDEX), Reference.parse("many:v1"))
    with pytest.raises(ContentError, match="index that lists no manifest"):
        modfile.pull("many:v1", session=session)


def test_files_in_tars_are_laid_out_too_and_stay_when_the_directory_grows(session):
    store(session, "packed:v1", ("a.txt", b"a", "raw"), ("b.txt", b"b", "raw"), (None, packed(("t/x", b"xx")), "tar"))
    path = modfile.pull("packed:v1", allow_patterns="a.*", session=session)
    assert files_below(path) == ["a.txt", "t/x"]  # what is in the tar is not known before
    assert stat.S_IMODE((path / "t/x").stat().st_mode) == 0o444
    assert files_below(modfile.pull("packed:v1", session=session)) == ["a.txt", "b.txt", "t/x"]
    (path / "t/x").unlink()
    assert (modfile.pull("packed:v1", session=session) / "t/x").read_bytes() == b"xx"


def test_a_tar_that_holds_what_another_layer_is_is_refused(session):
    store(session, "packed:v1", ("a.txt", b"a", "raw"), (None, packed(("a.txt", b"b")), "tar"))
    with pytest.raises(ContentError, match=r"a\.txt"):
        modfile.pull("packed:v1", session=session)
    assert not [found for found in (session.storage_directory / "models").rglob("*") if found.is_file()]


# Several at once


def test_of_many_threads_one_fetches_and_the_others_wait_and_are_told(ref, fake, tmp_path):
    results, told = [], []

    def work():
        with Session(tmp_path / "storage", note=told.append) as session:
            results.append(modfile.pull(ref, session=session))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(results)) == 1
    assert len(blobs_sent(fake)) == 6
    assert all("waiting for another command that writes to" in note for note in told)


def test_who_waits_is_told_so_and_then_finds_the_work_done(ref, session, fake, tmp_path):
    told, paths = [], []
    waiting = threading.Event()

    def note(text):
        told.append(text)
        waiting.set()

    def work():
        with Session(session.storage_directory, note=note) as other:
            paths.append(modfile.pull(ref, session=other))

    class Pausing:
        """Lets the other one start while this one is at work."""

        def start(self, label, size):
            if not thread.is_alive():
                thread.start()
                assert waiting.wait(30)
            return SILENT

    thread = threading.Thread(target=work)
    path = modfile.pull(ref, progress=Pausing(), max_workers=1, session=session)
    thread.join()
    assert paths == [path]
    assert told == [f"waiting for another command that writes to {path}"]
    assert len(blobs_sent(fake)) == 6


def run(code, *arguments, **options):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "grammar")]),
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, **options)


PULL = """
import sys, modfile
from pathlib import Path
print(modfile.pull(sys.argv[1], session=modfile.Session(Path(sys.argv[2]))))
"""


def test_of_several_processes_one_fetches(ref, fake, tmp_path):
    processes = [run(PULL, ref, tmp_path / "storage") for _ in range(4)]
    paths = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert len(paths) == 1
    assert files_below(Path(paths.pop())) == FILES
    assert len(blobs_sent(fake)) == 6


KILLED = """
import os, signal, sys, modfile
from pathlib import Path
from modfile.progress import SILENT
class Killer:
    left = int(sys.argv[3])
    def start(self, label, size):
        Killer.left -= 1
        if Killer.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return SILENT
session = modfile.Session(Path(sys.argv[2]))
modfile.pull(sys.argv[1], force_verify=True, progress=Killer(), max_workers=1, session=session)
"""


@pytest.mark.promise("S4")
@pytest.mark.parametrize("steps", [0, 3, 6, 8, 10])
def test_a_process_that_is_killed_leaves_nothing_visible(ref, session, steps):
    """Six blobs are fetched, then five files are read and laid out."""
    process = run(KILLED, ref, session.storage_directory, steps)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not any(len(path.name) == 64 for path in (session.storage_directory / "models").rglob("*"))
    path = modfile.pull(ref, session=session)
    assert files_below(path) == FILES
    assert sorted(item.name for item in path.parent.iterdir()) == sorted([path.name, marker_of(path).name])


# Taking away


def test_what_the_store_names_no_longer_is_pruned(ref, session, tmp_path):
    path = modfile.pull(ref, session=session)
    snapshots = Snapshots(session.storage_directory / "models", session.storage.layout)
    layout = session.storage.layout
    assert prune_snapshots(snapshots, prune(layout).blobs).directories == 0
    layout.untag([Reference.parse(ref)])
    would = prune(layout, dry_run=True)
    removed = prune_snapshots(snapshots, would.blobs, dry_run=True)
    assert (removed.directories, removed.bytes) == (1, 0)  # its bytes are the blobs'
    assert path.is_dir()
    assert prune_snapshots(snapshots, prune(layout).blobs).directories == 1
    assert list(path.parent.iterdir()) == []


def test_a_part_stays_for_thirty_days_after_it_was_asked_for(ref, session):
    path = modfile.pull(ref, allow_patterns="*.json", session=session)
    snapshots = Snapshots(session.storage_directory / "models", session.storage.layout)
    used = marker_of(path).stat().st_mtime
    day = 24 * 3600

    def free(days):
        keep = spared(snapshots, lambda: used + days * day)
        return prune_snapshots(
            snapshots,
            prune(session.storage.layout, spared=lambda: keep).blobs,
            clock=lambda: used + days * day,
        )

    assert free(29).directories == 0
    assert modfile.pull(ref, allow_patterns="*.json", local_files_only=True, session=session) == path
    used = marker_of(path).stat().st_mtime
    removed = free(31)
    assert removed.directories == 1
    assert not path.exists()


def test_a_directory_without_a_marker_is_pruned(ref, session):
    path = modfile.pull(ref, session=session)
    marker_of(path).unlink()
    snapshots = Snapshots(session.storage_directory / "models", session.storage.layout)
    assert prune_snapshots(snapshots).directories == 1
    assert not path.exists()
    assert files_below(modfile.pull(ref, session=session)) == FILES


def test_a_marker_is_read_as_it_was_written(ref, session):
    path = modfile.pull(ref, session=session)
    marker = Marker.read(marker_of(path))
    assert marker.complete
    assert marker.named
    assert marker.tag == "v1"
    assert sorted(marker.files) == FILES
