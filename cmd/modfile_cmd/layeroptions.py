"""Options on how layers hold their files, which several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modfile.layerformat import LayerFormat


class Compressor(StrEnum):
    """What may be said for `--compression`."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


Raw = Annotated[
    bool | None,
    typer.Option(
        "--raw/--no-raw",
        help="Keep each file as it is in a layer of its own, or in a tar.  [default: --raw]",
        show_default=False,
    ),
]
Compression = Annotated[
    Compressor | None,
    typer.Option(
        "--compression",
        metavar="none|gzip|zstd",
        help="Compress the tars; means --no-raw.  [default: none]",
        show_default=False,
    ),
]


def format_of(raw: bool | None, compression: Compressor | None) -> LayerFormat:
    """Return the format that the two options ask for.

    Raises:
        UsageError: they contradict each other.
    """
    from modfile.layerformat import LayerFormat

    return LayerFormat.choose(raw, compression)
