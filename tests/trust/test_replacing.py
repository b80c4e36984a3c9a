"""A directory that is written to stays as it was until all that comes is there and right."""

import os
import shutil
import stat
import threading
import time
from contextlib import contextmanager

import pytest

from modfile import publication, swap
from modfile.backoff import Backoff
from modfile.errors import ConnectionLostError, DestinationError, NotFoundError, VerificationError
from modfile.layout import Layout
from modfile.reference import Reference
from modfile.staging import Staging
from modfile.verbs.extract import extract
from tests.faults.killed import run_apart
from tests.faults.scenario import make_artifact

pytestmark = pytest.mark.promise("W8")

REF = Reference.parse("r.io/llm/tiny:v1")
FILES = {"a.bin": b"a" * 5000, "b/c.bin": b"c" * 3_000_000, "b/d/e.txt": b"", "same.bin": b"a" * 5000}


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "store")
    make_artifact(layout, REF, FILES)
    return layout


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


PATIENT = Backoff(attempts=2, sleep=lambda seconds: None)


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def read_at(directory, path):
    fd = os.open(path, os.O_RDONLY, dir_fd=directory)
    with os.fdopen(fd, "rb") as file:
        return file.read()


def leftovers(out):
    return [path.name for path in out.parent.iterdir() if path.name.startswith(".")]


class Breaking:
    """A source that fails when a certain blob is opened."""

    def __init__(self, layout, size, error):
        self._layout = layout
        self._size = size
        self._error = error

    def resolve(self, reference):
        return self._layout.resolve(reference)

    @contextmanager
    def open(self, content, start=0):
        if content.size == self._size:
            raise self._error
        with self._layout.open(content, start) as reader:
            yield reader


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [NotFoundError("gone"), VerificationError("wrong"), ConnectionLostError("cut")])
def test_a_command_that_fails_leaves_the_directory_as_it_was(layout, out, overwrite, error):
    (out / "b").mkdir(parents=True)
    (out / "a.bin").write_bytes(b"mine")
    (out / "b/c.bin").write_bytes(b"old")
    before, inode = contents(out), out.stat().st_ino
    with pytest.raises(type(error)):
        extract(REF, Breaking(layout, 3_000_000, error), out, overwrite=overwrite, backoff=PATIENT)
    assert contents(out) == before
    assert out.stat().st_ino == inode
    if not isinstance(error, ConnectionLostError):
        assert leftovers(out) == []
    extract(REF, layout, out, overwrite=overwrite)
    assert contents(out) == FILES
    assert leftovers(out) == []


def test_a_directory_that_is_not_there_yet_comes_whole_or_not_at_all(layout, out):
    with pytest.raises(NotFoundError):
        extract(REF, Breaking(layout, 0, NotFoundError("gone")), out)
    assert not out.exists()
    assert leftovers(out) == []


def test_a_directory_is_replaced_whole_and_what_is_right_in_it_is_taken_over(layout, out):
    extract(REF, layout, out)
    (out / "mine.txt").write_text("mine")
    (out / "b/c.bin").write_bytes(b"c" * 2_999_999 + b"d")
    (out / "a.bin").chmod(0o600)
    out.chmod(0o750)
    kept = (out / "same.bin").stat().st_ino
    old = os.open(out, os.O_RDONLY)
    done = extract(REF, layout, out, overwrite=True)
    try:
        assert os.fstat(old).st_nlink == 0, "the old directory is still somewhere"
    finally:
        os.close(old)
    assert contents(out) == FILES
    assert set(done.unchanged) == {"same.bin", "b/d/e.txt"}
    assert (out / "same.bin").stat().st_ino == kept
    assert stat.S_IMODE((out / "a.bin").stat().st_mode) == 0o644
    assert stat.S_IMODE(out.stat().st_mode) == 0o750
    assert leftovers(out) == []


