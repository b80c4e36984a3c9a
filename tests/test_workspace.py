from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from modfile.errors import NotFoundError, WorkspaceError
from modfile.ignorefile import MAX_SIZE, IgnoreFile
from modfile.tree import open_path
from modfile.workspace import Workspace


def fill(root, *paths, data=b"x"):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def paths(workspace):
    return [file.path for file in workspace.files()]


def problem(workspace, path):
    return next(file.problem for file in workspace.files() if file.path == path)


def read(workspace, path):
    with workspace.open(workspace.file(path)) as descriptor:
        return os.read(descriptor, 100)


class TestTheRoot:
    def test_a_missing_directory_is_not_found(self, tmp_path):
        with pytest.raises(NotFoundError, match="gone: no such directory"):
            Workspace(tmp_path / "gone")

    def test_a_file_is_no_workspace(self, tmp_path):
        fill(tmp_path, "file")
        with pytest.raises(WorkspaceError, match="file is not a directory"):
            Workspace(tmp_path / "file")

    @pytest.mark.parametrize("name", ["a\0b", "x" * 300, "file/below"])
    def test_a_name_that_cannot_be_looked_at_is_an_error(self, tmp_path, name):
        fill(tmp_path, "file")
        with pytest.raises(WorkspaceError, match="cannot be looked at"):
            Workspace(tmp_path / name)

    def test_a_link_to_a_directory_is_one(self, tmp_path):
        fill(tmp_path, "real/a")
        (tmp_path / "link").symlink_to("real")
        workspace = Workspace(tmp_path / "link")
        assert workspace.root == tmp_path / "link"
        assert paths(workspace) == ["a"]
        assert read(workspace, "a") == b"x"

    def test_a_relative_root_is_one(self, tmp_path, monkeypatch):
        fill(tmp_path, "sub/a")
        monkeypatch.chdir(tmp_path)
        workspace = Workspace(Path("sub"))
        monkeypatch.chdir("/")
        assert read(workspace, "a") == b"x"

    def test_an_empty_directory_has_no_files(self, tmp_path):
        (tmp_path / "empty").mkdir()
        assert Workspace(tmp_path).files() == ()

    def test_a_root_that_goes_away_is_an_error(self, tmp_path):
        (tmp_path / "root").mkdir()
        workspace = Workspace(tmp_path / "root")
        (tmp_path / "root").rmdir()
        with pytest.raises(WorkspaceError, match="root cannot be listed"):
            workspace.files()


