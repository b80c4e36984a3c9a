"""Where a model comes from: what an `Origin` can do, and what it lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..content import MAX_SIZE, Digest
from ..errors import ContentError
from ..paths import check_plan, shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from ..store import Reader

MAX_FILES = 100_000
"""The most files of one model that a listing may name."""


@dataclass(frozen=True, slots=True)
class OriginFile:
    """A file of a model where it comes from.

    Attributes:
        path: relative, with `/` between its segments.
        size: in bytes.
        digest: the sha256 of its bytes where the origin knows it; None where it is known once they were read.
    """

    path: str
    size: int
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What an origin says of a model. The constructor trusts; `checked` validates.

    Attributes:
        files: sorted by path.
        url: of the model, without credentials; what an artifact says as its source.
        revision: the commit or the version; empty where the origin has none.
        name: what the model may be called, the last segment of its own.
        licenses: as the origin names them.
        base_models: what the model was made from, as the origin names it.
    """

    files: tuple[OriginFile, ...]
    url: str
    revision: str
    name: str
    licenses: tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()


class Origin(Protocol):
    """A model in some place, whose files can be listed and read."""

    def listing(self) -> Listing:
        """Ask for the files, once; later calls give the same answer.

        Raises:
            NotFoundError: there is no such model or revision.
            AccessDeniedError: it is not public, or gated, and the credentials do not open it.
            ContentError: what the origin answers is not a list of files that could be written below a directory.
            OriginError: the origin, or the way to it, failed.
        """

    def open(self, file: OriginFile, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reader]:
        """Open a file of the listing at byte `start`; with `stop`, no byte from there on is asked for.

        What is read is not verified against the digest: the reader does that. Each call may be on a thread of its own.

        Raises:
            NotFoundError: the file is not there.
            AccessDeniedError: the credentials do not open it.
            VerificationError: it is another file, or of another size, than the listing or an earlier call said.
            ConnectionLostError: from the stream: it broke off; opening it again where it broke may help.
            OriginError: the origin, or the way to it, failed.
        """


def checked(files: Iterable[tuple[object, object, object]]) -> tuple[OriginFile, ...]:
    """Return the files that an origin lists: for each its path, its size and its sha256 in hexadecimal or None.

    Raises:
        ContentError: there are none, or too many; a path cannot be written below a directory or stands in the way of
            another; a size or a digest is none.
    """
    found: list[OriginFile] = []
    for path, size, encoded in files:
        if len(found) == MAX_FILES:
            raise ContentError(f"the model has more than the {MAX_FILES:,} files that are read; choose a smaller one")
        found.append(_file(path, size, encoded))
    if not found:
        raise ContentError("the model has no files")
    check_plan(file.path for file in found)
    return tuple(sorted(found, key=lambda file: file.path))


def _file(path: object, size: object, encoded: object) -> OriginFile:
    if not isinstance(path, str):
        raise ContentError("a file has no path")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
        raise ContentError(f"the size of {shown(path)} is not a number of bytes: {shown(str(size))}")
    try:
        digest = None if encoded is None else Digest.parse(f"sha256:{encoded}")
    except ContentError as error:
        raise ContentError(f"the sha256 of {shown(path)}: {error}") from None
    return OriginFile(path, size, digest)
