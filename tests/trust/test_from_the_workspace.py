"""What a directory of model files may hold, and what comes of it: the promises C1 to C6 of docs/security.md."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import socket
import stat
import string
import tempfile
from pathlib import Path

import pytest

from modfile import modelfile
from modfile.errors import WorkspaceError
from modfile.layout import Layout
from modfile.packer import Stamp
from modfile.progress import SILENT
from modfile.reference import Reference
from modfile.verbs.attach import Attacher
from modfile.verbs.build import Builder
from modfile.workspace import Workspace, named_file
from tests.models import small_model
from tests.registry.reach import repository

from .hostile import Done, run, surroundings

OLD = "old.test/kept/model:v1"
NEW = "new.test/org/model:v1"
WEIGHTS = bytes(range(256)) * 40
MODELFILE = "NAME tiny\nMODEL weights.bin\n"
ALPHANUMERIC = string.ascii_letters + string.digits


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory, a store with an artifact in it, and something outside that must not be packed."""
    surroundings(tmp_path, monkeypatch)
    small_model(tmp_path / "old")
    assert run("build", "-t", OLD, tmp_path / "old").exit_code == 0
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/treasure").write_bytes(b"treasure" * 100)
    directory = tmp_path / "context"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def layout(here) -> Layout:
    return Layout(here.parent / "storage/store")


def blobs(here) -> set[str]:
    return {digest.hex for digest, _ in layout(here).blobs()}


def refused(done: Done, here, before, *, code=1):
    """See that nothing came of a command: one line, an exit code, no new tag, nothing new in the store."""
    assert done.exit_code == code, done
    assert done.stdout == ""
    assert done.stderr.splitlines() == [done.error]
    assert done.error.isprintable()
    assert "Traceback" not in done.stderr
    assert "fault of modfile's" not in done.stderr
    assert blobs(here) == before
    assert [str(entry.name) for entry in layout(here).entries()] == [OLD]
    treasure = hashlib.sha256((here.parent / "outside/treasure").read_bytes()).hexdigest()
    assert treasure not in blobs(here)
    return done.error


def build(*arguments) -> Done:
    return run("build", "--no-creation-time", "-t", NEW, *arguments)


def digest_of(done: Done) -> str:
    assert done.exit_code == 0, done
    return done.stdout.strip()


def layers(here, reference=NEW) -> dict[str, str]:
    """Return the digest of each file of an artifact in the store."""
    said = json.loads(run("inspect", reference).stdout)
    return {layer["Filepath"]: layer["Digest"] for layer in said["Layers"]}


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# C1, C2, C3: what is no regular file of the context


def fifo(path):
    os.mkfifo(path)


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("needs the right to make devices")


def unreadable_link(path):
    Path("locked").mkdir()
    path.symlink_to("locked/../gone")


SPECIAL = {
    "a FIFO": (fifo, "is a FIFO"),
    "a socket": (unix_socket, "is a socket"),
    "a device that never ends": (device, "is a device"),
}
LINKS = {
    "a link to a FIFO": (lambda path: (fifo(Path("pipe")), path.symlink_to("pipe")), "is a FIFO"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "lies outside of the build context"),
    "a link to a process": (lambda path: path.symlink_to("/proc/self/environ"), "lies outside of the build context"),
    "a link to a descriptor": (lambda path: path.symlink_to("/proc/self/fd/0"), "is a link to"),
    "a link outside": (lambda path: path.symlink_to("../outside/treasure"), "lies outside of the build context"),
    "an absolute link outside": (lambda path: path.symlink_to(Path("../outside/treasure").resolve()), "lies outside"),
    "a link to a directory outside": (lambda path: path.symlink_to("../outside"), "lies outside"),
    "a link through a directory outside": (
        lambda path: (Path("sub").symlink_to("../outside"), path.symlink_to("sub/treasure")),
        "lies outside",
    ),
    "a chain that ends outside": (
        lambda path: (Path("one").symlink_to("../outside/treasure"), path.symlink_to("one")),
        "lies outside",
    ),
    "a link out and in again": (
        lambda path: (Path("real").write_bytes(b"x"), path.symlink_to("../../gone/../context/real")),
        "is a link to",
    ),
    "a link to nothing": (lambda path: path.symlink_to("gone"), "which does not exist"),
    "a link to nothing there": (unreadable_link, "which does not exist"),
    "a link to itself": (lambda path: path.symlink_to("weights.bin"), "leads back to itself"),
    "links to each other": (
        lambda path: (path.symlink_to("two"), Path("two").symlink_to("weights.bin")),
        "leads back to itself",
    ),
    "a link whose target is too long": (lambda path: path.symlink_to("x/" * 2000 + "y"), "is a link to"),
    "a link to a name with a newline": (lambda path: path.symlink_to("a\nb\x1b[2J"), "is a link to"),
}
BAD = SPECIAL | LINKS


