"""Artifacts made to write elsewhere, into directories laid out to help them: nothing leaves, nothing is half done."""

import dataclasses
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modfile.archive import COMPRESSIONS
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, ModfileError, VerificationError
from modfile.manifest import OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE
from modfile.reference import Reference
from modfile.store import InMemory
from modfile.verbs.extract import extract
from modfile.verbs.verify import verify_directory
from tests import tars
from tests.trust.fuzz import fuzzed

REF = Reference.parse("r.io/llm/tiny:v1")
_TYPE = "application/vnd.cncf.model.weight.v1."
_FORMATS = {"": "tar", "gzip": "tar+gzip", "zstd": "tar+zstd"}


class Artifact:
    """An artifact in memory, of layers that say whatever they like; read as from afar or as from a local store."""

    def __init__(self, layers, *, lying=False):
        self._data = {}
        descriptors = [self._add(data, media_type, annotations) for data, media_type, annotations in layers]
        config = self._add(b"{}", CONFIG_TYPE, {})
        manifest = Manifest(OCI_MANIFEST, config, tuple(descriptors), ARTIFACT_TYPE).to_bytes()
        self.root = self._add(manifest, OCI_MANIFEST, {})
        if lying:
            self._data = {
                digest: data[::-1] if digest != self.root.digest else data for digest, data in self._data.items()
            }

    def _add(self, data, media_type, annotations):
        digest = Digest.of(data)
        self._data[digest] = data
        return Descriptor(media_type, digest, len(data), annotations)

    def resolve(self, reference):
        return self.root

    def open(self, content, start=0):
        return InMemory({dataclasses.replace(content): self._data[content.digest]}).open(content, start)


def raw(path, data, **metadata):
    annotations = {} if path is None else {"org.cncf.model.filepath": path}
    if metadata:
        annotations["org.cncf.model.file.metadata+json"] = json.dumps({"size": len(data)} | metadata)
    return data, _TYPE + "raw", annotations


def packed(data, compression="", path=None, **metadata):
    return tars.compressed(data, compression), _TYPE + _FORMATS[compression], raw(path, b"", **metadata)[2]


