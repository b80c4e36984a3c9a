import threading

import pytest

from modfile.content import Digest
from modfile.errors import InvalidReferenceError, StoreError
from modfile.reference import Reference
from modfile.serve.links import FRESH, Links
from modfile.serve.names import Names, check_tag, filename, from_filename, referrers_tag

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
LONG = Digest("sha512", "0" * 128)


class Clock:
    def __init__(self):
        self.now = 1_000_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def links(tmp_path, clock):
    return Links(tmp_path / "links", clock)


@pytest.mark.parametrize("digest", [ONE, LONG], ids=["sha256", "sha512"])
def test_a_link_is_of_one_repository_and_one_blob(links, digest):
    assert links.size("a/b", digest) is None
    links.add("a/b", digest, 3)
    assert links.size("a/b", digest) == 3
    assert links.size("a", digest) is links.size("a/b/c", digest) is links.size("a/b", TWO) is None
    links.remove("a/b", digest)
    assert links.size("a/b", digest) is None
    links.remove("a/b", digest)


def test_links_are_fresh_for_a_day_since_they_counted_last(links, clock):
    links.add("a", ONE, 3)
    links.add("b", TWO, 3)
    clock.now += FRESH - 1
    links.add("a", ONE, 3)
    assert links.fresh() == {ONE, TWO}
    clock.now += 2
    assert links.fresh() == {ONE}
    assert links.is_fresh("a", ONE)
    assert not links.is_fresh("b", TWO)
    assert links.expire() == 1
    assert links.size("a", ONE) == 3
    assert links.size("b", TWO) is None


def test_what_is_hidden_is_no_link_and_stays_so(links, clock):
    links.add("a", ONE, 3)
    links.hide("a", ONE, [TWO, LONG])
    assert links.size("a", ONE) is None
    clock.now += 10 * FRESH
    links.expire()
    assert links.hidden("a") == {ONE: frozenset({TWO, LONG})}
    assert links.hidden("b") == {}
    links.add("a", ONE, 3)
    assert links.hidden("a") == {}


def test_what_is_hidden_can_be_revealed_without_a_link(links):
    links.hide("a", ONE, [TWO])
    links.reveal("a", ONE)
    links.reveal("a", TWO)
    assert links.hidden("a") == {}
    assert links.size("a", ONE) is None


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../b", "/a", "a//b", "A", "a:b", "a@b", "a\0b", "a+b", "a" * 256]
)
def test_what_is_no_repository_touches_no_path(links, tmp_path, name):
    for call in (links.size, links.remove, links.reveal, links.is_fresh):
        with pytest.raises(InvalidReferenceError):
            call(name, ONE)
    with pytest.raises(InvalidReferenceError):
        links.add(name, ONE, 1)
    with pytest.raises(InvalidReferenceError):
        links.hidden(name)
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["links", ".lock"])


def test_what_is_no_marker_is_passed_over(links, tmp_path):
    links.add("a", ONE, 3)
    directory = tmp_path / "links" / "a" / "linked"
    (directory / ".0123").write_text("3")
    (directory / "sha256-xyz").write_text("3")
    (directory / f"sha256-{TWO.hex}").write_text("")
    (tmp_path / "links" / "NOT A REPOSITORY").mkdir()
    assert links.size("a", TWO) is None
    assert links.repositories() == ["a"]
    links.expire()
    assert ONE not in Links(tmp_path / "links").fresh()


def test_a_directory_that_cannot_be_used_is_an_error_of_ours(tmp_path):
    (tmp_path / "links").write_text("a file")
    links = Links(tmp_path / "links")
    with pytest.raises(StoreError, match="links"):
        links.add("a", ONE, 3)
    assert links.size("a", ONE) is None


def test_threads_that_link_the_same_blob_leave_one_whole_link(links, tmp_path):
    wrong = []

    def work():
        for _ in range(50):
            links.add("a", ONE, 12345)
            if links.size("a", ONE) != 12345:
                wrong.append(links.size("a", ONE))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [path.name for path in (tmp_path / "links" / "a" / "linked").iterdir()] == [f"sha256-{ONE.hex}"]


def test_names_of_repositories_are_names_of_files_and_back():
    for name in ("a", "a/b/c", "a.b/c-d__e", "/".join(["a"] * 128)):
        assert "/" not in filename(name)
        assert len(filename(name)) <= 255
        assert from_filename(filename(name)) == name
    assert from_filename(".lock") is None


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "a@b", "a" * 129, "a\n", "a b"])
def test_what_is_no_tag_is_refused(tag):
    with pytest.raises(InvalidReferenceError):
        check_tag(tag)


def test_a_name_that_reads_as_a_host_is_not_one_without_a_host():
    names = Names("localhost")
    assert names.places("a/b") == (Reference("localhost", "a/b"), Reference(None, "a/b"))
    assert names.places("ghcr.io/b") == (Reference("localhost", "ghcr.io/b"),)
    assert names.places("localhost/b") == (Reference("localhost", "localhost/b"),)
    assert names.places("a/b", "ghcr.io") == (Reference("ghcr.io", "a/b"),)


@pytest.mark.parametrize("namespace", ["", "models", "a/b", "a b", "-.x", "x.y:99999"])
def test_a_namespace_is_a_host(namespace):
    with pytest.raises(InvalidReferenceError):
        Names(namespace)


def test_tags_for_referrers_are_as_specified():
    assert referrers_tag(ONE) == f"sha256-{ONE.hex}"
    assert referrers_tag(LONG) == "sha512-" + "0" * 64
