"""In which order a command wrote, synced, renamed and spoke, read from what strace saw.

`read_log()` reads the log of `strace -f -y`; `find_faults()` says where a power cut could take away what was promised:

- a file is renamed to a name that promises wholeness (a blob, the index, an extracted file) although it was not synced
  after its last write;
- the index is renamed while a blob's name, or a directory that was made on the way to one, may not be durable;
- the result is told, or the command ends well, while a name may not be durable.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import PurePosixPath

WRITING = frozenset(
    {"write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate", "ioctl", "sendfile"}
)
SYNCING = frozenset({"fsync", "fdatasync"})
RENAMING = frozenset({"rename", "renameat", "renameat2", "link", "linkat"})
MAKING = frozenset({"mkdir", "mkdirat"})
TRACED = WRITING | SYNCING | RENAMING | MAKING | {"copy_file_range"}
"""What strace has to be told to trace."""

_LINE = re.compile(r"(?P<process>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_OPEN_FILE = re.compile(r"(\d+)<((?:[^>\\]|\\.)*)>")
_NAMED = re.compile(r'(?:(?:AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>, )?"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that did what it was asked to; the lines of the log at which it began and ended."""

    name: str
    arguments: str
    began: int
    ended: int

    @property
    def fd(self) -> int | None:
        """The descriptor that it is about."""
        found = _OPEN_FILE.match(self.arguments)
        return int(found[1]) if found else None

    @property
    def file(self) -> str:
        """What the descriptor was open on."""
        found = _OPEN_FILE.match(self.arguments)
        return found[2] if found else ""

    @property
    def paths(self) -> list[str]:
        """The paths that it names, absolute."""
        found = _NAMED.findall(self.arguments)
        return [posixpath.normpath(posixpath.join(directory, name)) for directory, name in found]


@dataclass(frozen=True, slots=True)
class Log:
    """What a command did: its successful calls in the order in which they ended, and whether it ended well."""

    calls: tuple[Call, ...]
    lines: int
    ended_well: bool


def read_log(lines: Iterable[str]) -> Log:
    """Read the log of `strace -f -y`."""
    calls: list[Call] = []
    pending: dict[str, tuple[int, str]] = {}
    number, first, code = 0, "", ""
    for number, line in enumerate(lines, 1):
        parts = _LINE.match(line.rstrip("\n"))
        if not parts:
            continue
        process, text, began = parts["process"], parts["rest"], number
        first = first or process
        if process == first and text.startswith("+++ exited with"):
            code = text.split()[3]
        if text.endswith(_UNFINISHED):
            pending[process] = (number, text.removesuffix(_UNFINISHED))
            continue
        if resumed := _RESUMED.match(text):
            began, start = pending.pop(process)
            text = start + text[resumed.end() :]
        if (call := _CALL.match(text)) and call["result"].isdecimal():
            calls.append(Call(call["name"], call["arguments"], began, number))
    return Log(tuple(calls), number, code == "0")


def find_faults(log: Log, store: PurePosixPath, target: PurePosixPath | None = None) -> list[str]:
    """Say what could be lost by a power cut although it was promised; nothing, if all is as it should be.

    Args:
        log: what the command did.
        store: the layout that it wrote.
        target: the directory that it extracted into.
    """
    return list(_Check(log, str(store), str(target) if target else "").faults())


class _Check:
    def __init__(self, log: Log, store: str, target: str) -> None:
        self._log = log
        self._store = store
        self._target = target
        self._writes: dict[str, int] = {}  # file -> where its last write ended
        self._syncs: dict[str, tuple[int, int]] = {}  # file or directory -> where its last sync began and ended
        self._names: dict[str, int] = {}  # path -> where it was given

    def faults(self) -> Iterator[str]:
        for call in self._log.calls:
            if call.name in SYNCING:
                self._syncs[call.file] = (call.began, call.ended)
            elif call.name in MAKING:
                self._names[call.paths[0]] = call.ended
            elif call.name in RENAMING:
                yield from self._renamed(call)
            elif call.fd == 1:
                yield from self._promised(call.began, "the result is told")
            elif call.file:
                self._writes[call.file] = call.ended
        if self._log.ended_well:
            yield from self._promised(self._log.lines, "the command ends")

    def _renamed(self, call: Call) -> Iterator[str]:
        old, new = call.paths
        if new == f"{self._store}/index.json":
            yield from self._promised(call.began, "the index is renamed")
        for path in [file for file in {*self._writes, old} if file == old or file.startswith(f"{old}/")]:
            name = new + path.removeprefix(old)
            if self._is_promise(name) and not self._is_synced(path, self._writes.get(path, 0), call.began):
                yield f"line {call.began}: {name} is named before it is synced"
            if path in self._writes:
                self._writes[name] = self._writes.pop(path)
            if path in self._syncs:
                self._syncs[name] = self._syncs.pop(path)
        self._names[new] = call.ended

    def _promised(self, now: int, what: str) -> Iterator[str]:
        """Find the names that are not durable at a moment."""
        for name, since in self._names.items():
            parent = posixpath.dirname(name)
            if self._counts(name) and not self._is_synced(parent, since, now):
                yield f"line {now}: {what} before {parent} is synced, which got {posixpath.basename(name)}"

    def _is_synced(self, path: str, after: int, before: int) -> bool:
        began, ended = self._syncs.get(path, (0, 0))
        return after < began and ended < before

    def _is_promise(self, name: str) -> bool:
        """Tell whether a file of that name is to be whole."""
        top = name.startswith(f"{self._store}/") and name.removeprefix(f"{self._store}/").split("/")[0]
        return top in ("blobs", "index.json", "oci-layout") or self._is_extracted(name)

    def _is_extracted(self, name: str) -> bool:
        return bool(self._target) and name.startswith(f"{self._target}/")

    def _counts(self, name: str) -> bool:
        """Tell whether a name must not get lost: a promise, or a directory on the way to one."""
        return self._is_promise(name) or f"{self._store}/".startswith(f"{name}/") or name == self._target
