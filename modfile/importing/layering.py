"""Files of an origin as layers: as they are, or in tars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import VerificationError
from ..layerformat import LayerFormat
from ..layermaker import Made, made_of
from ..modelpack import DEFAULT_MODE, FileMetadata, raw_layer
from ..tarpacker import Member, member_below
from .bringing import Counted
from .source import content_of
from .tars import Part, TarSender

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..grouping import Group
    from ..kind import Kind
    from ..origins.origin import OriginFile
    from ..progress import Meter
    from ..store import Reader
    from .bringing import Bringer


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file that is brought, with its digest, and as what."""

    file: OriginFile
    kind: Kind


class Layering:
    """Makes layers, and brings them into the store that `bringer` and `sender` bring to.

    Times, owners and modes are the same whoever imports a model.
    """

    def __init__(self, bringer: Bringer, sender: TarSender, prefix: str = "") -> None:
        """Make layers as they are, or with a `prefix` tars that have the files in that directory."""
        self._bringer = bringer
        self._sender = sender
        self._prefix = prefix

    def make(self, group: Group[Chosen], meter: Meter) -> Made:
        """Bring a group's files as one layer.

        Raises:
            ModfileError: as `Bringer.bring`.
        """
        if len(group.files) == 1 and not self._prefix:
            file = group.files[0].file
            outcome = self._bringer.bring(file, meter)
            content = content_of(file)
            return Made(raw_layer(group.kind, file.path, content.digest, _metadata(file)), content.digest, outcome)
        parts = [self._part(chosen.file, meter) for chosen in group.files]
        counted = Counted(meter)
        try:
            packed, outcome = self._sender.send(parts, counted)
        except VerificationError as error:
            if not any(self._bringer.distrust(chosen.file, error) for chosen in group.files):
                raise
            counted.undo()
            return self.make(group, meter)
        return made_of(group.kind, [part.member for part in parts], LayerFormat.TAR, packed, outcome)

    def _part(self, file: OriginFile, meter: Meter) -> Part:
        def opened(start: int = 0) -> AbstractContextManager[Reader]:
            return self._bringer.open(file, meter, start)

        member = Member(file.path, _metadata(file), opened, digest=file.digest)
        member = member_below(self._prefix, member) if self._prefix else member
        return Part(member, content_of(file).digest, opened)


def _metadata(file: OriginFile) -> FileMetadata:
    return FileMetadata(file.path.rpartition("/")[2], DEFAULT_MODE, 0, 0, file.size, 0)
