"""Every promise of docs/security.md is shown by a test, and no test shows one that was never made."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
_ID = re.compile(r"^\*\*([A-Z][0-9]{1,2})\*\*", re.MULTILINE)
_FILE = re.compile(r"`(tests/[\w./-]+)`")


def promised() -> list[str]:
    """Return the ids of the page, each of which begins a line in bold."""
    return _ID.findall(PAGE.read_text())


def shown(source: str) -> Iterator[tuple[str, int]]:
    """Return the ids that a module's tests say they show, and the line: of functions, classes or the module itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.mark.promise", "mark.promise"):
            for argument in node.args:
                yield (
                    (str(argument.value) if isinstance(argument, ast.Constant) else ast.unparse(argument)),
                    node.lineno,
                )


@cache
def places_of_promises() -> dict[str, set[str]]:
    found = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for promise, line in shown(path.read_text()):
            found[promise].add(f"{path.relative_to(ROOT)}:{line}")
    return found


def test_the_page_makes_each_promise_once():
    ids = promised()
    assert len(ids) > 30
    assert len(ids) == len(set(ids))


def test_every_promise_is_shown_by_a_test():
    places = places_of_promises()
    assert [promise for promise in promised() if promise not in places] == []


def test_no_test_shows_what_is_not_promised():
    made = set(promised())
    assert {promise: sorted(places) for promise, places in places_of_promises().items() if promise not in made} == {}


def test_the_page_names_where_each_promise_is_tested():
    """The files that it names are there, and each promise is tested in one of those that it names, or below it."""
    text = PAGE.read_text()
    tests = places_of_promises()
    for paragraph in re.split(r"\n(?=\*\*[A-Z][0-9]{1,2}\*\*|#)", text):
        match = _ID.match(paragraph)
        named = _FILE.findall(paragraph)
        assert all((ROOT / name).exists() for name in named), named
        if match:
            places = {place.partition(":")[0] for place in tests[match[1]]}
            assert any(place.startswith(name) for place in places for name in named), (match[1], named, places)


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        ('@pytest.mark.promise("R1", "R2")\ndef test_x(): pass', ["R1", "R2"]),
        ('@pytest.mark.promise("C1")\nclass TestX: pass', ["C1"]),
        ('pytestmark = pytest.mark.promise("C5")', ["C5"]),
        ('pytestmark = [pytest.mark.slow, pytest.mark.promise("C5")]', ["C5"]),
        ('pytest.param(1, marks=pytest.mark.promise("W6"))', ["W6"]),
        ("@pytest.mark.promise(NAME)\ndef test_x(): pass", ["NAME"]),
        ('# pytest.mark.promise("R1")\nTEXT = \'pytest.mark.promise("R2")\'', []),
    ],
)
def test_markers_are_found_wherever_they_stand(source, ids):
    assert [promise for promise, _ in shown(source)] == ids