def test_what_stands_in_the_way_goes_with_the_old_directory_and_links_in_it_are_not_followed(layout, out, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (outside / "c.bin").write_text("precious")
    (out / "a.bin").mkdir(parents=True)
    (out / "a.bin/x").write_text("x")
    (out / "b").symlink_to(outside)
    os.mkfifo(out / "same.bin")
    extract(REF, layout, out, overwrite=True)
    assert contents(out) == FILES
    assert contents(outside) == {"c.bin": b"precious", "precious": b"precious"}


def test_patterns_with_overwrite_leave_what_they_chose_and_nothing_else(layout, out):
    extract(REF, layout, out)
    extract(REF, layout, out, patterns=["b/**"], overwrite=True)
    assert contents(out) == {path: data for path, data in FILES.items() if path.startswith("b/")}


def test_a_link_to_a_directory_stays_and_what_it_leads_to_is_replaced(layout, out, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "mine").write_text("mine")
    out.symlink_to(real)
    extract(REF, layout, out, overwrite=True)
    assert out.is_symlink()
    assert contents(real) == FILES


def test_where_two_names_cannot_be_exchanged_they_are_renamed_one_after_the_other(layout, out, monkeypatch):
    monkeypatch.setattr(swap, "exchange", lambda *names: False)
    out.mkdir()
    (out / "mine").write_text("mine")
    extract(REF, layout, out, overwrite=True)
    assert contents(out) == FILES
    assert leftovers(out) == []


def test_a_first_rename_is_undone_if_the_second_fails(layout, out, monkeypatch):
    monkeypatch.setattr(swap, "exchange", lambda *names: False)
    rename, names = os.rename, []

    def second_fails(source, target, **directories):
        if source in ("tree", "out"):
            names.append(source)
        if source == "tree":
            raise OSError(5, "Input/output error")
        rename(source, target, **directories)

    monkeypatch.setattr(os, "rename", second_fails)
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(DestinationError, match="Input/output error"):
        extract(REF, layout, out, overwrite=True)
    assert names == ["out", "tree"]
    assert contents(out) == {"mine": b"mine"}
    assert leftovers(out) == []


def test_a_command_killed_between_two_renames_is_put_right_by_the_next(layout, out, monkeypatch):
    out.mkdir()
    (out / "mine").write_text("mine")
    staging = Staging.open(out.resolve(), lambda text: None)
    os.mkdir("tree", dir_fd=staging.fd)
    os.rename(out, "old", dst_dir_fd=staging.fd)
    os.close(staging.fd)
    with pytest.raises(NotFoundError):
        extract(REF, Breaking(layout, 0, NotFoundError("gone")), out)
    assert contents(out) == {"mine": b"mine"}
    assert leftovers(out) == []


def test_where_there_are_no_hard_links_what_is_right_is_copied(layout, out, monkeypatch):
    def no_links(*arguments, **options):
        raise PermissionError(1, "Operation not permitted")

    extract(REF, layout, out)
    times = {path: (out / path).stat().st_mtime_ns for path in FILES}
    monkeypatch.setattr(os, "link", no_links)
    assert extract(REF, layout, out, overwrite=True).written == ()
    assert contents(out) == FILES
    assert {path: (out / path).stat().st_mtime_ns for path in FILES} == times


def test_a_file_that_is_exchanged_while_the_new_directory_is_made_is_noticed(layout, out, monkeypatch):
    extract(REF, layout, out)
    publish = publication.publish_whole

    def meddle(shown, root, *rest):
        (out / "a.bin").unlink()
        (out / "a.bin").write_bytes(b"x" * 5000)
        publish(shown, root, *rest)

    monkeypatch.setattr("modfile.destination.publish_whole", meddle)
    with pytest.raises(DestinationError, match="changed"):
        extract(REF, layout, out, overwrite=True)
    assert contents(out) == FILES | {"a.bin": b"x" * 5000}
    assert leftovers(out) == []


def test_a_directory_beside_which_nothing_can_be_made_cannot_be_replaced_whole(layout, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    parent = tmp_path / "parent"
    (parent / "out").mkdir(parents=True)
    parent.chmod(0o500)
    try:
        extract(REF, layout, parent / "out")
        with pytest.raises(DestinationError, match="nothing can be made beside it"):
            extract(REF, layout, parent / "out", overwrite=True)
        assert contents(parent / "out") == FILES
    finally:
        parent.chmod(0o700)


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, " ", "-rf"])
def test_a_directory_of_any_name_can_be_written_and_replaced(layout, tmp_path, name):
    for _ in range(2):
        extract(REF, layout, tmp_path / name, overwrite=True)
        assert contents(tmp_path / name) == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"store", name}


def test_whoever_looks_while_a_directory_is_replaced_sees_the_old_one_or_the_new_one(layout, out):
    other = Reference.parse("r.io/llm/tiny:v2")
    make_artifact(layout, other, dict.fromkeys(FILES, b"2" * 2000))
    whole = {frozenset(FILES.items()), frozenset((path, b"2" * 2000) for path in FILES)}
    extract(REF, layout, out)
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            directory = os.open(out, os.O_RDONLY)  # as a loader that keeps to the directory that it opened
            try:
                seen.add(frozenset((path, read_at(directory, path)) for path in FILES))
            except FileNotFoundError:
                pass  # the old one is being removed under our hands
            finally:
                os.close(directory)

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(20):
        extract((other, REF)[number % 2], layout, out, overwrite=True)
    stop.set()
    thread.join()
    assert seen <= whole


def test_a_second_command_waits_for_the_first_and_then_finds_its_files(layout, out):
    told, results = [], []
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Breaking):
        @contextmanager
        def open(self, content, start=0):
            if content.size == self._size:
                entered.set()
                go_on.wait(20)
            with self._layout.open(content, start) as reader:
                yield reader

    def first():
        results.append(extract(REF, Slow(layout, 3_000_000, None), out))

    def second():
        results.append(extract(REF, layout, out, note=told.append))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(20)
    threads[1].start()
    while not told:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert "waiting for another command that writes to" in told[0]
    assert [len(done.written) for done in results] == [4, 0]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupted_command_goes_on_with_what_it_brought(layout, out, overwrite):
    out.mkdir()
    cut = Breaking(layout, 0, ConnectionLostError("cut"))
    with pytest.raises(ConnectionLostError):
        extract(REF, cut, out, overwrite=overwrite, concurrency=1, backoff=PATIENT)
    assert contents(out) == {}
    assert leftovers(out) == [".out.modfile-partial"]
    assert extract(REF, layout, out, overwrite=overwrite).tally.resumed == 3_005_000
    assert contents(out) == FILES
    assert leftovers(out) == []


def test_a_command_killed_anywhere_leaves_the_old_directory_or_the_new_one(layout, out, tmp_path):
    """At each of its steps in the file system, as `tests.faults.killed` does it for the other commands."""
    from tests.faults.killed import kill_before

    old = {"mine.txt": b"mine", "a.bin": b"a" * 5000}

    def work(number):
        kill_before(number)
        extract(REF, layout, out, overwrite=True)

    kills = 0
    for number in range(1, 10_000, 4):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, data in old.items():
            (out / name).write_bytes(data)
        ended = run_apart(lambda number=number: work(number))
        assert contents(out) in (old, FILES)
        if ended:
            break
        kills += 1
        extract(REF, layout, out, overwrite=True)
        assert contents(out) == FILES
        assert leftovers(out) == []
    assert kills > 10
