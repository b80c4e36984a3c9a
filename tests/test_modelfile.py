from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lark import Lark

from modfile.errors import ModelfileError, NotFoundError, Problem, UsageError, WorkspaceError
from modfile.kind import Kind
from modfile.modelfile import (
    MAX_PROBLEMS,
    MAX_SIZE,
    Argument,
    Block,
    FilePattern,
    Instruction,
    load,
    parse,
    quote,
    render,
)
from modfile.reference import Reference
from modfile.substitution import parse_build_args
from modfile_grammar import modelfile_grammar

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "grammar" / "corpus"
VALID = sorted((CORPUS / "valid").glob("*.modelfile"))
INVALID = sorted((CORPUS / "invalid").glob("*.modelfile"))


def said(text: str) -> list[tuple[str, list[str]]]:
    return [(i.keyword, [a.value for a in i.arguments]) for i in parse(text).instructions]


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ModelfileError) as caught:
        parse(text)
    return caught.value.problems


def places(text: str) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in problems(text)]


def message(text: str) -> str:
    (problem,) = problems(text)
    return problem.message


# The corpus: a file is a case.


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_file_says_what_the_json_beside_it_says(path: Path) -> None:
    instructions = [[i.line, i.keyword, [a.value for a in i.arguments]] for i in load(path).instructions]
    assert instructions == json.loads(path.with_suffix(".json").read_text("utf-8"))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_file_fails_first_at_the_place_in_its_name(path: Path) -> None:
    line, column, _ = path.stem.split("-", 2)
    with pytest.raises(ModelfileError) as caught:
        load(path)
    first = caught.value.problems[0]
    assert (first.line, first.column) == (int(line), int(column))
    assert str(caught.value).startswith(f"{path}:{line}:{column}: ")


def test_the_corpus_is_there_and_keeps_its_line_ends() -> None:
    assert len(VALID) >= 20
    assert len(INVALID) >= 30
    assert b"\r\n" in (CORPUS / "valid" / "carriage-returns.modelfile").read_bytes()
    assert (CORPUS / "valid" / "byte-order-mark.modelfile").read_bytes().startswith(b"\xef\xbb\xbf")


# The grammar


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="lark"):
        Lark(modelfile_grammar(), parser="lalr", debug=True)
    assert "Unused terminals" in caplog.text  # so that the log is known to be heard
    assert "conflict" not in caplog.text.lower()


def test_the_parser_is_imported_only_when_something_is_parsed() -> None:
    script = "import sys, modfile.modelfile; sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": _roots()}).returncode == 0


def _roots() -> str:
    return os.pathsep.join(map(str, (ROOT, ROOT / "grammar")))


# The documentation