def snapshot(directory):
    """Return all that tells whether anything below a directory changed, but for the times that reading changes."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        link = path.readlink() if stat.S_ISLNK(status.st_mode) else None
        found[os.fsencode(path.relative_to(directory))] = (status.st_mode, status.st_ino, link, data)
    return found


# A tar, whole


@pytest.mark.promise("W5")
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tars_are_unpacked_beside_the_directory_and_then_moved(tmp_path, compression):
    files = {"config.json": b"{}", "weights/1.bin": b"1" * 70_000, "weights/2.bin": b""}
    archive = tars.by_tarfile([(path, data, 0o6755, 1_600_000_000.5) for path, data in files.items()])
    artifact = Artifact([packed(archive, compression), raw("README.md", b"# readme")])
    done = extract(REF, artifact, tmp_path / "out")
    assert set(done.written) == {*files, "README.md"}
    for path, data in files.items():
        assert (tmp_path / "out" / path).read_bytes() == data
        status = (tmp_path / "out" / path).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o755, 1_600_000_000_500_000_000)
    assert not verify_directory(REF, artifact, tmp_path / "out").differs()
    inode = (tmp_path / "out/weights/1.bin").stat().st_ino
    (tmp_path / "out/config.json").write_text("changed")
    again = extract(REF, artifact, tmp_path / "out")
    assert again.written == ("config.json",)
    assert (tmp_path / "out/weights/1.bin").stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.promise("W1", "W5")
@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([packed(tars.file(b"a") + tars.END), raw("a", b"x")], "two layers are the file a"),
        ([packed(tars.file(b"A") + tars.END), raw("a", b"x")], "differ only in case"),
        ([packed(tars.file(b"a/b") + tars.END), raw("a", b"x")], "lies inside"),
        ([packed(tars.file(b"a") + tars.file(b"a") + tars.END)], "twice"),
        ([packed(tars.file(b"a") + tars.file(b"a/b") + tars.END)], "lies inside"),
        ([packed(tars.file(b"x", b"123") + tars.END, "", "y", mode=0o644, size=3)], "should be y"),
        ([packed(tars.file(b"y", b"123") + tars.END, "", "y", mode=0o644, size=4)], "should be y"),
        ([packed(tars.file(b"y", b"123") * 2 + tars.END, "", "y", mode=0o644, size=3)], "holds 2 files"),
        ([packed(tars.file(b"a") + tars.END)] * 2, "is there twice"),
        ([packed(tars.END, "", "y", mode=0o644, size=3)], "holds 0 files"),
        ([packed(tars.header(b"../evil", b"0") + tars.END)], "evil"),
        (
            [packed(tars.header(b"link", b"2", link=b"/etc") + tars.file(b"link/x", b"1") + tars.END)],
            "symbolic link",
        ),
    ],
)
def test_a_tar_that_does_not_fit_stops_all_of_it_before_the_first_file(tmp_path, layers, why):
    (tmp_path / "out").mkdir()
    with pytest.raises(ContentError, match=why):
        extract(REF, Artifact(layers), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.promise("W6")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_stops_at_what_the_layer_says(tmp_path, compression):
    archive = tars.header(b"bomb", b"0", size=64 << 20) + bytes(64 << 20) + tars.END
    with pytest.raises(ContentError, match="at most"):
        extract(REF, Artifact([packed(archive, compression, "bomb", size=1000)]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    extract(REF, Artifact([packed(archive, compression, "bomb", size=64 << 20)]), tmp_path / "out")
    assert (tmp_path / "out/bomb").stat().st_size == 64 << 20
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.promise("S5", "W3")
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_tar_of_other_bytes_than_its_digest_says_is_refused(tmp_path, compression):
    artifact = Artifact([packed(tars.file(b"a", b"x" * 2000) + tars.END, compression)], lying=True)
    with pytest.raises((VerificationError, ContentError)):
        extract(REF, artifact, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# Whatever

NAMES = st.one_of(
    st.sampled_from(
        """
        a b A a/b a/b/c a/./b ./a a//b a/ .. ../a a/../../out2/x /etc/x . link/x link link/../x fifo file file/x ...
        dir dir/x dir/link/x deep/er/x CON nul C:/x \\x a\\..\\b é e\u0301 ~ ~/x -rf \x00 a\x00b \x1b[2J
        """.split()  # noqa: SIM905
    ),
    st.sampled_from(["\n", " ", ""]),
    st.text(min_size=0, max_size=12),
    st.integers(250, 260).map(lambda size: "x" * size),
    st.just(".modfile-partial"),
    st.just("../.out.modfile-partial/x"),
)
DATA = st.sampled_from([b"", b"x", b"file", b"y" * 5000])
NUMBERS = st.one_of(st.sampled_from([0, 0o644, 0o755, 0o7777, 0o000]), st.integers(-5, 1 << 66))
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "mode": NUMBERS,
        "size": NUMBERS,
        "uid": NUMBERS,
        "typeflag": st.sampled_from([0, 48, 5, 53, 50, 1, "0"]),
        "mtime": st.sampled_from(
            ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "x", 5, None]
        ),
    },
)
ENTRIES = st.one_of(
    st.builds(lambda name, data: tars.file(os.fsencode(name)[:99], data), NAMES.filter(lambda n: "\0" not in n), DATA),
    st.builds(
        lambda name, kind, target: tars.header(os.fsencode(name)[:99], kind, link=target),
        NAMES.filter(lambda n: "\0" not in n),
        st.sampled_from([b"1", b"2", b"3", b"5", b"6", b"S", b"x"]),
        st.sampled_from([b"..", b"/", b"../outside", b"a"]),
    ),
    st.builds(lambda name, data: tars.pax(("path", name)) + tars.file(b"short", data), NAMES, DATA),
    st.binary(max_size=600),
)
TARS = st.lists(ENTRIES, max_size=4).map(lambda entries: b"".join(entries) + tars.END)
LAYERS = st.one_of(
    st.builds(lambda path, data, more: raw(path, data, **more), st.one_of(NAMES, st.none()), DATA, METADATA),
    st.builds(
        lambda data, compression, path, more: packed(data, compression, path, **more),
        TARS,
        st.sampled_from(COMPRESSIONS),
        st.one_of(st.none(), NAMES),
        METADATA,
    ),
    st.builds(lambda data, path: (data, _TYPE + "tar+gzip", raw(path, b"")[2]), st.binary(max_size=50), NAMES),
)
STANDING = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "link", "fifo", "file", "dir", "dir/link", "a/b", "deep", "deep/er", "x"]),
        st.sampled_from(["file", "directory", "link out", "link to file out", "dangling", "loop", "fifo"]),
    ),
    max_size=5,
)


def lay_out(out, outside, standing):
    """Put things into a destination, as far as they can stand there together."""
    for path, kind in standing:
        place = out / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(place) or not place.parent.resolve().is_relative_to(out.resolve()):
                continue
            if kind == "file":
                place.write_bytes(b"file")
            elif kind == "directory":
                place.mkdir()
            elif kind == "fifo":
                os.mkfifo(place)
            else:
                place.symlink_to(
                    {"link out": outside, "link to file out": outside / "x", "dangling": outside / "new"}.get(
                        kind, place
                    )
                )
        except (OSError, RuntimeError):
            continue


@pytest.mark.promise("W1", "W2", "W3", "W4", "W8", "G1")
@fuzzed(300)
@given(st.lists(LAYERS, max_size=4), STANDING, st.booleans(), st.booleans(), st.booleans())
def test_nothing_leaves_the_directory_and_nothing_is_half_done(layers, standing, overwrite, is_new, lying):
    place = Path(tempfile.mkdtemp())
    try:
        out, outside = place / "out", place / "outside"
        outside.mkdir()
        (outside / "x").write_bytes(b"precious")
        (outside / "a").mkdir()
        if not is_new:
            out.mkdir()
            lay_out(out, outside, standing)
        before = snapshot(place)
        artifact, failure = Artifact(layers, lying=lying), None
        try:
            done = extract(REF, artifact, out, overwrite=overwrite)
        except ModfileError as error:
            failure = error
        if failure:
            assert snapshot(place) == before, "a failure left its mark"
            assert 0 < failure.exit_code < 128
            assert str(failure).isprintable()
            return
        after = snapshot(place)
        assert {path for path in after if not path.startswith(b"out")} == {
            path for path in before if not path.startswith(b"out")
        }
        assert all(after[path] == before[path] for path in before if path.startswith(b"outside"))
        for path in (*done.written, *done.unchanged):
            mode, *_ = after[os.fsencode(f"out/{path}")]
            assert stat.S_ISREG(mode), path
            assert not mode & 0o7000
        found = verify_directory(REF, artifact, out)
        assert not found.differs(allow_extra=True)
        if overwrite:
            assert not found.extra
    finally:
        for path in place.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(place)
