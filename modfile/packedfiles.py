"""The files of a packed layer, for those who have to know their digests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .content import Descriptor, Digest
from .listing import ListedFile
from .pipeline import pump
from .plan import PlannedFile
from .progress import SILENT, Outcome
from .unpack import MOST, named, unpack
from .workers import StoppableMeter

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from .modelpack import Layer
    from .progress import Progress
    from .store import Source


def read_through(layer: Layer, source: Source, advance: Callable[[int], None] = SILENT.advance) -> list[ListedFile]:
    """Return a packed layer's files, hashed; the layer is verified on the way. Nothing is written.

    `advance` is told of the layer's bytes as they are read.

    Raises:
        ContentError: it is no tar, or not what it says that it holds.
        NotFoundError, VerificationError: the source lacks it, or its bytes are not what its digest says.
    """
    files = []
    with named(layer), source.open(layer.content) as packed:
        for path, metadata, reader in unpack(layer, packed, MOST, advance):
            hasher = hashlib.sha256()
            pump(reader, hasher, None, metadata.size, SILENT.advance)
            content = Descriptor(layer.content.media_type, Digest("sha256", hasher.hexdigest()), metadata.size)
            files.append(ListedFile(path, content, metadata))
    return files


def planned(layer: Layer, source: Source, progress: Progress, stop: Event) -> list[PlannedFile]:
    """Return a packed layer's files for a plan, as `read_through` finds them, as one piece of the work of many."""
    meter = StoppableMeter(progress.start(layer.path or layer.content.digest.short, layer.content.size), stop)
    files = read_through(layer, source, meter.advance)
    meter.finish(Outcome.SKIPPED)
    return [PlannedFile(file.path, file.content, file.metadata, layer) for file in files]
