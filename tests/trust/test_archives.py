"""Archives made to do harm: each is one clear error, or exactly what it says."""

import ast
import io
import random
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from modfile import archive
from modfile.archive import COMPRESSIONS, MAX_EXTENSION, MAX_FRAMES, MAX_MEMBERS, walk
from modfile.errors import ContentError
from modfile.paths import check_path
from modfile.store import BytesReader
from tests import tars
from tests.trust.fuzz import fuzzed

LIMIT = 1 << 22
ROOT = Path(__file__).parents[2]
NEXT = tars.file(b"next", b"n" * 600) + tars.END


def unpacked(data, compression="", limit=LIMIT):
    """Read an archive as a caller would, into files of bytes; count what came, lest it be too much."""
    files, total = [], 0
    source = BytesReader(data) if isinstance(data, bytes) else data
    for member, reader in walk(source, compression, limit):
        body = bytearray()
        buffer = bytearray(1 << 16)
        while count := reader.readinto(buffer):
            body += buffer[:count]
            total += count
            assert total <= limit
        files.append((member, bytes(body)))
    return files


def refused(data, compression="", limit=LIMIT):
    """Return the message of the error that reading an archive ends with: one line, and nothing to drive a terminal."""
    with pytest.raises(ContentError) as caught:
        unpacked(data, compression, limit)
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 500
    return message


KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"D": "a GNU dump directory",
    b"M": "the rest of a file",
    b"V": "a volume's name",
    b"Z": "of type 'Z'",
    b"\x1b": r"of type '\x1b'",
    b"\xff": r"of type '\\xff'",
}


@pytest.mark.promise("W5")
@pytest.mark.parametrize(("kind", "what"), KINDS.items())
def test_what_is_neither_file_nor_directory_is_refused_by_name(kind, what):
    for name in (b"weights/bad", b"./weights/bad"):
        message = refused(tars.file(b"good") + tars.header(name, kind) + NEXT)
        assert "weights/bad is " in message
        assert what in message


@pytest.mark.promise("W5")
def test_a_kind_said_by_another_name_is_refused_all_the_same():
    link = tars.pax(("path", "a"), ("linkpath", "../../etc/passwd")) + tars.header(b"x", b"2") + NEXT
    assert "a is a symbolic link" in refused(link)
    assert "a is a hard link" in refused(tars.long_name(b"/etc/passwd", b"K") + tars.header(b"a", b"1") + NEXT)


