"""Which files a layer packs, told in the manifest: an annotation of our own, for those who have not got the layer.

`dev.modfile.files+json` on a layer in a tar format is `{"files": [...]}`, one object for each file in the order of the
tar: `path`, `size` in bytes, `sha256` of its bytes, `mode` if it is not 0644, `mtime` (RFC 3339) if it is not 1970, and
`offset`, where its bytes begin, if the tar is not compressed. Programs that do not know it lose nothing: the tar says
it all. It is never believed: what is unpacked is compared with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from . import strictjson
from .content import MAX_SIZE, Descriptor, Digest
from .errors import ContentError
from .manifest import MAX_LAYERS
from .modelpack import DEFAULT_MODE, FileMetadata, format_time_ns, parse_time_ns
from .paths import check_path, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .modelpack import Layer

ANNOTATION = "dev.modfile.files+json"
MAX_LISTING = 2 << 20
"""The most bytes of listings in one manifest, which itself may have 4 MiB."""

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a packed layer: its metadata, and `content`, which names its bytes by the layer's type.

    `offset` is where in the layer they begin, None if it is compressed.
    """

    path: str
    content: Descriptor
    metadata: FileMetadata
    offset: int | None = None


def listing_of(layer: Layer) -> tuple[ListedFile, ...] | None:
    """Return the files that a layer says it packs; None if it says nothing, or is no tar.

    Raises:
        ContentError: the listing is broken, or contradicts what else the layer says.
    """
    text = layer.content.annotations.get(ANNOTATION) if layer.is_packed else None
    if text is None:
        return None
    try:
        files = _parse(text, layer.content, plain=layer.format == "tar")
        if layer.metadata and [(file.path, file.content.size) for file in files] != [(layer.path, layer.metadata.size)]:
            raise ContentError("it is not the one file that the layer says it is")
    except ContentError as error:
        raise ContentError(f"layer {layer.content.digest.short}: list of files: {error}") from None
    return files


def to_text(files: Sequence[ListedFile]) -> str:
    """Write the annotation's value."""
    return strictjson.dump({"files": [_say(file) for file in files]}).decode()


def _say(file: ListedFile) -> dict[str, Any]:
    value: dict[str, Any] = {"path": file.path, "size": file.content.size, "sha256": file.content.digest.hex}
    if file.metadata.mode != DEFAULT_MODE:
        value["mode"] = file.metadata.mode
    if file.metadata.mtime_ns:
        value["mtime"] = format_time_ns(file.metadata.mtime_ns)
    if file.offset is not None:
        value["offset"] = file.offset
    return value


def _parse(text: str, layer: Descriptor, *, plain: bool) -> tuple[ListedFile, ...]:
    data = text.encode(errors="surrogatepass")
    if len(data) > MAX_LISTING:
        raise ContentError(f"it has {len(data):,} bytes, more than the {MAX_LISTING:,} that are read")
    said = strictjson.parse_object(data, "it").get("files")
    if not isinstance(said, list) or not 0 < len(said) <= MAX_LAYERS:
        raise ContentError(f"its files are not a list of 1 to {MAX_LAYERS:,}")
    return tuple(_parse_file(value, layer, plain=plain) for value in said)


def _parse_file(value: Any, layer: Descriptor, *, plain: bool) -> ListedFile:
    if not isinstance(value, dict) or not isinstance(path := value.get("path"), str):
        raise ContentError("a file has no path")
    check_path(path)
    size, mode, offset = value.get("size"), value.get("mode", DEFAULT_MODE), value.get("offset")
    if not _is_count(size) or not _is_count(mode):
        raise ContentError(f"size and mode of {shown(path)} are not numbers from 0")
    encoded = value.get("sha256")
    if not isinstance(encoded, str) or not _HEX.fullmatch(encoded):
        raise ContentError(f"sha256 of {shown(path)} is not 64 hexadecimal digits")
    if offset is not None and not (plain and _is_count(offset) and offset + size <= layer.size):
        raise ContentError(f"{shown(path)} is not in the layer where it is said to be")
    metadata = FileMetadata(path.rpartition("/")[2], mode & 0o777, 0, 0, size, parse_time_ns(value.get("mtime")))
    return ListedFile(path, Descriptor(layer.media_type, Digest("sha256", encoded), size), metadata, offset)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE
