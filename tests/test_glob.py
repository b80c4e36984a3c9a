from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import UsageError
from modfile.glob import MAX_LENGTH, Pattern

MATCHES = [
    ("*.json", "config.json", True),
    ("*.json", "sub/config.json", False),
    ("*.json", ".json", True),
    ("*", ".hidden", True),
    ("*", "a/b", False),
    ("**/*.json", "config.json", True),
    ("**/*.json", "a/b/c/config.json", True),
    ("**/*.json", "a/b/c/config.yaml", False),
    ("**", "a", True),
    ("**", "a/b/.c", True),
    ("a/**", "a/b", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a/**", "ab/c", False),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("a/**/z", "a/bz", False),
    ("**/a/**", "a/b", True),
    ("**/a/**", "x/a/b/c", True),
    ("**/**/x", "x", True),
    ("a**b", "aXb", True),
    ("a**b", "a/b", False),
    ("**.txt", "a.txt", True),
    ("**.txt", "a/b.txt", False),
    ("a/**b", "a/x/b", False),
    ("***", "a", True),
    ("?", "a", True),
    ("?", "ab", False),
    ("?", "é", True),
    ("?", "\udcff", True),
    ("a?b", "a/b", False),
    ("[a-c]", "b", True),
    ("[a-c]", "d", False),
    ("[!a-c]", "d", True),
    ("[^a-c]", "d", True),
    ("[^a-c]", "b", False),
    ("a[!x]b", "a/b", False),
    ("a[+-0]b", "a/b", False),
    ("[a-]", "-", True),
    ("[-a]", "-", True),
    (r"[\]]", "]", True),
    (r"[\]]", "\\", False),
    ("[a!]", "!", True),
    ("[a^]", "^", True),
    ("{a,b}.txt", "a.txt", True),
    ("{a,b}.txt", "c.txt", False),
    ("{a,b{c,d}}", "bd", True),
    ("{a,b{c,d}}", "b", False),
    ("x{,y}", "x", True),
    ("{a/b,c}/d", "a/b/d", True),
    ("{a,**/b}/d", "x/y/b/d", True),
    ("{a,**}/d", "x/y/d", True),
    ("{,sub/}*.json", "sub/x.json", True),
    ("{,sub/}*.json", "x.json", True),
    ("{a/,b/}**", "b/c/d", True),
    ("{**,a}b", "x/b", False),
    ("*{a*,*b}*c", "xaybzc", True),
    ("a,b}", "a,b}", True),
    (r"\*", "*", True),
    (r"\*", "a", False),
    (r"\{a,b\}", "{a,b}", True),
    (r"{a\,b,c}", "a,b", True),
    (r"a\b", "ab", True),
    ("./a", "a", True),
    ("././/a//b", "a/b", True),
    ("a/./b", "a/b", True),
    ("a/", "a/b/c", True),
    ("a/", "a", False),
    ("a*/", "abc/d", True),
    ("a*/", "abc", False),
    (".", "a/b", True),
    ("./", "a/b", True),
    ("...", "...", True),
    ("..a", "..a", True),
    ("A", "a", False),
    ("*\n*", "a\nb", True),
    ("with space", "with space", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_a_pattern_matches_as_documented(pattern, path, expected):
    assert Pattern.parse(pattern).matches(path) is expected


REFUSED = [
    ("", "is empty"),
    ("/etc/passwd", "absolute"),
    (r"\/etc", "absolute"),
    ("//a", "absolute"),
    ("..", "climbs"),
    ("../a", "climbs"),
    ("a/../b", "climbs"),
    ("a/..", "climbs"),
    (r"a/\.\./b", "climbs"),
    ("a\0b", "NUL"),
    ("[\0]", r"\["),
    ("\\\0", "NUL"),
    ("a[b", "'\\[' is not closed"),
    ("a[", "'\\[' is not closed"),
    ("a[b/c]", "'\\[' is not closed"),
    ("[!", "'\\[' is not closed"),
    (r"[\]", "'\\[' is not closed"),
    ("[a-\\", "escapes nothing"),
    ("[]", "holds no character"),
    ("[!]", "holds no character"),
    ("[z-a]", "backwards"),
    ("{a,b", "'{' is not closed"),
    ("{a,{b}", "'{' is not closed"),
    ("a\\", "escapes nothing"),
    ("*" * (MAX_LENGTH + 1), "longer than"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_malformed_pattern_is_refused_with_a_reason_that_quotes_it(text, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        Pattern.parse(text)
    message = str(caught.value)
    assert repr(text)[1:20] in message
    assert "\n" not in message
    assert len(message) < 300


def test_a_plain_name_is_literal_and_of_any_length():
    name = "d/" * 5000 + "x"
    pattern = Pattern.parse("./" + name)
    assert pattern.is_literal
    assert pattern.literal == name
    assert pattern.text == "./" + name
    assert str(pattern) == "./" + name
    assert pattern.matches(name)


@pytest.mark.parametrize("text", ["*", "a?", "[a]", "{a}", "{a,b}"])
def test_a_name_with_pattern_characters_is_not_literal(text):
    pattern = Pattern.parse(text)
    assert not pattern.is_literal
    assert pattern.literal is None


@pytest.mark.parametrize(("text", "literal"), [(r"\*", "*"), (r"a\[b", "a[b"), ("a,b}", "a,b}"), (".", "")])
def test_an_escaped_name_is_literal(text, literal):
    assert Pattern.parse(text).literal == literal


def test_patterns_of_the_same_text_are_equal():
    assert Pattern.parse("*.bin") == Pattern.parse("*.bin")
    assert len({Pattern.parse("*.bin"), Pattern.parse("*.bin"), Pattern.parse("*")}) == 2


@pytest.mark.parametrize(
    ("pattern", "directory", "expected"),
    [
        ("a/*.bin", "a", True),
        ("a/*.bin", "b", False),
        ("*.bin", "a", False),
        ("**/*.bin", "a/b", True),
        ("a/b/c", "a/b", True),
        ("a/b/c", "a/c", False),
        ("a/", "a/b", True),
        ("a/", "ab", False),
        (".", "x", True),
        ("a", "a", False),
    ],
)
def test_a_pattern_tells_what_it_may_match_below_a_directory(pattern, directory, expected):
    assert Pattern.parse(pattern).may_match_below(directory) is expected


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 1000 + "b", "a" * 4000),
        ("**/" * 1000 + "b", "a/" * 2000 + "a"),
        ("{a,aa}" * 500 + "b", "a" * 900),
        ("{" * 1000 + "*a" + ",b}" * 1000, "a" * 4000 + "c"),
        ("?*" * 1500 + "b", "a" * 4000),
        ("{*,**/}" * 400 + "b", "a/" * 2000),
    ],
)
def test_a_hostile_pattern_takes_no_exponential_time(pattern, path):
    assert not Pattern.parse(pattern).matches(path)


def test_what_an_automaton_remembers_is_bounded():
    pattern = Pattern.parse("*[!x]*[!x]*y")
    for start in range(0, 0x20000, 0x1000):  # more different characters than steps are remembered
        path = "".join(chr(code) for code in range(start + 1, start + 0x1000) if code != 0x2F)
        assert pattern.matches(path + "y")
        assert not pattern.matches(path + "/y")


# A reference that follows the definition as directly as possible: braces are multiplied out, the rest is tried.

STAR, ANY, GLOBSTAR = "STAR", "ANY", "GLOBSTAR"
letters = st.sampled_from("ab.-é{*[,\\?!^]}")
classes = st.tuples(st.just("CLASS"), st.booleans(), st.lists(st.sampled_from("ab-]^!é"), min_size=1, max_size=3))


def atoms(within=None):
    braces = [st.tuples(st.just("BRACE"), st.lists(within, min_size=1, max_size=3))] if within is not None else []
    slashes = [st.just("/")] if within is not None else []
    choices = st.one_of(st.tuples(st.just("LETTER"), letters), st.just(STAR), st.just(ANY), classes, *braces, *slashes)
    return st.lists(choices, max_size=4).map(without_double_stars)


def without_double_stars(items):
    return [item for at, item in enumerate(items) if item != STAR or at == 0 or items[at - 1] != STAR]


alternatives = st.recursive(atoms(), atoms, max_leaves=6)
segment = st.one_of(st.just([GLOBSTAR]), alternatives.filter(lambda items: items and items[0] != "/"))


@st.composite
def patterns(draw):
    segments = draw(st.lists(segment, min_size=1, max_size=4))
    items = []
    for at, part in enumerate(segments):
        items += (["/"] if at else []) + without_double_stars([item for item in part if item != "/"])
    return items


def written(items):
    return "".join(written_item(item) for item in items)


def written_item(item):
    plain = {STAR: "*", ANY: "?", GLOBSTAR: "**", "/": "/"}
    if isinstance(item, str):
        return plain[item]
    if item[0] == "LETTER":
        return "\\" + item[1] if item[1] in "*?[{}],\\" else item[1]
    if item[0] == "CLASS":
        return "[" + ("!" if item[1] else "") + "".join("\\" + c for c in item[2]) + "]"
    return "{" + ",".join(written(part) for part in item[1]) + "}"


def multiplied_out(items):
    if not items:
        return [[]]
    first, rest = items[0], multiplied_out(items[1:])
    if isinstance(first, tuple) and first[0] == "BRACE":
        heads = [head for part in first[1] for head in multiplied_out(part)]
    else:
        heads = [[first]]
    return [head + tail for head in heads for tail in rest]


def tried(items, path):
    if not items:
        return not path
    first, rest = items[0], items[1:]
    if first == GLOBSTAR:
        if not rest:
            return bool(path)
        starts = [0] + [at + 1 for at, c in enumerate(path) if c == "/"]
        return any(tried(rest[1:], path[at:]) for at in starts)
    if first == STAR:
        end = path.find("/") if "/" in path else len(path)
        return any(tried(rest, path[at:]) for at in range(end + 1))
    if not path:
        return False
    if first == "/":
        return path[0] == "/" and tried(rest, path[1:])
    if first == ANY:
        return path[0] != "/" and tried(rest, path[1:])
    if first[0] == "LETTER":
        return path[0] == first[1] and tried(rest, path[1:])
    return path[0] != "/" and (path[0] in first[2]) != first[1] and tried(rest, path[1:])


names = st.text(st.sampled_from("ab.-é*{"), min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def is_plain(items):
    """Leave out what is normalised away or refused: those have their own tests."""
    parts = written(items).replace("\\", "").split("/")
    return not {"", ".", ".."} & set(parts)


@settings(deadline=None, max_examples=400)
@given(patterns().filter(is_plain), st.lists(paths, min_size=1, max_size=8))
def test_a_pattern_matches_what_the_naive_reference_matches(items, candidates):
    pattern = Pattern.parse(written(items))
    alternatives = multiplied_out(items)
    for path in candidates:
        assert pattern.matches(path) == any(tried(one, path) for one in alternatives), path


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20), st.text(max_size=20))
def test_an_escaped_name_matches_itself_only(name, other):
    segments = [part for part in name.split("/") if part not in ("", ".")]
    path = "/".join(segments)
    if name.startswith("/") or ".." in segments or not path or name.endswith(("/", "/.")) or name == ".":
        return
    escaped = "".join("\\" + c if c in "\\*?[{" else c for c in name)
    pattern = Pattern.parse(escaped)
    assert pattern.literal == path
    assert pattern.matches(path)
    assert pattern.matches(other) == (other == path)


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("ab*?[]{},\\/.!-^"), max_size=24), paths)
def test_any_text_is_a_pattern_or_refused(text, path):
    try:
        pattern = Pattern.parse(text)
    except UsageError:
        return
    if pattern.matches(path) and "/" in path:
        assert pattern.may_match_below(path.rpartition("/")[0])