SPARSE = [
    [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "99999999999")],
    [("GNU.sparse.map", "0,1,1000000000,1"), ("GNU.sparse.size", "1000000001")],
    [("GNU.sparse.size", "5"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.offset", "0"), ("GNU.sparse.numbytes", "1")],
    [("GNU.sparse.name", "other")],
    [("GNU.sparse.map", "")],
]


@pytest.mark.promise("W5")
@pytest.mark.parametrize("records", SPARSE)
def test_sparse_files_of_every_pax_form_are_refused(records):
    assert "weights.bin is a sparse file" in refused(tars.pax(*records) + tars.file(b"weights.bin", b"1") + NEXT)
    assert "GNU.sparse" in refused(tars.pax(*records, kind=b"g") + NEXT)


HOSTILE_NAMES = {
    b"/etc/passwd": "is absolute",
    b"//server/share": "is absolute",
    b"../up": "'..'",
    b"a/../../up": "'..'",
    b"a/..": "'..'",
    b"..": "'..'",
    b".": "'.'",
    b"./": "is empty",
    b"./../up": "'..'",
    b"././a": "'.'",
    b".//etc/passwd": "is absolute",
    b"a//b": "empty",
    b"a/./b": "'.'",
    b"": "is empty",
    b"C:\\windows": "backslash",
    b"c:evil": "drive letter",
    b"a\\..\\b": "backslash",
    b"a\xff": "is not UTF-8",
    b"\xed\xa0\x80": "is not UTF-8",
    b"n" * 256: "more than 255 bytes",
    b"\x1b[2J/../a": "'..'",
}


@pytest.mark.promise("W1", "W5")
@pytest.mark.parametrize("kind", [b"0", b"\0", b"5"])
@pytest.mark.parametrize(("name", "why"), HOSTILE_NAMES.items())
def test_names_that_lead_elsewhere_are_refused(name, why, kind):
    if (kind == b"5" and name in (b".", b"./")) or (kind == b"\0" and name == b"./"):
        return  # the archive's own directory
    ways = [tars.long_name(name) + tars.header(b"x", kind), tars.pax(("path", name)) + tars.header(b"x", kind)]
    if len(name) <= 100:
        ways.append(tars.header(name, kind))
    for data in ways:
        assert why in refused(data + NEXT)


@pytest.mark.promise("W5")
@pytest.mark.parametrize("name", [b"file/", b"a/b/"])
def test_a_regular_file_is_not_named_like_a_directory(name):
    assert "segment" in refused(tars.file(name, b"1") + NEXT)
    assert "segment" in refused(tars.pax(("path", name)) + tars.file(b"a", b"1") + NEXT)


@pytest.mark.promise("W5")
def test_a_nul_in_a_long_name_is_refused():
    assert "holds a NUL" in refused(tars.pax(("path", b"good\0../evil")) + tars.file(b"a") + NEXT)
    assert "holds a NUL" in refused(tars.long_name(b"good\0../evil") + tars.file(b"a") + NEXT)


@pytest.mark.promise("W5")
def test_whiteouts_and_odd_but_harmless_names_are_names_like_others():
    names = [".wh.a", ".wh..wh..opq", "...", "a b", "-rf", "~", "CON", "a\nb", "é"]
    data = b"".join(tars.file(name.encode(), b"1") for name in names) + tars.END
    assert [member.path for member, _ in unpacked(data)] == names


@pytest.mark.promise("W5")
def test_a_directory_has_no_bytes_of_its_own():
    hidden = tars.header(b"d", b"5", size=1024) + tars.file(b"hidden") + NEXT
    assert "d/ cannot have 1,024 bytes" in refused(hidden)
    assert "cannot have" in refused(tars.pax(("size", "512")) + tars.directory(b"d") + tars.file(b"hidden") + NEXT)


@pytest.mark.promise("W6")
@pytest.mark.parametrize("size", [-1, -512, -(1 << 60), LIMIT, 1 << 62, 1 << 63, 1 << 80, b"-0000000512"])
def test_sizes_below_zero_and_above_the_limit_are_refused_at_once(size):
    message = refused(tars.header(b"w.bin", size=size) + NEXT)
    assert "w.bin cannot have" in message or "w.bin has" in message


@pytest.mark.promise("W6")
@pytest.mark.parametrize("text", ["-1", "1e3", "0x10", "", " 5", "5 ", "9" * 19, "9" * 20, "9" * 100_000, "٣", "1.0"])
def test_sizes_of_a_pax_header_are_plain_numbers(text):
    data = tars.pax(("size", text)) + tars.file(b"w.bin", b"1") + NEXT
    assert "size is no number" in refused(data) or text == "9" * 19


BROKEN_HEADERS = {
    "checksum": tars.header(checksum=1),
    "no checksum": tars.header()[:148] + b"        " + tars.header()[156:],
    "junk": b"\xff" * 512,
    "text": b"not a tar archive\n" * 40,
    "mode": tars.header(mode=b"rwxr-xr"),
    "size": tars.header(size=b"12345678x"),
    "mtime": tars.header(mtime=b"yesterday"),
}


@pytest.mark.promise("W5")
@pytest.mark.parametrize("block", BROKEN_HEADERS.values(), ids=BROKEN_HEADERS)
def test_broken_headers_are_refused(block):
    assert "broken header at byte 512" in refused(tars.header(b"a") + block + NEXT)


@pytest.mark.promise("W5")
def test_a_name_whose_other_half_is_something_else_is_refused():
    """GNU's old headers hold times where ustar holds the start of the name."""
    times = b"14722011111\x0014722011111\0"
    for magic in (tars.GNU, b""):
        assert "a tar format that is not read" in refused(tars.file(b"a", b"1", prefix=times, magic=magic) + NEXT)


@pytest.mark.promise("W5")
@pytest.mark.parametrize(
    "records",
    [
        [("path", "evil")],
        [("linkpath", "evil")],
        [("size", "0")],
        [("mtime", "0")],
        [("comment", "x"), ("size", "512")],
        [("size", "")],
    ],
)
def test_a_global_header_may_not_rename_or_resize_what_follows(records):
    assert f"says a {records[-1][0]} for all" in refused(tars.pax(*records, kind=b"g") + NEXT)


@pytest.mark.promise("W5")
@pytest.mark.parametrize(
    "data",
    [
        b"12",
        b"x path=a\n",
        b"9 path=a\n9 path",
        b"0 path=a\n",
        b"-9 path=a\n",
        b"99 path=a\n",
        b"8 path=a\n",
        b" path=a\n",
        b"5 abc",
        b"4 =\n",
        b"9" * 5000,
        b"1" * 1_000_000,
        b"\0" * 512,
        b"10 path=a\n\0",
    ],
)
def test_broken_pax_records_are_refused(data):
    for kind in (b"x", b"X", b"g"):
        assert "not records" in refused(tars.extension(data, kind) + NEXT)


@pytest.mark.promise("W6")
def test_many_pax_records_are_read_in_linear_time():
    data = b"".join(tars.record(b"%04x" % n, b"") for n in range(MAX_EXTENSION // 9)) + tars.record(b"path", b"a")
    assert [member.path for member, _ in unpacked(tars.extension(data, b"x") + NEXT)] == ["a"]


@pytest.mark.promise("W6")
@pytest.mark.parametrize("kind", [b"x", b"X", b"g", b"L", b"K"])
def test_extended_headers_are_held_in_memory_and_so_are_bounded(kind):
    for size in (MAX_EXTENSION + 1, 1 << 40, 1 << 70, -1, -(1 << 40)):
        assert f"at most {MAX_EXTENSION:,} are read" in refused(tars.header(b"x", kind, size=size) + NEXT)


@pytest.mark.promise("W5", "W6")
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_chain_of_extended_headers_is_refused(kind):
    data = tars.long_name(b"n", kind) if kind in b"LK" else tars.pax(("comment", "c"), kind=kind)
    assert "two extended headers" in refused(data * 10_000 + NEXT, limit=1 << 30)


@pytest.mark.promise("W5")
def test_an_entry_has_one_long_name():
    both = tars.long_name(b"one") + tars.pax(("path", "two")) + tars.file(b"a") + NEXT
    assert "two long names" in refused(both)
    assert "two extended headers" in refused(tars.pax(("a", "b")) + tars.pax(("path", "x"), kind=b"X") + NEXT)


@pytest.mark.promise("W6")
def test_there_are_only_so_many_entries():
    entries = tars.compressed((tars.directory(b"d") + tars.file(b"f")) * (MAX_MEMBERS // 2), "zstd")
    end, one_more = tars.compressed(tars.END, "zstd"), tars.compressed(tars.directory(b"d") + tars.END, "zstd")
    assert len(unpacked(entries + end, "zstd", limit=1 << 40)) == MAX_MEMBERS // 2
    assert f"more than {MAX_MEMBERS:,} entries" in refused(entries + one_more, "zstd", limit=1 << 40)


WHOLE = tars.pax(("path", "renamed")) + tars.file(b"first", b"1" * 700) + tars.long_name(b"second") + NEXT


@pytest.mark.promise("W5")
def test_an_archive_cut_off_anywhere_is_refused():
    for end in range(0, len(WHOLE), 64):
        assert "cut off" in refused(WHOLE[:end])
        assert "cut off" in refused(WHOLE[: end + 1]) or end + 1 == len(WHOLE)


@pytest.mark.promise("W5")
def test_an_archive_ends_with_two_blocks_of_zeros():
    files = tars.file(b"a", b"1")
    assert "zeros that end one are missing" in refused(files)
    assert "one block of zeros, not two" in refused(files + bytes(512))
    assert "one block of zeros, not two" in refused(files + bytes(1023))
    assert "whose entry is missing" in refused(tars.long_name(b"a") + tars.END)
    assert "zeros that end one are missing" in refused(b"")
    for padding in (0, 1, 511, 10_240, 3_000_000):
        assert len(unpacked(files + tars.END + bytes(padding))) == 1


@pytest.mark.promise("W5", "W6")
def test_nothing_but_zeros_comes_after_the_end():
    files = tars.file(b"a", b"1")
    for rest in (b"x", tars.file(b"hidden") + tars.END, bytes(2_000_000) + b"x", bytes(511) + b"x"):
        assert "goes on after its end" in refused(files + tars.END + rest)
    assert "goes on after its end" in refused(files + bytes(512) + tars.file(b"hidden") + tars.END)
    assert "goes on after its end" in refused(files + bytes(512) + b"x")
    assert "more than the" in refused(files + tars.END + bytes(LIMIT))


GZIP = tars.compressed(NEXT, "gzip")
ZSTD = tars.compressed(NEXT, "zstd")


def changed(data, at):
    return data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


BROKEN_STREAMS = [
    ("gzip", b"", "cut off: the blocks|cut off"),
    ("zstd", b"", "cut off"),
    ("gzip", NEXT, "incorrect header check"),
    ("zstd", NEXT, "broken"),
    ("gzip", ZSTD, "incorrect header check"),
    ("zstd", GZIP, "broken"),
    ("gzip", changed(GZIP, -8), "incorrect data check"),
    ("gzip", changed(GZIP, -1), "incorrect length check"),
    ("gzip", changed(GZIP, 2), "unknown compression method"),
    ("gzip", GZIP + b"garbage", "incorrect header check"),
    ("gzip", GZIP + bytes(512), "incorrect header check"),
    ("gzip", GZIP + GZIP[:10], "cut off"),
    ("zstd", ZSTD + b"garbage", "broken"),
    ("zstd", ZSTD + bytes(512), "broken"),
    ("zstd", ZSTD + ZSTD[:10], "cut off"),
    ("zstd", tars.skippable(b"only"), "cut off"),
    ("zstd", tars.skippable(b"skipped")[:-1], "cut off"),
    ("zstd", struct.pack("<II", 0x184D2A50, 0xFFFFFFFF), "cut off"),
    ("gzip", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 3_000_000, "cut off"),
]


@pytest.mark.promise("W5", "W6")
@pytest.mark.parametrize(("compression", "data", "why"), BROKEN_STREAMS)
def test_broken_compression_is_refused(compression, data, why):
    message = refused(data, compression)
    assert any(part in message for part in why.split("|")), message


@pytest.mark.promise("W5")
@pytest.mark.parametrize(("compression", "data"), [("gzip", GZIP), ("zstd", ZSTD)])
def test_a_compressed_stream_cut_off_anywhere_is_refused(compression, data):
    for end in range(len(data)):
        assert "cut off" in refused(data[:end], compression)


@pytest.mark.promise("W6")
def test_a_zstd_window_is_bounded():
    allowed = tars.zstd_header(27) + ZSTD
    assert len(unpacked(allowed, "zstd")) == 1
    for window_log in (28, 31, 41):
        assert "too much memory" in refused(tars.zstd_header(window_log) + ZSTD, "zstd")


@pytest.mark.promise("W5")
def test_zstd_with_a_dictionary_is_refused():
    random_ = random.Random(3)
    words = [random_.randbytes(12) for _ in range(50)]
    samples = [b"".join(random_.choices(words, k=30)) for _ in range(500)]
    dictionary = tars.zstd.train_dict(samples, 4096)
    data = tars.zstd.compress(tars.file(b"a", samples[0]) + tars.END, zstd_dict=dictionary)
    assert "ictionary" in refused(data, "zstd")


@pytest.mark.promise("W6")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_stream_in_too_many_pieces_is_refused(compression):
    empty = tars.compressed(b"", compression)
    assert f"more than {MAX_FRAMES:,} pieces" in refused(empty * (MAX_FRAMES + 1), compression)


BOMB = 1 << 30
LEADS = {
    "the file": tars.header(b"bomb", size=BOMB),
    "padding": tars.file(b"a") + tars.END,
    "a file that says it is small": tars.file(b"a", b"small"),
    "an extended header": tars.header(b"x", b"x", size=MAX_EXTENSION),
}


class Measured(BytesReader):
    taken = 0

    def read(self, size=-1, /):
        piece = super().read(size)
        self.taken += len(piece)
        return piece


@pytest.mark.promise("W6")
@pytest.mark.parametrize("lead", LEADS.values(), ids=LEADS)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_stops_at_its_limit(compression, lead):
    reader = Measured(tars.zeros(1 << 26, compression, lead))
    refused(reader, compression)
    # What 64 MiB of zeros are in gzip is 285 KB; no more of it is taken than unpacks to the limit, 4 MiB.
    assert reader.taken <= 1 << 16


WATCHED = """
import sys, resource
from modfile.archive import walk
from modfile.errors import ContentError
from modfile.pipeline import FileReader
import os
compression, limit, most = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
list(walk(FileReader(os.open(sys.argv[5], os.O_RDONLY)), compression, 1 << 20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = 0
try:
    for member, reader in walk(FileReader(os.open(sys.argv[1], os.O_RDONLY)), compression, limit):
        buffer = bytearray(1 << 20)
        while count := reader.readinto(buffer):
            total += count
except ContentError as error:
    print(error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(total, grown)
assert grown < most, grown
"""


@pytest.mark.promise("W6")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_gibibyte_of_zeros_takes_little_memory(compression, tmp_path):
    bomb, small = tmp_path / "bomb", tmp_path / "small"
    bomb.write_bytes(tars.zeros(BOMB, compression, tars.header(b"bomb", size=BOMB)))
    small.write_bytes(tars.compressed(NEXT, compression))
    assert bomb.stat().st_size < BOMB // 200

    def watch(limit):
        command = [sys.executable, "-c", WATCHED, bomb, compression, str(limit), str(16 << 10), small]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "bomb has 1,073,741,824 bytes, but at most" in watch(1 << 24)
    assert f"\n{BOMB} " in watch(BOMB + (1 << 20)), "all of it was read, the end of the archive is missing"


@pytest.mark.promise("W5")
def test_nobody_unpacks_but_our_own_walk():
    for path in (ROOT / "modfile").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("extractall", "unpack_archive", "extractfile"), path
                assert not (isinstance(node.value, ast.Name) and node.value.id == "tarfile" and node.attr == "open")


# ---- archives that nobody thought of ----

SEGMENTS = st.text("ab.é深 -_~A\n", min_size=1, max_size=9).filter(lambda text: text not in (".", ".."))
PATHS = st.lists(SEGMENTS, min_size=1, max_size=30).map("/".join)
FILES = st.lists(
    st.tuples(PATHS, st.binary(max_size=1500), st.integers(0, 0o777), st.integers(-(10**6), 9 * 10**9)),
    max_size=6,
)
FORMS = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


@pytest.mark.promise("W5")
@fuzzed(120)
@given(FILES, FORMS, st.sampled_from(COMPRESSIONS), st.integers(0, 2000))
def test_a_good_archive_is_read_exactly(files, form, compression, padding):
    data = tars.by_tarfile(files, form) + bytes(padding)
    read = unpacked(tars.compressed(data, compression), compression, limit=len(data))
    assert [(m.path, body, m.mode, m.mtime_ns) for m, body in read] == [
        (path, body, mode, mtime * 1_000_000_000) for path, body, mode, mtime in files
    ]
    assert [member.size for member, _ in read] == [len(body) for _, body, _, _ in files]


NAMES = st.one_of(
    st.sampled_from([*HOSTILE_NAMES, b"a", b"a/b", b"file/", b"./a"]),
    st.binary(max_size=120).map(lambda name: name.replace(b"\0", b"")),
    PATHS.map(str.encode),
)
TYPES = st.one_of(st.sampled_from([b"0", b"0", b"0", b"\0", b"5", *KINDS]), st.binary(min_size=1, max_size=1))
SIZES = st.one_of(st.integers(0, 2000), st.integers(-(1 << 70), 1 << 70), st.binary(max_size=12))
BODIES = st.binary(max_size=1100)
KEYS = st.sampled_from(
    ["path", "linkpath", "size", "mtime", "hdrcharset", "comment", "GNU.sparse.map", "GNU.sparse.major", "é", "a b"]
)
VALUES = st.one_of(
    NAMES,
    st.sampled_from([b"0", b"5", b"-1", b"nan", b"1e400", b"BINARY", b""]),
    st.integers().map(lambda n: b"%d" % n),
)
RECORDS = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(lambda pairs: tars.records(*pairs))
ENTRIES = st.one_of(
    st.builds(tars.file, NAMES, BODIES),
    st.builds(tars.file, PATHS.map(str.encode), BODIES),
    st.builds(tars.directory, NAMES),
    st.builds(
        lambda name, kind, size, body: tars.header(name, kind, size=size) + tars.padded(body),
        NAMES,
        TYPES,
        SIZES,
        BODIES,
    ),
    st.builds(
        lambda mode, mtime, prefix, magic: tars.header(mode=mode, mtime=mtime, prefix=prefix, magic=magic),
        st.one_of(st.integers(-(1 << 50), 1 << 50), st.binary(max_size=8)),
        st.one_of(st.integers(-(1 << 80), 1 << 80), st.binary(max_size=12)),
        st.binary(max_size=160),
        st.sampled_from([tars.USTAR, tars.GNU, b""]),
    ),
    st.builds(tars.extension, st.one_of(RECORDS, BODIES), st.sampled_from([b"x", b"g", b"X", b"L", b"K"])),
    st.builds(tars.long_name, NAMES, st.sampled_from([b"L", b"K"])),
    st.builds(
        lambda at, value: (
            tars.summed(tars.header(size=5)[:at] + value + tars.header(size=5)[at + len(value) :])
            + tars.padded(b"fifth")
        ),
        st.integers(0, 500),
        st.binary(max_size=12),
    ),
    st.sampled_from([bytes(512), bytes(100)]),
)


@st.composite
def hostile_archives(draw):
    """Make an archive of good and bad entries, damage it, compress it, and damage that."""
    data = b"".join(draw(st.lists(ENTRIES, max_size=6))) + draw(st.sampled_from([tars.END, tars.END, b""]))
    data = draw(damaged(data))
    compression = draw(st.sampled_from(COMPRESSIONS))
    parts = [data]
    if compression and draw(st.booleans()):
        cut = draw(st.integers(0, len(data)))
        parts = [data[:cut], data[cut:]]
    packed = b"".join(tars.compressed(part, compression) for part in parts)
    return (draw(damaged(packed)) if compression else packed), compression


@st.composite
def damaged(draw, data):
    """Leave the data as it is, or change some bytes, cut it off, or add to it."""
    how = draw(st.sampled_from(["not", "not", "not", "changed", "cut", "longer"]))
    if how == "changed" and data:
        damaged_ = bytearray(data)
        for at, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)):
            damaged_[at] = value
        return bytes(damaged_)
    if how == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if how == "longer":
        return data + draw(st.binary(max_size=700))
    return data


@pytest.mark.promise("W5", "W6")
@fuzzed(300)
@given(hostile_archives(), st.one_of(st.just(LIMIT), st.integers(0, 6000)))
def test_any_archive_is_an_error_or_what_it_says(made, limit):
    data, compression = made
    try:
        read = unpacked(data, compression, limit)
    except ContentError:
        refused(data, compression, limit)
        return
    for member, body in read:
        check_path(member.path)
        assert len(body) == member.size
        assert member.mode == member.mode & 0o777
        assert -(1 << 63) < member.mtime_ns < 1 << 63
    try:
        others = as_others_read(data, compression)
    except UnicodeDecodeError:  # tarfile takes any bytes behind " hdrcharset=" for text
        reject()
    assert [(member.path, body) for member, body in read] == others


def as_others_read(data, compression):
    """Return the regular files that Python finds: what is read at all, all read the same."""
    reader = archive.decompressed(BytesReader(data), compression)
    with tarfile.open(fileobj=io.BytesIO(reader.read(-1)), mode="r:", encoding="utf-8") as other:
        members = other.getmembers()
        assert all(member.isreg() or member.isdir() for member in members)
        return [
            (member.name.removeprefix("./"), other.extractfile(member).read()) for member in members if member.isreg()
        ]
