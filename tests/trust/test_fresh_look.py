"""Places that are laid out to harm whoever writes into them, and artifacts that make use of where they are written."""

import ctypes  # noqa: F401  (imported before rights are given up)
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from modfile import staging
from modfile.content import Digest
from modfile.digestcache import DigestCache
from modfile.errors import ContentError, DestinationError, ModfileError, UsageError
from modfile.paths import check_plan
from modfile.verbs.extract import extract
from modfile.verbs.verify import repair, verify_directory
from modfile_cmd.extraction import check_expendable
from tests import tars
from tests.trust.test_escapes import REF, Artifact, packed, raw, snapshot

NOBODY, STRANGER = 65534, 1234

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to somebody else")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def common():
    """A directory that every user can get to, and write to."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    yield place
    subprocess.run(["rm", "-rf", str(place)], check=True)


@contextmanager
def nobody():
    """Do what follows without root's rights."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def nothing_beside(monkeypatch):
    """Let there be no place beside a directory, as where it is a mount point of its own."""

    def refuse(root):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(staging, "_beside", refuse)


class Meddling:
    """A source during whose first blob something happens."""

    def __init__(self, artifact, meddle):
        self._artifact = artifact
        self._meddle = meddle

    def resolve(self, reference):
        return self._artifact.resolve(reference)

    @contextmanager
    def open(self, content, start=0):
        if content != self._artifact.root and self._meddle:
            meddle, self._meddle = self._meddle, None
            meddle()
        with self._artifact.open(content, start) as reader:
            yield reader


