"""The file system itself."""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from ..errors import AccessDeniedError, ModfileError, NotFoundError
from ..reference import Reference
from ..session import Connection, Session
from ..workers import run_all
from .artifact import ArtifactTree
from .paths import split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from ..progress import Outcome

BLOCK = 4 << 20
"""Bytes of a block: what one request brings, and what is kept of a file that is open."""
_BLOCKS = 16


class ModelPackFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The files of artifacts. A path is a reference, which says its tag or its digest, and a path in the artifact.

    A name without a host, which lives in the local store only, begins with a slash: `modelpack:///tiny:v1/config.json`.
    What a tag points at is looked up once (`invalidate_cache` forgets it): in the local store if it has the name, else
    in the registry.

    Whole files (`cat_file`, `get_file`) are verified, and so are files that the local store has. Parts of a file in a
    registry cannot be: a digest is of the whole.

    Args:
        storage_dir: where the local store is; found as the command line finds it if it is not given.
        plain_http: speak HTTP instead of HTTPS; loopback hosts are spoken to so in any case.
        insecure: do not verify the registry's TLS certificate.
        ca_file: trust the certificates in this PEM file too.
        options: fsspec's own.
    """

    protocol: ClassVar[str] = "modelpack"
    root_marker = ""

    def __init__(
        self,
        storage_dir: str | os.PathLike[str] | None = None,
        plain_http: bool = False,
        insecure: bool = False,
        ca_file: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._session = Session.from_environment(Path(storage_dir).absolute() if storage_dir else None)
        weakref.finalize(self, self._session.close)
        self._connection = Connection(plain_http, insecure, Path(ca_file) if ca_file else None)
        self._artifacts: dict[str, ArtifactTree] = {}
        self._known_lock = Lock()

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a directory, or a file."""
        name, inner = split(self._strip_protocol(path))
        with _trouble(path):
            entries = self._artifact(name).listed(inner)
        if entries is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Say what a path is: `name`, `type`, `size` in bytes and, of a file, its `digest`."""
        name, inner = split(self._strip_protocol(path))
        with _trouble(path):
            entry = self._artifact(name).entry(inner)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return entry

    def ukey(self, path: str) -> str:
        """Return what changes when the file does: its digest."""
        return str(self.info(path)["digest"])

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what tags point at."""
        with self._known_lock:
            self._artifacts.clear()
        super().invalidate_cache(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a file's bytes from `start` to before `end`, either counted from the file's end if negative."""
        name, inner = split(self._strip_protocol(path))
        size = self._file_info(path)["size"]
        begin, stop, _step = slice(start, end).indices(size)
        with _trouble(path):
            return self._artifact(name).read(inner, begin, max(begin, stop))

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Sequence[int | None] | int | None,
        ends: Sequence[int | None] | int | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return parts of files, several at once; where `on_error` is `return`, an error in the place of a part."""
        begins = list(starts) if isinstance(starts, (list, tuple)) else [starts] * len(paths)
        stops = list(ends) if isinstance(ends, (list, tuple)) else [ends] * len(paths)
        if not len(paths) == len(begins) == len(stops):
            raise ValueError("paths, starts and ends are not as many")

        def read(item: tuple[str, Any, Any], stop: Event) -> Any:
            try:
                return self.cat_file(*item)
            except OSError as error:
                if on_error != "return":
                    raise
                return error

        return run_all(list(zip(paths, begins, stops, strict=True)), read, self._session.concurrency(None))

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **_: Any) -> None:
        """Write a file to a local path, verified before it has its name there."""
        if hasattr(lpath, "write"):
            lpath.write(self.cat_file(rpath))
            return
        if self.isdir(rpath):
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        callback.set_size(self._file_info(rpath)["size"])
        name, inner = split(self._strip_protocol(rpath))
        target = Path(lpath)
        with _trouble(rpath):
            self._artifact(name).write(inner, target, _Meter(callback))

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Refuse: it is read-only."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refuse: it is read-only."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def rmdir(self, path: str) -> None:
        """Refuse: it is read-only."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        cache_type: str = "blockcache",
        **options: Any,
    ) -> ModelPackFile:
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        if cache_type == "blockcache":
            cache_options = {"maxblocks": _BLOCKS, **(cache_options or {})}
        self._file_info(path)
        return ModelPackFile(
            self, path, mode, block_size or BLOCK, cache_type=cache_type, cache_options=cache_options, **options
        )

    def _file_info(self, path: str) -> dict[str, Any]:
        found = self.info(path)
        if found["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return found

    def _artifact(self, name: str) -> ArtifactTree:
        with self._known_lock:
            known = self._artifacts.get(name)
            if known is None:
                reference = Reference.parse(name.removeprefix("/"))
                known = self._artifacts[name] = ArtifactTree(name, reference, self._session, self._connection)
        return known


class ModelPackFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is open for reading."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))


class _Meter:
    """Tells fsspec's callback how far a file is."""

    def __init__(self, callback: Any) -> None:
        self._callback = callback

    def advance(self, amount: int) -> None:
        self._callback.relative_update(amount)

    def resume(self, amount: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finish(self, outcome: Outcome) -> None:
        pass


@contextmanager
def _trouble(path: str) -> Iterator[None]:
    """Let errors of the library become those that file systems have.

    Raises:
        OSError: for any of them.
    """
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, str(error), path) from error
    except AccessDeniedError as error:
        raise PermissionError(errno.EACCES, str(error), path) from error
    except ModfileError as error:
        raise OSError(errno.EIO, str(error), path) from error
