"""Layers made of files, in any format, on their way into a store."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import VerificationError
from .layerformat import LayerFormat
from .listing import ANNOTATION, MAX_LISTING, to_text
from .modelpack import PREFIX_ANNOTATION, file_annotations, tar_layer
from .packer import Packer, changed
from .pipeline import FileReader
from .store import Combined, Nameless
from .tarpacker import Member, TarPacker, member_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .content import Descriptor, Digest
    from .digestcache import DigestCache
    from .kind import Kind
    from .modelpack import Layer
    from .packer import Stamp
    from .progress import Meter, Outcome
    from .store import Reader, Store
    from .tarpacker import PackedTar
    from .workspace import Workspace, WorkspaceFile


@dataclass(frozen=True, slots=True)
class Made:
    """A layer that is in the store: its descriptor, the digest of its content not compressed, how it came there."""

    layer: Descriptor
    diff_id: Digest
    outcome: Outcome


class LayerMaker(Nameless):
    """Makes layers of a context's files, and brings them into a store. It is the `Source` of what it made.

    To be used in a `with` block.

    Attributes:
        prefix: the directory of the tars that files are put in, for layers that are a container image's too; all are
            plain tars then. Empty for their top.
    """

    def __init__(
        self,
        workspace: Workspace,
        target: Store,
        stamp: Stamp,
        cache: DigestCache | None,
        spool: Path | None,
        prefix: str = "",
    ) -> None:
        """Prepare; `spool` is a directory for what is compressed and has to wait until a registry takes it."""
        self.prefix = prefix
        self._workspace = workspace
        self._stamp = stamp
        self._raw = Packer(workspace, target, cache)
        self._tars = TarPacker(target, stamp.tar_mtime, cache, spool)

    def __enter__(self) -> LayerMaker:
        return self

    def __exit__(self, *error: object) -> None:
        self._tars.__exit__(*error)

    def make(self, kind: Kind, files: Sequence[tuple[WorkspaceFile, str]], form: LayerFormat, meter: Meter) -> Made:
        """Bring files, each under a path of the artifact's, into the store as one layer.

        Several files are in a tar, whatever the format.

        Raises:
            WorkspaceError: a file cannot be read, or changes meanwhile.
            UsageError: it is to be compressed for a registry, and there is no directory for it.
        """
        if form is LayerFormat.RAW and len(files) == 1 and not self.prefix:
            ((file, path),) = files
            digest, outcome = self._raw.pack(file, meter)
            return Made(self._stamp.layer(file, path, kind, digest), digest, outcome)
        members = [self._member(file, path) for file, path in files]
        return self.pack(kind, members, form.packing, meter)

    def pack(self, kind: Kind, members: Sequence[Member], form: LayerFormat, meter: Meter) -> Made:
        """Bring members into the store as one layer in a tar format; otherwise as `make`."""
        if self.prefix:
            form, members = LayerFormat.TAR, [member_below(self.prefix, member) for member in members]
        packed, outcome = self._tars.pack(members, form, meter)
        return made_of(kind, members, form, packed, outcome)

    def takes(self, layer: Layer) -> bool:
        """Tell whether a layer that was made before can stand beside those that are made here."""
        return not self.prefix or (layer.format, layer.prefix) == (LayerFormat.TAR, self.prefix)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open a layer that was made, by its digest, at byte `start`.

        Raises:
            NotFoundError: no such layer was made.
            WorkspaceError: a file of it changed since.
        """
        with Combined((self._tars, self._raw)).open(content, start) as reader:
            yield reader

    def _member(self, file: WorkspaceFile, path: str) -> Member:
        def opened() -> AbstractContextManager[Reader]:
            return self._opened(file)

        return Member(path, self._stamp.metadata(file, path), opened, file.status)

    @contextmanager
    def _opened(self, file: WorkspaceFile) -> Iterator[Reader]:
        try:
            with self._workspace.open(file) as fd:
                yield FileReader(fd)
        except VerificationError:
            raise changed(file.path) from None


def made_of(kind: Kind, members: Sequence[Member], form: LayerFormat, packed: PackedTar, outcome: Outcome) -> Made:
    """Return the layer that members are which were packed in a tar format."""
    annotations = {ANNOTATION: to_text(packed.files)}
    if members[0].prefix:
        annotations[PREFIX_ANNOTATION] = members[0].prefix
    if len(members) == 1:
        annotations |= file_annotations(members[0].path, members[0].metadata)
    layer = tar_layer(kind, form, packed.layer.digest, packed.layer.size, annotations)
    return Made(layer, packed.layer.diff_id, outcome)


def within_bounds(layers: Sequence[Descriptor]) -> tuple[list[Descriptor], int]:
    """Take the longest lists of files away where all of them would be more than a manifest can hold.

    Returns:
        The layers, and how many lost their list.
    """
    lengths = {at: len(layer.annotations.get(ANNOTATION, "").encode()) for at, layer in enumerate(layers)}
    total, kept, lost = sum(lengths.values()), list(layers), 0
    for at in sorted(lengths, key=lambda at: -lengths[at]):
        if total <= MAX_LISTING:
            break
        annotations = {key: value for key, value in kept[at].annotations.items() if key != ANNOTATION}
        kept[at] = replace(kept[at], annotations=annotations)
        total -= lengths[at]
        lost += 1
    return kept, lost