def kept(directory):
    """Return all files below a directory, and what they hold."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


# Paths


@pytest.mark.promise("W1", "W6")
@pytest.mark.parametrize("segments", [2_048, 100_000, 1_000_000])
def test_a_path_that_no_system_call_takes_is_refused(segments):
    with pytest.raises(ContentError, match="a/a/a"):
        check_plan(["a/" * segments + "file"])


@pytest.mark.promise("W1")
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/".join(["s" * 254] * 16 + ["s" * 16]), "more than 4,095 bytes"),
        ("a/" * 256 + "file", "more than 256 directories deep"),
        ("s" * 256, "segment of more than 255 bytes"),
    ],
)
def test_a_path_just_beyond_what_is_promised_is_refused_and_one_just_within_is_not(path, told):
    with pytest.raises(ContentError, match=told):
        check_plan([path])
    check_plan([path.removeprefix("a/").removeprefix("s")])


@pytest.mark.promise("W4")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_file_s_mode_is_the_artifact_s_and_a_directory_s_what_the_umask_leaves(out, umask):
    before = os.umask(umask)
    try:
        extract(REF, Artifact([raw("below/file", b"x", mode=0o666)]), out)
    finally:
        os.umask(before)
    assert stat.S_IMODE((out / "below/file").stat().st_mode) == 0o666
    assert stat.S_IMODE((out / "below").stat().st_mode) == 0o777 & ~umask


@pytest.mark.promise("W1", "W3")
@pytest.mark.parametrize(
    "path",
    [
        ".modfile-partial/file",
        ".modfile-partial/tree/file",
        f".modfile-partial/sha256-{Digest.of(b'right').hex}",
    ],
)
def test_a_file_among_what_is_staged_is_refused_or_written_and_spoils_no_other(out, nothing_beside, path):
    out.mkdir()
    artifact = Artifact([raw(path, b"larger"), raw("other", b"right")])
    try:
        done = extract(REF, artifact, out, concurrency=1)
    except ModfileError:
        assert kept(out) == {}
        return
    assert set(done.written) == {path, "other"}
    assert kept(out) == {path: b"larger", "other": b"right"}


@pytest.mark.promise("W9")
@pytest.mark.parametrize("name", ["a[", "{b", "*{", "*"])
def test_a_file_whose_name_looks_like_a_pattern_is_repaired(out, name):
    archive = tars.file(b"b", b"123") + tars.END
    artifact = Artifact([packed(archive, "", "b", mode=0o644, size=3), raw(name, b"right")])
    extract(REF, artifact, out)
    (out / name).write_bytes(b"changed")
    done = repair(verify_directory(REF, artifact, out), REF, artifact, out)
    assert done.repaired == (name,)
    assert not verify_directory(REF, artifact, out).differs()


# What is there already


@pytest.mark.promise("W8", "G1")
def test_modes_and_times_stay_as_well_if_another_file_cannot_be_brought(out):
    out.mkdir()
    (out / "a").write_bytes(b"file")
    (out / "a").chmod(0o600)
    os.utime(out / "a", ns=(5, 5))
    good = Artifact([raw("a", b"file", mode=0o777), raw("b", b"wrong")])

    def fail():
        raise DestinationError("the disk is full")

    with pytest.raises(DestinationError, match="full"):
        extract(REF, Meddling(good, fail), out)
    status = (out / "a").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o600, 5)


@pytest.mark.promise("W2", "W4")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("data", [b"", b"file"])
def test_a_file_with_a_second_name_outside_keeps_its_mode_and_time(out, tmp_path, data, overwrite):
    precious = tmp_path / "precious"
    precious.write_bytes(data)
    precious.chmod(0o600)
    os.utime(precious, ns=(5, 5))
    out.mkdir()
    os.link(precious, out / "a")
    extract(REF, Artifact([raw("a", data, mode=0o777)]), out, overwrite=overwrite)
    status = precious.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o600, 5)
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o777


@pytest.mark.promise("W7", "S4")
@as_root
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_may_not_be_read_can_be_extracted_again(common, overwrite):
    artifact = Artifact([raw("a", b"x", mode=0)])
    with nobody():
        for _ in range(2):
            extract(REF, artifact, common / "out", overwrite=overwrite)
    assert kept(common / "out") == {"a": b"x"}


@pytest.mark.promise("G1")
@as_root
def test_of_two_files_with_the_same_bytes_one_may_be_unreadable(common):
    with nobody():
        extract(REF, Artifact([raw("a", b"x", mode=0), raw("b", b"x", mode=0o644)]), common / "out")
    assert kept(common / "out") == {"a": b"x", "b": b"x"}


@pytest.mark.promise("W7")
def test_a_file_of_a_far_future_does_not_make_the_cache_forget_the_others(out, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"other")
    cache = DigestCache(tmp_path / "cache.db", now_ns=lambda: 1 << 62)
    cache.put(other.stat(), Digest.of(b"other"))
    artifact = Artifact([raw("a", b"file", mtime="2400-01-01T00:00:00Z")])
    for _ in range(2):
        extract(REF, artifact, out, cache=cache)
    cache.close()
    assert DigestCache(tmp_path / "cache.db").get(other.stat()) == Digest.of(b"other")


# A directory that comes to be, or becomes another, while a command works


@pytest.mark.promise("W8")
def test_a_directory_that_was_made_meanwhile_is_not_swapped_away(out):
    def meddle():
        out.mkdir()
        (out / "mine").write_bytes(b"mine")

    try:
        extract(REF, Meddling(Artifact([raw("a", b"x")]), meddle), out)
    except DestinationError:
        assert kept(out) == {"mine": b"mine"}
    else:
        assert kept(out) == {"mine": b"mine", "a": b"x"}


@pytest.mark.promise("W8")
def test_a_file_that_was_made_meanwhile_is_not_swapped_away(out):
    with pytest.raises(DestinationError):
        extract(REF, Meddling(Artifact([raw("a", b"x")]), lambda: out.write_bytes(b"mine")), out)
    assert out.read_bytes() == b"mine"


@pytest.mark.promise("W8")
def test_a_directory_that_got_the_name_meanwhile_is_not_the_one_to_be_replaced(out, tmp_path):
    out.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_bytes(b"precious")

    def meddle():
        out.rename(tmp_path / "moved")
        other.rename(out)

    with pytest.raises(DestinationError):
        extract(REF, Meddling(Artifact([raw("a", b"x")]), meddle), out, overwrite=True)
    assert kept(out) == {"precious": b"precious"}


@pytest.mark.promise("W2")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_link_that_got_the_name_meanwhile_is_not_followed(out, tmp_path, overwrite, is_new):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    if not is_new:
        out.mkdir()

    def meddle():
        if not is_new:
            out.rename(tmp_path / "moved")
        out.symlink_to(outside)

    before = snapshot(outside)
    with suppress(DestinationError):
        extract(REF, Meddling(Artifact([raw("a", b"x")]), meddle), out, overwrite=overwrite)
    assert snapshot(outside) == before


# What was put beside a directory in advance


@pytest.mark.promise("W2", "G1")
@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "file"])
@pytest.mark.parametrize("is_new", [False, True])
def test_what_stands_where_files_are_staged_is_not_followed_and_stays(out, tmp_path, kind, is_new):
    outside, place = tmp_path / "outside", tmp_path / ".out.modfile-partial"
    (outside / "tree").mkdir(parents=True)
    (outside / "tree/precious").write_bytes(b"precious")
    match kind:
        case "link":
            place.symlink_to(outside)
        case "dangling link":
            place.symlink_to(tmp_path / "nowhere")
        case "FIFO":
            os.mkfifo(place)
        case "file":
            place.write_bytes(b"file")
    before = snapshot(tmp_path)
    if is_new:
        with pytest.raises(DestinationError):
            extract(REF, Artifact([raw("a", b"x")]), out)
        assert snapshot(tmp_path) == before
        return
    out.mkdir()
    extract(REF, Artifact([raw("a", b"x")]), out)
    assert kept(out) == {"a": b"x"}
    shutil.rmtree(out)
    assert snapshot(tmp_path) == before


@pytest.mark.promise("G1")
@pytest.mark.parametrize("name", ["mine", "tree-of-mine/x", "sha256sums"])
@pytest.mark.parametrize("inside", [False, True])
def test_files_that_are_not_ours_are_not_emptied_out_with_what_is_staged(out, tmp_path, name, inside, request):
    out.mkdir()
    place = out / ".modfile-partial" if inside else tmp_path / ".out.modfile-partial"
    if inside:
        request.getfixturevalue("nothing_beside")
    (place / name).parent.mkdir(parents=True)
    (place / name).write_bytes(b"mine")
    extract(REF, Artifact([raw("a", b"x")]), out)
    assert (place / name).read_bytes() == b"mine"


@pytest.mark.promise("G1", "R8")
@as_root
def test_a_stranger_who_holds_the_lock_holds_nobody_up(common):
    place = common / ".out.modfile-partial"
    place.mkdir(mode=0o755)
    os.chown(place, STRANGER, STRANGER)

    class WaitingError(Exception):
        pass

    def note(text):
        raise WaitingError(text)

    fd = os.open(place, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with nobody(), pytest.raises(DestinationError):
            extract(REF, Artifact([raw("a", b"x")]), common / "out", note=note)
    finally:
        os.close(fd)


@pytest.mark.promise("W2", "G1")
@pytest.mark.parametrize("name", ["tree", "old", f"sha256-{Digest.of(b'x').hex}"])
@pytest.mark.parametrize("kind", ["link", "link to a file", "hard link", "FIFO"])
def test_what_stands_among_the_staged_is_neither_followed_nor_written_through(out, tmp_path, name, kind):
    outside, place = tmp_path / "outside", tmp_path / ".out.modfile-partial"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (outside / "precious").chmod(0o600)
    place.mkdir(mode=0o700)
    match kind:
        case "link":
            (place / name).symlink_to(outside)
        case "link to a file":
            (place / name).symlink_to(outside / "precious")
        case "hard link":
            os.link(outside / "precious", place / name)
        case "FIFO":
            os.mkfifo(place / name)
    before = snapshot(outside)
    for _ in range(2):
        try:
            extract(REF, Artifact([raw("a", b"x", mode=0o777)]), out)
        except DestinationError:
            continue
    assert snapshot(outside) == before
    assert not out.is_symlink()


@pytest.mark.promise("W2", "W8")
@as_root
def test_a_link_that_a_stranger_put_into_a_directory_for_all_is_no_destination(common):
    common.chmod(0o1777)
    documents = common / "documents"
    documents.mkdir()
    (documents / "thesis").write_bytes(b"thesis")
    (common / "out").symlink_to(documents)
    os.lchown(common / "out", STRANGER, STRANGER)
    with pytest.raises(DestinationError):
        extract(REF, Artifact([raw("a", b"x")]), common / "out", overwrite=True)
    assert kept(documents) == {"thesis": b"thesis"}


# Replacing


@pytest.mark.promise("W8", "S4")
def test_a_command_killed_between_two_renames_is_put_right_though_the_directory_was_made_again(out):
    out.mkdir()
    (out / "mine").write_bytes(b"mine")
    area = staging.Staging.open(out, lambda text: None)
    os.mkdir("tree", dir_fd=area.fd)
    os.rename(out, "old", dst_dir_fd=area.fd)
    os.close(area.fd)
    out.mkdir()  # as `mkdir -p` before the command does

    def fail():
        raise DestinationError("the disk is full")

    with pytest.raises(DestinationError, match="full"):
        extract(REF, Meddling(Artifact([raw("a", b"x")]), fail), out, overwrite=True)
    assert kept(out) == {"mine": b"mine"}


@pytest.mark.promise("W8", "S4")
@as_root
def test_a_directory_with_a_read_only_one_in_it_is_replaced_or_stays(common):
    out = common / "out"
    with nobody():
        (out / "sub").mkdir(parents=True)
        (out / "sub/file").write_bytes(b"file")
        (out / "sub").chmod(0o500)
        try:
            extract(REF, Artifact([raw("a", b"x")]), out, overwrite=True)
        except DestinationError:
            assert kept(out) == {"sub/file": b"file"}
        else:
            assert kept(out) == {"a": b"x"}
        extract(REF, Artifact([raw("b", b"x")]), out)  # and what failed is in no later command's way
        assert [path.name for path in common.iterdir()] == ["out"]


@pytest.mark.promise("W8", "G1")
def test_a_deep_directory_is_replaced(common):
    out = common / "out"
    out.mkdir()
    fd = os.open(out, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("a", dir_fd=fd)
        inner = os.open("a", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    extract(REF, Artifact([raw("b", b"x")]), out, overwrite=True)
    assert kept(out) == {"b": b"x"}
    assert [path.name for path in common.iterdir()] == ["out"]


_MOUNTED = """
import os, subprocess, sys
from pathlib import Path
from modfile.errors import DestinationError
from modfile.verbs.extract import extract
from tests.trust.test_escapes import REF, Artifact, raw
place = Path(sys.argv[1])
(place / "out/disk").mkdir(parents=True)
(place / "other").mkdir()
(place / "other/precious").write_bytes(b"precious")
subprocess.run(["mount", "--bind", place / "other", place / "out/disk"], check=True)
try:
    extract(REF, Artifact([raw("a", b"x")]), place / "out", overwrite=True)
except DestinationError:
    pass
sys.exit(0 if (place / "other/precious").exists() else 9)
"""


@pytest.mark.promise("W8")
@as_root
def test_what_is_mounted_in_a_directory_is_not_emptied_with_it(tmp_path):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", _MOUNTED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(root / part) for part in ("", "grammar", "cmd"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.promise("W8")
@pytest.mark.parametrize("inner", ["", "store", "store/blobs", "store/blobs/sha256"])
def test_the_store_and_what_is_in_it_are_not_replaced(tmp_path, inner):
    storage = tmp_path / "storage"
    (storage / "store/blobs/sha256").mkdir(parents=True)
    with pytest.raises(UsageError, match="store"):
        check_expendable(storage / inner, storage)


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    "place", ["/dev/null", "/proc/self/exe", "/proc/self/mem", "/proc/nowhere/x", "/proc/self/fd/nothing", "/dev/full"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_destination_that_can_be_none_is_an_error(place, overwrite):
    with pytest.raises(DestinationError, match=place):
        extract(REF, Artifact([raw("a", b"x")]), Path(place), overwrite=overwrite)
