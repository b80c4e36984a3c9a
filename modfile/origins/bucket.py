"""Models in buckets, through fsspec: S3 (s3fs), Google Cloud Storage (gcsfs), Azure Blob Storage (adlfs)."""

from __future__ import annotations

import errno
import io
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import fsspec

from ..errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    ModfileError,
    NotFoundError,
    OriginError,
    VerificationError,
)
from ..paths import shown
from ..registry.failures import one_line
from .origin import Listing, checked
from .reader import IntoReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import Reader
    from .origin import OriginFile
    from .settings import OriginSettings

_BLOCK = 8 << 20
"""Bytes of one request."""


class BucketModel:
    """The objects below a prefix, as an `Origin`. There is no revision, and no digest is known before a file was read.

    Args:
        provider: `s3`, `gs` or `az`.
        name: `bucket/prefix`.
        settings: nothing of it counts: the client finds endpoint and credentials by itself.
    """

    def __init__(self, provider: str, name: str, settings: OriginSettings) -> None:
        self._provider = provider
        self._name = name
        self._url = f"{provider}://{name}"
        self._anonymous = False
        self._filesystem_of(anonymous=False)  # what is not installed is seen now

    def listing(self) -> Listing:
        """Ask for the objects, once. Where no credentials are found, it is asked for as anybody may.

        Raises:
            NotFoundError: there is no such bucket, or nothing below the prefix.
            AccessDeniedError: it is not public, and the credentials do not open it.
            ContentError: the objects' names are no files that could be written below a directory.
            OriginError: the service, or the way to it, failed.
        """
        return self._listed[0]

    @contextmanager
    def open(self, file: OriginFile, start: int = 0, stop: int | None = None) -> Iterator[Reader]:
        """Open an object at byte `start`.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: as `Origin.open` says.
        """
        listing, identities = self._listed
        end = file.size if stop is None else min(stop, file.size)
        if start >= end:
            yield io.BytesIO()
            return
        key = self._key(file.path, single=len(listing.files) == 1)
        with ExitStack() as stack:
            try:
                opened = self._filesystem.open(key, "rb", cache_type="none", block_size=_BLOCK)
                stack.callback(opened.close)
                identity = _identity(getattr(opened, "details", None) or self._filesystem.info(key))
            except Exception as error:
                raise self._error(error, file.path) from error
            if identity != identities[file.path] or opened.size != file.size:
                raise VerificationError(f"{shown(file.path)} changed since it was listed; try again")
            yield _ObjectReader(self, opened, file, start, end)

    def unchanged(self, file: OriginFile) -> None:
        """See that an object is the one that was listed.

        Raises:
            VerificationError: it is not.
        """
        if self._provider == "s3":
            return  # each request says which object it means (If-Match)
        listing, identities = self._listed
        try:
            info = self._filesystem.info(self._key(file.path, single=len(listing.files) == 1))
        except Exception as error:
            raise self._error(error, file.path) from error
        if _identity(info) != identities[file.path]:
            raise VerificationError(f"{shown(file.path)} changed while it was read; try again")

    def lost(self, error: Exception, file: OriginFile) -> ModfileError:
        """Return the error for one of the client's in the middle of an object."""
        if isinstance(error, OSError) and error.errno == errno.EBUSY:  # s3fs: another object than If-Match names
            return VerificationError(f"{shown(file.path)} changed while it was read; try again")
        found = self._error(error, file.path)
        return ConnectionLostError(str(found)) if type(found) is OriginError else found

    @property
    def _filesystem(self) -> Any:
        return self._filesystem_of(anonymous=self._anonymous)

    def _filesystem_of(self, *, anonymous: bool) -> Any:
        try:
            options = {"anon": anonymous} if self._provider == "s3" else {}
            return fsspec.filesystem(self._provider, use_listings_cache=False, **options)
        except ImportError as error:
            raise ModuleNotFoundError(str(error), name=self._provider) from error
        except (ValueError, TypeError, OSError) as error:
            raise OriginError(f"{self._url}: {one_line(str(error))}") from error

    @cached_property
    def _listed(self) -> tuple[Listing, dict[str, str]]:
        """The listing, and what tells whether an object is another one, by path."""
        found = {self._path(key): info for key, info in self._find().items() if not _is_directory(key, info)}
        if not found:
            raise NotFoundError(f"{self._url}: there is nothing")
        try:
            files = checked((path, info.get("size"), None) for path, info in found.items())
        except ContentError as error:
            raise ContentError(f"{self._url}: {error}") from None
        identities = {path: _identity(info) for path, info in found.items()}
        return Listing(files, self._url, "", self._name.rpartition("/")[2]), identities

    def _find(self) -> dict[str, dict[str, Any]]:
        try:
            return self._found()
        except Exception as error:
            if self._provider != "s3" or type(error).__name__ != "NoCredentialsError":
                raise self._error(error, "") from error
        self._anonymous = True
        try:
            return self._found()
        except Exception as error:
            raise self._error(error, "") from error

    def _found(self) -> dict[str, dict[str, Any]]:
        found = self._filesystem.find(self._name, detail=True)
        if not isinstance(found, dict):
            raise ContentError(f"{self._url}: the client gives no list of objects")
        return found

    def _path(self, key: str) -> str:
        key = key.removeprefix(f"{self._provider}://")
        return key.rpartition("/")[2] if key == self._name else key.removeprefix(f"{self._name}/")

    def _key(self, path: str, *, single: bool) -> str:
        alone = single and self._name.endswith(f"/{path}")
        return self._name if alone else f"{self._name}/{path}"

    def _error(self, error: Exception, path: str) -> ModfileError:
        """Return our error for one of the client's."""
        what = f"{self._url}: {shown(path)}" if path else self._url
        if isinstance(error, ModfileError):
            return error
        if isinstance(error, FileNotFoundError):
            return NotFoundError(f"{what} is not there")
        if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
            return AccessDeniedError(f"{what} is refused; check the credentials of the {self._provider} client")
        return OriginError(f"{what}: {one_line(str(error)) or type(error).__name__}")


class _ObjectReader(IntoReader):
    """A `Reader` of an object's bytes from `start` to before `end`, by requests of a bounded size."""

    def __init__(self, model: BucketModel, opened: Any, file: OriginFile, start: int, end: int) -> None:
        self._model = model
        self._opened = opened
        self._file = file
        self._next = start
        self._end = end
        self._left = memoryview(b"")

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        if not self._left and self._next < self._end:
            self._left = memoryview(self._request())
            self._next += len(self._left)
            if self._next == self._end:
                self._model.unchanged(self._file)
        count = min(len(buffer), len(self._left))
        memoryview(buffer)[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _request(self) -> bytes:
        wanted = min(_BLOCK, self._end - self._next)
        try:
            self._opened.seek(self._next)
            data: bytes = self._opened.read(wanted)
        except Exception as error:
            raise self._model.lost(error, self._file) from error
        if not data or len(data) > wanted:
            raise VerificationError(
                f"{shown(self._file.path)} gave {len(data):,} bytes at byte {self._next:,} of {self._file.size:,}"
            )
        return data


def _is_directory(key: str, info: dict[str, Any]) -> bool:
    """Tell whether an object is a mark that consoles leave for a directory."""
    return info.get("type") == "directory" or (key.endswith("/") and not info.get("size"))


def _identity(info: dict[str, Any]) -> str:
    """Return what tells an object from another one of the same name."""
    keys = ("ETag", "etag", "generation", "LastModified", "last_modified")
    return next((str(info[key]) for key in keys if info.get(key)), "")