@pytest.mark.parametrize("page", ["docs/modelfile.md", "grammar/README.md"])
def test_the_examples_of_the_documentation_are_modelfiles(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    examples = re.findall(r"^```modelfile\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert examples
    for example in examples:
        assert parse(example, page).patterns()


def test_the_documentation_names_every_keyword_with_an_example_that_parses() -> None:
    text = (ROOT / "docs" / "modelfile.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \|.*?(?:\| `([^`]*)` )?\|$", text, re.MULTILINE)
    keywords = {terminal.name for terminal in Lark(modelfile_grammar()).terminals if terminal.pattern.type == "str"}
    assert {keyword for keyword, _ in rows} == keywords
    for keyword, example in rows:
        if keyword not in Kind.__members__:
            assert said(example)[0][0] == keyword


def test_the_arguments_in_the_documentation_read_as_it_says() -> None:
    text = (ROOT / "docs" / "modelfile.md").read_text("utf-8")
    table = text.partition("| written | argument |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.split("\n")]
    assert len(rows) >= 5
    for written, argument in rows:
        assert said("DOC " + written.strip("`")) == [("DOC", [argument.strip("`")])]


def test_the_errors_in_the_documentation_are_shown_so() -> None:
    text = (ROOT / "docs" / "modelfile.md").read_text("utf-8")
    shown = text.partition("```text\n")[2].partition("```")[0]
    with pytest.raises(ModelfileError) as caught:
        parse('# \nMODLE weights.bin\nMODEL /data/x.bin\nNAME "llama3\n')
    assert str(caught.value) + "\n" == shown


# What is said


def test_places_are_those_of_the_physical_lines() -> None:
    (instruction,) = parse('\n  model a \\\n   "b \\\nc" d\n').instructions
    assert instruction == Instruction(
        "MODEL", (Argument("a", 2, 9), Argument("b c", 3, 4), Argument("d", 4, 4)), line=2, column=3
    )


def test_columns_count_characters_and_leave_out_a_byte_order_mark() -> None:
    (instruction,) = parse("\ufeffMODEL \U0001f999\U0001f999 b").instructions
    assert [(a.value, a.column) for a in instruction.arguments] == [("\U0001f999\U0001f999", 7), ("b", 10)]


def test_the_text_is_kept_as_it_was_without_a_byte_order_mark() -> None:
    text = "# a\r\nNAME b \\\n\r\n\tMODEL c"
    assert parse("\ufeff" + text).text == text


def test_arguments_are_plain_strings() -> None:
    (instruction,) = parse("MODEL a 'b' \"c\"").instructions
    assert {type(instruction.keyword), *(type(a.value) for a in instruction.arguments)} == {str}


def test_patterns_come_in_the_order_of_the_file_with_their_places() -> None:
    assert parse("DOC b a\nNAME x\nCONFIG c\nDOC d").patterns() == (
        FilePattern(Kind.DOC, "b", 1, 5),
        FilePattern(Kind.DOC, "a", 1, 7),
        FilePattern(Kind.CONFIG, "c", 3, 8),
        FilePattern(Kind.DOC, "d", 4, 5),
    )


def test_values_of_all_lines_are_put_together() -> None:
    modelfile = parse("NAME x\nAUTHOR a b\nMODEL m\nauthor c")
    assert modelfile.value("NAME") == "x"
    assert modelfile.value("ARCH") is None
    assert modelfile.values("AUTHOR") == ("a", "b", "c")
    assert modelfile.values("LICENSE") == ()


def test_an_annotation_is_split_at_its_first_equals_sign() -> None:
    assert parse('ANNOTATION "a b=c=d"\nANNOTATION e=').annotations() == {"a b": "c=d", "e": ""}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_problem_of_the_workspace_can_be_shown_in_the_file(ending: str) -> None:
    modelfile = parse(f"NAME a{ending}MODEL *.bin{ending}", "dir/Modelfile")
    problem = modelfile.problem(2, 7, "matches nothing")
    assert problem == Problem(2, 7, "matches nothing", "MODEL *.bin")
    assert str(ModelfileError(modelfile.filename, [problem])) == (
        "dir/Modelfile:2:7: matches nothing\n    MODEL *.bin\n          ^"
    )


def test_a_last_place_after_the_last_line_can_be_shown() -> None:
    assert parse("NAME a\n").problem(2, 1, "more").text == ""


@pytest.mark.parametrize(
    "value", ["8b", "7B", "6.7B", "100m", "1.5T", "3q", "12k", "16", "8x7B", "paramsize1", "13.55B"]
)
def test_any_size_that_modctl_takes_is_kept_as_it_is_written(value: str) -> None:
    assert parse(f"PARAMSIZE {value}").value("PARAMSIZE") == value


@pytest.mark.parametrize(
    "line",
    [
        "PRECISION anything",
        'PRECISION "float16,int8"',
        "KNOWLEDGECUTOFF 2024-02-29",
        "KNOWLEDGECUTOFF 2024-06-30T12:00:00Z",
        "KNOWLEDGECUTOFF 2024-06-30t12:00:00.123456789z",
        "KNOWLEDGECUTOFF 2024-06-30T12:00:00-07:30",
        "REASONING True",
        "REWARD FALSE",
        "LANGUAGE EN",
        "INPUT Text",
        "LICENSE other llama3.1 cc-by-nc-4.0",
        "LICENSE NOASSERTION",
        'LICENSE "mit or (apache-2.0 and bsd-3-clause)"',
        'LICENSE "GPL-2.0-only WITH Classpath-exception-2.0 OR EPL-2.0+"',
        'LICENSE "MIT WITH DocumentRef-a:AdditionRef-b"',
        "VERSION \N{BELL}",
    ],
)
def test_values_that_can_be_said(line: str) -> None:
    assert len(parse(line).instructions) == 1


# What is wrong


@pytest.mark.parametrize(
    "line",
    [
        "KNOWLEDGECUTOFF 2024",
        "KNOWLEDGECUTOFF 20240630",
        "KNOWLEDGECUTOFF 2024-W01-1",
        "KNOWLEDGECUTOFF 0000-01-01",
        "KNOWLEDGECUTOFF 2024-06-31",
        "KNOWLEDGECUTOFF ２０２４-06-30",
        'KNOWLEDGECUTOFF "2024-06-30 12:00:00Z"',
        "KNOWLEDGECUTOFF 2024-06-30T12:00Z",
        "KNOWLEDGECUTOFF 2024-06-30T24:00:00Z",
        "KNOWLEDGECUTOFF 2024-06-30T12:00:00+24:00",
        "KNOWLEDGECUTOFF 0001-01-01T00:00:00+01:00",
        "KNOWLEDGECUTOFF 9999-12-31T23:59:59-01:00",
        'KNOWLEDGECUTOFF "2024-06-30\N{LINE SEPARATOR}"',
        "TOOLUSAGE 1",
        "LANGUAGE e",
        "LANGUAGE zh-CN",
        "LANGUAGE éé",
        "OUTPUT smell",
        "LICENSE MIT,Apache-2.0",
        'LICENSE " "',
        'LICENSE "MIT Apache-2.0"',
        'LICENSE "MIT OR"',
        'LICENSE "AND MIT"',
        'LICENSE "()"',
        'LICENSE "MIT)"',
        'LICENSE "(MIT OR) GPL-2.0-only"',
        'LICENSE "(MIT) WITH x"',
        'LICENSE "MIT WITH x WITH y"',
        'LICENSE "MIT WITH x+"',
        'LICENSE "MIT And BSD"',
        "LICENSE +",
        "LICENSE MIT++",
        "LICENSE LicenseRef_x",
        "ANNOTATION key",
        'ANNOTATION " =x"',
    ],
)
def test_values_that_cannot_be_said(line: str) -> None:
    (problem,) = problems(line)
    assert "expected" in problem.message
    assert (problem.line, problem.column) == (1, line.index(" ") + 2)


def test_all_problems_are_reported_in_the_order_of_the_lines() -> None:
    text = 'MODEL\nMODLE x\nNAME a b\nFOO "x\nMODEL /a b ../c \\\n  \'\'\\\n ""\nLANGUAGE x\udcff\n'
    assert places(text) == [(1, 6), (2, 1), (3, 8), (4, 1), (4, 5), (5, 7), (5, 12), (7, 2), (8, 10), (8, 11)]


def test_a_problem_shows_its_line_with_a_caret() -> None:
    with pytest.raises(ModelfileError) as caught:
        parse("NAME a\r\n\tMODEL ../b\r\n", "m")
    assert str(caught.value).split("\n")[1:] == ["    \tMODEL ../b", "    \t      ^"]


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("MODLE", "MODEL"),
        ("model:", "MODEL"),
        ("Licence", "LICENSE"),
        ("PARAM_SIZE", "PARAMSIZE"),
        ("DOCS", "DOC"),
    ],
)
def test_an_unknown_keyword_names_the_nearest_known_one(word: str, nearest: str) -> None:
    assert message(f"{word} x") == f"{word!r} is not an instruction; did you mean {nearest}?"


@pytest.mark.parametrize("word", ["XYZZY", "X" * 1_000_000, "\x1b[31m"])
def test_a_word_near_to_nothing_gets_an_example_in_a_short_printable_message(word: str) -> None:
    text = message(f"{word} x")
    assert text.endswith("is not an instruction; expected one such as CONFIG, MODEL or NAME")
    assert len(text) < 200
    assert text.isprintable()


def test_an_instruction_said_twice_names_both_lines() -> None:
    text = "\nNAME a\n# again\nname b\nNAME a"
    assert [problem.message for problem in problems(text)] == [
        "NAME is said on line 2 and again on line 4; say it once",
        "NAME is said on line 2 and again on line 5; say it once",
    ]


def test_an_instruction_is_said_twice_even_where_the_first_is_wrong() -> None:
    assert places("NAME a b\nNAME c") == [(1, 8), (2, 1)]


def test_an_annotation_said_twice_names_its_key_and_both_lines() -> None:
    assert message("ANNOTATION a=1\nANNOTATION b=1\nANNOTATION a=1") == (
        "the annotation 'a' is said on line 1 and again on line 3; say it once"
    )


# What an artifact is built on


@pytest.mark.parametrize("text", ["registry.io/base:v1", f"base@sha256:{'0' * 64}", f"r.io/a/b:v1@sha256:{'1' * 64}"])
def test_from_names_what_to_start_from(text: str) -> None:
    assert parse(f"MODEL x\nFROM {text}").base() == Reference.parse(text)


def test_without_from_there_is_nothing_to_start_from() -> None:
    assert parse("MODEL x").base() is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM r.io/Base", "lower case"),
        ("FROM x@sha256:0", "sha256:0"),
        ("FROM", "expected a reference after FROM"),
        ("FROM a b", "FROM takes a reference"),
        ('FROM ""', "no empty argument"),
        ("FROM a\nfrom b", "FROM is said on line 1 and again on line 2"),
    ],
)
def test_a_from_that_names_nothing_is_a_problem(text: str, told: str) -> None:
    assert told in message(text)


