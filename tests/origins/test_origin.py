"""What every origin's listing is held to."""

from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.content import MAX_SIZE, Digest
from modfile.errors import ContentError
from modfile.origins.origin import MAX_FILES, checked
from modfile.paths import check_plan

JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.binary()


def test_files_are_sorted_and_have_digests_where_they_are_known():
    found = checked([("b", 2, None), ("a/c", 0, "0" * 64), ("a/b", MAX_SIZE, None)])
    assert [(file.path, file.size, file.digest) for file in found] == [
        ("a/b", MAX_SIZE, None),
        ("a/c", 0, Digest("sha256", "0" * 64)),
        ("b", 2, None),
    ]


@pytest.mark.promise("R1", "W1")
def test_a_listing_without_end_is_refused_when_it_is_too_long():
    asked = count()
    with pytest.raises(ContentError, match="100,000 files"):
        checked((f"{next(asked)}.json", 1, None) for _ in count())
    assert next(asked) <= MAX_FILES + 2


def test_as_many_files_as_there_may_be_are_fine():
    assert len(checked(islice(((f"{n}.json", 1, None) for n in count()), MAX_FILES))) == MAX_FILES


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(JUNK, JUNK, JUNK), max_size=4))
def test_any_listing_is_files_that_can_be_written_or_a_content_error(entries):
    try:
        found = checked(entries)
    except ContentError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    check_plan(file.path for file in found)
    assert all(0 <= file.size <= MAX_SIZE for file in found)
