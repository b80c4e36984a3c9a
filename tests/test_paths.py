from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import ContentError
from modfile.paths import check_path, check_plan, shown

GOOD = [
    "a",
    "a/b",
    ".hidden",
    "...",
    "a b",
    "it's",
    "é",
    "😀" * 63,
    "x" * 255,
    "d/" * 255 + "x",
    "d" * 255 + ("/" + "d" * 254) * 15 + "/12345678901234",
    "b/c:d",
    "aa:b",
    "new\nline",
]


@pytest.mark.parametrize("path", GOOD)
def test_a_path_that_can_be_written_is_good(path):
    check_path(path)


BAD = [
    ("d/" * 256 + "x", "directories deep"),
    ("d" * 255 + ("/" + "d" * 254) * 15 + "/123456789012345", "more than 4,095 bytes"),
    (("é" * 100 + "/") * 21 + "x", "more than 4,095 bytes"),
    (".modfile-partial", "under way"),
    (".Modfile-Partial/sha256-00", "under way"),
    ("", "is empty"),
    ("/etc/passwd", "is absolute"),
    ("//a", "is absolute"),
    ("..", "segment"),
    (".", "segment"),
    ("../a", "segment"),
    ("a/../b", "segment"),
    ("a/..", "segment"),
    ("a/./b", "segment"),
    ("./a", "segment"),
    ("a//b", "segment"),
    ("a/", "segment"),
    ("a\0b", "NUL"),
    ("a\\b", "backslash"),
    ("..\\a", "backslash"),
    ("C:", "drive"),
    ("c:/a", "drive"),
    ("C:a", "drive"),
    ("\udcff", "not UTF-8"),
    ("x" * 256, "255 bytes"),
    ("é" * 128, "255 bytes"),
    ("a/" + "😀" * 64 + "/b", "255 bytes"),
]


@pytest.mark.parametrize(("path", "reason"), BAD)
def test_a_path_that_cannot_be_written_is_refused_by_name(path, reason):
    with pytest.raises(ContentError, match=reason) as caught:
        check_path(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ContentError, match=reason):
        check_plan(["fine", path])


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["a", "b", "a"], "a is there twice"),
        (["Model.bin", "model.bin"], "differ only in case"),
        (["\u00e9.bin", "e\u0301.bin"], "differ only in case or Unicode form"),
        (["stra\u00dfe", "STRASSE"], "differ only in case"),
        (["a", "a/b"], "a/b lies inside a, which is a file"),
        (["a/b/c/d", "x", "a/b"], "a/b/c/d lies inside a/b"),
        (["A", "a/b"], "a/b lies inside A"),
        (["a", "a-b", "a.b", "a/b", "a!"], "a/b lies inside a"),
    ],
)
def test_paths_that_get_in_each_others_way_are_refused(paths, reason):
    for order in (paths, paths[::-1]):
        with pytest.raises(ContentError, match=reason):
            check_plan(order)


@pytest.mark.parametrize(
    "paths", [[], ["a"], ["a/b", "a/c"], ["a", "ab/c", "a-b"], ["Dir/x", "dir/y"], ["a b", "a"], ["a.b", "a/b", "ab"]]
)
def test_paths_that_leave_each_other_alone_are_good(paths):
    check_plan(paths)


def test_a_large_plan_is_checked_in_one_pass():
    check_plan(f"shard/{number:07}/model.bin" for number in range(100_000))
    check_plan(["d/" * 255 + "x", "d/" * 255 + "y"])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", "é", "-", "a!"]), min_size=1, max_size=3), max_size=5))
def test_a_plan_is_refused_exactly_if_two_paths_collide(lists):
    paths = ["/".join(parts) for parts in lists]
    folded = [[part.casefold() for part in parts] for parts in lists]
    collide = any(one == other[: len(one)] for i, one in enumerate(folded) for j, other in enumerate(folded) if i != j)
    if collide:
        with pytest.raises(ContentError):
            check_plan(paths)
    else:
        check_plan(paths)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a b", "a b"), ("", "''"), ("a\nb", r"'a\nb'"), ("\udcff", r"'\udcff'"), ("\x1b[31m", r"'\x1b[31m'"), ("é", "é")],
)
def test_a_path_is_shown_on_one_line_that_a_terminal_can_bear(path, expected):
    assert shown(path) == expected


def test_a_long_path_is_shown_by_its_ends():
    text = shown("start" + "x" * 10_000 + "end")
    assert len(text) < 250
    assert text.startswith("start")
    assert text.endswith("end")
