from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.registry.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ('BEARER Realm="https://a/t",SERVICE=r', [("bearer", {"realm": "https://a/t", "service": "r"})]),
        (
            'Bearer realm="https://a/t",service="r",scope="repository:a:pull,push repository:b:pull"',
            [("bearer", {"realm": "https://a/t", "service": "r", "scope": "repository:a:pull,push repository:b:pull"})],
        ),
        (
            'Negotiate, Basic realm="a, b=\\"c\\"", Bearer realm="t"',
            [("negotiate", {}), ("basic", {"realm": 'a, b="c"'}), ("bearer", {"realm": "t"})],
        ),
        ('Negotiate YII==, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        (' ,, Bearer  realm = "t" ,, service=s ,', [("bearer", {"realm": "t", "service": "s"})]),
        ('Bearer realm="', [("bearer", {})]),
        ('Bearer realm="a\\"', [("bearer", {})]),
        ('="x" Bearer', []),
        ('realm="https://a/t"', []),
    ],
)
def test_a_header_is_read_as(header, challenges):
    assert [(c.scheme, dict(c.parameters)) for c in parse_challenges(header)] == challenges


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from('abBearer=",\\ \t:/'), max_size=60))
def test_no_header_breaks_the_parser(header):
    assert all(isinstance(challenge, Challenge) for challenge in parse_challenges(header))


@pytest.mark.parametrize("piece", ['a="', "\\", ", ", "a=b,", "a ", '"', "=", "a"])
def test_a_long_header_is_read_in_linear_time(piece):
    assert isinstance(parse_challenges("Bearer " + piece * 20_000), list)
