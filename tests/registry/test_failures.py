from __future__ import annotations

import datetime

import pytest

from modfile.errors import RegistryError
from modfile.registry.failures import is_transient, one_line, parse_json, retry_after

NOW = datetime.datetime(2024, 5, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status):
    assert is_transient(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 405, 409, 413, 416, 418, 501, 505])
def test_what_will_stay_is_not_tried_again(status):
    assert not is_transient(status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("7", 7),
        (" 7 ", 7),
        ("-7", 0),
        ("1e9", 0),
        ("9" * 50, 0),
        ("Wed, 01 May 2024 12:00:30 GMT", 30),
        ("Wed, 01 May 2024 11:00:00 GMT", 0),
        ("Wed, 01 May 2024 12:00:30 -0000", 30),
        ("soon", 0),
        ("Wed, 99 May 2024 12:00:30 GMT", 0),
    ],
)
def test_retry_after_asks_for_seconds(header, seconds):
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("a\r\nb\tc\x1b[31m\x00", "a b c [31m"),
        ("  a  b ", "a b"),
        ("a\u202eb", "ab"),
        ("x" * 11, "x" * 9 + "…"),
        ("x" * 1_000_000, "x" * 9 + "…"),
    ],
)
def test_text_from_outside_becomes_one_short_line(text, line):
    assert one_line(text, 10) == line


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000, b"NaN", b'{"a":Infinity}'])
def test_json_that_is_not_to_be_trusted_is_refused(data):
    with pytest.raises(RegistryError, match="the answer"):
        parse_json(data, "the answer")
