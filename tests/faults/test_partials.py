"""What a writer that was killed at the worst moment leaves in the store, and that the next command copes with it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import StoreError, VerificationError
from modfile.layout import Layout
from modfile.progress import SILENT
from modfile.store import InMemory
from modfile.verbs.prune import prune

pytestmark = pytest.mark.promise("S1", "S4")

_NOBODY = 65534
DATA = os.urandom(3 << 20)
CONTENT = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


@pytest.fixture
def unprivileged():
    """A directory of a user whom file permissions bind; the test is that user."""
    with tempfile.TemporaryDirectory() as directory:
        was = os.geteuid()
        if was == 0:
            os.chown(directory, _NOBODY, _NOBODY)
            os.seteuid(_NOBODY)
        try:
            yield Path(directory)
        finally:
            os.seteuid(was)


def killed_before_its_name(layout: Layout) -> Path:
    """Leave what a writer leaves that is killed after it made the file read-only and before it named it."""
    layout.add_bytes(b"", "text/plain")
    path = layout.root / "ingest" / f"sha256-{CONTENT.digest.hex}"
    path.write_bytes(DATA)
    path.chmod(0o444)
    return path


def put(layout: Layout) -> None:
    layout.put(CONTENT, InMemory({CONTENT: DATA}), SILENT)


def test_content_that_was_read_only_when_its_writer_was_killed_is_gone_on_with(unprivileged):
    layout = Layout(unprivileged / "store")
    path = killed_before_its_name(layout)
    put(layout)
    assert not path.exists()
    assert layout.blob_path(CONTENT.digest).read_bytes() == DATA
    assert layout.blob_path(CONTENT.digest).stat().st_mode & 0o777 == 0o444


def test_content_that_was_read_only_when_its_writer_was_killed_is_pruned(unprivileged):
    layout = Layout(unprivileged / "store")
    path = killed_before_its_name(layout)
    assert prune(layout).partials == 1
    assert not path.exists()


def test_a_directory_that_takes_no_files_is_an_error(unprivileged):
    layout = Layout(unprivileged / "store")
    layout.add_bytes(b"", "text/plain")
    (layout.root / "ingest").chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        put(layout)


def test_content_that_cannot_even_be_read_is_begun_anew(unprivileged):
    layout = Layout(unprivileged / "store")
    path = killed_before_its_name(layout)
    path.chmod(0o000)
    put(layout)
    assert not path.exists()
    assert layout.blob_path(CONTENT.digest).read_bytes() == DATA


@pytest.mark.parametrize(
    "left",
    [b"", DATA[:1], DATA[: 1 << 20], DATA[:-1], DATA, DATA + b"x", b"wrong" + DATA[5:]],
    ids=["nothing", "one byte", "a part", "all but a byte", "all", "more", "something else"],
)
def test_whatever_was_left_the_content_is_right_in_the_end(tmp_path, left):
    layout = Layout(tmp_path / "store", Backoff(sleep=lambda seconds: None))
    killed_before_its_name(layout).chmod(0o600)
    (layout.root / "ingest" / f"sha256-{CONTENT.digest.hex}").write_bytes(left)
    put(layout)
    assert layout.blob_path(CONTENT.digest).read_bytes() == DATA
    assert not list(layout.partials())


def test_a_source_with_wrong_bytes_leaves_nothing_behind(tmp_path):
    layout = Layout(tmp_path / "store")
    with pytest.raises(VerificationError):
        layout.put(CONTENT, InMemory({CONTENT: b"wrong" + DATA[5:]}), SILENT)
    assert not layout.exists(CONTENT)
    assert not list(layout.partials())
