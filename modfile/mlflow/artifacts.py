"""An artifact store of MLflow's in an OCI registry: the plugin for `modelpack://host/repository`.

MLflow finds it by the entry point `mlflow.artifact_repository`. Each run, model and trace is an artifact of its own.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path
from mlflow.utils.file_utils import create_tmp_dir

from ..descent import resolve
from ..environment import mlflow_server_hosts
from ..errors import ModfileError, NotFoundError, UsageError
from ..filenames import kind_of
from ..layerformat import LayerFormat
from ..layermaker import LayerMaker
from ..packer import Stamp
from ..paths import listed, shown
from ..progress import SILENT
from ..secretscan import find_secrets
from ..session import Session
from ..staging import Staging
from ..store import Combined
from ..verbs.extract import extract, plan_of
from ..verbs.repacking import PackedLayer
from ..workers import StoppableMeter, run_all
from ..workspace import Workspace, named_file
from .artifactbar import DownloadBar
from .artifacterrors import translated
from .artifacturi import SCHEME, Asked, Place, joined
from .runartifact import RunArtifact

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from ..content import Descriptor
    from ..reference import Reference
    from ..registry.repository import Repository
    from ..store import Source
    from ..workspace import WorkspaceFile

_logger = logging.getLogger(__name__)
_SHOWN = 5


class ModelPackArtifactRepository(ArtifactRepository):
    """What is below an artifact location `modelpack://host/repository`, or an artifact named by its tag or digest.

    The surroundings are those of the command line: credentials of docker and podman, the config file, proxies, the
    storage directory. Whatever fails is a `MlflowException`.
    """

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri)  # MLflow takes the third since 3.5 only
        self.registry_uri = registry_uri
        self._repositories: dict[str, Repository] = {}
        self._sources: dict[str, Source] = {}
        self._lock = Lock()

    def log_artifact(self, local_file: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Log a file, in the directory `artifact_path`; it takes the place of one of the same name."""
        _check(artifact_path)
        path = Path(local_file)
        with translated():
            self._log(Workspace(path.absolute().parent), [(named_file(path), path.name)], artifact_path)

    def log_artifacts(self, local_dir: str | os.PathLike[str], artifact_path: str | None = None) -> None:
        """Log the files below a directory, in the directory `artifact_path`, with one change of the artifact."""
        _check(artifact_path)
        with translated():
            workspace = Workspace(Path(local_dir))
            self._log(workspace, [(file, file.path) for file in workspace.all_files()], artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Return what is directly in a directory; nothing for a file, or for what is not there."""
        _check(path)
        with translated():
            asked = self._asked(path)
            files = self._files(asked.place, self._resolve(asked.place))
        below = asked.place.path + "/" if asked.place.path else ""
        entries: dict[str, FileInfo] = {}
        for file, content in files.items():
            if file.startswith(below):
                name, slash, _ = file[len(below) :].partition("/")
                info = FileInfo(asked.named(below + name), bool(slash), None if slash else content.size)
                entries[info.path] = info
        return [entries[name] for name in sorted(entries)]

    def download_artifacts(self, artifact_path: str | None, dst_path: str | os.PathLike[str] | None = None) -> str:
        """Write a file, or the files of a directory, below a directory; return where they are.

        Either all of them are there in the end, each verified, or what was there before.
        """
        artifact_path = (artifact_path or "").rstrip("/")
        _check(artifact_path)
        made = None
        if dst_path is None:
            made = dst_path = create_tmp_dir()  # type: ignore[no-untyped-call]
        elif not Path(dst_path).is_dir():
            exists = Path(dst_path).exists()
            raise MlflowException(
                f"{dst_path} is not a directory; files are downloaded to one that exists",
                codes.INVALID_PARAMETER_VALUE if exists else codes.RESOURCE_DOES_NOT_EXIST,
            )
        directory = Path(dst_path).absolute()
        try:
            with translated():
                self._download(self._asked(artifact_path), directory)
        except BaseException:
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)
            raise
        return str(directory / artifact_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file, a directory, or all that is logged; what is not there is no error.

        The registry collects the blobs that nothing leads to any more.
        """
        _check(artifact_path)
        with translated():
            place = self._asked(artifact_path).place
            artifact = self._changeable(place)
            if place.path:
                artifact.remove(place.path)
            else:
                artifact.delete()

    def _download_file(self, remote_file_path: str, local_path: str | os.PathLike[str]) -> None:
        target = Path(local_path).absolute()
        with translated():
            place = self._asked(remote_file_path).place
            root = self._resolve(place)
            if root is None or place.path not in self._files(place, root):
                raise NotFoundError(f"{shown(place.path)} is not a file of {place.reference}")
            with _scratch(target.parent) as scratch:
                self._extract(place, root, [place.path], scratch)
                (scratch / place.path).replace(target)

    # What the registry has

    def _asked(self, path: str | None) -> Asked:
        """Return what a path means.

        Raises:
            UsageError: it is no artifact, or this is a server, and the client may not send it there.
        """
        asked = Asked.of(self.artifact_uri, path)
        hosts = mlflow_server_hosts()
        if hosts is not None and asked.place.reference.host not in hosts:
            raise UsageError(
                f"{asked.place.reference}: this server talks to the registries of its own artifact locations only; "
                f"MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES={SCHEME} lets its clients name others"
            )
        return asked

    @cached_property
    def _session(self) -> Session:
        session = Session.from_environment(note=_logger.info)
        weakref.finalize(self, session.close)
        return session

    def _repository(self, reference: Reference) -> Repository:
        with self._lock:
            if reference.name not in self._repositories:
                self._repositories[reference.name] = self._session.repository(reference)
            return self._repositories[reference.name]

    def _source(self, place: Place) -> Source:
        layout, reference = self._session.storage.layout, place.reference
        if reference.host is None:
            return layout
        if place.is_logged:  # a mirror may be behind what was logged a moment ago
            return Combined((layout, self._repository(reference)))
        with self._lock:
            if reference.name not in self._sources:
                self._sources[reference.name] = Combined((layout, self._session.source(reference)))
            return self._sources[reference.name]

    def _resolve(self, place: Place) -> Descriptor | None:
        """Return the manifest of an artifact; None where nothing is logged yet."""
        try:
            return self._source(place).resolve(place.reference)
        except NotFoundError:
            if place.is_logged:
                return None
            raise

    def _files(self, place: Place, root: Descriptor | None) -> Mapping[str, Descriptor]:
        """Return the files of an artifact by path."""
        if root is None:
            return {}
        source = self._source(place)
        plan = plan_of(place.reference, root, source)
        plan.take_listed()
        files = {path: file.content for path, file in plan.files.items()}
        for layer in plan.unlisted:
            files |= {path: file.content for path, file in PackedLayer(layer, source).files.items()}
        return files

    # What is written

    def _download(self, asked: Asked, directory: Path) -> None:
        place = asked.place
        root = self._resolve(place)
        if not place.path:
            if root is None:
                (directory / asked.above).mkdir(parents=True, exist_ok=True)
            else:
                self._extract(place, root, None, directory / asked.above)
            return
        files = self._files(place, root)
        chosen = [path for path in files if path == place.path or path.startswith(place.path + "/")]
        if root is None or not chosen:
            raise NotFoundError(f"{shown(place.path)} is not in {place.reference}")
        if not asked.root:
            self._extract(place, root, chosen, directory / asked.above)
            return
        with _scratch(directory) as scratch:
            self._extract(place, root, chosen, scratch)
            for path in chosen:
                target = directory / asked.named(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                (scratch / path).replace(target)

    def _extract(self, place: Place, root: Descriptor, files: Sequence[str] | None, directory: Path) -> None:
        """Write files of the artifact that a manifest is, whatever its tag means by now; all without any."""
        try:
            with DownloadBar() as bar:
                extract(
                    replace(place.reference, digest=root.digest),
                    self._source(place),
                    directory,
                    patterns=files,
                    literal=True,
                    cache=self._session.storage.cache,
                    progress=bar,
                    concurrency=self._session.concurrency(place.reference),
                    note=_logger.info,
                )
        except (ModfileError, KeyboardInterrupt):
            # What came is there to be gone on with; but MLflow's next directory will be called otherwise.
            with suppress(ModfileError, OSError):
                Staging.open(resolve(directory), _logger.info).close(keep=False)
            raise

    def _log(self, workspace: Workspace, files: Sequence[tuple[WorkspaceFile, str]], artifact_path: str | None) -> None:
        """Bring files to the registry, each for a path in a directory, then let the artifact have them."""
        place = self._asked(artifact_path).place
        artifact = self._changeable(place)
        inside = [(file, joined(place.path, path)) for file, path in files]
        if secrets := find_secrets(workspace, [file for file, _ in files]):
            names = listed([secret.path for secret in secrets], _SHOWN)
            _logger.warning("what looks like a secret is logged to %s: %s", place.reference, names)
        stamp, repository = Stamp(datetime.now(UTC)), self._repository(place.reference)
        with LayerMaker(workspace, repository, stamp, self._session.storage.cache, None) as maker:

            def bring(item: tuple[WorkspaceFile, str], stop: Event) -> Descriptor:
                file, path = item
                return maker.make(kind_of(path, file.size), [item], LayerFormat.RAW, StoppableMeter(SILENT, stop)).layer

            layers = run_all(inside, bring, self._session.concurrency(place.reference))
        artifact.add({path: layer for (_, path), layer in zip(inside, layers, strict=True)})

    def _changeable(self, place: Place) -> RunArtifact:
        if not place.is_logged:
            raise UsageError(f"{place.reference} is named by its tag or digest; MLflow only reads it")
        return RunArtifact(
            place.reference, self._repository(place.reference), self._session.storage_directory / "mlflow"
        )


def _check(path: str | None) -> None:
    """Refuse paths that MLflow does not take: absolute ones, and those with `..`."""
    verify_artifact_path(path.rstrip("/") if path else path)  # type: ignore[no-untyped-call]


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """Make a directory on the same disk, for what is to be renamed, and remove it in the end."""
    with tempfile.TemporaryDirectory(prefix=".modfile-", dir=directory) as scratch:
        yield Path(scratch, "files")
