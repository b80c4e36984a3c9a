"""What an import tells of files that could not be brought."""

from __future__ import annotations

import pytest

from modfile.errors import OriginError, VerificationError
from modfile.importing.failures import Failures, named


@pytest.mark.parametrize(
    ("what", "text", "told"),
    [
        ("README.md", "README.md is not what it should be", "README.md is not what it should be"),
        ("README.md", "README.md: 404 Not Found", "README.md: 404 Not Found"),
        ("README.md", "http://hub/README.md broke off", "README.md: http://hub/README.md broke off"),
        ("e", "the connection broke off", "e: the connection broke off"),
        ("a\x1bb", r"'a\x1bb': 404 Not Found", r"'a\x1bb': 404 Not Found"),
        ("a\x1bb", "404 Not Found", r"'a\x1bb': 404 Not Found"),
    ],
)
def test_a_failure_names_its_file_once_and_first(what, text, told):
    error = named(what, OriginError(text))
    assert type(error) is OriginError
    assert str(error) == told


def test_all_failures_are_told_where_work_goes_on():
    def fail():
        raise VerificationError("other bytes")

    failures = Failures(keep_going=True)
    assert failures.attempt("b", fail) is None
    assert failures.attempt("a", fail) is None
    assert failures.attempt("c", lambda: 1) == 1
    with pytest.raises(Exception, match=r"2 of 3 files .*\n  a: other bytes\n  b: other bytes$"):
        failures.raise_any(3)
