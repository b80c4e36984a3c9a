"""The artifact of a run: changed by any number of processes, of which none loses what another one logs."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modfile import Session
from modfile.content import Descriptor, Digest
from modfile.errors import AccessDeniedError, ContentError, NotFoundError
from modfile.kind import Kind
from modfile.manifest import MAX_MANIFEST, Manifest
from modfile.mlflow.runartifact import PREVIOUS, RunArtifact
from modfile.modelpack import FileMetadata, path_of, raw_layer
from modfile.reference import Reference
from modfile.store import InMemory, read
from tests.registries.fake import Answer

FORBIDDEN = Answer(403, body=b'{"errors":[{"code":"DENIED"}]}')


class Logging:
    """A process that logs to a run, with a lock directory of its own unless it is told one."""

    def __init__(self, directory, reference, sleep=lambda seconds: None):
        self.session = Session(directory)
        self.reference = reference
        self.repository = self.session.repository(reference)
        self.artifact = RunArtifact(reference, self.repository, directory / "locks", sleep)

    def layers(self, files):
        return {path: self.layer(path, data) for path, data in files.items()}

    def layer(self, path, data):
        content = Descriptor("application/octet-stream", Digest.of(data), len(data))
        if not self.repository.exists(content):
            self.repository.put(content, InMemory({content: data}))
        name = path.rpartition("/")[2]
        return raw_layer(Kind.DOC, path, content.digest, FileMetadata(name, 0o644, 0, 0, len(data), 0))

    def add(self, **files):
        self.artifact.add(self.layers(files))

    def manifest(self, reference=None):
        root = self.repository.resolve(reference or self.reference)
        return Manifest.parse(read(self.repository, root, MAX_MANIFEST))

    def paths(self):
        return [path_of(layer) for layer in self.manifest().layers]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts another process, so to speak."""
    started = []

    def start(reference, sleep=lambda seconds: None):
        started.append(Logging(tmp_path / f"process-{len(started)}", reference, sleep))
        return started[-1]

    yield start
    for one in started:
        one.session.close()


@pytest.fixture
def reference(registry, run_id):
    return Reference.parse(f"{registry.host}/mlflow/exp:{run_id}")


@pytest.fixture
def faked(fake, run_id):
    return Reference.parse(f"{fake.host}/mlflow/exp:{run_id}")


def test_files_are_added_replaced_and_removed(reference, start):
    one = start(reference)
    one.artifact.add(one.layers({"b.txt": b"1", "d/a.txt": b"2", "d/e/f.txt": b"3"}))
    assert one.paths() == ["b.txt", "d/a.txt", "d/e/f.txt"]
    one.artifact.add(one.layers({"b.txt": b"other", "a.txt": b"1"}))
    assert one.paths() == ["a.txt", "b.txt", "d/a.txt", "d/e/f.txt"]
    assert one.manifest().layers[1].digest == Digest.of(b"other")
    one.artifact.remove("b.txt")
    one.artifact.remove("d")
    assert one.paths() == ["a.txt"]
    one.artifact.remove("a.txt")
    assert one.paths() == []


def test_config_and_manifest_say_what_they_are(reference, start):
    one = start(reference)
    one.add(a=b"1")
    manifest = one.manifest()
    config = json.loads(read(one.repository, manifest.config, 1 << 20))
    assert config["descriptor"]["title"] == f"MLflow run {reference.tag}"
    assert config["modelfs"] == {"type": "layers", "diffIds": [str(Digest.of(b"1"))]}
    assert manifest.annotations["org.opencontainers.image.created"] == config["descriptor"]["createdAt"]


def test_what_changes_nothing_leaves_the_artifact_alone(faked, fake, start):
    one = start(faked)
    one.add(a=b"1")
    fake.seen.clear()
    one.add(a=b"1")
    one.artifact.add({})
    one.artifact.remove("b")
    assert not fake.requests("PUT")


@pytest.mark.parametrize(
    "files",
    [
        {"A.txt": b"2"},
        {"a.txt/b": b"2"},
        {"../a": b"2"},
        {"/a": b"2"},
        {"a\\b": b"2"},
        {"x" * 256: b"2"},
    ],
    ids=["case", "inside a file", "above", "absolute", "backslash", "long"],
)
def test_files_that_no_directory_can_have_are_refused_and_change_nothing(faked, start, files):
    one = start(faked)
    one.artifact.add(one.layers({"a.txt": b"1"}))
    with pytest.raises(ContentError, match="path"):
        one.artifact.add(one.layers(files))
    assert one.paths() == ["a.txt"]


def test_more_files_than_a_manifest_takes_are_refused_and_change_nothing(faked, start):
    one = start(faked)
    one.add(a=b"1")
    layer = one.layer("b", b"2")
    many = {
        f"{n:0200}": replace(layer, annotations={**layer.annotations, "org.cncf.model.filepath": f"{n:0200}"})
        for n in range(12_000)
    }
    with pytest.raises(ContentError, match="too many"):
        one.artifact.add(many)
    assert one.paths() == ["a"]


def test_what_something_else_packed_is_not_changed(faked, start):
    one = start(faked)
    one.add(a=b"1")
    manifest = one.manifest()
    packed = replace(manifest.layers[0], media_type="application/vnd.cncf.model.doc.v1.tar")
    data = replace(manifest, layers=(packed,)).to_bytes()
    other = Descriptor(manifest.media_type, Digest.of(data), len(data))
    one.repository.put(other, InMemory({other: data}))
    one.repository.tag(other, faked)
    with pytest.raises(ContentError, match="packed by something else"):
        one.add(b=b"2")
    assert one.repository.resolve(faked) == other