@pytest.mark.promise("C1", "C2", "C3", "G1")
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("pattern", ["weights.bin", "*.bin", "**"])
def test_a_build_refuses_what_is_no_file_of_the_context_and_names_it(here, name, pattern):
    make, says = BAD[name]
    make(here / "weights.bin")
    (here / "Modelfile").write_text(f"NAME x\nMODEL {pattern}\n")
    before = blobs(here)
    error = refused(build(), here, before)
    assert says in error
    assert "weights.bin" in error


@pytest.mark.promise("C1", "C2", "C3", "G1")
@pytest.mark.parametrize("name", BAD)
def test_generate_refuses_it_too(here, name):
    make, says = BAD[name]
    make(here / "weights.bin")
    before = blobs(here)
    error = refused(run("generate"), here, before)
    assert says in error
    assert not (here / "Modelfile").exists()


@pytest.mark.promise("C1", "C3", "G1")
@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("link", [False, True])
def test_attach_and_upload_refuse_it_too_and_ask_no_registry(here, fake, name, link):
    make, _ = SPECIAL[name]
    make(here / ("real" if link else "weights.bin"))
    if link:
        (here / "weights.bin").symlink_to("real")
    before = blobs(here)
    for done in (
        run("attach", "weights.bin", "-s", OLD, "-t", NEW),
        run("upload", "weights.bin", "--repo", f"{fake.host}/org/model"),
    ):
        assert "weights.bin is not a regular file" in refused(done, here, before)
    assert fake.seen == []


@pytest.mark.promise("C3", "G1")
@pytest.mark.parametrize("verb", ["generate", "build", "attach", "upload"])
def test_a_file_that_may_not_be_read_is_named(verb, monkeypatch, fake):
    """Root may read everything, so the effective user is another while the program runs."""
    own = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        base.chmod(0o777)
        (base / "context").mkdir(mode=0o777)
        (base / "context").chmod(0o777)
        surroundings(base, monkeypatch)
        for path in (base / "home", base):
            path.chmod(0o777)
        small_model(base / "old")
        monkeypatch.chdir(base / "context")
        Path("Modelfile").write_text(MODELFILE)
        Path("weights.bin").write_bytes(WEIGHTS)
        Path("weights.bin").chmod(0)
        if own == 0:
            os.seteuid(65534)
        try:
            assert run("build", "-t", OLD, base / "old").exit_code == 0
            done = {
                "generate": lambda: run("generate", "--overwrite"),
                "build": build,
                "attach": lambda: run("attach", "weights.bin", "-s", OLD, "-t", NEW),
                "upload": lambda: run("upload", "weights.bin", "--repo", f"{fake.host}/org/model"),
            }[verb]()
        finally:
            os.seteuid(own)
        assert done.exit_code == 1, done
        assert re.search(r"weights\.bin .*cannot be read", done.error)
        assert fake.seen == []


