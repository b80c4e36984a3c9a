"""The storage directory: the local store, and the cache of digests beside it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from .digestcache import DigestCache
from .layout import Layout

if TYPE_CHECKING:
    from pathlib import Path


class Storage:
    """`<directory>/store`, an OCI image layout, and `<directory>/cache.db`; made when first needed, for its owner."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layout = Layout(directory / "store")
        self._cache: DigestCache | None = None

    @property
    def cache(self) -> DigestCache:
        """The digests of files that were read before; nothing is remembered where the directory cannot be made."""
        if self._cache is None:
            with suppress(OSError):
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._cache = DigestCache(self.directory / "cache.db")
        return self._cache

    def close(self) -> None:
        """Close the cache; it is opened again when it is needed."""
        if self._cache is not None:
            self._cache.close()