@pytest.mark.promise("G1")
def test_an_interrupted_change_leaves_the_artifact_as_it_was(faked, fake, start):
    one = start(faked)
    one.add(a=b"1")
    before = one.repository.resolve(faked)
    fake.on("PUT", f"/manifests/{faked.tag}$", FORBIDDEN)
    with pytest.raises(AccessDeniedError):
        one.add(b=b"2")
    assert one.repository.resolve(faked) == before
    one.add(b=b"2")
    assert one.paths() == ["a", "b"]


def test_a_change_by_others_before_the_tag_moves_is_built_upon(faked, fake, start):
    one, other = start(faked), start(faked)
    one.add(a=b"1")
    layers = one.layers({"mine": b"3"})

    def interfere(seen):
        if not done:
            done.append(True)
            other.repository.tag(others, faked)  # after the tag was read, before it is moved

    other.artifact = RunArtifact(replace(faked, tag="other"), other.repository, other.session.storage_directory)
    other.add(a=b"1", theirs=b"2")
    others, done = other.repository.resolve(replace(faked, tag="other")), []
    fake._lock = _NoLock()  # the rule asks the same registry
    fake.on("PUT", "/manifests/sha256:", interfere)
    one.artifact.add(layers)
    assert done
    assert one.paths() == ["a", "mine", "theirs"]


def test_a_change_that_others_wrote_over_is_made_again(reference, start):
    """Another process looked at the tag before this one moved it, and moves it now."""
    aside = replace(reference, tag="aside")
    other = start(aside)
    other.add(theirs=b"2")
    stale = other.repository.resolve(aside)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 1:
            other.repository.tag(stale, reference)

    one = start(reference, sleep)
    one.add(mine=b"1")
    assert one.paths() == ["mine", "theirs"]
    assert len(naps) == 2


def test_what_others_remove_after_they_saw_it_stays_removed(reference, start):
    other = start(reference)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        other.add(c=b"3")
        other.artifact.remove("a")

    one = start(reference, sleep)
    one.add(a=b"1", b=b"2")
    assert one.paths() == ["b", "c"]
    assert len(naps) == 1


def test_what_others_delete_whole_stays_deleted(reference, start):
    other = start(reference)
    one = start(reference, lambda seconds: other.artifact.delete())
    one.add(a=b"1")
    with pytest.raises(NotFoundError):
        one.repository.resolve(reference)


@pytest.mark.parametrize("previous", ["garbage", "sha256:" + "0" * 64, "sha512:" + "0" * 128, ""])
def test_a_manifest_that_says_nonsense_of_the_one_before_is_merged_with(faked, start, previous):
    aside = replace(faked, tag="aside")
    other = start(aside)
    other.add(theirs=b"2")
    manifest = replace(other.manifest(), annotations={PREVIOUS: previous})
    data = manifest.to_bytes()
    content = Descriptor(manifest.media_type, Digest.of(data), len(data))
    other.repository.put(content, InMemory({content: data}))
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 1:
            other.repository.tag(content, faked)

    one = start(faked, sleep)
    one.add(mine=b"1")
    assert one.paths() == ["mine", "theirs"]


def test_deleting_takes_the_tag_and_leaves_what_has_another_name(reference, start):
    one = start(reference)
    one.add(a=b"1")
    kept = replace(reference, tag="kept")
    one.repository.tag(one.repository.resolve(reference), kept)
    one.artifact.delete()
    with pytest.raises(NotFoundError):
        one.repository.resolve(reference)
    assert [path_of(layer) for layer in one.manifest(kept).layers] == ["a"]
    one.artifact.delete()
    one.add(b=b"2")
    assert one.paths() == ["b"]


@pytest.mark.parametrize("status", [405, 403, 400])
def test_where_nothing_may_be_deleted_an_empty_artifact_is_left(faked, fake, start, status):
    fake.always("DELETE", "/manifests/", Answer(status, body=b'{"errors":[{"code":"UNSUPPORTED"}]}'))
    one = start(faked)
    one.add(a=b"1")
    one.artifact.delete()
    assert one.paths() == []


def test_where_there_can_be_no_locks_it_works_without(faked, tmp_path):
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "locks").write_text("in the way")
    one = Logging(tmp_path / "storage", faked)
    one.add(a=b"1")
    assert one.paths() == ["a"]
    one.session.close()


def test_threads_take_turns_and_leave_no_lock(reference, start):
    one = start(reference)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: one.artifact.add(one.layers({f"{n}.txt": b"%d" % n})), range(12)))
    assert len(one.paths()) == 12
    assert not list((one.session.storage_directory / "locks").iterdir())


LOG = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from modfile.mlflow.runartifact import RunArtifact
from modfile.reference import Reference
from tests.mlflow_plugin.test_runartifact import Logging
one = Logging(Path(sys.argv[1]), Reference.parse(sys.argv[2]))
one.artifact = RunArtifact(one.reference, one.repository, one.session.storage_directory / "locks")
for n in range(int(sys.argv[4])):
    one.artifact.add(one.layers({{f"{{sys.argv[3]}}/{{n}}": b"%d" % n}}))
"""


@pytest.mark.parametrize("shared", [True, False], ids=["one machine", "several machines"])
def test_processes_that_log_to_one_run_lose_nothing(reference, start, tmp_path, request, shared):
    """Those of several machines have no lock in common."""
    code, count = LOG.format(root=str(request.config.rootpath)), 6
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path / ("shared" if shared else name), str(reference), name, str(count)],
            stderr=subprocess.PIPE,
        )
        for name in ("a", "b", "c")
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == [b""] * 3
    assert start(reference).paths() == sorted(f"{name}/{n}" for name in "abc" for n in range(count))


class _NoLock:
    def __enter__(self):
        pass

    def __exit__(self, *error):
        pass
