"""From where a model comes from to a directory."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from ..destination import Destination
from ..importing.failures import Failures
from ..importing.source import FileSource, content_of
from ..modelpack import DEFAULT_MODE, FileMetadata
from ..origins.reader import IntoReader
from ..progress import Outcome
from ..store import Combined
from ..workers import StoppableMeter, run_all
from .copy import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from ..backoff import Backoff
    from ..content import Digest
    from ..origins.origin import Origin, OriginFile
    from ..progress import Meter, Progress
    from ..store import Reader


def download(
    origin: Origin,
    files: Sequence[OriginFile],
    directory: Path,
    backoff: Backoff,
    progress: Progress,
    concurrency: int,
) -> Tally:
    """Bring files of a model into a directory, each verified where the origin tells its digest.

    The directory is as it was until all files are there; then it has them, beside what it had. Files that are right
    already are left alone. What an interrupted download brought of a file whose digest is known stays beside the
    directory, and the same download goes on with it. The files' times are 1970, so that they say nothing of when.

    Args:
        origin: the model.
        files: of the origin's listing; their paths have been checked.
        directory: made if it is not there.
        backoff: how often to open a stream that breaks off, and after what pauses.
        progress: is told of each file.
        concurrency: files at once.

    Returns:
        What moved, and what was there.

    Raises:
        NotFoundError, AccessDeniedError, OriginError: the origin refused a file, or failed.
        VerificationError: a file is not what the origin said.
        ConnectionLostError: the way to the origin keeps breaking off.
        DestinationError: the directory cannot be written.
    """
    note = progress.start(directory.name, 0).note
    with Destination(directory, backoff, note=note) as destination:
        work = _Download(origin, destination, backoff, progress)
        destination.require(content_of(file) for file in files)
        # Content that several files have comes once; the others get it from the first.
        originals = {file.digest or file.path: file for file in sorted(files, key=lambda file: file.size)}
        first = sorted(originals.values(), key=lambda file: -file.size)
        taken = {file.path for file in first}
        run_all(first, work.bring, concurrency)
        run_all([file for file in files if file.path not in taken], work.bring, concurrency)
        destination.publish()
    return work.tally


class _Download:
    """One download under way."""

    def __init__(self, origin: Origin, destination: Destination, backoff: Backoff, progress: Progress) -> None:
        self._origin = origin
        self._destination = destination
        self._backoff = backoff
        self._progress = progress
        self._failures = Failures(keep_going=False)
        self._lock = Lock()
        self.tally = Tally()

    def bring(self, file: OriginFile, stop: Event) -> None:
        """Bring a file, unless it is right already."""
        meter = StoppableMeter(self._progress.start(file.path, file.size), stop)
        bring = self._unknown if file.digest is None else self._known
        brought = self._failures.attempt(file.path, lambda: bring(file, meter))
        if brought is not None:
            digest, outcome = brought
            meter.finish(outcome)
            with self._lock:
                self.tally.add(digest, file.size, outcome, meter.resumed)

    def _known(self, file: OriginFile, meter: Meter) -> tuple[Digest, Outcome]:
        content, metadata = content_of(file), _metadata(file)
        if self._destination.holds(file.path, content, metadata, meter):
            return content.digest, Outcome.SKIPPED
        # What is staged opens a broken stream again by itself.
        origin = FileSource(self._origin, file, replace(self._backoff, attempts=1), meter.note)
        source = Combined((self._destination, origin))
        return content.digest, self._destination.stage(file.path, content, source, metadata, meter)

    def _unknown(self, file: OriginFile, meter: Meter) -> tuple[Digest, Outcome]:
        """Bring a file whose digest is known only then: it begins anew in each download."""
        source = FileSource(self._origin, file, self._backoff, meter.note)
        with source.open(content_of(file)) as reader:
            staged = self._destination.stage_stream(_Metered(reader, meter), _metadata(file))
        content = replace(content_of(file), digest=staged.digest)
        if self._destination.holds(file.path, content, _metadata(file)):
            return staged.digest, Outcome.SKIPPED
        self._destination.place(file.path, staged)
        return staged.digest, Outcome.MOVED


class _Metered(IntoReader):
    """A `Reader` that tells a meter of what is read."""

    def __init__(self, reader: Reader, meter: Meter) -> None:
        self._reader = reader
        self._meter = meter

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        count = self._reader.readinto(buffer)
        self._meter.advance(count)
        return count


def _metadata(file: OriginFile) -> FileMetadata:
    return FileMetadata(file.path.rpartition("/")[2], DEFAULT_MODE, 0, 0, file.size, 0)
