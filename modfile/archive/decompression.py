"""Streams that are compressed, read with a bounded amount of memory however hostile they are.

gzip as RFC 1952 has it: several members in a row are one stream (section 2.2). zstd as RFC 8878 has it: so are several
frames, and skippable ones (section 3.1.2) are passed over. Nothing else may follow.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Protocol

from ..errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store import Reader

COMPRESSIONS = ("", "gzip", "zstd")

MAX_FRAMES = 1 << 17
"""The most members or frames of one stream. One costs more to begin than its few bytes tell; tools that cut a stream
into blocks to compress them at the same time make them of 64 KiB and more."""

_INPUT = 1 << 16
"""Bytes that a decompressor gets at once. It copies what it has no use for yet: large pieces make small frames slow."""

_OUTPUT = 1 << 20
"""Bytes that a decompressor may give at once."""

_GZIP = 16 + zlib.MAX_WBITS
"""`zlib`'s name for the gzip format with the largest window, 32 KiB."""

_WINDOW_LOG = 27
"""The largest zstd window is 128 MiB, which is also what the zstd command line takes (its manual, `--memory`)."""


def decompressed(reader: Reader, compression: str) -> Reader:
    """Return a reader of what a stream is when it is not compressed: "" (it is not), "gzip" or "zstd".

    It reads the stream to its very end before it tells that it is at its own. Memory is a few MiB, and the window that
    a zstd frame asks for, at most 128 MiB. Reading raises `ContentError` where the stream is broken, cut off, or goes
    on with something else.

    Raises:
        ContentError: the compression is another one.
    """
    if not compression:
        return reader
    if compression == "gzip":
        return _Decompressed(reader, "gzip", _GzipMember, zlib.error)
    if compression == "zstd":
        return _zstd(reader)
    raise ContentError(f"the compression {compression[:40]!r} is not known; gzip and zstd are")


class _Frame(Protocol):
    """What decompresses one frame, as `compression.zstd.ZstdDecompressor` does."""

    @property
    def eof(self) -> bool:
        """Whether the frame's end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether there is no more to come of what was put in."""

    @property
    def unused_data(self) -> bytes:
        """What was put in beyond the frame's end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Put in bytes, none unless `needs_input`; return up to so many."""


class _GzipMember:
    """A gzip member as a `_Frame`; `zlib` compares its CRC and its length at the end."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inflate.decompress(self._inflate.unconsumed_tail or data, max_length)
        # A full piece may have left some behind in zlib, even if all that was put in is used up.
        self.needs_input = not self._inflate.unconsumed_tail and len(piece) < max_length
        return piece


def _zstd(reader: Reader) -> Reader:
    # Loaded only where it is needed: few artifacts hold such a layer.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
    return _Decompressed(reader, "zstd", lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError)


class _Decompressed:
    """Reads frame after frame, as a `Reader`."""

    def __init__(self, reader: Reader, name: str, new_frame: Callable[[], _Frame], broken: type[Exception]) -> None:
        self._reader = reader
        self._name = name
        self._new_frame = new_frame
        self._broken = broken
        self._frames = 0
        self._frame: _Frame | None = None
        self._input = b""
        self._output = memoryview(b"")

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        if not self._output:
            self._output = memoryview(self._next())
        count = min(len(buffer), len(self._output))
        buffer[:count] = self._output[:count]
        self._output = self._output[count:]
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_OUTPUT), b""))
        if not self._output:
            self._output = memoryview(self._next())
        piece = bytes(self._output[:size])
        self._output = self._output[size:]
        return piece

    def _next(self) -> bytes:
        """Return the next piece, none only at the end."""
        while frame := self._current():
            data = b""
            if frame.needs_input:
                if not self._has_input():
                    raise ContentError(f"the {self._name} data is cut off")
                data, self._input = self._input, b""
            try:
                piece = frame.decompress(data, _OUTPUT)
            except self._broken as error:
                reason = str(error).rpartition(": ")[2]
                raise ContentError(f"the {self._name} data is broken: {reason}") from None
            if frame.eof:
                self._input = frame.unused_data
            if piece:
                return piece
        return b""

    def _current(self) -> _Frame | None:
        """Return the frame under way, or begin the next one if anything comes after the last."""
        if self._frame and (not self._frame.eof or not self._has_input()):
            return None if self._frame.eof else self._frame
        if self._frames == MAX_FRAMES:
            raise ContentError(f"the {self._name} data is in more than {MAX_FRAMES:,} pieces")
        self._frames += 1
        self._frame = self._new_frame()
        return self._frame

    def _has_input(self) -> bool:
        if not self._input:
            self._input = self._reader.read(_INPUT)
        return bool(self._input)
