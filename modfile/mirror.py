"""Mirrors: registries that have what another registry has, nearer by, or fetch it from there when they are asked."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from .errors import (
    AccessDeniedError,
    ContentError,
    InvalidReferenceError,
    ModfileError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
)
from .manifest import is_manifest
from .reference import Reference
from .registry.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from .content import Descriptor, Digest
    from .store import Ranged, Reader, Source

_PLAIN_HTTP = {"http": True, "https": False, "": None}
# What the registry itself may know better; wrong usage and the disk's errors are the same there.
_FAILURES = (NotFoundError, AccessDeniedError, RegistryError, VerificationError, ContentError)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a mirror is. The constructor trusts; `parse` validates.

    Attributes:
        host: with an optional port.
        plain_http: speak HTTP instead of HTTPS; None where that is not said.
        prefix: what stands before the names that repositories have in the registry itself; empty for nothing.
    """

    host: str
    plain_http: bool | None = None
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Mirror:
        """Read `host[:port][/prefix]`, with `http://` or `https://` before it or not.

        Raises:
            UsageError: it is none.
        """
        scheme, slashes, rest = text.rpartition("://")
        host, _, prefix = rest.rstrip("/").partition("/")
        if "@" in text:
            raise UsageError("the URL of a mirror has no user name and password; log in with `modfile login` instead")
        known = scheme in _PLAIN_HTTP and bool(scheme) == bool(slashes)
        try:
            name = Reference.parse(f"{host if ':' in host else host + ':443'}/{prefix + '/' if prefix else ''}name")
        except InvalidReferenceError:
            name = None
        if name is None or name.tag != "latest" or not known:
            raise UsageError(f"{text!r} is not a mirror; expected host:port or https://host[:port][/prefix]")
        return cls(host, _PLAIN_HTTP[scheme], prefix)

    def reference(self, origin: Reference) -> Reference:
        """Return what a registry's reference is called in the mirror."""
        name = Endpoint.of(origin.host or "").name(origin.repository)
        return Reference(self.host, f"{self.prefix}/{name}" if self.prefix else name, origin.tag, origin.digest)


class MirroredSource:
    """A `Source` that asks a mirror first, and the registry itself for what the mirror lacks or fails at.

    A mirror that failed is not asked again, and a stream that breaks off there goes on from the registry. What a tag
    points at is the mirror's word; blobs are what the manifest says, wherever they come from. For use by many threads
    at once.

    Args:
        mirror: the repository in the mirror.
        origin: the repository in the registry itself.
        rename: gives what a reference is called in the mirror.
        note: is told where content comes from, and when that changes.
    """

    def __init__(
        self,
        mirror: Source,
        origin: Source,
        rename: Callable[[Reference], Reference],
        note: Callable[[str], None],
    ) -> None:
        self._mirror = mirror
        self._origin = origin
        self._rename = rename
        self._note = note
        self._usable = True
        self._given: set[Digest] = set()

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference points at: in the mirror, or in the registry if the mirror does not say.

        Raises:
            NotFoundError: there is nothing of that name in the registry.
        """
        if self._usable:
            try:
                content = self._mirror.resolve(self._rename(reference))
            except _FAILURES as error:
                self._give_up(error)
            else:
                self._note(f"{reference} comes from the mirror {self._mirror}")
                return content
        return self._origin.resolve(reference)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0, stop: int | None = None) -> Iterator[Reader]:
        """Open content at byte `start`; with `stop`, no byte from there on is asked for.

        Raises:
            NotFoundError: neither the mirror nor the registry has it.
        """
        with ExitStack() as stack:
            stream = self._open_in_mirror(content, start, stop, stack)
            yield stream or stack.enter_context(_open(self._origin, content, start, stop))

    def _open_in_mirror(self, content: Descriptor, start: int, stop: int | None, stack: ExitStack) -> Reader | None:
        # Who asks again for a blob may have got the wrong bytes the first time.
        if not self._usable or content.digest in self._given:
            return None
        try:
            stream = stack.enter_context(_open(self._mirror, content, start, stop))
        except NotFoundError:
            return None
        except _FAILURES as error:
            self._give_up(error)
            return None
        if not is_manifest(content.media_type) and stop is None:
            self._given.add(content.digest)

        def go_on(position: int, error: ModfileError) -> Reader:
            self._give_up(error)
            return stack.enter_context(_open(self._origin, content, position, stop))

        return _SwitchingReader(stream, start, go_on)

    def _give_up(self, error: ModfileError) -> None:
        if self._usable:
            self._usable = False
            self._note(f"the mirror {self._mirror} is passed over: {error}")


def _open(source: Source, content: Descriptor, start: int, stop: int | None) -> AbstractContextManager[Reader]:
    return source.open(content, start) if stop is None else cast("Ranged", source).open(content, start, stop)


class _SwitchingReader:
    """Reads one stream and, where that breaks off, goes on with another."""

    def __init__(self, stream: Reader, start: int, go_on: Callable[[int, ModfileError], Reader]) -> None:
        self._stream = stream
        self._position = start
        self._go_on: Callable[[int, ModfileError], Reader] | None = go_on

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative, `b""` at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 18), b""))
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        try:
            count = self._stream.readinto(buffer)
        except _FAILURES as error:
            go_on, self._go_on = self._go_on, None
            if go_on is None:
                raise
            self._stream = go_on(self._position, error)
            count = self._stream.readinto(buffer)
        self._position += count
        return count
