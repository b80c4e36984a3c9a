from __future__ import annotations

import os

import pytest

from modfile.errors import ModelfileError, WorkspaceError
from modfile.kind import Kind
from modfile.modelfile import parse, quote
from modfile.selection import select
from modfile.workspace import Workspace


def fill(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def chosen(root, text):
    """Return the selection as `{path: (kind, line)}`."""
    selection = select(Workspace(root), parse(text))
    return {one.file.path: (one.kind.value, one.line) for one in selection.files}


def refused(root, text):
    with pytest.raises(ModelfileError) as caught:
        select(Workspace(root), parse(text))
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_patterns_pick_files_of_their_kind(tmp_path):
    fill(tmp_path, "config.json", "sub/x.json", "model.bin", "run.py", "README.md", "data/a.csv")
    text = "CONFIG **/*.json\nMODEL *.bin\nCODE run.py\nDATASET data\nDOC *.md\n"
    assert chosen(tmp_path, text) == {
        "config.json": ("CONFIG", 1),
        "sub/x.json": ("CONFIG", 1),
        "model.bin": ("MODEL", 2),
        "run.py": ("CODE", 3),
        "data/a.csv": ("DATASET", 4),
        "README.md": ("DOC", 5),
    }


def test_files_come_by_kind_and_then_by_path(tmp_path):
    fill(tmp_path, "z.json", "a.json", "b/c.json", "b.json", "m.bin", "a.py", "d.csv", "a.md")
    selection = select(
        Workspace(tmp_path), parse("DOC *.md\nDATASET *.csv\nCODE *.py\nMODEL *.bin\nCONFIG **/*.json\n")
    )
    assert [one.kind for one in selection.files] == [Kind.CONFIG] * 4 + [Kind.MODEL, Kind.CODE, Kind.DATASET, Kind.DOC]
    assert [one.file.path for one in selection.files][:4] == ["a.json", "b.json", "b/c.json", "z.json"]


@pytest.mark.parametrize("name", ["a[1].bin", "*", "{a,b}", "[", "a?b", "{", "!x", "-rf", "é", "[z-a]", "a b"])
def test_the_name_of_a_file_means_that_file_whatever_it_holds(tmp_path, name):
    fill(tmp_path, name, "other", "a", "a1.bin")
    assert chosen(tmp_path, f"MODEL {quote(name)}\n") == {name: ("MODEL", 1)}


@pytest.mark.parametrize("pattern", ["data", "./data", "data/", "data//", "./data/.", "data/**"])
def test_a_directory_means_every_file_under_it(tmp_path, pattern):
    fill(tmp_path, "data/a", "data/.b", "data/c/d", "data.csv", "database/x")
    assert sorted(chosen(tmp_path, f"DATASET {pattern}\n")) == ["data/.b", "data/a", "data/c/d"]


def test_a_directory_whose_name_holds_pattern_characters_is_meant_as_well(tmp_path):
    fill(tmp_path, "run[1]/a", "run1/b")
    assert sorted(chosen(tmp_path, "MODEL run[1]\n")) == ["run[1]/a"]


def test_the_context_itself_means_everything(tmp_path):
    fill(tmp_path, "a", ".b", "c/d")
    assert sorted(chosen(tmp_path, "MODEL .\n")) == [".b", "a", "c/d"]


def test_a_star_packs_hidden_files_and_the_modelfile_too(tmp_path):
    fill(tmp_path, "Modelfile", ".hidden", "a")
    assert sorted(chosen(tmp_path, "CODE *\n")) == [".hidden", "Modelfile", "a"]


@pytest.mark.parametrize("name", ["a.json", "./a.json", r"\\a.json", ".//a.json"])
def test_a_file_named_exactly_belongs_to_that_line(tmp_path, name):
    fill(tmp_path, "a.json", "b.json")
    text = f"CONFIG *.json\nMODEL {name}\n"
    assert chosen(tmp_path, text) == {"a.json": ("MODEL", 2), "b.json": ("CONFIG", 1)}


def test_otherwise_a_file_belongs_to_the_first_line_that_matches(tmp_path):
    fill(tmp_path, "a.json", "b.yaml")
    assert chosen(tmp_path, "CONFIG *.json\nCODE *\n") == {"a.json": ("CONFIG", 1), "b.yaml": ("CODE", 2)}


def test_a_file_that_two_lines_name_is_packed_once_by_the_first(tmp_path):
    fill(tmp_path, "a")
    assert chosen(tmp_path, "MODEL a\nMODEL a a\nMODEL *\n") == {"a": ("MODEL", 1)}


def warnings(root, text):
    return select(Workspace(root), parse(text)).warnings


def test_two_kinds_that_claim_a_file_are_warned_of_with_both_lines(tmp_path):
    fill(tmp_path, "a.json", "b.json", "c.json")
    assert warnings(tmp_path, "CONFIG *.json\n\nCODE b.json *.json\n") == (
        "Modelfile: line 1 (CONFIG) and line 3 (CODE) both claim a.json and 1 more; packed as CONFIG, by line 1",
        "Modelfile: line 3 (CODE) and line 1 (CONFIG) both claim b.json; packed as CODE, by line 3",
    )


def test_one_kind_twice_is_no_reason_to_warn(tmp_path):
    fill(tmp_path, "a.json")
    assert warnings(tmp_path, "CONFIG *.json\nCONFIG a.json **\n") == ()


def test_a_third_claim_is_warned_of_against_the_line_that_has_the_file(tmp_path):
    fill(tmp_path, "a")
    assert warnings(tmp_path, "CONFIG *\nCODE *\nDOC a\n") == (
        "Modelfile: line 3 (DOC) and line 1 (CONFIG) both claim a; packed as DOC, by line 3",
        "Modelfile: line 3 (DOC) and line 2 (CODE) both claim a; packed as DOC, by line 3",
    )
    assert warnings(tmp_path, "CONFIG *\nCODE *\nCONFIG a\n") == (
        "Modelfile: line 3 (CONFIG) and line 2 (CODE) both claim a; packed as CONFIG, by line 3",
    )


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    fill(tmp_path, "a", "sub/b")
    problems = refused(tmp_path, "MODEL a gone\nCODE [z-a]\n  DOC a[ {x\nCONFIG su*\n")
    assert [(line, column) for line, column, _ in problems] == [(1, 9), (2, 6), (3, 7), (3, 10), (4, 8)]
    messages = [message for _, _, message in problems]
    assert messages[0].startswith("gone matches no file in ")
    assert "backwards" in messages[1]
    assert "'[' is not closed" in messages[2]
    assert "'{' is not closed" in messages[3]
    assert messages[4] == "su* matches no file, only directories; add '/**' for the files under them"


@pytest.mark.parametrize("pattern", ["a.bin/", "a.bin/x", "a.bin/**", "empty", "empty/", "**/x/**", "A.bin", "gone/**"])
def test_a_pattern_that_matches_nothing_is_an_error(tmp_path, pattern):
    fill(tmp_path, "a.bin")
    (tmp_path / "empty").mkdir()
    [(_, _, message)] = refused(tmp_path, f"MODEL {pattern}\n")
    assert message.startswith(f"{pattern} matches no file")


@pytest.mark.parametrize("pattern", ["*.tmp", "out", "out/", "out/**", "out/*", "out*/"])
def test_a_pattern_that_matches_only_ignored_files_is_an_error_that_says_so(tmp_path, pattern):
    fill(tmp_path, "a.tmp", "out/b", "kept")
    (tmp_path / ".modfileignore").write_text("*.tmp\nout\n")
    [(_, _, message)] = refused(tmp_path, f"MODEL {pattern}\n")
    assert message.startswith(f"{pattern} matches only files that .modfileignore takes out")


def test_a_file_named_exactly_wins_over_the_ignore_file(tmp_path):
    fill(tmp_path, "a.tmp", "b.tmp", "out/b")
    (tmp_path / ".modfileignore").write_text("*.tmp\nout\n")
    assert sorted(chosen(tmp_path, "MODEL ./a.tmp out/b\n")) == ["a.tmp", "out/b"]


def unpackable(root, text):
    with pytest.raises(WorkspaceError) as caught:
        select(Workspace(root), parse(text))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_packed_harms_nothing_until_it_is_selected(tmp_path):
    fill(tmp_path, "a.bin")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "etc").symlink_to("/etc/passwd")
    assert sorted(chosen(tmp_path, "MODEL **/*.bin\n")) == ["a.bin"]
    message = unpackable(tmp_path, "MODEL *.bin\nCODE **\n")
    assert "pipe (line 2) is a FIFO" in message
    assert "gone (line 2) is a link to nowhere, which does not exist" in message
    assert "etc (line 2) is a link to /etc/passwd, which lies outside of the build context" in message


