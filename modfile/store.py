"""Places that hold content: what a `Source` can do, what an `Inventory` and a `Store` can do more."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .errors import ContentError, NotFoundError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from .content import Descriptor, Digest
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


@runtime_checkable
class Distant(Source, Protocol):
    """A source whose bytes cost too much to be read once more only to be hashed.

    Where an upload of an earlier process is gone on with, it is the registry that compares the digest then.
    """

    @property
    def is_distant(self) -> bool:
        """Whether that is so."""


class Ranged(Source, Protocol):
    """A source that can be told where to stop, so that a piece of content costs no more than that."""

    def open(self, content: Descriptor, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reader]:
        """Open content at byte `start`; with `stop`, no byte from there on is asked for.

        Raises:
            NotFoundError: the content is not here.
        """


class Inventory(Source, Protocol):
    """A source that can tell what it has."""

    def exists(self, content: Descriptor) -> bool:
        """Tell whether the content is here, in the size that the descriptor says."""


class Store(Inventory, Protocol):
    """A place to write content to as well. What exists in it was whole and verified when it came."""

    def put(self, content: Descriptor, source: Source, meter: Meter) -> Outcome:
        """Bring content here from a source, verified. The target decides where a transfer goes on.

        Raises:
            VerificationError: the source's bytes are not what the descriptor says; nothing is kept.
        """

    def tag(self, content: Descriptor, reference: Reference) -> None:
        """Let the reference's tag point at content, a manifest that is here."""


@runtime_checkable
class Adding(Store, Protocol):
    """A store that finds out the digest of what it takes; others have to be told it before."""

    def add(self, reader: Reader, size: int | None, advance: Callable[[int], None] = ...) -> Digest:
        """Take content whose digest is not known yet, of `size` bytes or of all that come; return its sha256.

        Raises:
            VerificationError: more or fewer bytes came.
        """


@runtime_checkable
class Streaming(Store, Protocol):
    """A store that is told a digest only when all of the content has been sent."""

    def stream(self, source: Source, size: int, meter: Meter) -> Digest:
        """Take content of `size` bytes whose digest is not known yet; return its sha256.

        The source gives its bytes whatever content it is asked for; it is opened again where the transfer has to go on.

        Raises:
            VerificationError: more or fewer bytes came; nothing is kept.
        """


class BytesReader:
    """Bytes at hand as a `Reader`."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._left = memoryview(data)[start:]

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        piece = bytes(self._left if size < 0 else self._left[:size])
        self._left = self._left[len(piece) :]
        return piece


class Nameless:
    """What a `Source` is that has content, but no names for it."""

    def resolve(self, reference: Reference) -> Descriptor:
        """Know no references.

        Raises:
            NotFoundError: always.
        """
        raise NotFoundError(f"{reference} is not here")


class InMemory(Nameless):
    """A `Source` of bytes at hand."""

    def __init__(self, contents: dict[Descriptor, bytes]) -> None:
        self._contents = {content.digest: data for content, data in contents.items()}

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it is not here.
        """
        if content.digest not in self._contents:
            raise NotFoundError(f"{content.digest} is not here")
        yield BytesReader(self._contents[content.digest], start)


class Pinned:
    """An `Inventory` in which every reference is that of one artifact: for places whose names are other texts."""

    def __init__(self, inventory: Inventory, content: Descriptor) -> None:
        self._inventory = inventory
        self._content = content

    def resolve(self, reference: Reference) -> Descriptor:
        """Return the artifact's manifest."""
        return self._content

    def open(self, content: Descriptor, start: int = 0) -> AbstractContextManager[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: it is not here.
        """
        return self._inventory.open(content, start)

    def exists(self, content: Descriptor) -> bool:
        """Tell whether the content is here, in the size that the descriptor says."""
        return self._inventory.exists(content)


class Combined:
    """Several sources as one: content is taken from the first that has it; the last knows the names."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what the last source says that a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        return self._sources[-1].resolve(reference)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open content at byte `start`.

        Raises:
            NotFoundError: no source has it.
        """
        with ExitStack() as stack:
            for source in self._sources[:-1]:
                try:
                    reader = stack.enter_context(source.open(content, start))
                except (NotFoundError, VerificationError):  # it is not there, or not whole
                    continue
                break
            else:
                reader = stack.enter_context(self._sources[-1].open(content, start))
            yield reader


def read(source: Source, content: Descriptor, limit: int) -> bytes:
    """Return small content, verified.

    Raises:
        ContentError: it is larger than `limit` bytes.
        VerificationError: its bytes are not what the descriptor says.
    """
    if content.size > limit:
        raise ContentError(
            f"{content.digest} has {content.size:,} bytes, more than the {limit:,} allowed for {content.media_type}"
        )
    pieces, left = [], content.size + 1
    with source.open(content) as stream:
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
        came = "more came" if size > content.size else f"only {size:,} came"
        raise VerificationError(f"{content.digest} is said to have {content.size:,} bytes, but {came}")
    if digest != content.digest:
        raise VerificationError(f"content that should be {content.digest} is {digest}")
