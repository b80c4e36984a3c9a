"""Places that hold content, and `copy()`, which every push, pull, save, load and mirror is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .content import Descriptor, Digest
from .errors import ContentError, VerificationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .progress import Meter, Outcome
    from .reference import Reference


class Reader(Protocol):
    """A stream of bytes, as `io.RawIOBase` has it; may give fewer bytes than asked for, none only at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative, `b""` at the end."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""


class Source(Protocol):
    """A place to read content from."""

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        """Open content at byte `start`. What is read is not verified: the reader does that.

        Raises:
            NotFoundError: the content is not here.
        """


class Store(Source, Protocol):
    """A place to write content to as well."""

    def exists(self, content: Descriptor) -> bool:
        """Tell whether the content is here, whole and verified when it came."""

    def put(self, content: Descriptor, source: Source, meter: Meter) -> Outcome:
        """Bring content here from a source, verified. The target decides where a transfer goes on.

        Raises:
            VerificationError: the source's bytes are not what the descriptor says; nothing is kept.
        """

    def tag(self, content: Descriptor, reference: Reference) -> None:
        """Let the reference's tag point at content, a manifest that is here."""


def read(source: Source, content: Descriptor, limit: int) -> bytes:
    """Return small content, verified.

    Raises:
        ContentError: it is larger than `limit` bytes.
        VerificationError: its bytes are not what the descriptor says.
    """
    if content.size > limit:
        raise ContentError(f"{content.digest} is {content.size} bytes large, more than the {limit} allowed for {content.media_type}")
    with source.open(content) as stream:
        pieces, left = [], content.size + 1
        while left > 0 and (piece := stream.read(left)):
            pieces.append(piece)
            left -= len(piece)
    data = b"".join(pieces)
    verify(content, len(data), content.digest.again(data))
    return data


def verify(content: Descriptor, size: int, digest: Digest) -> None:
    """Compare what came with what was said.

    Raises:
        VerificationError: the size or the digest differs.
    """
    if size != content.size:
        raise VerificationError(f"{content.digest} is said to be {content.size} bytes large, but {'more came' if size > content.size else f'only {size} came'}")
    if digest != content.digest:
        raise VerificationError(f"content that should be {content.digest} is {digest}")
