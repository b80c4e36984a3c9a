"""Where a build context was checked out from, as git tells it: for a model's source URL and revision."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT = 30.0
"""Seconds that git may take to answer one question."""
_SCP_LIKE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!:|//)[^\s\\@]+", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_HARMLESS = re.compile(r"core\.(?:filemode|autocrlf|eol)=(?:true|false|input|lf|crlf|native)")
"""Settings of a repository that decide whether a file counts as changed, and cannot do anything else."""
_STATUS = ("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames", "--", ".")
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "none",  # a repository may say that objects are missing and how to run what fetches them
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass(frozen=True, slots=True)
class GitSource:
    """The `origin` of a checkout, without credentials, and its commit, `-dirty` added where files differ from it."""

    url: str | None
    revision: str | None


@dataclass(frozen=True, slots=True)
class _Repository:
    program: str
    directory: str
    top: str
    git_directory: str
    common_directory: str
    object_format: str
    timeout: float

    @classmethod
    def around(cls, program: str, directory: str, timeout: float) -> _Repository | None:
        """Find the repository that a directory lies in."""
        facts = ("--show-toplevel", "--absolute-git-dir", "--git-common-dir", "--show-object-format")
        answer = _ask(program, directory, ("rev-parse", *facts), timeout)
        lines = (answer or "").removesuffix("\n").split("\n")
        if len(lines) != 4 or not Path(directory).is_relative_to(lines[0]):
            return None
        top, git_directory, common_directory, object_format = lines
        common_directory = str(Path(directory, common_directory).resolve())
        return cls(program, directory, top, git_directory, common_directory, object_format, timeout)

    def ask(self, *question: str, environment: Mapping[str, str] | None = None) -> str | None:
        """Return what git prints; None if it fails, is not there or takes too long."""
        return _ask(self.program, self.directory, question, self.timeout, environment)

    def settings(self) -> tuple[str | None, list[str]]:
        """Return the URL of `origin` as it is set, and the harmless settings as `key=value`."""
        listed = self.ask("config", "--local", "--null", "--list") or ""
        url, harmless = None, []
        for entry in listed.split("\0"):
            key, _, value = entry.partition("\n")
            if key == "remote.origin.url" and url is None:
                url = value
            if _HARMLESS.fullmatch(f"{key}={value}"):
                harmless.append(f"{key}={value}")
        return url, harmless

    def head(self) -> str | None:
        """Return the commit that is checked out, None if there is none yet."""
        revision = (self.ask("rev-parse", "--verify", "--quiet", "HEAD") or "").strip()
        return revision if _REVISION.fullmatch(revision) else None

    def look(self, revision: str | None, settings: Sequence[str]) -> tuple[bool, bool]:
        """Tell whether the directory holds tracked files, and whether one of them differs from the revision.

        Comparing files makes git run what a repository's configuration names (filters, file system monitors, hooks).
        So it is given a bare frame of a repository with our own configuration, and only the index and the objects of
        the real one.
        """
        with tempfile.TemporaryDirectory(prefix="modfile-git-") as frame:
            self._frame(Path(frame), revision)
            environment = {
                "GIT_DIR": frame,
                "GIT_WORK_TREE": self.top,
                "GIT_INDEX_FILE": f"{self.git_directory}/index",
                "GIT_OBJECT_DIRECTORY": f"{self.common_directory}/objects",
            }
            options = [part for setting in settings for part in ("-c", setting)]
            if not self.ask("ls-files", "-z", "--", ".", environment=environment):
                return False, False
            changed = self.ask(*options, *_STATUS, environment=environment) if revision else ""
            return True, changed != ""  # where git cannot tell, no one should rely on the revision alone

    def _frame(self, frame: Path, revision: str | None) -> None:
        for name in ("objects", "refs"):
            (frame / name).mkdir()
        (frame / "HEAD").write_text((revision or "ref: refs/heads/none") + "\n")
        (frame / "config").write_text(
            "[core]\nrepositoryformatversion = 1\nbare = false\ntrustctime = false\ncheckStat = minimal\n"
            f"[extensions]\nobjectFormat = {'sha256' if self.object_format == 'sha256' else 'sha1'}\n"
        )


def git_source(directory: Path, timeout: float = TIMEOUT) -> GitSource | None:
    """Ask git where a directory was checked out from; nothing that the repository configures is run.

    None if there is no git program, no repository around the directory, or none of its files is tracked there: a
    directory that a surrounding repository ignores does not come from it. The revision is None before the first
    commit; the URL is None where there is no `origin` or it is a path of this machine.

    Args:
        directory: The build context.
        timeout: Seconds that git may take for each of a few questions.
    """
    program = shutil.which("git")
    repository = _Repository.around(program, os.path.realpath(directory), timeout) if program else None
    if repository is None:
        return None
    url, settings = repository.settings()
    revision = repository.head()
    try:
        tracked, changed = repository.look(revision, settings)
    except OSError:  # no room for the temporary frame
        return None
    if not tracked:
        return None
    return GitSource(public_url(url or ""), f"{revision}-dirty" if revision and changed else revision)


def public_url(remote: str) -> str | None:
    """Return a git remote without what may be a secret: password, query, fragment; the user name but of `ssh`.

    None for what names no other host: a path, a `file:` URL, a command.
    """
    if not remote.isprintable() or " " in remote:
        return None
    if "://" not in remote:
        return remote if _SCP_LIKE.fullmatch(remote) else None
    try:
        parts = urlsplit(remote)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.scheme not in ("http", "https", "ssh", "git"):
        return None
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    place = f"{user}[{host}]" if ":" in host else user + host
    return urlunsplit((parts.scheme, place + (f":{port}" if port else ""), parts.path, "", ""))


def _ask(
    program: str,
    directory: str,
    question: Sequence[str],
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    options = ("-c", "safe.directory=*", "-c", "safe.bareRepository=explicit")  # nothing of an owner is run
    try:
        answer = subprocess.run(
            [program, "--no-pager", *options, *question],
            cwd=directory,
            env={**_ENVIRONMENT, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(answer.stdout) if answer.returncode == 0 else None
