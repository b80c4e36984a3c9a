"""Archives as tools write them, and what the walk promises its callers."""

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile

import pytest

from modfile.archive import COMPRESSIONS, OVERHEAD, Member, decompressed, walk
from modfile.errors import ConnectionLostError, ContentError
from modfile.store import BytesReader
from tests import tars

LIMIT = 1 << 30
ENDED = tars.file(b"one", b"1" * 700) + tars.file(b"two", b"22") + tars.END


class Counting:
    """A reader that counts, gives at most so many bytes at once, and may lose its connection."""

    def __init__(self, data, most=1 << 30, lost_at=None):
        self.inner = BytesReader(data)
        self.most = most
        self.lost_at = lost_at
        self.count = 0
        self.at_end = False

    def readinto(self, buffer):
        if self.lost_at is not None and self.count >= self.lost_at:
            raise ConnectionLostError("the connection broke off")
        count = self.inner.readinto(memoryview(buffer)[: self.most])
        self.count += count
        self.at_end = not count
        return count

    def read(self, size=-1):
        buffer = bytearray(min(size, self.most))
        return bytes(buffer[: self.readinto(buffer)])


def contents(data, compression="", limit=LIMIT):
    return [(member, reader.read()) for member, reader in walk(BytesReader(data), compression, limit)]


def files(data, compression="", limit=LIMIT):
    return {member.path: body for member, body in contents(data, compression, limit)}


FILES = [
    ("config.json", b"{}", 0o644, 0),
    ("weights/model-00001.safetensors", os.urandom(3000), 0o600, 1_700_000_000),
    ("empty", b"", 0o755, 1),
    ("a block", b"x" * 512, 0o444, 2),
]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_read(form, compression):
    data = tars.by_tarfile(FILES, form)
    read = contents(tars.compressed(data, compression), compression)
    assert [(m.path, body, m.mode, m.mtime_ns) for m, body in read] == [
        (path, body, mode, mtime * 1_000_000_000) for path, body, mode, mtime in FILES
    ]
    assert all(member.size == len(body) for member, body in read)


@pytest.mark.parametrize("name", ["ä" * 60, "d/" * 70 + "f", "n" * 200, "深/" * 60 + "x"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read(name, form):
    assert files(tars.by_tarfile([(name, b"1", 0o644, 0), ("after", b"2", 0o644, 0)], form)) == {
        name: b"1",
        "after": b"2",
    }


def test_a_name_split_into_prefix_and_name_is_put_together():
    assert files(tars.file(b"name", b"1", prefix=b"a/b") + tars.END) == {"a/b/name": b"1"}


@pytest.mark.skipif(not shutil.which("tar"), reason="no tar program")
@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "posix"])
@pytest.mark.parametrize("blocking", ["1", "20", "2048"])
def test_what_the_tar_program_writes_is_read(form, blocking, tmp_path):
    tree = tmp_path / "model"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "sub" / "w.bin").write_bytes(b"w" * 5000)
    (tree / "config.json").write_text("{}")
    if form not in ("v7", "ustar"):
        (tree / "sub" / ("n" * 120)).write_bytes(b"long")
    command = ["tar", "-C", str(tree), f"--format={form}", f"--blocking-factor={blocking}", "-cf", "-", "."]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    assert files(data) == {
        path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }


def test_what_modctl_writes_is_read():
    """Names are relative to the model's directory, a directory's without a slash; 1,024 zeros are the end."""
    one = tars.file(b"sub/model.bin", b"weights", mode=0o600) + tars.END
    assert files(one) == {"sub/model.bin": b"weights"}
    tree = tars.directory(b"src") + tars.file(b"src/a.py", b"a") + tars.directory(b"src/lib") + tars.END
    assert files(tree) == {"src/a.py": b"a"}
    assert files(tars.directory(b".") + tars.file(b"a.py", b"a") + tars.END) == {"a.py": b"a"}


def test_what_kitops_writes_is_read():
    """The directories on the way from the context come first; gzip; uid 1000; times are all 0."""
    data = tars.directory(b"models") + tars.directory(b"models/sub") + tars.file(b"models/sub/w.gguf", b"w") + tars.END
    [(member, body)] = contents(tars.compressed(data, "gzip"), "gzip")
    assert (member.path, member.mtime_ns, body) == ("models/sub/w.gguf", 0, b"w")


