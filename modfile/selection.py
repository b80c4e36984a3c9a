"""Which files a Modelfile packs: its patterns over the files of the build context."""

from __future__ import annotations

import stat
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import ignorefile
from .errors import ContentError, ModelfileError, UsageError, WorkspaceError
from .glob import Pattern
from .kind import Kind
from .paths import check_plan, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .errors import Problem
    from .modelfile import FilePattern, Modelfile
    from .workspace import Workspace, WorkspaceFile

_ORDER = {kind: place for place, kind in enumerate(Kind)}
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Selected:
    """A file to be packed: as what, and by which line of the Modelfile (1-based)."""

    file: WorkspaceFile
    kind: Kind
    line: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to be packed, in the order of an artifact's layers: by kind, then by path (by code point)."""

    files: tuple[Selected, ...]
    warnings: tuple[str, ...]
    """One line for each two lines of the Modelfile that claim the same files as different kinds."""


def select(workspace: Workspace, modelfile: Modelfile) -> Selection:
    """Find the files that a Modelfile names, each once.

    A pattern that is the path of a file means that file, whatever characters it holds and whatever the ignore file
    says; one that is the path of a directory means every file under it. A file that a line names exactly belongs to
    that line, any other to the first line whose pattern matches it.

    Raises:
        ModelfileError: patterns are malformed or match nothing; all of them are told.
        WorkspaceError: files that are selected cannot be packed, or could not be extracted again.
    """
    claims = _Claims()
    problems: list[Problem] = []
    for pattern in modelfile.patterns():
        try:
            files, exact = _files(workspace, pattern.pattern)
        except UsageError as error:
            problems.append(modelfile.problem(pattern.line, pattern.column, str(error)))
            continue
        if not files:
            reason = _why_nothing(workspace, pattern.pattern)
            problems.append(modelfile.problem(pattern.line, pattern.column, reason))
        for file in files:
            claims.add(file, pattern, exact)
    if problems:
        raise ModelfileError(modelfile.filename, problems)
    selected = claims.selected()
    _check_packable(selected)
    return Selection(selected, claims.warnings(modelfile.filename))


class _Claims:
    """Who claims which file; lines are told in the order of the Modelfile."""

    def __init__(self) -> None:
        self._won: dict[str, tuple[WorkspaceFile, FilePattern, bool]] = {}
        self._contested: defaultdict[str, list[FilePattern]] = defaultdict(list)

    def add(self, file: WorkspaceFile, pattern: FilePattern, exact: bool) -> None:
        won = self._won.get(file.path)
        if won is None:
            self._won[file.path] = file, pattern, exact
            return
        _, earlier, was_exact = won
        if exact and not was_exact:
            self._won[file.path] = file, pattern, exact
        if pattern.kind != earlier.kind or file.path in self._contested:
            self._contested[file.path] += [earlier, pattern]

    def selected(self) -> tuple[Selected, ...]:
        chosen = (Selected(file, pattern.kind, pattern.line) for file, pattern, _ in self._won.values())
        return tuple(sorted(chosen, key=lambda selected: (_ORDER[selected.kind], selected.file.path)))

    def warnings(self, filename: str) -> tuple[str, ...]:
        pairs: dict[tuple[FilePattern, FilePattern], list[str]] = {}
        for path, patterns in sorted(self._contested.items()):
            _, winner, _ = self._won[path]
            for loser in dict.fromkeys(patterns):
                if loser.kind != winner.kind:
                    pairs.setdefault((winner, loser), []).append(path)
        return tuple(
            f"{filename}: line {winner.line} ({winner.kind}) and line {loser.line} ({loser.kind}) both claim "
            f"{_names(paths)}; packed as {winner.kind}, by line {winner.line}"
            for (winner, loser), paths in sorted(pairs.items(), key=lambda pair: (pair[0][0].line, pair[0][1].line))
        )


def _files(workspace: Workspace, text: str) -> tuple[Sequence[WorkspaceFile], bool]:
    """Return the files that a pattern means, and whether it names one exactly."""
    if (file := workspace.file(text)) is not None:
        return (file,), True
    if text and (below := workspace.below(text)):
        return below, False
    pattern = Pattern.parse(text)
    if pattern.literal is None:
        return [file for file in workspace.files() if _matches(pattern, file)], False
    if not pattern.directory and (file := workspace.file(pattern.literal)) is not None:
        return (file,), True
    return workspace.below(pattern.literal) or _in_the_way(workspace, pattern.literal), False


def _matches(pattern: Pattern, file: WorkspaceFile) -> bool:
    """Tell whether a pattern matches a file, or may match one in a directory that cannot be looked into."""
    if pattern.matches(file.path):
        return True
    closed = file.problem is not None and stat.S_ISDIR(file.status.st_mode)
    return closed and pattern.may_match_below(file.path)


def _in_the_way(workspace: Workspace, path: str) -> tuple[WorkspaceFile, ...]:
    """Return what stands where a directory of the path should be and cannot be looked into, if anything does."""
    end = 0
    while end < len(path):
        end = (path + "/").index("/", end + 1)
        file = workspace.file(path[:end])
        if file is not None:
            return (file,) if file.problem else ()
        if not workspace.below(path[:end]):
            break
    return ()


def _why_nothing(workspace: Workspace, text: str) -> str:
    """Say why a well-formed pattern matches nothing."""
    pattern = Pattern.parse(text)
    names = {text.rstrip("/") + "/", (pattern.literal or text) + "/"}
    ignored = workspace.all_files() if workspace.has_ignore_file else ()
    if any(pattern.matches(file.path) or file.path.startswith(tuple(names)) for file in ignored):
        return f"{shown(text)} matches only files that {ignorefile.NAME} takes out; a file named exactly is packed"
    if pattern.literal is None and any(pattern.matches(name) for name in _directories(workspace.files())):
        return f"{shown(text)} matches no file, only directories; add '/**' for the files under them"
    return f"{shown(text)} matches no file in {shown(str(workspace.root))}"


def _directories(files: Iterable[WorkspaceFile]) -> set[str]:
    found: set[str] = set()
    for file in files:
        directory = file.path.rpartition("/")[0]
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    return found


def _check_packable(selected: Sequence[Selected]) -> None:
    faults = [f"{shown(s.file.path)} (line {s.line}) {s.file.problem}" for s in selected if s.file.problem is not None]
    if faults:
        raise WorkspaceError(_joined(faults))
    try:
        check_plan(s.file.path for s in selected)
    except ContentError as error:
        raise WorkspaceError(f"{error}, so it could not be extracted again; rename it or leave it out") from None


def _joined(faults: Sequence[str]) -> str:
    more = len(faults) - _NAMED
    return "; ".join(faults[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _names(paths: Sequence[str]) -> str:
    return shown(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
