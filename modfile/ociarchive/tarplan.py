"""What an OCI archive will be, byte for byte, but for the blobs' bytes: known before any of them is read."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import strictjson
from ..content import NO_ANNOTATIONS
from ..layout.index import REF_NAME
from ..manifest import OCI_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..artifact import Artifact
    from ..content import Descriptor, Digest

_BLOCK = 512
_END = 2 * _BLOCK
"""Two blocks of zeros end an archive; more, as Python and GNU tar write, are of no use (POSIX.1-2017, `pax`)."""
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a blob goes: its header at `start`, its bytes at `body`."""

    content: Descriptor
    header: bytes
    start: int

    @property
    def body(self) -> int:
        """The offset of the first byte."""
        return self.start + len(self.header)


class TarPlan:
    """An archive of artifacts: `oci-layout` and `index.json` first, then every blob once, sorted by its name.

    The same artifacts give the same archive: there are no times, no owners, no order of arrival in it.

    Args:
        artifacts: what the index names; what has no name is just listed.
        contents: all content that goes in.

    Attributes:
        head: the archive's first bytes, up to the first blob's header.
        slots: the blobs, in the order of the archive.
        size: the archive's, in bytes.
    """

    def __init__(self, artifacts: Iterable[Artifact], contents: Iterable[Descriptor]) -> None:
        version = strictjson.dump({"imageLayoutVersion": "1.0.0"})
        self.head = _member("oci-layout", version) + _member("index.json", _index(tuple(artifacts)))
        once = {content.digest: content for content in contents}
        slots, at = [], len(self.head)
        for digest, content in sorted(once.items()):
            slot = Slot(content, _header(f"blobs/{digest.algorithm}/{digest.hex}", content.size), at)
            slots.append(slot)
            at = slot.body + content.size + _padding(content.size)
        self.slots = tuple(slots)
        self.size = at + _END
        self._by_digest: dict[Digest, Slot] = {slot.content.digest: slot for slot in slots}

    def slot(self, content: Descriptor) -> Slot:
        """Return where content goes, which is one of the plan's."""
        return self._by_digest[content.digest]


def _index(artifacts: Sequence[Artifact]) -> bytes:
    """Write the index: named artifacts sorted by name, then those that only are there."""
    named = {artifact.name: artifact.content for artifact in artifacts if artifact.name is not None}
    have = {content.digest for content in named.values()}
    listed = {a.content.digest: a.content for a in artifacts if a.name is None and a.content.digest not in have}
    entries = [_plain(content) | {"annotations": {REF_NAME: name}} for name, content in sorted(named.items())]
    entries += [_plain(content) for _, content in sorted(listed.items())]
    return strictjson.dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _plain(content: Descriptor) -> dict[str, object]:
    """Return a descriptor without what depends on where it was read."""
    return replace(content, annotations=NO_ANNOTATIONS, artifact_type=None).to_json()


def _member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(_padding(len(data)))


def _header(name: str, size: int) -> bytes:
    """Return a file's header: ustar, with a pax header before it where the size or the name is too long for that."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, _MODE
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _padding(size: int) -> int:
    return -size % _BLOCK