def test_a_member_tells_where_in_a_plain_archive_its_bytes_are():
    data = tars.pax(("comment", "x")) + ENDED
    for member, body in contents(data):
        assert data[member.offset : member.offset + member.size] == body
    assert [member.offset for member, _ in contents(tars.compressed(data, "zstd"), "zstd")] == [None, None]


def test_a_leading_dot_is_dropped_and_the_archives_own_directory_passed_over():
    data = tars.directory(b"./") + tars.directory(b"./sub/") + tars.file(b"./sub/a", b"1") + tars.END
    assert files(data) == {"sub/a": b"1"}


def test_an_old_entry_whose_name_ends_with_a_slash_is_a_directory():
    assert files(tars.header(b"old/", b"\0") + tars.file(b"old/a", b"1") + tars.END) == {"old/a": b"1"}
    at_the_cut = b"d" * 99 + b"/name"  # the name's own field ends with a slash, the name does not
    data = tars.long_name(at_the_cut) + tars.header(at_the_cut, b"\0", size=1) + tars.padded(b"1") + tars.END
    assert files(data) == {at_the_cut.decode(): b"1"}


@pytest.mark.promise("W4")
@pytest.mark.parametrize(("mode", "kept"), [(0o644, 0o644), (0o7777, 0o777), (0o4755, 0o755), (-1, 0o777)])
def test_a_mode_keeps_permission_bits_only(mode, kept):
    [(member, _)] = contents(tars.file(b"a", mode=mode) + tars.END)
    assert member.mode == kept


FAR = (1 << 63) - 1


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("0", 0),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1700000000.1234567899999", 1_700_000_000_123_456_789),
        ("1.", 1_000_000_000),
        ("-1.5", -1_500_000_000),
        ("99999999999999999999", FAR),
        ("-99999999999999999999.9", -FAR),
    ],
)
def test_a_time_of_a_pax_header_is_exact_and_bounded(text, time_ns):
    [(member, _)] = contents(tars.pax(("mtime", text)) + tars.file(b"a", mtime=5) + tars.END)
    assert member.mtime_ns == time_ns


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e9", "", "0x10", "9" * 5000, "1_0", "٣", "1.5.5", "--1"])
def test_a_time_that_is_none_is_an_error(text):
    with pytest.raises(ContentError, match="mtime is no time"):
        contents(tars.pax(("mtime", text)) + tars.file(b"a", mtime=5) + tars.END)


@pytest.mark.parametrize(("mtime", "time_ns"), [(-5, -5_000_000_000), (1 << 80, FAR), (-(1 << 80), -FAR)])
def test_a_time_of_the_header_itself_is_bounded_too(mtime, time_ns):
    [(member, _)] = contents(tars.file(b"a", mtime=mtime) + tars.END)
    assert member.mtime_ns == time_ns


def test_records_of_a_pax_header_hold_for_the_next_entry_only():
    data = (
        tars.pax(("path", "renamed"), ("size", "3"), ("SCHILY.xattr.user.a", "=\n="), ("hdrcharset", "BINARY"))
        + tars.header(b"short", size=0)
        + tars.padded(b"abc")
        + tars.file(b"next", b"1")
        + tars.END
    )
    assert files(data) == {"renamed": b"abc", "next": b"1"}


def test_a_global_header_with_a_comment_is_passed_over():
    data = tars.pax(("comment", "a commit"), kind=b"g") + tars.pax(("path", "b")) + tars.file(b"a", b"1") + tars.END
    assert files(data) == {"b": b"1"}


@pytest.mark.parametrize("take", [0, 1, 512, 699, 700])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_a_caller_leaves_of_a_file_is_passed_over(take, compression):
    for member, reader in walk(BytesReader(tars.compressed(ENDED, compression)), compression, LIMIT):
        if member.path == "one":
            reader.readinto(bytearray(take))
        else:
            assert reader.read() == b"22"
            return
    raise AssertionError


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_reader_is_read_to_its_very_end(compression):
    data = tars.compressed(ENDED + bytes(50_000), compression)
    reader = Counting(data)
    assert [member.path for member, _ in walk(reader, compression, LIMIT)] == ["one", "two"]
    assert reader.count == len(data)
    assert reader.at_end


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("most", [1, 7, 511])
def test_a_source_that_gives_little_at_a_time_makes_no_difference(most, compression):
    data = tars.compressed(ENDED, compression)
    read = [(member.path, reader.read()) for member, reader in walk(Counting(data, most), compression, LIMIT)]
    assert read == [("one", b"1" * 700), ("two", b"22")]


