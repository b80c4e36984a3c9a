from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.weights.parameters import Parameters, format_count


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (1, "1"),
        (999, "999"),
        (1_000, "1K"),
        (1_049, "1K"),
        (1_050, "1.1K"),
        (999_949, "999.9K"),
        (999_950, "1M"),
        (22_713_216, "22.7M"),
        (999_949_999, "999.9M"),
        (999_950_000, "1B"),
        (7_000_000_000, "7B"),
        (6_738_415_616, "6.7B"),
        (7_950_000_000, "8B"),
        (1_000_000_000_000, "1T"),
        (10**15, "1Q"),
        (123_456 * 10**15, "123456Q"),
    ],
)
def test_a_count_is_written_with_at_most_one_decimal(count: int, text: str) -> None:
    assert format_count(count) == text


@given(st.integers(1, 10**18))
@settings(deadline=None, max_examples=200)
def test_a_written_count_is_within_half_a_unit_of_its_last_digit(count: int) -> None:
    text = format_count(count)
    scale = 1000 ** "KMBTQ".find(text[-1]) * 1000 if text[-1].isalpha() else 1
    tenths = round(float(text.rstrip("KMBTQ")) * 10)
    assert abs(tenths * scale - count * 10) * 2 <= max(scale, 1)


def test_the_precision_of_most_parameters_is_first_and_ties_go_by_name() -> None:
    held = Parameters({"int8": 5, "float32": 10, "bfloat16": 10, "uint8": 0})
    assert held.precisions == ("bfloat16", "float32", "int8")
    assert held.total == 25


def test_a_sum_is_complete_only_where_all_parts_are() -> None:
    total = Parameters.sum([Parameters({"int8": 1}), Parameters({"int8": 2}, complete=False)])
    assert (total.total, total.complete) == (3, False)
