"""Commands write, sync, rename and speak in the order that survives a power cut at any moment, as the kernel saw it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import PurePosixPath

import pytest

from .order import TRACED, find_faults, read_log
from .processes import PROGRAM, environment
from .syscalls import strace_missing
from .trial import COMMANDS, Trial

STORE, TARGET = PurePosixPath("/s/store"), PurePosixPath("/t")

# A blob and the index, as they should be.
WRITE = '7 pwritev2(4</s/store/ingest/new-1>, [{iov_base="a", iov_len=1}], 1, 0, 0x80) = 1'
SYNC = "7 fsync(4</s/store/ingest/new-1>)        = 0"
NAME = '7 renameat(5</s/store/ingest>, "new-1", 6</s/store/blobs/sha256>, "ab") = 0'
SYNC_BLOBS = "7 fsync(6</s/store/blobs/sha256>)        = 0"
WRITE_INDEX = '7 pwritev2(4</s/store/ingest/new-2>, [{iov_base="{", iov_len=9}], 1, 0, 0x80) = 9'
SYNC_INDEX = "7 fsync(4</s/store/ingest/new-2>)        = 0"
NAME_INDEX = '7 renameat(5</s/store/ingest>, "new-2", 8</s/store>, "index.json") = 0'
SYNC_STORE = "7 fsync(8</s/store>)                     = 0"
TELL = '7 write(1<pipe:[1]>, "sha256:ab\\n", 10)   = 10'
END = "7 +++ exited with 0 +++"
RIGHT = [WRITE, SYNC, NAME, SYNC_BLOBS, WRITE_INDEX, SYNC_INDEX, NAME_INDEX, SYNC_STORE, TELL, END]


def faults(lines):
    return find_faults(read_log(lines), STORE, TARGET)


def moved(line, behind):
    """Return the right log with one line behind another."""
    lines = [other for other in RIGHT if other != line]
    lines.insert(lines.index(behind) + 1, line)
    return lines


def without(line):
    return [other for other in RIGHT if other != line]


def test_the_right_order_is_right():
    assert faults(RIGHT) == []


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (without(SYNC), "blobs/sha256/ab is named before it is synced"),
        (moved(SYNC, NAME), "blobs/sha256/ab is named before it is synced"),
        (moved(WRITE, SYNC), "blobs/sha256/ab is named before it is synced"),
        (without(SYNC_BLOBS), "the index is renamed before /s/store/blobs/sha256 is synced, which got ab"),
        (moved(SYNC_BLOBS, NAME_INDEX), "the index is renamed before /s/store/blobs/sha256 is synced"),
        (without(SYNC_INDEX), "index.json is named before it is synced"),
        (moved(WRITE_INDEX, SYNC_INDEX), "index.json is named before it is synced"),
        (without(SYNC_STORE), "the result is told before /s/store is synced, which got index.json"),
        (moved(SYNC_STORE, TELL), "the result is told before /s/store is synced"),
        ([*without(SYNC_STORE)[:-2], END], "the command ends before /s/store is synced"),
        ([line.replace("fsync(4</s/store/ingest/new-1>)", "fsync(9</s/other>)") for line in RIGHT], "before it is"),
        ([line.replace("8</s/store>)      ", "8</s/other>)      ") for line in RIGHT], "the result is told before"),
        (
            ["7 pwritev2(4</s/store/ingest/new-1>, [], 1, 0, 0) = -1 EIO (INJECTED)", WRITE, *RIGHT[2:]],
            "blobs/sha256/ab is named before it is synced",
        ),
        (
            [WRITE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), *RIGHT[2:]],
            "blobs/sha256/ab is named before it is synced",
        ),
    ],
)
def test_a_wrong_order_is_found(lines, what):
    found = faults(lines)
    assert any(what in line for line in found), found


def test_a_sync_that_has_not_ended_counts_for_nothing():
    begun = "8 fsync(4</s/store/ingest/new-1> <unfinished ...>"
    ended = "8 <... fsync resumed>)                  = 0"
    assert faults([WRITE, begun, ended, *RIGHT[2:]]) == []
    assert "is named before it is synced" in faults([WRITE, begun, NAME, ended, *RIGHT[3:]])[0]


def test_a_sync_that_began_before_the_write_ended_counts_for_nothing():
    begun = '8 pwritev2(4</s/store/ingest/new-1>, [{iov_base="a"}], 1 <unfinished ...>'
    ended = "8 <... pwritev2 resumed>, 0, 0x80)         = 1"
    assert faults([begun, ended, *RIGHT[1:]]) == []
    assert "is named before it is synced" in faults([begun, SYNC, ended, *RIGHT[2:]])[0]


def test_a_directory_made_on_the_way_is_to_be_durable_too():
    make = '7 mkdir("/s/store/blobs/sha256", 0777)        = 0'
    sync = "7 fsync(9</s/store/blobs>)        = 0"
    assert faults([make, sync, *RIGHT]) == []
    assert "before /s/store/blobs is synced, which got sha256" in faults([make, *RIGHT])[0]
    assert "before /s is synced, which got store" in faults(['7 mkdir("/s/store", 0700)   = 0', *RIGHT])[0]


def test_what_is_extracted_is_synced_before_it_is_named_and_its_directory_before_the_end():
    write = '7 pwrite64(4</.t.partial/1>, "x", 1, 0)   = 1'
    sync = "7 fsync(4</.t.partial/1>)   = 0"
    name = '7 renameat(5</.t.partial>, "1", 6</t/sub>, "a.bin") = 0'
    sync_directory = "7 fsync(6</t/sub>)   = 0"
    assert faults([write, sync, name, sync_directory, TELL, END]) == []
    assert "/t/sub/a.bin is named before it is synced" in faults([write, name, sync, sync_directory, TELL, END])[0]
    assert "the result is told before /t/sub is synced" in faults([write, sync, name, TELL, sync_directory, END])[0]


def test_a_directory_that_gets_its_name_as_a_whole_has_only_files_that_are_synced():
    write = '7 pwrite64(4</.t.new/sub/a.bin>, "x", 1, 0)   = 1'
    sync = "7 fsync(4</.t.new/sub/a.bin>)   = 0"
    swap = '7 renameat2(5</>, ".t.new", 5</>, "t", RENAME_EXCHANGE) = 0'
    assert faults([write, sync, swap, "7 fsync(5</>) = 0", END]) == []
    assert "/t/sub/a.bin is named before it is synced" in faults([write, swap, sync, "7 fsync(5</>) = 0", END])[0]
    assert "the command ends before / is synced, which got t" in faults([write, sync, swap, END])[0]


def test_a_command_that_failed_has_promised_nothing():
    assert faults([*without(SYNC_STORE)[:-2], "7 +++ exited with 1 +++"]) == []


# The program itself


@pytest.fixture(scope="module")
def base(registry, tmp_path_factory):
    if why := strace_missing():
        pytest.skip(why)
    return Trial.prepared(tmp_path_factory.mktemp("order") / "base", registry.host)


def trace(trial, arguments):
    """Run the program under strace; return the log."""
    log = trial.directory.parent / "log"
    strace = ("strace", "-f", "-y", "-s", "16", "-o", str(log), "-e", f"trace={','.join(sorted(TRACED))}")
    ran = subprocess.run(
        [*strace, *PROGRAM, *arguments], cwd=trial.directory, env=environment(trial.directory), capture_output=True
    )
    assert ran.returncode == 0, ran
    with log.open() as lines:
        return read_log(lines)


def check(trial, arguments, *, names):
    """Run a command; see that it named so many things at least, and each at its time."""
    log = trace(trial, arguments)
    renamed = [call.paths[1] for call in log.calls if call.name.startswith("rename")]
    assert len(renamed) >= names, renamed
    store, target = PurePosixPath(trial.layout.root), PurePosixPath(trial.directory / "there")
    assert find_faults(log, store, target) == []


@pytest.mark.promise("S1", "S2", "W3")
@pytest.mark.parametrize(
    ("name", "names"),
    {"build": 6, "pull": 5, "tag": 1, "rm": 1, "prune": 1, "extract": 3, "overwrite": 1, "attach": 4}.items(),
)
def test_a_command_syncs_what_it_names_and_what_names_it_before_it_says_so(base, tmp_path, name, names):
    trial = base.at(tmp_path / "trial")
    check(trial, COMMANDS[name].arguments(trial), names=names)


@pytest.mark.promise("S1", "S2")
@pytest.mark.parametrize(("name", "names"), [("build", 7), ("pull", 7)])
def test_so_does_the_first_command_of_a_store(base, tmp_path, name, names):
    trial = base.at(tmp_path / "trial")
    shutil.rmtree(trial.directory / "storage")
    check(trial, COMMANDS[name].arguments(trial), names=names)


@pytest.mark.promise("W3")
def test_so_does_an_extraction_into_a_directory_that_is_new(base, tmp_path):
    trial = base.at(tmp_path / "trial")
    shutil.rmtree(trial.directory / "there")
    check(trial, COMMANDS["extract"].arguments(trial), names=3)
