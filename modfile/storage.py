"""The storage directory: the local store, and the cache of digests beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .digestcache import DigestCache
from .errors import StoreError
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
        """The digests of files that were read before.

        Raises:
            StoreError: the directory cannot be made.
        """
        if self._cache is None:
            self.prepare()
            self._cache = DigestCache(self.directory / "cache.db")
        return self._cache

    def prepare(self) -> None:
        """Make the directory, mode 0700.

        Raises:
            StoreError: it cannot be made.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the storage directory {self.directory}: {error.strerror}; choose one with --storage-dir"
            ) from None

    def close(self) -> None:
        """Close the cache; it is opened again when it is needed."""
        if self._cache is not None:
            self._cache.close()
