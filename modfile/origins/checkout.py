"""A commit fetched from a git repository into a bare one of our own: nothing is checked out, nothing of it is run.

Filters, hooks and submodules take effect where files are checked out, so nothing is. git's own settings of the user
count, credential helpers among them; it never asks at a terminal.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import AccessDeniedError, ContentError, NotFoundError, OriginError, UsageError
from ..paths import shown
from ..registry.failures import one_line
from .scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ENTRY = re.compile(rb"([0-7]{6}) ([a-z]+) ([0-9a-f]{40,64}) +(-|[0-9]+)\t(.+)", re.DOTALL)
_TIMEOUT = 3600.0
_LONGEST_HEAD = 200
_REF = "refs/modfile/model"
_UNSET = tuple(
    part for name in ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY") for part in ("-u", f"GIT_{name}")
)
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "http:https",
    "GIT_LFS_SKIP_SMUDGE": "1",
}
_DENIED = ("Authentication failed", "could not read Username", "terminal prompts disabled", "403")
_ABSENT = ("not found", "couldn't find remote ref", "Could not find remote", "no such ref", "unadvertised object")
_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "fetch.recurseSubmodules=false",
    "http.lowSpeedLimit=1024",
    "http.lowSpeedTime=60",
)


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a commit: its path, its object's name, and the object's size in bytes."""

    path: str
    blob: str
    size: int


class Checkout:
    """A commit in a temporary directory, which goes away with this object.

    Args:
        url: of the repository, http or https.
        revision: a branch, a tag or a commit; None for the repository's own choice.
        scratch: where to make the temporary directory.

    Raises:
        UsageError: there is no git program.
        NotFoundError: there is no such repository or revision.
        AccessDeniedError: it is not public, and no credential helper of git knows better.
        OriginError: it cannot be fetched.
    """

    def __init__(self, url: str, revision: str | None, scratch: Path | None) -> None:
        program = shutil.which("git")
        if program is None:
            raise UsageError("git+https:// needs git, which is not installed")
        self._program = program
        self._url = url
        self._scratch = Scratch(scratch)
        self._git("init", "-q", "--bare", "--template=", ".")
        self._git("fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head", url, f"{revision or 'HEAD'}:{_REF}")
        self.commit = self._git("rev-parse", "--verify", f"{_REF}^{{commit}}").decode().strip()
        if not _COMMIT.fullmatch(self.commit):
            raise OriginError(f"{url}: git names no commit")

    def files(self) -> list[TreeFile]:
        """Return the commit's files.

        Raises:
            ContentError: something in it is no file.
        """
        listed = self._git("ls-tree", "-r", "-z", "--long", "--full-tree", self.commit)
        return [self._file(entry) for entry in listed.split(b"\0") if entry]

    def read(self, blob: str) -> bytes:
        """Return an object's bytes.

        Raises:
            OriginError: it cannot be read.
        """
        return self._git("cat-file", "blob", blob)

    def read_all(self, blobs: Sequence[str]) -> Iterator[bytes]:
        """Yield the bytes of small objects, in their order.

        Raises:
            OriginError: one cannot be read.
        """
        given = "".join(f"{blob}\n" for blob in blobs).encode()
        done = self._run(("cat-file", "--batch"), given)
        at = 0
        for blob in blobs:
            head, newline, _ = done.stdout[at : at + _LONGEST_HEAD].partition(b"\n")
            name, _, size = head.decode("ascii", "replace").partition(" blob ")
            if not newline or name != blob or not size.isdigit():
                raise OriginError(f"{self._url}: git cannot read {blob}")
            at += len(head) + 1
            yield done.stdout[at : at + int(size)]
            at += int(size) + 1

    def credential(self) -> tuple[str, str] | None:
        """Return the user name and password that git's credential helpers have for the URL, None if they have none."""
        scheme, _, rest = self._url.partition("://")
        host, _, path = rest.partition("/")
        question = f"protocol={scheme}\nhost={host}\npath={path}\n\n".encode()
        done = self._run(("credential", "fill"), question)
        said = dict(line.split("=", 1) for line in done.stdout.decode("utf-8", "replace").splitlines() if "=" in line)
        if done.returncode or not said.get("password"):
            return None
        return said.get("username", ""), said["password"]

    def _file(self, entry: bytes) -> TreeFile:
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise OriginError(f"{self._url}: git lists what is no file")
        path = os.fsdecode(match[5])
        if not match[1].startswith(b"100"):
            what = "a link" if match[1] == b"120000" else "a submodule"
            raise ContentError(f"{self._url}: {shown(path)} is {what}, which cannot be packed")
        return TreeFile(path, match[3].decode(), int(match[4]))

    def _git(self, *command: str) -> bytes:
        done = self._run(command)
        if done.returncode == 0:
            return done.stdout
        text = done.stderr.decode("utf-8", "replace")
        message = f"{self._url}: {one_line(text.replace('fatal:', '')) or 'git failed'}"
        if any(word in text for word in _ABSENT):
            raise NotFoundError(message)
        if any(word in text for word in _DENIED):
            raise AccessDeniedError(f"{message}; let a credential helper of git know who you are")
        raise OriginError(message)

    def _run(self, command: tuple[str, ...], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        options = [part for option in _OPTIONS for part in ("-c", option)]
        assigned = [f"{key}={value}" for key, value in _ENVIRONMENT.items()]
        # The process's own environment stays, since credential helpers live by it.
        argv = ["env", *_UNSET, *assigned, self._program, *options, *command]
        try:
            return subprocess.run(
                argv, cwd=self._scratch.path, input=given, capture_output=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise OriginError(f"{self._url}: git takes longer than {_TIMEOUT:.0f} seconds") from None
        except OSError as error:
            raise OriginError(f"{self._url}: git cannot be run: {error.strerror}") from None