@pytest.mark.promise("C2")
def test_links_inside_the_context_are_followed_and_pack_what_they_lead_to(here):
    (here / "real").mkdir()
    (here / "real/a.bin").write_bytes(WEIGHTS)
    (here / "b.bin").symlink_to("real/a.bin")
    (here / "c.bin").symlink_to(here / "b.bin")
    (here / "linked").symlink_to("real")
    (here / "real/up.bin").symlink_to("../b.bin")
    (here / "Modelfile").write_text("NAME x\nMODEL **/*.bin\n")
    digest_of(build())
    names = {"b.bin", "c.bin", "linked/a.bin", "linked/up.bin", "real/a.bin", "real/up.bin"}
    assert layers(here) == dict.fromkeys(names, sha256(WEIGHTS))


@pytest.mark.promise("C2")
def test_what_a_person_names_may_be_a_link_that_leads_anywhere(here):
    (here / "weights.bin").symlink_to("../outside/treasure")
    digest_of(run("attach", "weights.bin", "-s", OLD, "-t", NEW))
    assert layers(here)["weights.bin"] == sha256((here.parent / "outside/treasure").read_bytes())


# C2: Hugging Face caches, as huggingface_hub lays them out

REVISION = "0123456789abcdef0123456789abcdef01234567"


def snapshot(base: Path, name="models--org--tiny") -> tuple[Path, Path]:
    """Lay a small model out as a cache does, and as a plain directory; return the snapshot and the directory."""
    plain = small_model(base / f"plain-{name}")
    (plain / "Modelfile").unlink()
    repo = base / "hub" / name
    place = repo / "snapshots" / REVISION
    for part in ("blobs", "refs", "snapshots"):
        (repo / part).mkdir(parents=True)
    (repo / "refs/main").write_text(REVISION)
    (repo / ".no_exist" / REVISION).mkdir(parents=True)
    (repo / ".no_exist" / REVISION / "adapter_config.json").touch()
    for path in sorted(plain.rglob("*")):
        if path.is_file():
            data, relative = path.read_bytes(), path.relative_to(plain)
            large = path.suffix == ".safetensors"
            etag = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()
            (repo / "blobs" / etag).write_bytes(data)
            (place / relative).parent.mkdir(parents=True, exist_ok=True)
            up = "../" * (len(relative.parts) + 1)
            (place / relative).symlink_to(f"{up}blobs/{etag}")
    return place, plain


@pytest.mark.promise("C2")
@pytest.mark.parametrize("name", ["models--org--tiny", "datasets--org--tiny", "models--tiny", "models--a--b--c"])
def test_a_snapshot_of_a_hugging_face_cache_builds_as_the_plain_directory_does(here, name):
    place, plain = snapshot(here.parent, name)
    for directory in (place, plain):
        assert run("generate", directory, "--name", "tiny").exit_code == 0
    assert (place / "Modelfile").read_text() == (plain / "Modelfile").read_text()
    assert digest_of(build(place)) == digest_of(build(plain))
    assert len(layers(here)) == 5


@pytest.mark.promise("C2")
def test_a_snapshot_reached_through_a_link_is_one(here):
    place, plain = snapshot(here.parent)
    (here / "model").symlink_to(place)
    for directory in (here / "model", plain):
        assert run("generate", directory, "--name", "tiny").exit_code == 0
    assert digest_of(build(here / "model")) == digest_of(build(plain))


@pytest.mark.promise("C2", "G1")
@pytest.mark.parametrize(
    "target",
    [
        "../../../models--other--name/blobs/beef",
        "../../refs/main",
        "../../blobs",
        "../../blobs/../refs/main",
        "../../blobs/out",
        "../../blobs/deeper/beef",
        "../../../../outside/treasure",
        "../other-revision/file",
    ],
)
def test_a_link_from_a_snapshot_to_anywhere_but_its_own_blobs_is_refused(here, target):
    place, _ = snapshot(here.parent)
    repo = place.parent.parent
    for path in ("../models--other--name/blobs/beef", "blobs/deeper/beef", "snapshots/other-revision/file"):
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_bytes(b"of another")
    (repo / "blobs/out").symlink_to("../../../outside/treasure")
    (place / "weights.bin").symlink_to(target)
    (place / "Modelfile").write_text(MODELFILE)
    before = blobs(here)
    error = refused(build(place), here, before)
    assert "weights.bin" in error
    assert "lies outside of the build context" in error