# Arguments of a build


@pytest.mark.parametrize(
    ("text", "given", "value"),
    [
        ("ARG a=1\nNAME x${a}y", {}, "x1y"),
        ("ARG a=1\nNAME x${a}y", {"a": "2"}, "x2y"),
        ("ARG a\nNAME ${a}", {"a": 'b "c" ${a} \\ # d'}, 'b "c" ${a} \\ # d'),
        ("ARG a=\nNAME x${a}", {}, "x"),
        ("ARG a=1\nNAME x${a}", {"a": ""}, "x"),
        ("ARG a=1\nARG b=${a}2\nNAME ${b}${b}", {}, "1212"),
        ("ARG a=1\nARG b=${a}2\nNAME ${b}", {"a": "3"}, "32"),
        ('ARG a="x y"\nNAME "${a} z"', {}, "x y z"),
        ("ARG a=1\nNAME \\${a}", {}, "${a}"),
        ("ARG a=1\nNAME $\\{a}", {}, "${a}"),
        ("ARG a=1\nNAME $a$", {}, "$a$"),
        ("ARG a=1\nNAME x\\\n${a}\\\n", {}, "x1"),
        ("ARG a\nARG b=1\nNAME ${b}", {}, "1"),
    ],
)
def test_a_value_is_put_in_as_it_is(text: str, given: dict[str, str], value: str) -> None:
    assert parse(text, build_args=given).value("NAME") == value


