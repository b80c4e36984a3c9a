"""Every error that modfile raises, and the exit code that the command line gives for it.

    ModfileError                     1  something failed
    ├── UsageError                   2  what was asked for makes no sense
    │   └── InvalidReferenceError
    ├── NotFoundError                3  no such reference, manifest, blob or file
    ├── VerificationError            4  bytes are not what their digest or size says
    ├── AccessDeniedError            5  the registry did not let us
    ├── ModelfileError               1  a Modelfile that cannot be read; has all of its problems
    ├── WorkspaceError               1  a file of the context that cannot be packed
    ├── ContentError                 1  a manifest, config or layer that breaks its format
    ├── StoreError                   1  the local store cannot do what is asked
    ├── DestinationError             1  files cannot be written where they should go
    ├── OriginError                  1  where a model comes from, or the way to it, failed
    └── RegistryError                1  the registry, or the way to it, failed
        └── ConnectionLostError      1  a stream broke off; opening it again where it broke may help

A message is one line: the thing, what is wrong with it, what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class ModfileError(Exception):
    """Anything that modfile can foresee going wrong."""

    exit_code: ClassVar[int] = 1


class UsageError(ModfileError):
    """What was asked for makes no sense, whatever the state of the world."""

    exit_code = 2


class InvalidReferenceError(UsageError):
    """A text that is not `host/repository:tag@digest`."""


class NotFoundError(ModfileError):
    """There is no such reference, manifest, blob or file."""

    exit_code = 3


class VerificationError(ModfileError):
    """Bytes are not what their digest or size says."""

    exit_code = 4


class AccessDeniedError(ModfileError):
    """The registry refused: not logged in, wrong credentials, or no right to do this."""

    exit_code = 5


class WorkspaceError(ModfileError):
    """A file or directory of the build context cannot be packed."""


class ContentError(ModfileError):
    """A manifest, config or layer does not keep to its format."""


class StoreError(ModfileError):
    """The local store cannot be read or written."""


class DestinationError(ModfileError):
    """Files cannot be written where they should go."""


class OriginError(ModfileError):
    """Where a model comes from, or the way to it, failed."""


class RegistryError(ModfileError):
    """The registry, or the way to it, failed."""


class ConnectionLostError(RegistryError):
    """A stream broke off before its end; opening it again where it broke may help."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a Modelfile.

    `line` and `column` are 1-based; `column` counts characters.
    `text` is the physical line as written, without its end.
    """

    line: int
    column: int
    message: str
    text: str


class ModelfileError(ModfileError):
    """A Modelfile that cannot be read; `problems` has all that is wrong with it, in the order of the lines.

    `str()` gives, for each problem, `file:line:column: message`, the line and a caret under the place.
    """

    def __init__(self, filename: str, problems: Sequence[Problem]) -> None:
        self.filename = filename
        self.problems = tuple(problems)
        super().__init__("\n".join(self._explain(problem) for problem in self.problems))

    def _explain(self, problem: Problem) -> str:
        place = f"{self.filename}:{problem.line}:{problem.column}: {problem.message}"
        shown, column = _window(problem.text, problem.column)
        pad = "".join("\t" if character == "\t" else " " for character in shown[: column - 1])
        return f"{place}\n    {shown}\n    {pad}^"


def _window(text: str, column: int, width: int = 100) -> tuple[str, int]:
    """Cut a long line to what fits a terminal around the column; control characters show as `?`."""
    start = max(0, column - 1 - width // 2) if len(text) > width else 0
    piece = text[start : start + width]
    shown = "".join(c if c.isprintable() or c == "\t" else "?" for c in piece)
    before, after = ("…" if start else ""), ("…" if start + width < len(text) else "")
    return before + shown + after, column - start + len(before)
