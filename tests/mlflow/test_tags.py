"""What is said of a version, as MLflow's tags."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import NotFoundError, UsageError
from modfile.mlflow.tags import parse_assignments, read_tags, tags_of, values_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("f1=0.9", 0.9),
        ("steps=1000", 1000),
        ("final=true", True),
        ("parent=null", None),
        ("task=ranking", "ranking"),
        ('task="ranking"', "ranking"),
        ('version="7"', "7"),
        ('labels=["a", "b"]', ["a", "b"]),
        ('metrics={"f1": 0.9}', {"f1": 0.9}),
        ("empty=", ""),
        ("equation=a=b", "a=b"),
        ("loss=NaN", "NaN"),
        ("loss=-Infinity", "-Infinity"),
        ("sha=0123abc", "0123abc"),
        ("name=Grüße 🙂", "Grüße 🙂"),
    ],
)
def test_a_value_is_json_or_else_a_text(text, value):
    key = text.partition("=")[0]
    assert parse_assignments([text]) == {key: value}
    assert type(parse_assignments([text])[key]) is type(value)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["f1"], "KEY=VALUE"),
        (["=1"], "KEY=VALUE"),
        (["f1=1", "f1=2"], "said twice"),
        (['m={"a": 1'], "not JSON"),
        (["m=[1,"], "not JSON"),
        (['m="open'], "not JSON"),
        (['m={"a": NaN}'], "NaN"),
        (['m={"a": 1, "a": 2}'], "stands twice"),
        (["m=" + "[" * 100_000], "deep"),
        (["m=\udc80"], "Unicode"),
    ],
)
def test_what_is_no_assignment_is_refused(texts, told):
    with pytest.raises(UsageError, match=told):
        parse_assignments(texts)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a":' * 100_000, "deep"),
        (b'{"a": "' + b"x" * (5 << 20) + b'"}', "larger than"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, data, told):
    path = tmp_path / "tags.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=told):
        read_tags(str(path))


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="is not there"):
        read_tags(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_tags(str(tmp_path))
    assert read_tags(None) == {}


def test_an_object_may_be_said_in_place_of_a_file():
    assert read_tags(' {"a": {"b": 1}}') == {"a": {"b": 1}}
    with pytest.raises(UsageError, match="not JSON"):
        read_tags("{a: 1}")


def test_each_value_is_a_tag_and_all_of_them_are_one():
    values = {"task": "ranking", "metrics": {"f1": 0.9, "by": {"en": 1}}, "labels": ["a", "ä"], "none": None, "e": {}}
    assert tags_of("training", values) == {
        "training.task": "ranking",
        "training.metrics.f1": "0.9",
        "training.metrics.by.en": "1",
        "training.labels": '["a","ä"]',
        "training.none": "null",
        "training.e": "{}",
        "modfile.training": json.dumps(values, ensure_ascii=False, separators=(",", ":")),
    }
    assert tags_of("training", {}) == {}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"a,b": 1}, "no key"),
        ({"a\nb": 1}, "no key"),
        ({"a=b": 1}, "no key"),
        ({"a//b": 1}, "no key"),
        ({"a/../b": 1}, "no key"),
        ({"a/": 1}, "no key"),
        ({"a'b": 1}, "no key"),
        ({"k" * 250: 1}, "more than 250"),
        ({"a": "x" * 100_001}, "100,001 characters"),
        ({"a": ["x" * 60_000, "y" * 60_000]}, "more than the 100,000"),
        ({str(i): i for i in range(1001)}, "more than 1,000"),
        ({"a": {"b": 1}, "a.b": 2}, "both be"),
        ({"a": 1e999}, "too large"),
        ({"a": {"b": [1e999]}}, "too large"),
    ],
)
def test_what_mlflow_would_refuse_is_refused_before_anything_is_sent(values, told):
    with pytest.raises(UsageError, match=told):
        tags_of("general", values)


def test_an_object_as_deep_as_json_goes_is_refused_by_its_key():
    values = {}
    for _ in range(400):
        values = {"a": values or 1}
    with pytest.raises(UsageError, match="more than 250"):
        tags_of("general", values)


def test_values_of_five_thousand_characters_are_fine():
    assert tags_of("general", {"a": "x" * 5000})["general.a"] == "x" * 5000


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": NaN}', "\udc80", '{"a": 1, "a": 2}'])
def test_tags_that_somebody_else_changed_say_nothing(text):
    assert values_of("general", {"modfile.general": text}) == {}
    assert values_of("general", {}) == {}


KEYS = st.text("abcXYZ019_- ", min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, JSON, max_size=4))
@settings(deadline=None, max_examples=150)
def test_what_is_said_is_read_again(values):
    tags = tags_of("general", values)
    assert values_of("general", tags) == values
    assert all(key.startswith("general.") or key == "modfile.general" for key in tags)
