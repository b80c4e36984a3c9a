"""The small files of a layout in an archive (OCI image specification, `image-layout.md`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import strictjson
from ..content import Descriptor, Digest
from ..errors import ContentError, StoreError
from ..layout.directory import MAX_INDEX
from ..layout.index import Index
from .headers import DOCKER_MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..layout import Entry

VERSION_FILE, INDEX_FILE = "oci-layout", "index.json"
LIMITS = {VERSION_FILE: 1 << 10, INDEX_FILE: MAX_INDEX}
"""The most bytes of each that are read."""


def blob_name(digest: Digest) -> str:
    """Return a blob's name in a layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def check_size(name: str, size: int, shown: str) -> None:
    """See that one of the small files is small.

    Raises:
        ContentError: it is not.
    """
    if size > LIMITS[name]:
        raise ContentError(f"{shown}: {name} has {size:,} bytes, more than the {LIMITS[name]:,} allowed")


def check_names(names: Collection[str], shown: str) -> None:
    """See that an archive has the files of a layout.

    Raises:
        ContentError: one is missing.
    """
    missing = [name for name in (VERSION_FILE, INDEX_FILE) if name not in names]
    if missing and DOCKER_MANIFEST_FILE in names:
        raise ContentError(
            f"{shown} is a docker-archive, without an OCI layout: save it with Docker 25 or newer, "
            f"or convert it with skopeo copy docker-archive:FILE oci-archive:NEW"
        )
    if missing:
        raise ContentError(f"{shown} is not an OCI archive: there is no {missing[0]} in it")


def check_version(data: bytes, shown: str) -> None:
    """See that `oci-layout` says a version that is known.

    Raises:
        ContentError: it does not.
    """
    version = strictjson.parse_object(data, f"{VERSION_FILE} of {shown}").get("imageLayoutVersion")
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise ContentError(f"{shown} is an OCI image layout of version {str(version)[:40]!r}, not of 1.x")


def parse_index(data: bytes, shown: str) -> tuple[Entry, ...]:
    """Return what `index.json` lists, in its order.

    Raises:
        ContentError: it cannot be read.
    """
    try:
        return tuple(Index.parse(data, f"{INDEX_FILE} of {shown}"))
    except StoreError as error:
        raise ContentError(str(error)) from None


def content_of(name: str, size: int) -> Descriptor:
    """Return what the blob of such a name is, whose type only a manifest knows."""
    _, algorithm, encoded = name.split("/")
    return Descriptor("application/octet-stream", Digest(algorithm, encoded), size)
