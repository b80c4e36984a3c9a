from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from modfile.errors import ModelfileError, Problem
from modfile.modelfile import Block, Modelfile, load, parse, quote, render

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])

# All that a file system allows in a name that is UTF-8, but a line feed.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), min_size=1)
# The characters that mean something, more often than chance would have them.
TRICKY = st.text(st.sampled_from(" \t\r\"\\#'=ab/\u00a0\u0085\u2028\v\f\x1c\x1f\ufeffé"), min_size=1, max_size=12)
KEYWORDS = ["CONFIG", "MODEL", "CODE", "DATASET", "DOC", "AUTHOR", "DATASETURL"]
PIECES = [
    *KEYWORDS,
    "NAME",
    "name ",
    "FROM",
    "ARG ",
    "${",
    "}",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\\",
    "\\\n",
    "\\\r\n",
    '"',
    "#",
    "a",
    "..",
    "/",
]
PIECES += [
    "=",
    "\0",
    "\ufeff",
    "\u00a0",
    "\x1c",
    "\r",
    "\udcff",
    "\ud800",
    "é",
    "LICENSE ",
    "(",
    "ANNOTATION ",
    "\f",
]
TEXTS = st.one_of(st.text(st.characters()), st.lists(st.sampled_from(PIECES)).map("".join))


@SETTINGS
@given(NAMES, TRICKY)
@example("${a}", "\\")
@example('"', "#")
def test_any_value_of_an_argument_is_put_in_as_it_is(value: str, default: str) -> None:
    text = f'ARG a={quote(default)}\nARG b=x${{a}}y\nMODEL z ${{b}}\nNAME "${{b}} \\${{b}}"'
    for given_values, expected in (({}, default), ({"a": value}, value)):
        modelfile = parse(text, build_args=given_values)
        assert modelfile.value("NAME") == f"x{expected}y ${{b}}"
        assert modelfile.values("MODEL") == ("z", f"x{expected}y")


def arguments(text: str) -> list[str]:
    (instruction,) = parse(text).instructions
    return [argument.value for argument in instruction.arguments]


@SETTINGS
@given(st.lists(st.one_of(NAMES, TRICKY), min_size=1))
@example(["\\", '"', "#", " ", "\r", "\u00a0"])
def test_quoted_arguments_read_back_as_themselves(names: list[str]) -> None:
    assert arguments("AUTHOR " + " ".join(map(quote, names))) == names
    assert arguments("AUTHOR\t" + " \\\n".join(map(quote, names)) + "\r\n") == names


@SETTINGS
@given(
    st.text(st.characters()),
    st.lists(
        st.builds(
            Block,
            comment=st.one_of(st.text(st.characters()), TEXTS),
            keyword=st.sampled_from(["AUTHOR", "DATASETURL"]),
            arguments=st.lists(st.one_of(NAMES, TRICKY)).map(tuple),
        )
    ),
)
def test_what_is_rendered_parses_to_what_was_meant(title: str, blocks: list[Block]) -> None:
    instructions = parse(render(title, blocks)).instructions
    meant = [(block.keyword, (argument,)) for block in blocks for argument in block.arguments]
    assert [(i.keyword, tuple(a.value for a in i.arguments)) for i in instructions] == meant


@SETTINGS
@given(st.one_of(NAMES, TRICKY))
def test_any_file_name_can_be_a_pattern(name: str) -> None:
    assume(not name.startswith("/") and ".." not in name.split("/"))
    (pattern,) = parse(render("", [Block("", "MODEL", (name,))])).patterns()
    assert pattern.pattern == name


def read(text: str) -> Modelfile | tuple[Problem, ...]:
    try:
        return parse(text)
    except ModelfileError as error:
        str(error).encode()
        return error.problems


@SETTINGS
@given(TEXTS)
@example('NAME "\\')
@example("\\")
@example("MODEL \\ ")
def test_any_text_is_a_modelfile_or_has_problems_at_places_in_it(text: str) -> None:
    lines = text.removeprefix("\ufeff").split("\n")
    match read(text):
        case Modelfile() as modelfile:
            assert modelfile.text == text.removeprefix("\ufeff")
            for instruction in modelfile.instructions:
                start = lines[instruction.line - 1][instruction.column - 1 :]
                assert start.upper().startswith(instruction.keyword)
                assert all(argument.value for argument in instruction.arguments)
        case problems:
            assert problems
            for problem in problems:
                assert lines[problem.line - 1].removesuffix("\r") == problem.text
                assert 1 <= problem.column <= len(problem.text) + 1
            places = [(problem.line, problem.column) for problem in problems]
            assert places == sorted(places)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("load") / "Modelfile"


@SETTINGS
@given(data=st.one_of(st.binary(), TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))))
@example(data=b"\xef\xbb\xbf\xef\xbb\xbfNAME a")
@example(data=b"NAME \xed\xb3\xbf")
@example(data=b"\xff\xfe")
def test_any_bytes_are_a_modelfile_or_have_problems(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        text = load(path).text
    except ModelfileError:
        return
    assert text.encode() == data.removeprefix(b"\xef\xbb\xbf")


def split(line: str) -> list[str] | None:
    """Split arguments as modctl's parser does, a character at a time; None if a quote is not closed."""
    words: list[str] = []
    word, started, quoted, escaped = "", False, False, False
    for character in line.strip(" \t"):
        if escaped:
            word, started, escaped = word + character, True, False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted, started = not quoted, True
        elif character in " \t" and not quoted:
            words += [word] if started else []
            word, started = "", False
        else:
            word, started = word + character, True
    if quoted:
        return None
    return [*words, word] if started else words


LINES = st.text(st.sampled_from(" \t\"\\#'ab"), min_size=1, max_size=20)


@SETTINGS
@given(LINES)
def test_arguments_are_split_as_modctl_splits_them(line: str) -> None:
    expected = split(line)
    try:
        found = arguments("AUTHOR " + line + " ")
    except ModelfileError:
        assert not expected or "" in expected
    else:
        assert found == expected


@SETTINGS
@given(LINES, st.integers(min_value=0), st.sampled_from(["\\\n", "\\\r\n"]))
def test_a_line_may_be_continued_anywhere_in_its_arguments(line: str, place: int, continuation: str) -> None:
    place %= len(line) + 1
    before, after = line[:place], line[place:]
    assume((len(before) - len(before.rstrip("\\"))) % 2 == 0)
    assert values(f"AUTHOR {before}{continuation}{after}x") == values(f"AUTHOR {line}x")


def values(text: str) -> tuple[str, ...] | None:
    found = read(text)
    return found.values("AUTHOR") if isinstance(found, Modelfile) else None
