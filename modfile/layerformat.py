"""How a layer holds its files: as they are, or in a tar (CNCF model-spec, `docs/spec.md`, "Guidance on Layers")."""

from __future__ import annotations

from enum import StrEnum

from .errors import UsageError


class LayerFormat(StrEnum):
    """A layer's format; its value is the end of the layer's media type."""

    RAW = "raw"
    TAR = "tar"
    TAR_GZIP = "tar+gzip"
    TAR_ZSTD = "tar+zstd"

    @property
    def compression(self) -> str:
        """How the tar is compressed: "" for not at all, "gzip" or "zstd"."""
        return self.value.partition("+")[2]

    @property
    def packing(self) -> LayerFormat:
        """The format in which several files are in one layer: this one, a plain tar in place of raw."""
        return LayerFormat.TAR if self is LayerFormat.RAW else self

    @classmethod
    def choose(cls, raw: bool | None = None, compression: str | None = None) -> LayerFormat:
        """Return the format that two options ask for: `raw`, and "none", "gzip" or "zstd"; None for what is not said.

        Raises:
            UsageError: they contradict each other, or the compression is not known.
        """
        if compression not in (None, "none", "gzip", "zstd"):
            raise UsageError(f"compression {compression!r} is not known; none, gzip and zstd are")
        if compression in (None, "none"):
            return cls.TAR if raw is False else cls.RAW
        if raw:
            raise UsageError(f"a raw layer is the file as it is; leave out raw, or compression {compression}")
        return cls(f"tar+{compression}")
