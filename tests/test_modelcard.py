from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.instructions import fault
from modfile.modelcard import MAX_SIZE, ModelCard, license_expression, parse


def card(front: str) -> ModelCard:
    return parse(f"---\n{front}\n---\n# Title\n".encode())


def test_the_front_matter_says_what_the_model_is() -> None:
    said = card("title: My Model\nlicense: apache-2.0\nlanguage: en\nbase_model: org/base\ntags: [a, b]")
    assert said == ModelCard(("apache-2.0",), ("en",), "My Model", ("org/base",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# Title\n\nlicense: mit\n",
        b"---\nlicense: mit\n",
        b"text\n---\nlicense: mit\n---\n",
        b"---\n---\n",
        b"---\n# only a comment\n---\n",
        b"----\nlicense: mit\n----\n",
    ],
)
def test_without_front_matter_nothing_is_said(data: bytes) -> None:
    assert parse(data) == ModelCard()


@pytest.mark.parametrize(
    "data",
    [
        b"---\nlicense: mit\n---",
        b"---\r\nlicense: mit\r\n---\r\ntext",
        b"\xef\xbb\xbf---\nlicense: mit\n---\n",
        b"\n\n---  \nlicense: mit\n--- \n",
        b"---\nlicense: mit\n...\n",
        b'---\nlicense: "mit"\n---\n\xff\xfe',
        b"---\nlicense:\n- mit\n---\n",
        b"---\nlicense: &a mit\nother: *a\n---\n",
    ],
)
def test_front_matter_is_found_however_it_is_written(data: bytes) -> None:
    assert parse(data) == ModelCard(("mit",))


@pytest.mark.parametrize(
    ("front", "licenses"),
    [
        ("license: MIT OR Apache-2.0", ("MIT OR Apache-2.0",)),
        ("license: [mit, apache-2.0, mit]", ("mit", "apache-2.0")),
        ("license: llama3.1", ("LicenseRef-llama3.1",)),
        ("license: openrail++", ("LicenseRef-openrail-plus-plus",)),
        ("license: gpl", ("LicenseRef-gpl",)),
        ("license: Creative Commons (BY)", ("LicenseRef-Creative-Commons-BY",)),
        ("license: other\nlicense_name: my license 1.0", ("LicenseRef-my-license-1.0",)),
        ("license: Other\nlicense_name: LicenseRef-mine", ("LicenseRef-mine",)),
        ("license:", ()),
        ("license: ~", ()),
        ("license: ''", ()),
    ],
)
def test_licenses_become_spdx_expressions(front: str, licenses: tuple[str, ...]) -> None:
    said = card(front)
    assert (said.licenses, said.warnings) == (licenses, ())


@pytest.mark.parametrize("front", ["license: other", "license: unknown", "license: other\nlicense_name: '???'"])
def test_a_license_that_names_none_is_left_out_with_a_warning(front: str) -> None:
    said = card(front)
    assert said.licenses == ()
    assert "names no license" in said.warnings[0]


@given(st.text(max_size=80))
@settings(deadline=None)
def test_whatever_a_license_is_called_a_modelfile_can_say_it(text: str) -> None:
    expression = license_expression(text)
    assert expression is None or fault("LICENSE", expression) is None


@pytest.mark.parametrize(
    ("front", "languages", "warned"),
    [
        ("language: no", ("no",), False),
        ("language: [en, NO, en]", ("en", "no"), False),
        ("language:\n- zh\n- multilingual", ("zh",), True),
        ("language: zh-CN", (), True),
        ("language: eng", (), True),
        ("language: 12", (), True),
    ],
)
def test_languages_are_two_letter_codes(front: str, languages: tuple[str, ...], warned: bool) -> None:
    said = card(front)
    assert (said.languages, bool(said.warnings)) == (languages, warned)


@pytest.mark.parametrize(
    "front",
    [
        *["license: {a: b}", "license: [[mit]]", "license: 2.0", "license: 2020-01-01", "license: true"],
        *["license: !!binary aGk=", "license: !custom mit", "title: [a, b]", "base_model: {x: y}", "language: {en: 1}"],
    ],
)
def test_values_of_the_wrong_type_are_left_out_with_a_warning(front: str) -> None:
    said = card(front)
    assert (said.licenses, said.title, said.base_models, said.languages) == ((), None, (), ())
    assert len(said.warnings) == 1


def test_model_name_is_the_title_where_there_is_no_other() -> None:
    assert card("model_name: M").title == "M"
    assert card("model_name: M\ntitle: T").title == "T"
    assert card("title: >\n  two\n  lines").title == "two lines"


def test_several_base_models_are_kept() -> None:
    assert card("base_model: [a/b, c/d]").base_models == ("a/b", "c/d")


BOMB = "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60)])
MERGES = "\n".join(["m0: &m0 {k: v}"] + [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}" for n in range(1, 60)])


@pytest.mark.parametrize("bomb", [BOMB, MERGES])
def test_aliases_are_never_expanded(bomb: str) -> None:
    assert card(f"{bomb}\nlicense: mit").licenses == ("mit",)


def test_a_value_that_holds_itself_is_left_out() -> None:
    assert card("license: &a [*a]").licenses == ()


@pytest.mark.parametrize(
    "front",
    [
        "[" * 60_000,
        "a: " + "{a: " * 10_000,
        "- " * 30_000 + "x",
        "license: [mit",
        "license: mit\n bad: indent",
        "a: *missing",
        "a: \x07",
        "- a\n- b",
        "just text",
        "? " * 20_000,
        "%YAML 9.9\n",
    ],
)
def test_what_is_no_sound_yaml_mapping_is_a_warning(front: str) -> None:
    said = card(front)
    assert said.licenses == ()
    assert len(said.warnings) == 1
    assert "\n" not in said.warnings[0]


def test_front_matter_that_is_too_long_is_a_warning() -> None:
    data = b"---\nlicense: mit\nx: |\n" + b"  y\n" * 50_000 + b"---\n"
    assert "longer than" in parse(data[:MAX_SIZE]).warnings[0]


@given(st.text(alphabet="-[]{}:&*a \n\t'\"|>!%@`#,?~0", max_size=60))
@settings(deadline=None, max_examples=300)
def test_whatever_stands_there_it_is_read_or_warned_about(front: str) -> None:
    said = card(f"license: {front}")
    assert all(fault("LICENSE", value) is None for value in said.licenses)
