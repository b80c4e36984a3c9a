"""Models of an MLflow registry, and artifacts of its runs.

MLflow's artifact API gives no ranges, so a file is brought whole into a temporary directory when it is first read, and
goes when it was read to its end.
"""

from __future__ import annotations

import io
import re
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from ..errors import (
    AccessDeniedError,
    ContentError,
    ModfileError,
    NotFoundError,
    OriginError,
    UsageError,
    VerificationError,
)
from ..paths import shown
from ..registry.failures import one_line
from .origin import MAX_FILES, Listing, checked
from .scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from ..store import Reader
    from .origin import OriginFile
    from .settings import OriginSettings

_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_DENIED = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})
_STATUS = re.compile(r"\b(401|403|404)\b")


class MLflowModel:
    """A version of a registered model, or a directory of a run's artifacts, as an `Origin`.

    Args:
        uri: `models:/name/3`, `models:/name@alias`, or `runs:/run/path`.
        settings: the tracking server; MLflow finds its credentials by itself.

    Raises:
        UsageError: no tracking server is said.
    """

    def __init__(self, uri: str, settings: OriginSettings) -> None:
        if not settings.mlflow_tracking_uri:
            raise UsageError(f"{uri}: set MLFLOW_TRACKING_URI to MLflow's tracking server")
        self._uri = uri
        self._tracking = settings.mlflow_tracking_uri
        self._scratch_parent = settings.scratch
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        """Ask for the files, once.

        Raises:
            NotFoundError: there is no such model, version, alias, run or artifact.
            AccessDeniedError: MLflow refused.
            ContentError: the answer is not a list of files that could be written below a directory.
            OriginError: MLflow, or the way to it, failed.
        """
        return self._listed

    @contextmanager
    def open(self, file: OriginFile, start: int = 0, stop: int | None = None) -> Iterator[Reader]:
        """Open a file at byte `start`; all of it is brought first.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: as `Origin.open` says.
        """
        end = file.size if stop is None else min(stop, file.size)
        if start >= end:
            yield io.BytesIO()
            return
        with self._brought(file) as stream:
            stream.seek(start)
            yield _Bounded(stream, end - start)
            if stream.tell() == file.size:
                self._drop(file)

    @cached_property
    def _resolved(self) -> tuple[Any, str, str, str]:
        """What lists and brings artifacts, the model's revision, name and URL."""
        client = MlflowClient(tracking_uri=self._tracking)
        scheme, _, path = self._uri.partition(":/")
        with self._translated(self._uri):
            if scheme == "runs":
                run, _, below = path.partition("/")
                repository = get_artifact_repository(self._uri, tracking_uri=self._tracking)
                return repository, run, below.rpartition("/")[2], self._uri
            name, version = self._version(client, path)
            source = client.get_model_version_download_uri(name, version)
            repository = get_artifact_repository(source, tracking_uri=self._tracking)
        return repository, version, name, f"models:/{name}/{version}"

    def _version(self, client: MlflowClient, path: str) -> tuple[str, str]:
        """Return a registered model's name and the version that is meant."""
        name, at, alias = path.rpartition("@")
        if at and "/" not in alias:
            return name, str(client.get_model_version_by_alias(name, alias).version)
        name, _, version = path.partition("/")
        if version == "latest":
            versions = client.search_model_versions(f"name='{name}'") if "'" not in name else []
            numbers = [int(one.version) for one in versions]
            if not numbers:
                raise NotFoundError(f"{self._uri}: there is no version")
            return name, str(max(numbers))
        return name, str(client.get_model_version(name, version).version)

    @cached_property
    def _listed(self) -> Listing:
        repository, revision, name, uri = self._resolved
        with self._translated(self._uri):
            found = [(one.path, one.file_size, None) for one in _walk(repository)]
        try:
            return Listing(checked(found), self._url(uri, name, revision), revision, name)
        except ContentError as error:
            raise ContentError(f"{self._uri}: {error}") from None

    def _url(self, uri: str, name: str, revision: str) -> str:
        """Return the model's page if MLflow is a server, else its URI."""
        base = self._tracking.rstrip("/")
        if not base.startswith(("http://", "https://")) or "@" in base or not uri.startswith("models:"):
            return uri
        return f"{base}/#/models/{name}/versions/{revision}"

    @cached_property
    def _scratch(self) -> Scratch:
        return Scratch(self._scratch_parent)

    @contextmanager
    def _brought(self, file: OriginFile) -> Iterator[BinaryIO]:
        """Open the file in the temporary directory, brought there if need be."""
        with self._lock:
            lock, scratch = self._locks[file.path], self._scratch
        place = scratch.path / file.path
        with lock:
            if not place.exists():
                self._bring(file, place)
            stream = place.open("rb")
        with stream:
            if stream.seek(0, io.SEEK_END) != file.size:
                raise VerificationError(
                    f"{shown(file.path)} is said to be {file.size:,} bytes large, but {stream.tell():,} came"
                )
            yield stream

    def _bring(self, file: OriginFile, place: Path) -> None:
        partial = place.with_name(place.name + ".partial")
        repository = self._resolved[0]
        with self._translated(f"{self._uri}: {shown(file.path)}"):
            place.parent.mkdir(parents=True, exist_ok=True)
            # The public download_artifacts does this and paints a bar of its own.
            repository._download_file(remote_file_path=file.path, local_path=str(partial))
            partial.replace(place)

    def _drop(self, file: OriginFile) -> None:
        with suppress(OSError):
            (self._scratch.path / file.path).unlink()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn MLflow's errors, and those of what it uses, into ours."""
        try:
            yield
        except ModfileError:
            raise
        except MlflowException as error:
            message = f"{what}: {one_line(error.message)}"
            status = _STATUS.search(error.message)
            absent = error.error_code in _ABSENT or "not found" in error.message  # an alias has another code
            if absent or (status and status[1] == "404"):
                raise NotFoundError(message) from error
            if error.error_code in _DENIED or (status and status[1] in ("401", "403")):
                raise AccessDeniedError(f"{message}; set MLFLOW_TRACKING_TOKEN or its like") from error
            raise OriginError(message) from error
        except FileNotFoundError as error:
            raise NotFoundError(f"{what} is not there") from error
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            message = f"{what}: {one_line(str(error)) or type(error).__name__}"
            if status in (401, 403):
                raise AccessDeniedError(f"{message}; set MLFLOW_TRACKING_TOKEN or its like") from error
            raise (NotFoundError if status == 404 else OriginError)(message) from error


class _Bounded:
    """A `Reader` of so many bytes of a file."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end."""
        data = self.read(len(buffer))
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that is left if it is negative, `b""` at the end."""
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _walk(repository: Any) -> Iterator[Any]:
    """Yield the files, directory by directory.

    Raises:
        ContentError: there are too many directories, or one lies in itself.
    """
    waiting, seen = [""], 0
    while waiting:
        directory = waiting.pop()
        seen += 1
        if seen > MAX_FILES:
            raise ContentError(f"MLflow lists more than {MAX_FILES:,} directories")
        for one in repository.list_artifacts(directory or None):
            if not one.is_dir:
                yield one
            elif not one.path.startswith(f"{directory}/" if directory else "") or one.path == directory:
                raise ContentError(f"MLflow lists {shown(one.path)} in {shown(directory)}")
            else:
                waiting.append(one.path)