@pytest.mark.promise("C2", "G1")
def test_blobs_beside_a_directory_that_only_looks_like_a_snapshot_are_outside(here):
    (here.parent / "blobs").mkdir()
    (here.parent / "blobs/beef").write_bytes(b"x")
    context = here.parent / "snapshots/f00d"
    context.mkdir(parents=True)
    (context / "weights.bin").symlink_to("../../blobs/beef")
    (context / "Modelfile").write_text(MODELFILE)
    assert "lies outside" in refused(build(context), here, blobs(here))


# C1, C4: what changes

LARGE = random.Random(5).randbytes(1 << 20) * 9


class Meddling:
    """Progress that does something to the file once: before it is opened, or when its first bytes were read."""

    def __init__(self, deed, *, when):
        self.deed, self.when, self.done = deed, when, False

    def start(self, label, size):
        if self.when == "before":
            self._meddle()
        return self if self.when == "while" else SILENT

    def advance(self, amount):
        if self.when == "while":
            self._meddle()

    def resume(self, amount):
        pass

    def note(self, text):
        pass

    def finish(self, outcome):
        pass

    def _meddle(self):
        if not self.done:
            self.done = True
            self.deed(Path("weights.bin"))


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path):
    os.truncate(path, 5 << 20)


def rewrite(path, at=8 << 20):
    """Another byte in its place, the size and the time of the last change as they were."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path):
    other = path.with_name("other")
    other.write_bytes(LARGE[::-1])
    other.rename(path)


def replace_by_a_twin(path):
    """The same bytes, mode and times, in another file."""
    shutil.copy2(path, path.with_name("other"))
    path.with_name("other").rename(path)


def replace_by_a_fifo(path):
    path.unlink()
    os.mkfifo(path)


def replace_by_a_link(path):
    path.rename("real.bin")
    path.symlink_to("real.bin")


def replace_by_a_link_outside(path):
    path.unlink()
    path.symlink_to("../outside/treasure")


def replace_by_a_directory(path):
    path.unlink()
    path.mkdir()


def empty(path):
    os.truncate(path, 0)


def remove(path):
    path.unlink()


IN_PLACE = (grow, shrink, rewrite, empty)
REPLACED = (
    replace,
    replace_by_a_twin,
    replace_by_a_fifo,
    replace_by_a_link,
    replace_by_a_link_outside,
    replace_by_a_directory,
    remove,
)
DEEDS = [(deed, "before") for deed in (*IN_PLACE, *REPLACED)] + [(deed, "while") for deed in IN_PLACE]


@pytest.fixture
def large(here):
    (here / "weights.bin").write_bytes(LARGE)
    (here / "Modelfile").write_text(MODELFILE)
    return here


@pytest.mark.promise("C1", "C4", "G1")
@pytest.mark.parametrize(("deed", "when"), DEEDS)
@pytest.mark.parametrize("verb", ["build", "attach", "build straight to a registry"])
def test_a_file_that_changes_is_named_and_nothing_comes_of_it(large, fake, verb, deed, when):
    before = blobs(large)
    progress, store = Meddling(deed, when=when), layout(large)
    remote = verb == "build straight to a registry"
    reference = Reference.parse(f"{fake.host}/org/model:v1" if remote else NEW)

    def act():
        if verb == "attach":
            files = [(named_file(Path("weights.bin")), "weights.bin")]
            attacher = Attacher(store, store, Stamp(None), progress=progress)
            attacher.attach(Workspace(Path()), files, Reference.parse(OLD), reference)
        else:
            builder = Builder(repository(fake.host) if remote else store, Stamp(None), progress=progress)
            builder.build(Workspace(Path()), modelfile.load(Path("Modelfile")), [reference])

    with pytest.raises(WorkspaceError, match=r"weights\.bin (changed|cannot be read)") as caught:
        act()
    assert progress.done
    assert str(caught.value).isprintable()
    # What was read before the change came to light may be there as a blob, whole, of which nothing knows.
    assert len(blobs(large) - before) <= (deed is rewrite and when == "while")
    assert [str(entry.name) for entry in store.entries()] == [OLD]
    assert list((store.root / "ingest").iterdir()) == []
    assert fake.manifests == {}
    assert fake.blobs == {}


@pytest.mark.promise("C1", "C4")
def test_a_file_that_changes_between_hashing_and_sending_is_named(large, fake):
    """Straight to a registry a file is read twice; the second reading finds what the first one did not."""
    fake.on("POST", "uploads", lambda seen: rewrite(large / "weights.bin"))
    builder = Builder(repository(fake.host), Stamp(None))
    with pytest.raises(WorkspaceError, match=r"weights\.bin changed"):
        builder.build(
            Workspace(Path()), modelfile.load(Path("Modelfile")), [Reference.parse(f"{fake.host}/org/model:v1")]
        )
    assert fake.blobs == {}
    assert fake.manifests == {}


@pytest.mark.promise("C1", "C2")
@pytest.mark.parametrize("when", ["before the listing", "after it"])
def test_a_directory_that_becomes_a_link_leads_nowhere(here, when):
    """Not even where the file at its other end is the very one: the way there is not the one that was listed."""
    (here / "sub/deep").mkdir(parents=True)
    (here / "sub/deep/treasure").write_bytes(b"x")
    workspace = Workspace(here)
    if when == "after it":
        file = workspace.file("sub/deep/treasure")
    (here / "sub").rename(here.parent / "outside/moved")
    if when == "after it":
        (here / "sub").symlink_to("../outside/moved")
        with pytest.raises(WorkspaceError, match="sub/deep/treasure cannot be read"), workspace.open(file):
            pass
    else:
        tree = workspace._tree
        directory = tree._root.below("sub", os.stat_result((0,) * 10)).below("deep", os.stat_result((0,) * 10))
        (here / "sub").symlink_to("../outside/moved")
        (entry,) = tree._list(directory)
        assert entry.problem == "cannot be listed: Not a directory"


@pytest.mark.promise("C4")
def test_a_file_that_is_only_looked_at_meanwhile_has_not_changed(large):
    digest_of(build())
    assert layers(large) == {"weights.bin": sha256(LARGE)}


# Names, sizes and numbers that are unusual but no fault

NAMES = {
    "255 bytes": "x" * 251 + ".bin",
    "255 bytes of emoji": "😀" * 62 + "abc.bin",
    "an emoji": "🤗.bin",
    "a quote": "it's.bin",
    "double quotes": 'say "x".bin',
    "a leading dash": "-rf.bin",
    "two dashes": "--output.bin",
    "a leading space": " x.bin",
    "a space before the end": "x .bin",
    "a hash": "#x.bin",
    "a star": "*.bin",
    "a question": "?.bin",
    "brackets": "[a-z].bin",
    "braces": "{a,b}.bin",
    "an equals sign": "a=b.bin",
    "a dollar": "$(reboot).bin",
    "a semicolon": "; reboot .bin",
    "a percent": "%2e%2e%2f.bin",
    "a tilde": "~root.bin",
    "dots": "...bin",
    "a dot in front": ".x.bin",
    "right to left": "\u202ecod.bin",
    "a zero width": "a\u200bb.bin",
    "umlauts": "größe.bin",
    "a colon": "ab:c.bin",
}
UNFIT = {
    "a newline": "a\nb.bin",
    "a carriage return": "a\rb.bin",
    "a tab": "a\tb.bin",
    "an escape": "\x1b[2J.bin",
    "a trailing space": "x.bin ",
    "a backslash": "a\\b.bin",
    "a drive": "c:x.bin",
    "no UTF-8": "\udcff.bin",
}


@pytest.mark.promise("C1")
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_generated_built_and_extracted(here, name):
    path = NAMES[name]
    for directory in ("", "sub/", "[a]*/"):
        (here / directory).mkdir(exist_ok=True)
        (here / directory / path).write_bytes(directory.encode() + WEIGHTS)
    assert run("generate", "--include", "**").exit_code == 0
    digest_of(build())
    out = here.parent / "extracted"
    assert run("extract", NEW, "--output", out).exit_code == 0
    found = {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file()}
    assert {d + path: d.encode() + WEIGHTS for d in ("", "sub/", "[a]*/")}.items() <= found.items()


@pytest.mark.promise("C1", "G1")
@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("directory", [False, True])
def test_a_name_that_not_every_system_takes_is_packed_whole_or_refused_on_one_line(here, name, directory):
    path = UNFIT[name] + "/weights.bin" if directory else UNFIT[name]
    (here / path).parent.mkdir(exist_ok=True)
    (here / path).write_bytes(WEIGHTS)
    before = blobs(here)
    generated = run("generate")
    if generated.exit_code:
        refused(generated, here, before)
    (here / "Modelfile").write_text("NAME x\nMODEL *.bin*\nMODEL */*.bin\n" if directory else "NAME x\nMODEL *.bin*\n")
    if directory:
        (here / "y.bin").write_bytes(b"y")
    done = build()
    if done.exit_code:
        refused(done, here, before)
    else:
        assert layers(here)[path] == sha256(WEIGHTS)
    assert done.exit_code == (name in ("a backslash", "a drive", "no UTF-8"))


COLLIDING = {
    "case": ("A.bin", "a.bin"),
    "case of a directory": ("A/x.bin", "a/x.bin"),
    "Unicode form": ("\u00e9.bin", "e\u0301.bin"),
    "case and Unicode form": ("\u00c9.bin", "e\u0301.bin"),
    "a sharp s": ("ß.bin", "SS.bin"),
}


@pytest.mark.promise("C1", "G1")
@pytest.mark.parametrize("name", COLLIDING)
def test_names_that_are_one_on_other_systems_are_refused_together(here, name):
    for path in COLLIDING[name]:
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_bytes(path.encode())
    (here / "Modelfile").write_text("NAME x\nMODEL **/*.bin\n")
    error = refused(build(), here, blobs(here))
    assert "differ only in case or Unicode form" in error


@pytest.mark.promise("C1")
def test_sparse_empty_and_hard_linked_files_are_packed_as_their_bytes(here):
    with (here / "sparse.bin").open("wb") as sparse:
        sparse.truncate(5 << 20)
        sparse.seek(3 << 20)
        sparse.write(b"island")
    (here / "empty.bin").touch()
    (here / "one.bin").write_bytes(WEIGHTS)
    os.link(here / "one.bin", here / "two.bin")
    (here / "Modelfile").write_text("NAME x\nMODEL *.bin\n")
    digest_of(build())
    bytes_of = {path.name: path.read_bytes() for path in here.glob("*.bin")}
    assert layers(here) == {name: sha256(data) for name, data in bytes_of.items()}
    out = here.parent / "extracted"
    assert run("extract", NEW, "--output", out).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == bytes_of


@pytest.mark.promise("C1")
def test_a_tree_of_200_levels_is_packed_and_extracted(here):
    deep = here.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "weights.bin").write_bytes(WEIGHTS)
    (here / "Modelfile").write_text("NAME x\nMODEL **\n")
    digest_of(build())
    out = here.parent / "extracted"
    assert run("extract", NEW, "--output", out).exit_code == 0
    assert out.joinpath(*["d"] * 200, "weights.bin").read_bytes() == WEIGHTS


@pytest.mark.promise("C1")
def test_ten_thousand_files_are_listed_opened_and_packed_in_layers_that_they_share(here):
    for number in range(10_000):
        (here / f"{number}").touch()
    workspace = Workspace(here)
    assert len(workspace.files()) == 10_000
    for file in workspace.files():
        with workspace.open(file):
            pass
    (here / "Modelfile").write_text("NAME x\nMODEL *\n")
    assert build().exit_code == 0
    assert len(layers(here)) <= 400
    out = here.parent / "extracted"
    assert run("extract", NEW, "--output", out).exit_code == 0
    assert len(list(out.iterdir())) == 10_001  # the Modelfile matches too


# C5: likely secrets


def made(alphabet, length, seed=1):
    """Make up a token: none of the tests holds a real one."""
    return "".join(random.Random(seed).choices(alphabet, k=length))


KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{made(ALPHANUMERIC, 200)}\n-----END OPENSSH PRIVATE KEY-----\n"
AWS_ID, AWS_SECRET = "AKIA" + made(string.ascii_uppercase + "234567", 16, 3), made(ALPHANUMERIC + "/+", 40, 3)
SECRETS = {
    ".env": "PASSWORD=opensesame-0\n",
    ".env.production": "PASSWORD=opensesame-1\n",
    "id_rsa": KEY,
    "keys/id_ed25519": KEY,
    "server.pem": KEY,
    "server.key": KEY,
    ".netrc": "machine x login y password opensesame-2\n",
    ".aws/credentials": "[default]\nopensesame-3\n",
    ".git-credentials": "https://u:opensesame-4@host\n",
    "hugging_face.py": f"token = '{'hf_' + made(string.ascii_letters, 34)}'\n",
    "github.txt": f"TOKEN=ghp_{made(ALPHANUMERIC, 36)}\n",
    "openai.json": json.dumps({"key": "sk-proj-" + made(ALPHANUMERIC + "_-", 156)}),
    "aws.ini": f"aws_access_key_id = {AWS_ID}\naws_secret_access_key = {AWS_SECRET}\n",
}


def telling(text):
    """Return the parts of a secret that nobody should see again."""
    return [word for word in text.replace("'", " ").replace('"', " ").split() if len(word) > 12]


@pytest.fixture
def with_secret(here, request):
    path, text = request.param, SECRETS[request.param]
    (here / path).parent.mkdir(exist_ok=True)
    (here / path).write_text(text)
    (here / "config.json").write_text("{}")
    (here / "Modelfile").write_text(f"NAME x\nCONFIG config.json\nDOC {path}\n")
    return path


def sending(verb, path, fake, *more):
    """Do with a file what may send it: as a file of a context, or by its name."""
    registry = f"{fake.host}/org/model"
    return {
        "build": lambda: build(*more),
        "build straight to a registry": lambda: run("build", "-t", f"{registry}:v1", "--output-remote", *more),
        "attach": lambda: run("attach", path, "-s", OLD, "-t", NEW, *more),
        "upload": lambda: run("upload", path, "--repo", registry, *more),
    }[verb]()


VERBS = ["build", "build straight to a registry", "attach", "upload"]


@pytest.mark.promise("C5", "G1")
@pytest.mark.parametrize("with_secret", SECRETS, indirect=True)
@pytest.mark.parametrize("verb", VERBS)
def test_a_likely_secret_stops_what_would_pack_it_and_is_not_shown(here, fake, with_secret, verb):
    before = blobs(here)
    done = sending(verb, with_secret, fake)
    error = refused(done, here, before)
    assert with_secret in error
    assert "--allow-secret" in error
    assert not any(word in error for word in telling(SECRETS[with_secret]) if word != with_secret)
    assert fake.seen == []


@pytest.mark.promise("C5")
@pytest.mark.parametrize("with_secret", SECRETS, indirect=True)
@pytest.mark.parametrize("how", ["exactly", "by a glob", "by everything"])
def test_a_secret_that_is_allowed_is_packed(here, with_secret, how):
    pattern = {"exactly": with_secret, "by a glob": f"**/{with_secret[:-2]}*", "by everything": "**"}[how]
    digest_of(build("--allow-secret", pattern))
    assert layers(here)[with_secret] == sha256(SECRETS[with_secret].encode())


@pytest.mark.promise("C5", "G1")
@pytest.mark.parametrize("pattern", ["config.json", "*.txt", "sub/.env", ".ENV", ".en", "env", ".env/**"])
@pytest.mark.parametrize("with_secret", [".env"], indirect=True)
def test_another_pattern_allows_nothing(here, with_secret, pattern):
    assert ".env" in refused(build("--allow-secret", pattern), here, blobs(here))


@pytest.mark.promise("C5")
def test_a_pattern_that_no_secret_matches_does_no_harm(here):
    (here / "config.json").write_text("{}")
    (here / "Modelfile").write_text("NAME x\nCONFIG config.json\n")
    digest_of(build("--allow-secret", "none/*.of/**"))


@pytest.mark.promise("C5", "G1")
def test_a_pattern_that_is_none_is_wrong_usage(here):
    (here / "config.json").write_text("{}")
    (here / "Modelfile").write_text("NAME x\nCONFIG config.json\n")
    assert "is not closed" in refused(build("--allow-secret", "a["), here, blobs(here), code=2)


@pytest.mark.promise("C5", "G1")
def test_a_secret_behind_a_link_of_another_name_is_told_by_what_it_holds(here):
    (here / "keys").mkdir()
    (here / "keys/k").write_text(SECRETS["github.txt"])
    (here / "notes.txt").symlink_to("keys/k")
    (here / "Modelfile").write_text("NAME x\nDOC notes.txt\n")
    assert "notes.txt (holds a GitHub token in line 1)" in refused(build(), here, blobs(here))


@pytest.mark.promise("C5")
def test_generate_lists_no_hidden_secrets(here):
    for path in (".env", ".netrc", ".aws/credentials", ".git-credentials"):
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_text(SECRETS[path])
    (here / "config.json").write_text("{}")
    assert run("generate").exit_code == 0
    assert "config.json" in (here / "Modelfile").read_text()
    digest_of(build())
    assert layers(here).keys() == {"config.json"}


# C6: pickles

PICKLES = {
    "pytorch_model.bin": b"\x80\x02}q\x00.",
    "model.pt": b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00\x8c\x06posix.\x94.",
    "model.pkl": b"anything",
    "old.ckpt": b"cos\nsystem\n(S'true'\ntR.",
    "sub/deep.joblib": b"anything",
}


@pytest.mark.promise("C6")
@pytest.mark.parametrize("verb", ["build", "attach"])
def test_weights_in_pickle_form_are_packed_with_a_warning_that_names_them(here, fake, verb):
    for path, data in PICKLES.items():
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_bytes(data)
    (here / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (here / "Modelfile").write_text("NAME x\nMODEL *.bin *.pt *.pkl *.ckpt **/*.joblib *.safetensors\n")
    if verb == "attach":
        done = run("attach", "pytorch_model.bin", "-s", OLD, "-t", NEW)
        named = ["pytorch_model.bin"]
    else:
        done, named = build(), list(PICKLES)
    digest_of(done)
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "pickle" in warning
    assert all(path in warning for path in named)
    assert "safetensors;" not in warning
    assert "model.safetensors" not in warning


@pytest.mark.promise("C6")
def test_what_is_no_pickle_is_not_warned_of(here):
    (here / "weights.bin").write_bytes(WEIGHTS)
    (here / "Modelfile").write_text(MODELFILE)
    done = build()
    digest_of(done)
    assert "warning" not in done.stderr