def test_a_files_reader_ends_with_the_next_step():
    members = walk(BytesReader(ENDED), "", LIMIT)
    _, first = next(members)
    _, second = next(members)
    with pytest.raises(ValueError, match="past one"):
        first.read(1)
    assert second.read() == b"22"
    assert second.read() == b""
    assert second.readinto(bytearray(5)) == 0


def test_a_large_file_comes_in_the_callers_own_buffer():
    body = random.Random(1).randbytes(5_000_000)
    data = tars.file(b"large", body) + tars.END
    member, reader = next(walk(BytesReader(data), "", LIMIT))
    buffer = bytearray(member.size)
    view = memoryview(buffer)
    filled = 0
    while count := reader.readinto(view[filled:]):
        filled += count
    assert buffer == body


def test_the_sources_own_errors_come_through():
    for compression in COMPRESSIONS:
        data = tars.compressed(tars.file(b"a", os.urandom(200_000)) + tars.END, compression)
        _, reader = next(walk(Counting(data, 10_000, lost_at=70_000), compression, LIMIT))
        with pytest.raises(ConnectionLostError):
            reader.read()


def test_the_limit_is_the_whole_archives():
    assert len(contents(ENDED, limit=len(ENDED))) == 2
    with pytest.raises(ContentError, match="more than the 3,583 bytes"):
        contents(ENDED, limit=len(ENDED) - 1)


def test_the_overhead_is_enough_for_one_file_as_any_tool_packs_it():
    step, depth = "d" * 14 + "/", 255  # as deep and as long as paths may be
    name = step * depth + "n" * 255
    directories = b"".join(tars.long_name(step.encode() * n) + tars.directory(b"d") for n in range(1, depth + 1))
    data = directories + tars.by_tarfile([(name, b"1", 0o644, 0.5)]) + bytes(100_000)
    assert [member.path for member, _ in contents(data, limit=1 + OVERHEAD)] == [name]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_stream_alone_is_read_too(compression):
    data = random.Random(2).randbytes(3_000_000)
    packed = tars.compressed(data, compression)
    assert decompressed(BytesReader(packed), compression).read(-1) == data
    reader = decompressed(BytesReader(packed), compression)
    assert hashlib.sha256(b"".join(iter(lambda: reader.read(100_000), b""))).digest() == hashlib.sha256(data).digest()


def test_an_unknown_compression_is_an_error():
    with pytest.raises(ContentError, match="'xz' is not known"):
        list(walk(BytesReader(b""), "xz", LIMIT))


def test_members_and_frames_in_a_row_are_one_stream():
    half = len(ENDED) // 2
    for compression in ("gzip", "zstd"):
        data = tars.compressed(ENDED[:half], compression) + tars.compressed(ENDED[half:], compression)
        assert files(data, compression) == {"one": b"1" * 700, "two": b"22"}


def test_skippable_frames_are_passed_over():
    frame = tars.compressed(ENDED, "zstd")
    for data in (tars.skippable(b"table") + frame, frame + tars.skippable(bytes(300_000)), tars.skippable(b"") + frame):
        assert list(files(data, "zstd")) == ["one", "two"]


def test_zstd_is_loaded_only_where_it_is_needed():
    code = "import sys, modfile.archive; print([m for m in sys.modules if 'zstd' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_member_is_a_plain_value():
    assert Member("a", 1, 0o644, 0, None) == Member("a", 1, 0o644, 0, None)


def test_an_archive_without_files_has_none():
    assert contents(tars.END) == []
    assert contents(tars.directory(b"a") + tars.END) == []
    assert io.BytesIO(tars.by_tarfile([])).read() != tars.END  # Python's own padding
    assert contents(tars.by_tarfile([])) == []
