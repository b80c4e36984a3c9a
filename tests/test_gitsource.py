from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from modfile.gitsource import GitSource, git_source, public_url

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
ORIGIN = "https://example.com/org/model.git"


def git(directory, *arguments):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "A", f"GIT_{who}_EMAIL": "a@example.com"}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A checkout with a commit, a file at the top and one in `model/`."""
    top = tmp_path / "repository"
    (top / "model").mkdir(parents=True)
    (top / "README.md").write_text("read me\n")
    (top / "model" / "weights.bin").write_bytes(b"weights")
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "remote", "add", "origin", ORIGIN)
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "first")
    return top


def head(top):
    return git(top, "rev-parse", "HEAD")


def test_a_clean_checkout_has_its_origin_and_commit(repository):
    assert git_source(repository) == GitSource(ORIGIN, head(repository))


def test_a_directory_inside_is_told_the_same(repository):
    assert git_source(repository / "model") == GitSource(ORIGIN, head(repository))


def test_a_link_to_the_context_is_followed(repository, tmp_path):
    (tmp_path / "link").symlink_to(repository / "model")
    assert git_source(tmp_path / "link") == GitSource(ORIGIN, head(repository))


def change(top):
    (top / "model" / "weights.bin").write_bytes(b"changed")


def remove(top):
    (top / "model" / "weights.bin").unlink()


def stage(top):
    (top / "model" / "new.bin").write_bytes(b"new")
    git(top, "add", "model/new.bin")


@pytest.mark.parametrize("how", [change, remove, stage])
def test_a_tracked_file_that_differs_makes_it_dirty(repository, how):
    how(repository)
    assert git_source(repository) == GitSource(ORIGIN, head(repository) + "-dirty")
    assert git_source(repository / "model") == GitSource(ORIGIN, head(repository) + "-dirty")


def test_a_file_that_is_not_tracked_does_not(repository):
    (repository / "model" / "Modelfile").write_text("MODEL *\n")
    assert git_source(repository / "model") == GitSource(ORIGIN, head(repository))


def test_a_change_outside_of_the_context_does_not(repository):
    (repository / "README.md").write_text("changed\n")
    assert git_source(repository / "model") == GitSource(ORIGIN, head(repository))


def test_a_file_that_was_only_touched_does_not(repository):
    os.utime(repository / "model" / "weights.bin", (1, 1))
    assert git_source(repository) == GitSource(ORIGIN, head(repository))


def test_the_index_is_left_as_it_is(repository):
    os.utime(repository / "model" / "weights.bin", (1, 1))

    def state():
        names = sorted(path.name for path in (repository / ".git").iterdir())
        return names, (repository / ".git" / "index").read_bytes(), (repository / ".git" / "index").stat().st_mtime_ns

    before = state()
    git_source(repository)
    assert state() == before


def test_a_worktree_is_a_checkout_as_well(repository, tmp_path):
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "tree"))
    assert git_source(tmp_path / "tree") == GitSource(ORIGIN, head(repository))
    change(tmp_path / "tree")
    assert git_source(tmp_path / "tree") == GitSource(ORIGIN, head(repository) + "-dirty")


def test_a_repository_with_sha256_is_understood(tmp_path):
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    assert git_source(tmp_path) == GitSource(None, head(tmp_path))
    assert len(head(tmp_path)) == 64


def test_windows_line_ends_are_no_change_where_the_repository_says_so(repository):
    git(repository, "config", "core.autocrlf", "true")
    (repository / "README.md").unlink()
    git(repository, "checkout", "--", "README.md")
    assert (repository / "README.md").read_bytes() == b"read me\r\n"
    os.utime(repository / "README.md", (1, 1))  # it has to be read to be compared
    assert git_source(repository) == GitSource(ORIGIN, head(repository))


def test_before_the_first_commit_there_is_no_revision(tmp_path):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "remote", "add", "origin", ORIGIN)
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    assert git_source(tmp_path) == GitSource(ORIGIN, None)


def test_an_empty_repository_has_no_source(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert git_source(tmp_path) is None


def test_a_directory_without_a_repository_has_no_source(tmp_path):
    assert git_source(tmp_path) is None
    assert git_source(tmp_path / "gone") is None


@pytest.mark.parametrize("ignored", [True, False])
def test_a_directory_that_the_repository_around_does_not_track_has_no_source(repository, ignored):
    (repository / "downloads").mkdir()
    (repository / "downloads" / "model.bin").write_bytes(b"x")
    if ignored:
        (repository / ".gitignore").write_text("downloads/\n")
    assert git_source(repository / "downloads") is None


def test_a_directory_that_only_looks_like_a_repository_has_no_source(tmp_path):
    git(tmp_path, "init", "--quiet", "--bare", "model")
    assert git_source(tmp_path / "model") is None
    (tmp_path / "broken" / ".git").mkdir(parents=True)
    assert git_source(tmp_path / "broken") is None
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / ".git").write_text("gitdir: /nowhere\n")
    assert git_source(tmp_path / "file") is None


def test_a_repository_of_someone_else_is_looked_at_all_the_same(repository):
    try:
        for path in [repository, *repository.rglob("*")]:
            os.chown(path, 65534, 65534)
    except PermissionError:
        pytest.skip("needs the right to give files away")
    assert git_source(repository) == GitSource(ORIGIN, (repository / ".git/refs/heads/main").read_text().strip())


def test_objects_that_are_missing_make_it_dirty_and_nothing_is_fetched(repository):
    revision = head(repository)
    shutil.rmtree(repository / ".git" / "objects")
    (repository / ".git" / "objects").mkdir()
    assert git_source(repository) == GitSource(ORIGIN, revision + "-dirty")


def test_a_git_that_takes_too_long_gives_no_source(repository):
    assert git_source(repository, timeout=1e-6) is None


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CEILING_DIRECTORIES"])
def test_variables_of_another_git_have_no_say(repository, monkeypatch, variable):
    monkeypatch.setenv(variable, str(repository.parent))
    assert git_source(repository) == GitSource(ORIGIN, head(repository))


FILES = {"evil": "a.bin", "long": "a.long", "a=b": "a.eq", "included": "a.inc"}


@pytest.fixture
def filtered(repository):
    """The checkout with a file for each of some filters, all of which have to be read to be compared."""
    attributes = "".join(f"{name} filter={filter_name} diff=evil\n" for filter_name, name in FILES.items())
    (repository / ".gitattributes").write_text(attributes)
    for name in FILES.values():
        (repository / name).write_text(name)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "second")
    for name in FILES.values():
        os.utime(repository / name, (1, 1))
    return repository


def hostile(top, marker, only=""):
    """Let a configuration, or only some of it, name a program that leaves a marker wherever it can name one."""
    program = top / ".git" / "program"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\ncat\n")
    program.chmod(0o755)
    (top / ".git" / "included").write_text(f'[filter "included"]\n\tclean = {program}\n')
    programs = (
        "core.fsmonitor core.sshCommand core.pager core.editor core.askPass core.gitProxy core.alternateRefsCommand "
        "diff.external diff.evil.textconv diff.evil.command filter.evil.clean filter.evil.smudge filter.long.process "
        "filter.a=b.clean gpg.program pager.status pager.config uploadpack.packObjectsHook remote.promisor.uploadpack"
    )
    settings = dict.fromkeys(programs.split(), program)
    settings |= dict.fromkeys(("alias.status", "alias.rev-parse", "alias.ls-files", "credential.helper"), f"!{program}")
    settings |= dict.fromkeys(("protocol.allow", "protocol.ext.allow"), "always")
    settings |= {"remote.promisor.url": f"ext::{program}", "remote.promisor.promisor": "true"}
    settings |= {"extensions.partialClone": "promisor", "core.repositoryFormatVersion": "1"}
    settings |= {"include.path": "included", "core.hooksPath": top / ".git" / "hooks", "diff.submodule": "log"}
    for key, value in settings.items():
        if key.startswith(only):
            git(top, "config", "--file", str(top / ".git" / "config"), key, str(value))
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "query-watchman"):
        hook = top / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        if not only or only == "core.hooksPath":
            shutil.copy(program, hook)


def test_nothing_that_a_hostile_repository_names_is_run(filtered, tmp_path):
    revision = head(filtered)
    hostile(filtered, tmp_path / "marker")
    assert git_source(filtered) == GitSource(ORIGIN, revision)
    assert not (tmp_path / "marker").exists()


def test_what_would_fetch_missing_objects_is_not_run(filtered, tmp_path):
    revision = head(filtered)
    hostile(filtered, tmp_path / "marker")
    shutil.rmtree(filtered / ".git" / "objects")
    (filtered / ".git" / "objects").mkdir()
    assert git_source(filtered) == GitSource(ORIGIN, revision + "-dirty")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "only", ["core.fsmonitor", "core.hooksPath", "filter.evil", "filter.long", "filter.a=b", "include", ""]
)
def test_an_ordinary_git_would_run_them(filtered, tmp_path, only):
    """What the tests above rely on: the configuration is such that git runs what it names."""
    hostile(filtered, tmp_path / "marker", only)
    subprocess.run(["git", "status"], cwd=filtered, capture_output=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "marker").exists()


def test_an_origin_with_credentials_is_told_without_them(repository):
    git(repository, "remote", "set-url", "origin", "https://user:hf_secret@example.com/org/model?token=secret#secret")
    source = git_source(repository)
    assert source.url == "https://example.com/org/model"
    assert "secret" not in repr(source)


URLS = [
    ("https://example.com/org/model", "https://example.com/org/model"),
    ("https://example.com:8443/org/model.git", "https://example.com:8443/org/model.git"),
    ("http://user@example.com/x", "http://example.com/x"),
    ("https://user:pass@example.com/x", "https://example.com/x"),
    ("https://user:p@ss@example.com/x", "https://example.com/x"),
    ("https://token@example.com/x?private_token=y#z", "https://example.com/x"),
    ("https://[::1]:8080/x", "https://[::1]:8080/x"),
    ("HTTPS://u:p@Example.com/X", "https://example.com/X"),
    ("ssh://git@example.com:22/org/model", "ssh://git@example.com:22/org/model"),
    ("ssh://git:pass@example.com/org/model", "ssh://git@example.com/org/model"),
    ("git://example.com/x", "git://example.com/x"),
    ("git@example.com:org/model.git", "git@example.com:org/model.git"),
    ("example.com:org/model.git", "example.com:org/model.git"),
    ("user:token@example.com:org/model.git", None),
    ("https://user:pa/ss@example.com/x", None),
    ("https://example.com:port/x", None),
    ("https://[::1/x", None),
    ("https:///x", None),
    ("/home/someone/model", None),
    ("../model", None),
    ("file:///home/someone/model", None),
    ("ext::sh -c 'x'", None),
    ("ext::sh", None),
    ("codecommit::eu-west-1://profile@model", None),
    ("https://example.com/a b", None),
    ("https://example.com/\nx", None),
    ("\x1b[31mhttps://example.com", None),
    ("", None),
]


@pytest.mark.parametrize(("remote", "expected"), URLS)
def test_a_url_is_told_without_what_may_be_secret(remote, expected):
    assert public_url(remote) == expected
