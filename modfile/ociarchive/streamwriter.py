"""Writing an OCI archive into a pipe: from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..content import Digest
from ..errors import StoreError
from ..pipeline import pump
from ..progress import SILENT, Outcome
from ..store import verify
from .headers import BLOCK

if TYPE_CHECKING:
    from ..progress import Meter
    from ..store import Source
    from .tarplan import Slot, TarPlan


class Output(Protocol):
    """What bytes go into, as `io.RawIOBase` has it; what holds bytes back is the caller's to flush."""

    def write(self, data: memoryview, /) -> int | None:
        """Write bytes; return how many were taken, None if it would have to wait and does not."""


class ArchiveStream:
    """Writes an archive in order: `begin`, every slot of the plan, `end`.

    One that fails in between has no end, so that no reader takes what came of it for an archive.
    """

    def __init__(self, output: Output, plan: TarPlan) -> None:
        self._output = output
        self._plan = plan
        self.position = 0

    def begin(self) -> None:
        """Write what comes before the blobs.

        Raises:
            StoreError: the output does not take it.
        """
        self.write(memoryview(self._plan.head))

    def put(self, slot: Slot, source: Source, meter: Meter = SILENT) -> Outcome:
        """Write the next slot's content from a source, verified as it passes.

        Raises:
            VerificationError: the source's bytes are not what the descriptor says.
            StoreError: the output does not take it.
        """
        content, hasher = slot.content, slot.content.digest.hasher()
        self.write(memoryview(slot.header))
        with source.open(content) as stream:
            came = pump(stream, hasher, self, content.size, meter.advance)
        verify(content, came, Digest(content.digest.algorithm, hasher.hexdigest()))
        self.write(memoryview(bytes(-content.size % BLOCK)))
        return Outcome.MOVED

    def end(self) -> None:
        """Write what ends an archive.

        Raises:
            StoreError: the output does not take it.
        """
        self.write(memoryview(bytes(self._plan.size - self.position)))

    def write(self, data: memoryview) -> None:
        """Write all of the data.

        Raises:
            StoreError: the output does not take it.
        """
        while data:
            try:
                count = self._output.write(data)
            except OSError as error:
                raise StoreError(f"the archive cannot be written: {error.strerror or error}") from error
            if count is None:
                raise StoreError("the archive cannot be written: what it goes to does not wait (O_NONBLOCK)")
            self.position += count
            data = data[count:]