def test_a_value_with_spaces_is_one_argument_and_one_with_pattern_characters_a_pattern() -> None:
    modelfile = parse("ARG w\nMODEL ${w} b", build_args={"w": "my *.bin"})
    assert [pattern.pattern for pattern in modelfile.patterns()] == ["my *.bin", "b"]


@pytest.mark.parametrize("argument", ["${a}", "${", "${}", "x${a-b}y", "{${x},b}.bin"])
def test_without_an_arg_line_braces_are_text_as_in_modctl(argument: str) -> None:
    assert said(f"MODEL {argument}") == [("MODEL", [argument])]


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("ARG a\nNAME x${a}", (2, 7), "ARG on line 1 has no default; say --build-arg a=VALUE"),
        ("ARG a=1\nNAME ${b}", (2, 6), "no ARG line declares 'b'"),
        ("NAME ${a}\nARG a=1", (1, 6), "declared by ARG on line 2 only"),
        ("ARG a=${a}", (1, 7), "declared by ARG on line 1 only"),
        ("ARG a=1\nNAME a${a", (2, 7), "closing brace"),
        ('ARG a=1\nNAME "${}"', (2, 7), "closing brace"),
        ("ARG a=1\nMODEL ${a} \\\n  b${A}", (3, 4), "no ARG line declares 'A'"),
        ("ARG a=${b}\nARG b=1\nNAME ${a}", (1, 7), "b is used on line 1"),
        ("ARG a-b=1", (1, 5), "letters, digits and '_'"),
        ("ARG a=1\nARG a=2", (2, 5), "ARG a is said on line 1 and again on line 2"),
        ("ARG a=/x\nMODEL ${a}", (2, 7), "is absolute"),
        ("ARG r\nREASONING ${r}", (2, 11), "has no default"),
    ],
)
def test_what_has_no_value_is_shown_where_it_stands(text: str, place: tuple[int, int], told: str) -> None:
    assert places(text) == [place]
    assert told in message(text)