@pytest.mark.parametrize("pattern", ["out", "out/x.py", "out/*.py", "**/*.py", "out/**", "out/"])
def test_what_may_lie_behind_a_link_that_leads_outside_is_an_error_that_names_the_link(tmp_path, pattern):
    fill(tmp_path, "outside/x.py", "root/a.py")
    (tmp_path / "root" / "out").symlink_to("../outside")
    message = unpackable(tmp_path / "root", f"CODE {pattern}\n")
    assert "out (line 1) is a link to ../outside, which lies outside" in message


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a\\b"], "holds a backslash"),
        (["c:x"], "starts with a drive letter"),
        (["Model.bin", "model.bin"], "differ only in case"),
        (["\u00e9", "e\u0301"], "differ only in case or Unicode form"),
        (["\udcff"], "not UTF-8"),
    ],
)
def test_what_could_not_be_extracted_again_is_an_error(tmp_path, names, reason):
    fill(tmp_path, *names)
    assert reason in unpackable(tmp_path, "MODEL *\n")


def test_many_files_that_cannot_be_packed_make_one_short_line(tmp_path):
    for number in range(100):
        os.mkfifo(tmp_path / f"pipe{number:03}")
    message = unpackable(tmp_path, "MODEL *\n")
    assert "pipe004" in message
    assert "pipe005" not in message
    assert message.endswith("and 95 more")


def test_tens_of_thousands_of_lines_are_no_trouble(tmp_path):
    for directory in range(10):
        (tmp_path / f"d{directory}").mkdir()
        for number in range(1000):
            os.close(os.open(tmp_path / f"d{directory}" / f"f{number}", os.O_CREAT | os.O_WRONLY))
    lines = [f"MODEL d{number % 10}/f{number // 10 % 1000}\n" for number in range(40_000)]
    assert len(chosen(tmp_path, "".join(lines))) == 10_000


def test_a_path_of_many_segments_that_is_not_there_is_no_trouble(tmp_path):
    fill(tmp_path, "a")
    [(_, _, message)] = refused(tmp_path, "MODEL " + "a/" * 200_000 + "b\n")
    assert len(message) < 500


def test_a_modelfile_without_files_selects_none(tmp_path):
    fill(tmp_path, "a")
    assert select(Workspace(tmp_path), parse("NAME x\n")).files == ()