class TestListing:
    def test_every_file_is_listed_sorted_by_code_point(self, tmp_path):
        names = ["b", "a/z", "a.txt", "a-b", ".hidden/.x", "Z", "é", "\U0001f600", "\uffee", "a/b/c", "Modelfile"]
        fill(tmp_path, *names)
        assert paths(Workspace(tmp_path)) == sorted(names)
        assert paths(Workspace(tmp_path)) == sorted(names, key=lambda name: name.encode())

    def test_the_listing_is_made_once(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        first = workspace.files()
        fill(tmp_path, "b")
        assert workspace.files() is first

    def test_sizes_are_those_of_the_files(self, tmp_path):
        fill(tmp_path, "a", data=b"12345")
        with (tmp_path / "sparse").open("wb") as sparse:
            sparse.truncate(1 << 40)
        sizes = {file.path: file.size for file in Workspace(tmp_path).files()}
        assert sizes == {"a": 5, "sparse": 1 << 40}

    @pytest.mark.parametrize(
        "name",
        [
            "a b",
            "it's",
            'say "x"',
            "new\nline",
            "tab\t",
            "a[1].bin",
            "*",
            "{a,b}",
            "#",
            "-rf",
            "\\",
            "😀" * 60,
            "x" * 255,
        ],
    )
    def test_any_name_can_be_listed_and_read(self, tmp_path, name):
        fill(tmp_path, name)
        workspace = Workspace(tmp_path)
        assert paths(workspace) == [name]
        assert problem(workspace, name) is None
        assert read(workspace, name) == b"x"

    def test_a_deep_tree_can_be_listed_and_read(self, tmp_path):
        depth, name = 60, "d" * 200  # 12,000 bytes: three times what a path may be long at once
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=here)
            inner = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here)
        os.write(file, b"deep")
        os.close(file)
        os.close(here)
        workspace = Workspace(tmp_path)
        path = "/".join([name] * depth + ["file"])
        assert paths(workspace) == [path]
        assert read(workspace, path) == b"deep"

    def test_a_narrow_and_very_deep_tree_needs_no_deep_stack(self, tmp_path):
        depth = 1100
        here = os.open(tmp_path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here))
        os.close(here)
        try:
            assert paths(Workspace(tmp_path)) == ["d/" * depth + "f"]
        finally:
            # It is too deep for what cleans up after the tests.
            subprocess.run(["rm", "-rf", "--", tmp_path / "d"], check=True)

    def test_a_name_that_is_not_utf8_is_a_problem(self, tmp_path):
        fill(tmp_path, "\udcff.bin", "d\udcfe/x")
        workspace = Workspace(tmp_path)
        assert {file.problem for file in workspace.files()} == {"has a name that is not UTF-8; rename it"}
        assert paths(workspace) == ["d\udcfe/x", "\udcff.bin"]

    def test_a_fifo_is_a_problem_and_opening_it_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        workspace = Workspace(tmp_path)
        assert problem(workspace, "pipe") == "is a FIFO; only regular files can be packed"
        with pytest.raises(WorkspaceError, match="pipe is a FIFO"), workspace.open(workspace.file("pipe")):
            pass

    def test_a_socket_is_a_problem(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            assert problem(Workspace(tmp_path), "socket") == "is a socket; only regular files can be packed"

    def test_a_device_is_a_problem(self, tmp_path):
        try:
            os.mknod(tmp_path / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("needs the right to make devices")
        assert problem(Workspace(tmp_path), "null") == "is a device; only regular files can be packed"


@pytest.mark.promise("C2")
class TestLinks:
    def test_a_link_to_a_file_inside_is_followed(self, tmp_path):
        fill(tmp_path, "sub/real", data=b"real")
        (tmp_path / "link").symlink_to("sub/real")
        (tmp_path / "sub" / "second").symlink_to("../link")
        (tmp_path / "absolute").symlink_to(tmp_path / "sub" / "real")
        workspace = Workspace(tmp_path)
        assert paths(workspace) == ["absolute", "link", "sub/real", "sub/second"]
        for path in paths(workspace):
            assert read(workspace, path) == b"real"
            assert workspace.file(path).size == 4

    def test_a_link_to_a_directory_inside_is_followed(self, tmp_path):
        fill(tmp_path, "real/a", "real/deep/b")
        (tmp_path / "link").symlink_to("real")
        workspace = Workspace(tmp_path)
        assert paths(workspace) == ["link/a", "link/deep/b", "real/a", "real/deep/b"]
        assert read(workspace, "link/deep/b") == b"x"

    def test_a_link_that_leads_outside_is_a_problem_that_names_both(self, tmp_path):
        fill(tmp_path, "outside", "rootlike/x", "root/a")
        for name, target in {"f": "../outside", "d": "../rootlike", "abs": "/etc/passwd", "etc": "/etc"}.items():
            (tmp_path / "root" / name).symlink_to(target)
        (tmp_path / "root" / "chain").symlink_to("f")
        workspace = Workspace(tmp_path / "root")
        assert paths(workspace) == ["a", "abs", "chain", "d", "etc", "f"]
        for path, target in {"f": "../outside", "d": "../rootlike", "abs": "/etc/passwd", "chain": "f"}.items():
            said = problem(workspace, path)
            assert said == f"is a link to {target}, which lies outside of the build context; put the file itself there"

    def test_a_broken_link_is_a_problem(self, tmp_path):
        (tmp_path / "broken").symlink_to("gone")
        assert problem(Workspace(tmp_path), "broken") == "is a link to gone, which does not exist"

    def test_links_that_lead_to_each_other_are_a_problem(self, tmp_path):
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        (tmp_path / "self").symlink_to("self")
        workspace = Workspace(tmp_path)
        assert problem(workspace, "a") == "is a link to b, which leads back to itself"
        assert problem(workspace, "self") == "is a link to self, which leads back to itself"

    def test_a_link_to_a_fifo_or_with_a_strange_target_is_a_problem(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("pipe")
        (tmp_path / "odd").symlink_to("new\nline")
        workspace = Workspace(tmp_path)
        assert problem(workspace, "link") == "is a FIFO; only regular files can be packed"
        assert problem(workspace, "odd") == r"is a link to 'new\nline', which does not exist"

    @pytest.mark.parametrize("target", [".", "..", "../sub", "../sub/inner"])
    def test_a_loop_of_directories_ends(self, tmp_path, target):
        fill(tmp_path, "sub/inner/a")
        (tmp_path / "sub" / "inner" / "loop").symlink_to(target)
        (tmp_path / "sub" / "loop").symlink_to("../sub")
        workspace = Workspace(tmp_path)
        assert "sub/inner/a" in paths(workspace)
        assert problem(workspace, "sub/loop") == "is a link to ../sub, which holds the link itself"
        assert len(paths(workspace)) < 20

    def test_a_loop_over_two_links_ends(self, tmp_path):
        fill(tmp_path, "a/x", "b/y")
        (tmp_path / "a" / "to_b").symlink_to("../b")
        (tmp_path / "b" / "to_a").symlink_to("../a")
        workspace = Workspace(tmp_path)
        assert "a/to_b/y" in paths(workspace)
        assert problem(workspace, "a/to_b/to_a") == "is a link to ../a, which holds the link itself"

    def test_links_that_multiply_are_an_error_and_do_not_hang(self, tmp_path):
        for level in range(40):
            (tmp_path / f"d{level}").mkdir()
            for name in "ab":
                (tmp_path / f"d{level}" / name).symlink_to(f"../d{level + 1}")
        fill(tmp_path, "d40/x")
        with pytest.raises(WorkspaceError, match="multiply"):
            Workspace(tmp_path).files()

    def test_a_link_to_a_file_too_deep_to_follow_is_a_problem(self, tmp_path):
        (tmp_path / "link").symlink_to("x/" * 2000 + "y")
        assert re.match("is a link to x/.*, which", problem(Workspace(tmp_path), "link"))


def hub_cache(tmp_path):
    repository = tmp_path / "hub" / "models--org--name"
    fill(repository, "blobs/0123abcd", "blobs/dir/inner", data=b"weights")
    snapshot = repository / "snapshots" / "f00d"
    (snapshot / "onnx").mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/0123abcd")
    (snapshot / "onnx" / "model.onnx").symlink_to("../../../blobs/0123abcd")
    return repository, snapshot


@pytest.mark.promise("C2")
class TestHuggingFaceCaches:
    def test_the_links_of_a_snapshot_are_followed(self, tmp_path):
        _, snapshot = hub_cache(tmp_path)
        workspace = Workspace(snapshot)
        assert paths(workspace) == ["model.safetensors", "onnx/model.onnx"]
        assert read(workspace, "model.safetensors") == b"weights"
        assert read(workspace, "onnx/model.onnx") == b"weights"

    def test_a_directory_in_a_snapshot_is_a_context_as_well(self, tmp_path):
        _, snapshot = hub_cache(tmp_path)
        assert read(Workspace(snapshot / "onnx"), "model.onnx") == b"weights"

    def test_links_elsewhere_are_not_followed(self, tmp_path):
        repository, snapshot = hub_cache(tmp_path)
        fill(repository, "refs/main")
        fill(tmp_path, "hub/models--other--name/blobs/beef", "secret")
        (repository / "blobs" / "out").symlink_to(tmp_path / "secret")
        targets = {
            "other": "../../../models--other--name/blobs/beef",
            "refs": "../../refs/main",
            "directory": "../../blobs/dir",
            "deeper": "../../blobs/dir/inner",
            "blobs": "../../blobs",
            "through": "../../blobs/out",
        }
        for name, target in targets.items():
            (snapshot / name).symlink_to(target)
        workspace = Workspace(snapshot)
        for name in targets:
            assert "lies outside of the build context" in problem(workspace, name), name

    @pytest.mark.parametrize("layout", ["models--org--name/other/f00d", "repository/snapshots/f00d", "blobs-only"])
    def test_outside_of_a_cache_such_links_are_not_followed(self, tmp_path, layout):
        root = tmp_path / layout
        root.mkdir(parents=True)
        fill(root.parent.parent, "blobs/0123")
        (root / "model").symlink_to("../../blobs/0123")
        assert "lies outside of the build context" in problem(Workspace(root), "model")


@pytest.mark.promise("C1", "C4")
class TestOpening:
    def test_the_descriptor_is_closed(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        with workspace.open(workspace.files()[0]) as descriptor:
            assert os.get_inheritable(descriptor) is False
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)

    def test_the_descriptor_is_closed_after_an_error_which_stays_as_it_is(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        opened = workspace.open(workspace.files()[0])
        descriptor = opened.__enter__()
        (tmp_path / "a").write_bytes(b"changed")
        assert not opened.__exit__(KeyError, KeyError(), None)
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)

    def test_a_change_while_it_is_read_is_an_error(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        with pytest.raises(WorkspaceError, match="a changed while it was read"), workspace.open(workspace.file("a")):
            fill(tmp_path, "a", data=b"longer")

    def test_a_change_of_the_same_size_and_mtime_is_an_error(self, tmp_path):
        fill(tmp_path, "a", data=b"one")
        workspace = Workspace(tmp_path)
        before = workspace.file("a").status

        def disguise():
            (tmp_path / "a").write_bytes(b"two")
            os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

        with pytest.raises(WorkspaceError, match="changed while it was read"), workspace.open(workspace.file("a")):
            disguise()

    def test_a_file_that_changed_since_it_was_listed_is_an_error(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        file = workspace.file("a")
        fill(tmp_path, "a", data=b"longer")
        with pytest.raises(WorkspaceError, match="a changed since it was listed"), workspace.open(file):
            pass

    def test_another_file_in_its_place_is_an_error(self, tmp_path):
        fill(tmp_path, "a", "b")
        workspace = Workspace(tmp_path)
        file = workspace.file("a")
        (tmp_path / "b").rename(tmp_path / "a")
        with pytest.raises(WorkspaceError, match="changed since it was listed"), workspace.open(file):
            pass

    def test_a_link_in_its_place_is_an_error_even_to_the_same_file(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        file = workspace.file("a")
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "a").symlink_to("b")
        with pytest.raises(WorkspaceError, match="a cannot be read"), workspace.open(file):
            pass

    def test_a_fifo_in_its_place_is_an_error_and_does_not_hang(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        file = workspace.file("a")
        (tmp_path / "a").unlink()
        os.mkfifo(tmp_path / "a")
        with pytest.raises(WorkspaceError, match="changed since it was listed"), workspace.open(file):
            pass

    def test_a_file_that_is_gone_is_an_error(self, tmp_path):
        fill(tmp_path, "a")
        workspace = Workspace(tmp_path)
        file = workspace.file("a")
        (tmp_path / "a").unlink()
        with pytest.raises(WorkspaceError, match="a cannot be read: No such file"), workspace.open(file):
            pass

    def test_a_name_with_a_newline_stays_on_one_line_of_an_error(self, tmp_path):
        os.mkfifo(tmp_path / "a\nb")
        workspace = Workspace(tmp_path)
        with pytest.raises(WorkspaceError) as caught, workspace.open(workspace.files()[0]):
            pass
        assert "\n" not in str(caught.value)

    def test_a_short_path_is_opened_as_it_is(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            open_path(f"{tmp_path}/gone", os.O_RDONLY)

    def test_opening_a_long_path_leaks_no_descriptor(self, tmp_path):
        before = os.dup(0)
        os.close(before)
        with pytest.raises(FileNotFoundError):
            open_path(str(tmp_path) + "/x" * 5000, os.O_RDONLY)
        after = os.dup(0)
        os.close(after)
        assert before == after  # the lowest free number is the one that it was


@contextmanager
def ordinary_user():
    """Let the effective user be one whom permissions hold for: root may read everything."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.mark.promise("C3")
def test_what_may_not_be_read_is_a_problem():
    modes = {"closed": 0, "listed": 0o444, "locked": 0}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        fill(root, "fine", "closed", "locked/x", "listed/x")
        (root / "link").symlink_to("closed")
        for path, mode in modes.items():
            (root / path).chmod(mode)
        with ordinary_user():
            found = {file.path: file.problem for file in Workspace(root).files()}
        for path in modes:
            (root / path).chmod(0o755)
    assert found == {
        "fine": None,
        "closed": "cannot be read: permission denied",
        "link": "cannot be read: permission denied",
        "listed/x": "cannot be looked at: Permission denied",
        "locked": "cannot be listed: Permission denied",
    }


@pytest.mark.promise("C3")
def test_a_file_that_may_no_longer_be_read_is_an_error():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        fill(root, "a")
        workspace = Workspace(root)
        file = workspace.file("a")
        (root / "a").chmod(0)
        with ordinary_user(), pytest.raises(WorkspaceError, match="a cannot be read: Permission"), workspace.open(file):
            pass


class TestTheIgnoreFile:
    def test_it_takes_out_what_gitignore_would(self, tmp_path):
        fill(tmp_path, "a.tmp", "a.bin", "sub/b.tmp", "__pycache__/x.pyc", "top/x", "sub/top/x", ".git/HEAD")
        (tmp_path / ".modfileignore").write_text("# comment\n*.tmp\n__pycache__/\n/top\n.git\n\n!sub/b.tmp\n")
        assert paths(Workspace(tmp_path)) == [".modfileignore", "a.bin", "sub/b.tmp", "sub/top/x"]

    def test_all_files_and_exact_names_are_there_all_the_same(self, tmp_path):
        fill(tmp_path, "a.tmp", "out/b", "c")
        (tmp_path / ".modfileignore").write_text("*.tmp\nout/\n.modfileignore")
        workspace = Workspace(tmp_path)
        assert paths(workspace) == ["c"]
        assert [file.path for file in workspace.all_files()] == [".modfileignore", "a.tmp", "c", "out/b"]
        assert workspace.file("out/b").path == "out/b"
        assert workspace.file("out/gone") is None
        assert workspace.file("out") is None
        assert workspace.file("\0") is None
        assert workspace.has_ignore_file

    def test_without_one_nothing_is_ignored(self, tmp_path):
        fill(tmp_path, ".x", "sub/.modfileignore", "sub/y")
        workspace = Workspace(tmp_path)
        assert paths(workspace) == [".x", "sub/.modfileignore", "sub/y"]
        assert not workspace.has_ignore_file

    def test_a_directory_that_is_ignored_is_not_looked_into(self, tmp_path):
        for level in range(40):
            (tmp_path / "venv" / f"d{level}").mkdir(parents=True)
            for name in "ab":  # looked into, these would be an error
                (tmp_path / "venv" / f"d{level}" / name).symlink_to(f"../d{level + 1}")
        (tmp_path / "venv" / "d40").mkdir()
        (tmp_path / ".modfileignore").write_text("venv\n")
        assert paths(Workspace(tmp_path)) == [".modfileignore"]

    def test_what_it_takes_out_may_come_back(self, tmp_path):
        fill(tmp_path, "out/a", "out/b", "out/deep/c")
        (tmp_path / ".modfileignore").write_text("out/**\n!out/b\n!out/deep/c\n.modfileignore\n")
        assert paths(Workspace(tmp_path)) == ["out/b", "out/deep/c"]

    def test_it_may_have_a_mark_and_windows_line_ends(self, tmp_path):
        fill(tmp_path, "a.tmp", "b.log", "é")
        (tmp_path / ".modfileignore").write_bytes("\ufeff*.tmp\r\n*.log\r\né\r\n.modfileignore".encode())
        assert paths(Workspace(tmp_path)) == []

    def test_it_may_be_a_link_inside_the_context(self, tmp_path):
        fill(tmp_path, "a.tmp")
        (tmp_path / "ignore").write_text("*.tmp\n")
        (tmp_path / ".modfileignore").symlink_to("ignore")
        assert paths(Workspace(tmp_path)) == [".modfileignore", "ignore"]

    def test_a_directory_of_its_name_is_none(self, tmp_path):
        fill(tmp_path, ".modfileignore/x")
        assert paths(Workspace(tmp_path)) == [".modfileignore/x"]

    @pytest.mark.parametrize("target", ["/etc/hostname", "gone"])
    def test_one_that_cannot_be_read_is_an_error(self, tmp_path, target):
        (tmp_path / ".modfileignore").symlink_to(target)
        with pytest.raises(WorkspaceError, match=r"\.modfileignore is a link to"):
            Workspace(tmp_path).files()

    def test_a_fifo_in_its_place_is_an_error_and_does_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / ".modfileignore")
        with pytest.raises(WorkspaceError, match=r"\.modfileignore is a FIFO"):
            Workspace(tmp_path).files()

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"ok\n\xff\n", r"\.modfileignore:2: not UTF-8"),
            (b"x" * (MAX_SIZE + 1), "larger than"),
            (b"ok\n[z-a]\n", r"\.modfileignore:2: \[z-a\] is not a gitignore pattern"),
            (b"!\n", r"\.modfileignore:1: ! is not a gitignore pattern"),
            (b"a\\", r"\.modfileignore:1"),
            (b"\n\n" + b"*a" * 20 + b"b", r"\.modfileignore:3: more than 4 '\*'"),
            (b"**/" * 20 + b"b", r"\.modfileignore:1: more than 4 '\*'"),
        ],
    )
    def test_one_that_is_malformed_is_an_error_that_names_the_line(self, tmp_path, data, reason):
        (tmp_path / ".modfileignore").write_bytes(data)
        with pytest.raises(WorkspaceError, match=reason):
            Workspace(tmp_path).files()

    def test_stars_in_a_comment_do_not_count(self):
        assert IgnoreFile.parse(b"# ****** title ******\nx\n").ignores("x")

    @pytest.mark.parametrize("lines", ["a", "a/", "/a", "*", "**/a", "a*", "a/**", "*/b", "**/b/", "a\nc", "[ab]"])
    def test_a_directory_is_passed_over_only_if_all_below_is_ignored(self, lines):
        ignore = IgnoreFile.parse(lines.encode())
        for directory in ("a", "b", "a/b", "c/a", "x"):
            if ignore.ignores_all_below(directory):
                for name in ("x", ".x", "a/b/c", "new\nline"):
                    assert ignore.ignores(f"{directory}/{name}")


class TestLookingUp:
    def test_below_lists_the_files_under_a_directory_only(self, tmp_path):
        fill(tmp_path, "a/x", "a/y/z", "a.txt", "a-b/x", "a0", "ab/x", "b")
        workspace = Workspace(tmp_path)
        assert [file.path for file in workspace.below("a")] == ["a/x", "a/y/z"]
        assert [file.path for file in workspace.below("a/y")] == ["a/y/z"]
        assert workspace.below("gone") == workspace.below("b") == ()
        assert workspace.below("") == workspace.files()

    @pytest.mark.parametrize("path", ["", ".", "a/", "./a/x", "a//x", "../a", "/etc/passwd", "a", "a/x\0"])
    def test_only_an_exact_path_finds_a_file(self, tmp_path, path):
        fill(tmp_path, "a/x")
        assert Workspace(tmp_path).file(path) is None
        (tmp_path / ".modfileignore").write_text("nothing")
        assert Workspace(tmp_path).file(path) is None