def test_a_value_that_no_line_declares_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"^m: no ARG line declares sise; those of the file: size, tag$"):
        parse("ARG tag=1\nARG size=2", "m", {"sise": "1", "tag": "2"})
    with pytest.raises(UsageError, match="those of the file: none"):
        parse("NAME a", build_args={"a": "1"})


@pytest.mark.parametrize("text", ["a", "=1", "a b=1", "1a=2", "a=x\ny", "a=\0", "a=\udcff"])
def test_a_build_argument_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_build_args([text])


def test_build_arguments_are_read_up_to_the_first_equals_sign_and_said_once() -> None:
    assert parse_build_args(["a=b=c", "B_1="]) == {"a": "b=c", "B_1": ""}
    with pytest.raises(UsageError, match="a is said twice"):
        parse_build_args(["a=1", "a=1"])


def test_values_that_grow_without_bound_are_stopped() -> None:
    lines = ["ARG a0=" + "x" * 1000, *(f"ARG a{n}=" + f"${{a{n - 1}}}" * 10 for n in range(1, 40))]
    found = problems("\n".join(lines))
    assert "more than 16,777,216 characters" in found[0].message
    assert found[0].line == 6


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('NAME "a', (1, 6)),
        ('NAME "', (1, 6)),
        ('NAME "a\\', (1, 6)),
        ('NAME "a\\\n', (1, 6)),
        ('NAME "a\\ \n', (1, 6)),
        ('NAME a "b', (1, 8)),
        ('NAME a b "c" "', (1, 14)),
        ('MODEL "a" b""c"', (1, 15)),
        ('MODEL "a" \\\n\\\n b "c', (3, 4)),
        ('MODEL a\\\n"b', (2, 1)),
        ('ANNOTATION a="b', (1, 14)),
    ],
)
def test_an_unclosed_quote_is_shown_where_it_opens_and_hides_what_depends_on_it(
    text: str, place: tuple[int, int]
) -> None:
    assert places(text) == [place]
    assert "quote is not closed" in message(text)


def test_a_byte_that_is_not_utf_8_is_named_once_a_line_beside_other_problems(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes("TITLE ä".encode() + b"\xff\xfe\nMODEL /a\n# \xc3\n")
    with pytest.raises(ModelfileError) as caught:
        load(path)
    found = [(problem.line, problem.column, problem.message) for problem in caught.value.problems]
    assert found[0] == (1, 8, "expected UTF-8 text, not the byte 0xff")
    assert [place[:2] for place in found] == [(1, 8), (2, 7), (3, 3)]
    str(caught.value).encode()


def test_a_lone_surrogate_is_no_text() -> None:
    assert message("NAME \ud800") == "expected UTF-8 text, not the surrogate U+D800"


def test_so_many_problems_are_listed_and_no_more() -> None:
    found = problems("".join(f"WHAT{number}\n" for number in range(100_000)))
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1].line == MAX_PROBLEMS + 1
    assert found[-1].message == f"more problems from here on; the first {MAX_PROBLEMS} are listed"
    assert "more problems" not in found[-2].message


def test_as_many_problems_as_are_listed_are_all() -> None:
    assert len(problems("X\n" * MAX_PROBLEMS)) == MAX_PROBLEMS


# Large input


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("MODEL " + "a" * 10_000_000, "a" * 10_000_000),
        ('MODEL "' + "a " * 5_000_000 + '"', "a " * 5_000_000),
        ("MODEL " + "\\ " * 500_000 + "a", " " * 500_000 + "a"),
        ("MODEL a" + "\\\n" * 500_000, "a"),
        ("MODEL a" + "\u00a0 " * 3_000_000, "a"),
        ("MODEL a" + "\u00a0" * 9_000_000 + "b", "a" + "\u00a0" * 9_000_000 + "b"),
        ("\n" * 10_000_000 + "MODEL a", "a"),
        ('LICENSE "' + "(" * 300_000 + "a" + ")" * 300_000 + '"', "(" * 300_000 + "a" + ")" * 300_000),
        ("#" + "a" * 10_000_000 + "\nMODEL a", "a"),
    ],
    ids=[
        "bare",
        "quoted",
        "escaped",
        "continued",
        "mixed space",
        "other space",
        "blank",
        "parentheses",
        "comment",
    ],
)
def test_a_huge_line_is_read(text: str, value: str) -> None:
    (instruction,) = parse(text).instructions
    assert [argument.value == value for argument in instruction.arguments] == [True]


