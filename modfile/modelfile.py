"""The Modelfile: what a person writes to say which files make up a model, and what is to be known of it.

The language is defined by `grammar/modfile_grammar/modelfile.lark` and described in `docs/modelfile.md`.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import cache, cached_property
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import ModelfileError, NotFoundError, Problem, UsageError, WorkspaceError
from .instructions import fault, shown
from .kind import Kind
from .reference import Reference
from .rendering import Block, quote, render
from .substitution import Substitution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from lark import Lark

    Finding: TypeAlias = tuple[int, int, str]
    """The line, the column and the message of a problem."""

__all__ = [
    "MAX_PROBLEMS",
    "MAX_SIZE",
    "Argument",
    "Block",
    "FilePattern",
    "Instruction",
    "Modelfile",
    "load",
    "parse",
    "quote",
    "render",
]

MAX_SIZE = 16 * 1024 * 1024
"""The largest Modelfile, in bytes, that `load` reads."""
MAX_PROBLEMS = 1000
"""After so many problems of one file the rest is not looked for."""

_BYTE_ORDER_MARK = "\ufeff"
_MARKUP = re.compile(r'\\\r?\n|\\(.)|"', re.DOTALL)
_NOT_TEXT = re.compile("([\ud800-\udfff])[^\n]*")
_LONGEST_TYPO = 40
_TAKES = {
    "files": "one or more file patterns",
    "fact": "one argument",
    "facts": "one or more arguments",
    "annotation": "key=value",
    "base": "a reference",
    "argument": "name or name=default",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, without its quotes and backslashes, and the place where it starts."""

    value: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """A keyword, in upper case, its arguments, at least one, and the place where it starts."""

    keyword: str
    arguments: tuple[Argument, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class FilePattern:
    """One pattern that chooses files of a kind, and its place."""

    kind: Kind
    pattern: str
    line: int
    column: int


@dataclass(frozen=True)  # without slots, for its cached properties
class Modelfile:
    """What a Modelfile says. Lines and columns are 1-based; a column counts characters."""

    filename: str
    text: str
    """The text that was parsed, with its line ends, without a byte-order mark."""
    instructions: tuple[Instruction, ...]

    def value(self, keyword: str) -> str | None:
        """Return the argument of an instruction that is said once at most."""
        return next(iter(self.values(keyword)), None)

    def values(self, keyword: str) -> tuple[str, ...]:
        """Return the arguments of all instructions with this keyword, in the order of the file."""
        return tuple(argument.value for argument in self._arguments.get(keyword, ()))

    def patterns(self) -> tuple[FilePattern, ...]:
        """Return what chooses files, in the order of the file."""
        return tuple(
            FilePattern(Kind(instruction.keyword), argument.value, argument.line, argument.column)
            for instruction in self.instructions
            if instruction.keyword in Kind.__members__
            for argument in instruction.arguments
        )

    def annotations(self) -> dict[str, str]:
        """Return what ANNOTATION says."""
        pairs = (value.partition("=") for value in self.values("ANNOTATION"))
        return {key: value for key, _, value in pairs}

    def base(self) -> Reference | None:
        """Return what FROM says, None if nothing does."""
        text = self.value("FROM")
        return None if text is None else Reference.parse(text)

    def problem(self, line: int, column: int, message: str) -> Problem:
        """Return a problem with what the file says at a place, for a `ModelfileError`."""
        return Problem(line, column, message, self._lines[line - 1].removesuffix("\r"))

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def _arguments(self) -> dict[str, list[Argument]]:
        arguments: dict[str, list[Argument]] = {}
        for instruction in self.instructions:
            arguments.setdefault(instruction.keyword, []).extend(instruction.arguments)
        return arguments


def load(path: Path, build_args: Mapping[str, str] | None = None) -> Modelfile:
    """Read a Modelfile from disk; `build_args` are values for its ARG lines, by name.

    Raises:
        NotFoundError: there is no such file.
        UsageError: a value is given that no ARG line declares.
        WorkspaceError: it cannot be read, is not a regular file, or is larger than 16 MiB.
        ModelfileError: it is not a Modelfile; the error has all of its problems.
    """
    try:
        data = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{path}: there is no such file; `modfile generate` writes a Modelfile") from None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ModelfileError(str(path), [Problem(1, 1, "the file is UTF-16 text; save it as UTF-8", "")])
    return parse(data.decode("utf-8", "surrogateescape"), str(path), build_args)


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise WorkspaceError(f"{path} is not a regular file")
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise WorkspaceError(f"{path} is larger than {MAX_SIZE:,} bytes; is it a Modelfile?")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    # A FIFO would wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def parse(text: str, filename: str = "Modelfile", build_args: Mapping[str, str] | None = None) -> Modelfile:
    """Read the text of a Modelfile; a byte-order mark at its start is left out.

    `build_args` are values for its ARG lines, by name; they count for more than the defaults.

    Raises:
        ModelfileError: it is not a Modelfile; the error has all of its problems, in the order of the lines, or the
            first thousand.
        UsageError: a value is given that no ARG line declares.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK)
    trees = _parser().parse(text).children
    given = build_args or {}
    substitution = Substitution(given, _argument_lines(trees))
    statements = [_statement(tree, substitution) for tree in trees]
    found = merge(_encoding_faults(text), _faults(statements), substitution.faults)
    findings = list(islice(found, MAX_PROBLEMS + 1))
    if findings:
        if len(findings) > MAX_PROBLEMS:
            findings[-1] = (*findings[-1][:2], f"more problems from here on; the first {MAX_PROBLEMS} are listed")
        place = Modelfile(filename, text, ()).problem
        raise ModelfileError(filename, [place(*finding) for finding in findings])
    if unknown := substitution.unknown(given):
        raise UsageError(f"{filename}: {unknown}")
    return Modelfile(filename, text, tuple(statement.instruction for statement in statements))


@cache
def _parser() -> Lark:
    from lark import Lark

    from modfile_grammar import modelfile_grammar

    return Lark(modelfile_grammar(), parser="lalr")


def _keywords() -> list[str]:
    patterns = (terminal.pattern.value for terminal in _parser().terminals)
    return [text for text in patterns if text.isalpha()]


class _Statement(NamedTuple):
    """What the grammar makes of a line; `form` is its name for the line, `group` for the keyword.

    The arguments at the places `unsettled` have a `${name}` without a value.
    """

    form: str
    group: str
    instruction: Instruction
    unclosed: Argument | None
    unsettled: frozenset[tuple[int, int]] = frozenset()


def _argument_lines(trees: Sequence[Any]) -> dict[str, int]:
    """Return the names that ARG lines declare, and on which line each does first."""
    lines: dict[str, int] = {}
    for tree in trees:
        head, *tokens = tree.children
        if tree.data != "unknown" and head.data == "argument" and tokens:
            lines.setdefault(_plain(tokens[0].value).partition("=")[0], head.children[0].line)
    return lines


def _statement(tree: Any, substitution: Substitution) -> _Statement:
    head, *tokens = tree.children
    unknown = tree.data == "unknown"
    word = head if unknown else head.children[0]
    unclosed = tokens.pop() if tokens and tokens[-1].type == "UNCLOSED" else None
    arguments = [_argument(token, substitution) for token in tokens]
    unsettled = frozenset((token.line, token.column) for token, one in zip(tokens, arguments, strict=True) if not one)
    group = "" if unknown else head.data
    settled = tuple(one or _as_written(token) for token, one in zip(tokens, arguments, strict=True))
    instruction = Instruction(word.value if unknown else word.type, settled, word.line, word.column)
    if group == "argument" and settled:
        (substitution.declare_broken if unsettled else substitution.declare)(settled[0].value)
    return _Statement(tree.data, group, instruction, unclosed and _as_written(unclosed), unsettled)


def _argument(token: Any, substitution: Substitution) -> Argument | None:
    """Return an argument with the values that it names put in, None if it has none for one of them."""
    if not substitution.is_used or "$" not in token.value:
        return _as_written(token)
    value = substitution.expand(token.value, token.line, token.column)
    return None if value is None else Argument(value, token.line, token.column)


def _as_written(token: Any) -> Argument:
    return Argument(_plain(token.value), token.line, token.column)


def _plain(raw: str) -> str:
    """Take quotes, backslashes and line continuations out of an argument."""
    return _MARKUP.sub(r"\1", raw) if '"' in raw or "\\" in raw else raw


def _encoding_faults(text: str) -> Iterator[Finding]:
    """Find the first place of each line that is not text: a byte that is not UTF-8, or a lone surrogate."""
    line, counted = 1, 0
    for match in _NOT_TEXT.finditer(text):
        start, code = match.start(), ord(match[1])
        line, counted = line + text.count("\n", counted, start), start
        what = f"the byte 0x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"the surrogate U+{code:04X}"
        yield line, start - text.rfind("\n", 0, start), f"expected UTF-8 text, not {what}"


def _faults(statements: Iterable[_Statement]) -> Iterator[Finding]:
    """Find what is wrong with the instructions, in the order of the file."""
    said: dict[str, int] = {}
    for form, group, instruction, unclosed, unsettled in statements:
        keyword, place = instruction.keyword, (instruction.line, instruction.column)
        if form == "unknown":
            yield *place, _unknown(keyword)
        elif group in {"fact", "base"}:
            yield from _repetition(keyword, keyword, place, said)
        if form == "incomplete":
            yield place[0], place[1] + len(keyword), f"expected {_TAKES[group]} after {keyword}"
        elif unclosed:
            yield unclosed.line, unclosed.column, "this double quote is not closed on its line"
        elif form != "unknown":
            yield from _argument_faults(group, instruction, unsettled, said)


def _argument_faults(
    group: str, instruction: Instruction, unsettled: frozenset[tuple[int, int]], said: dict[str, int]
) -> Iterator[Finding]:
    several = group in {"files", "facts"}
    keyword, arguments = instruction.keyword, instruction.arguments
    for argument in arguments if several else arguments[:1]:
        place = (argument.line, argument.column)
        if place in unsettled:
            continue
        if message := fault(keyword, argument.value):
            yield *place, message
        elif group == "annotation":
            key = argument.value.partition("=")[0]
            yield from _repetition(f"ANNOTATION {key}", f"the annotation {shown(key)}", place, said)
        elif group == "argument":
            name = argument.value.partition("=")[0]
            yield from _repetition(f"ARG {name}", f"ARG {name}", place, said)
    if not several and len(arguments) > 1:
        message = f"{keyword} takes {_TAKES[group]}; put a text with spaces in double quotes"
        yield arguments[1].line, arguments[1].column, message


def _repetition(name: str, what: str, place: tuple[int, int], said: dict[str, int]) -> Iterator[Finding]:
    line = place[0]
    first = said.setdefault(name, line)
    if first != line:
        yield *place, f"{what} is said on line {first} and again on line {line}; say it once"


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    message = f"{shown(word)} is not an instruction"
    near = get_close_matches(word.upper(), _keywords(), 1) if len(word) <= _LONGEST_TYPO else []
    return f"{message}; did you mean {near[0]}?" if near else f"{message}; expected one such as CONFIG, MODEL or NAME"
