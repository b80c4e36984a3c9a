"""The small files of a layout, `oci-layout` and `index.json`: read without waiting, written at one moment."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from .. import strictjson
from ..errors import ContentError, StoreError
from ..partial import Partial
from ..progress import SILENT
from ..store import BytesReader

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = "1.0.0"
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(path: Path) -> bytes:
    """Return what is in a small file; what a FIFO would let us wait for is not waited for.

    Raises:
        StoreError: it is no file.
        OSError: it is not there, or cannot be read.
    """
    fd = os.open(path, _READING)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StoreError(f"{path} is not a file; put back what was there, or move it out of the way")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(fd)


def write_durably(directory: int, name: str, data: bytes, ingest: int) -> None:
    """Write a small file so that at any moment either the old or the whole new one is there.

    Directory and `ingest`, where it is prepared, are open descriptors.

    Raises:
        OSError: the disk did not take it.
    """
    with Partial(ingest, f"new-{secrets.token_hex(8)}") as partial:
        try:
            partial.take(BytesReader(data), len(data), SILENT.advance)
            partial.publish(directory, name, 0o644)
        except BaseException:
            partial.discard()
            raise


def check_version(root: Path) -> None:
    """See that a directory says that it is a layout of a version that we know.

    Raises:
        StoreError: it does not.
        OSError: that cannot be read.
    """
    try:
        version = strictjson.parse_object(read_file(root / "oci-layout"), "it").get("imageLayoutVersion")
    except (FileNotFoundError, ContentError) as error:
        raise StoreError(f"{root} is not an OCI image layout: oci-layout: {error}") from None
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise StoreError(f"{root} is an OCI image layout of version {version!r}, not of 1.x")


def write_version(root: int, ingest: int) -> None:
    """Write `oci-layout`; both directories are open descriptors.

    Raises:
        OSError: the disk did not take it.
    """
    write_durably(root, "oci-layout", strictjson.dump({"imageLayoutVersion": _VERSION}), ingest)