def test_a_huge_broken_line_gives_a_short_message() -> None:
    with pytest.raises(ModelfileError) as caught:
        parse('MODEL a"' + "\\a" * 1_000_000)
    assert len(str(caught.value)) < 500


def test_a_hundred_thousand_lines_are_read() -> None:
    instructions = parse("MODEL weights.safetensors\n" * 100_000).instructions
    assert len(instructions) == 100_000
    assert instructions[-1].line == 100_000


# Files


def test_a_file_is_loaded_with_its_path_as_name(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes(b"NAME a\r\n")
    modelfile = load(path)
    assert (modelfile.filename, modelfile.text, modelfile.value("NAME")) == (str(path), "NAME a\r\n", "a")


@pytest.mark.parametrize("name", ["Modelfile", "file/Modelfile"])
def test_a_missing_file_is_not_found_and_generate_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match=r"Modelfile: there is no such file; `modfile generate`"):
        load(tmp_path / name)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    os.mkfifo(path)
    with pytest.raises(WorkspaceError, match="not a regular file"):
        load(path)


def test_a_link_that_goes_round_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.symlink_to(path)
    with pytest.raises(WorkspaceError, match="cannot be read"):
        load(path)


def test_a_file_up_to_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes(b"#" * MAX_SIZE)
    assert load(path).instructions == ()
    path.write_bytes(b"#" * (MAX_SIZE + 1))
    with pytest.raises(WorkspaceError, match="larger than 16,777,216 bytes"):
        load(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_utf_16_file_is_told_apart(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "Modelfile"
    path.write_bytes("\ufeffNAME a\n".encode(encoding))
    with pytest.raises(ModelfileError, match="UTF-16 text; save it as UTF-8"):
        load(path)


# Writing


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("model.bin", "model.bin"),
        ("#1.bin", "#1.bin"),
        ("it's", "it's"),
        ("*[a]{b}", "*[a]{b}"),
        ("my weights.bin", '"my weights.bin"'),
        ("a\tb", '"a\tb"'),
        ("\u00a0", '"\u00a0"'),
        ("a\r", '"a\r"'),
        ('say "a"', '"say \\"a\\""'),
        ('"', '"\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("\\", '"\\\\"'),
    ],
)
def test_an_argument_is_quoted_only_where_it_needs_it(text: str, written: str) -> None:
    assert quote(text) == written
    assert said(f"MODEL {written}") == [("MODEL", [text])]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a\nb", "line feed"),
        ("a\0", "NUL"),
        (os.fsdecode(b"caf\xe9"), "not UTF-8"),
        ("\ud800", "not"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        quote(text)
    assert str(caught.value).isprintable()
    with pytest.raises(UsageError):
        render("", [Block("", "NAME", (text,))])


def test_a_modelfile_is_written_in_blocks() -> None:
    blocks = [
        Block("From config.json", "FAMILY", ("llama",)),
        Block("Weights", "MODEL", ("a b.bin", "c.bin")),
        Block("", "DOC", ("README.md",)),
        Block("Nothing of this kind.", "DATASET", ()),
    ]
    assert render("Written by modfile.", blocks) == (
        "# Written by modfile.\n"
        "\n# From config.json\nFAMILY llama\n"
        '\n# Weights\nMODEL "a b.bin"\nMODEL c.bin\n'
        "\nDOC README.md\n"
        "\n# Nothing of this kind.\n"
    )


def test_a_comment_of_several_lines_stays_a_comment() -> None:
    assert render("one\n\nMODEL x\\\nNAME y", []) == "# one\n#\n# MODEL x\\\n# NAME y\n"


def test_a_hostile_comment_is_made_harmless() -> None:
    text = render("a\rb\x1b[31m\x85\u2028c\0\udcff\\", [Block("x\nMODEL y\\", "NAME", ("z",))])
    assert said(text) == [("NAME", ["z"])]
    assert text.replace("\n", "").isprintable()
