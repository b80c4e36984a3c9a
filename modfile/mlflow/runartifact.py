"""What MLflow logs for a run, a model or a trace: an artifact of its own, made anew with every change."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .. import modelconfig
from ..content import Descriptor, Digest
from ..errors import AccessDeniedError, ContentError, NotFoundError, RegistryError
from ..foreign import layers_of
from ..kind import Kind
from ..manifest import MAX_MANIFEST, OCI_MANIFEST, Manifest, describe
from ..modelpack import ARTIFACT_TYPE, CONFIG_TYPE, Layer, format_time_ns, path_of
from ..partial import is_named
from ..paths import check_plan
from ..store import InMemory, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ..reference import Reference
    from ..registry.repository import Repository

PREVIOUS = "dev.modfile.mlflow.previous"
"""The annotation that says which manifest a manifest took the place of, by its digest."""
LOGGED = "dev.modfile.mlflow.logged"
"""The annotation that says for which run, model or trace it is, so that no two of them share a manifest."""

_SETTLING = 0.2
_WINDOWS = 5
"""A change waits so many seconds, and so many times as long as its own move of the tag took, before it looks again."""
_MOST_TRIES = 50
_FURTHEST_BACK = 100
_ORDER = {kind: at for at, kind in enumerate(Kind)}
_NAMES = {"m-": "MLflow model", "tr": "MLflow trace"}

Layers = dict[str, Descriptor]
"""An artifact's files: each one's layer, by its path."""


@dataclass(frozen=True, slots=True)
class State:
    """What an artifact is at a moment: its manifest, None where there is none, the one before, its files."""

    root: Descriptor | None
    previous: Digest | None = None
    layers: Mapping[str, Descriptor] = field(default_factory=dict)


class RunArtifact:
    """An artifact under a tag, whose files are raw layers, and which any number of processes change at once.

    A change reads what the tag means, writes a manifest, and moves the tag; until then all is as it was. Registries
    have no way to move a tag only if nobody else did. Processes that share a storage directory therefore take turns, by
    a lock. Others are found out: a manifest names the one that it took the place of, so whoever looks again a moment
    after a change, and finds a manifest that does not descend from its own, makes the change once more, on top of what
    is there. What stays open is a process that needs longer between its look at the tag and its move of it, two
    requests, than another one waits.

    Args:
        reference: has a host and a tag.
        repository: the reference's.
        locks: a directory for locks; is made when it is first needed. Where it cannot be, there are no turns.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        reference: Reference,
        repository: Repository,
        locks: Path,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.reference = reference
        self._repository = repository
        self._locks = locks
        self._sleep = sleep
        self._pause = _SETTLING

    def add(self, layers: Mapping[str, Descriptor]) -> None:
        """Add files whose blobs the registry has, in the place of those of the same paths.

        Raises:
            ContentError: the files cannot all be in one artifact, or what is there is not one of ours.
            RegistryError, AccessDeniedError: the registry failed, or refused, or others leave it no peace.
        """
        self._change(lambda there: {**there, **layers})

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it; what is not there is no error.

        Raises:
            ContentError, RegistryError, AccessDeniedError: as for `add`.
        """
        below = path + "/"
        self._change(lambda there: {p: layer for p, layer in there.items() if p != path and not p.startswith(below)})

    def delete(self) -> None:
        """Take all of it away: the tag, or where the registry keeps tags for ever, all that it leads to.

        The manifests and layers are not deleted, since other tags may lead to them; the registry collects what nothing
        leads to.

        Raises:
            RegistryError, AccessDeniedError: the registry failed, or refused.
        """
        with self._turn():
            before = self._named()
            if before is None:
                return
            try:
                self._repository.delete(self.reference)
            except NotFoundError:
                return
            except (RegistryError, AccessDeniedError):
                # A manifest that nothing else can have may go by its digest, and takes the tag with it.
                empty = self._write({}, before)
                self._repository.tag(empty, self.reference)
                with suppress(RegistryError, AccessDeniedError, NotFoundError):
                    self._repository.delete(self.reference.at(empty.digest))

    def _change(self, edit: Callable[[Layers], Layers]) -> None:
        mine = self._write_and_tag(edit)
        while mine is not None:
            self._sleep(self._pause)
            now = self._state()
            if self._descends(now, mine):
                return
            written = dict(mine.layers)
            mine = self._write_and_tag(lambda there, written=written: edit(written | there))  # type: ignore[misc]

    def _write_and_tag(self, edit: Callable[[Layers], Layers]) -> State | None:
        """Make a change of what is there; return what was written, None if nothing is to be changed."""
        with self._turn():
            for _ in range(_MOST_TRIES):
                before = self._state()
                layers = edit(dict(before.layers))
                if layers == before.layers:
                    return None
                root = self._write(layers, before.root)
                began = time.monotonic()
                if self._named() == before.root:
                    self._repository.tag(root, self.reference)
                    self._pause = max(_SETTLING, _WINDOWS * (time.monotonic() - began))
                    return State(root, layers=layers)
                self._sleep(random.uniform(0, _SETTLING))  # noqa: S311 — who comes first is no secret
        raise RegistryError(f"{self.reference} is changed by others all the time; try again when they are done")

    def _state(self) -> State:
        root = self._named()
        if root is None:
            return State(None)
        manifest = Manifest.parse(read(self._repository, root, MAX_MANIFEST))
        layers: Layers = {}
        for layer in layers_of(manifest):
            if layer.is_packed or layer.path is None:
                raise ContentError(f"{self.reference} was packed by something else than MLflow; it cannot be logged to")
            layers[layer.path] = layer.content
        return State(root, _previous(manifest), layers)

    def _named(self) -> Descriptor | None:
        try:
            return self._repository.resolve(self.reference)
        except NotFoundError:
            return None

    def _descends(self, now: State, mine: State) -> bool:
        """Tell whether what is there now was made from what was written here; so it was if it was deleted."""
        if now.root is None or mine.root is None or now.root.digest == mine.root.digest:
            return True
        before = now.previous
        for _ in range(_FURTHEST_BACK):
            if before is None:
                break
            if before == mine.root.digest:
                return True
            try:
                root = self._repository.resolve(self.reference.at(before))
                before = _previous(Manifest.parse(read(self._repository, root, MAX_MANIFEST)))
            except (NotFoundError, ContentError):
                break
        return False

    def _write(self, layers: Layers, before: Descriptor | None) -> Descriptor:
        """Write config and manifest, without a tag.

        Raises:
            ContentError: the files cannot all be in one artifact.
        """
        check_plan(layers)
        ordered = sorted(layers.values(), key=_place)
        tag = self.reference.tag or ""
        said = {
            "descriptor": {
                "createdAt": format_time_ns(int(datetime.now(UTC).timestamp()) * 1_000_000_000),
                "title": f"{_NAMES.get(tag[:2], 'MLflow run')} {tag}",
            },
            "config": {},
        }
        config = self._put(modelconfig.to_bytes(said, [layer.digest for layer in ordered]), CONFIG_TYPE)
        annotations = modelconfig.oci_annotations(said) | {LOGGED: tag}
        if before is not None:
            annotations[PREVIOUS] = str(before.digest)
        manifest = Manifest(OCI_MANIFEST, config, tuple(ordered), ARTIFACT_TYPE, annotations=annotations)
        return self._put(manifest.to_bytes(), OCI_MANIFEST)

    def _put(self, data: bytes, media_type: str) -> Descriptor:
        content = describe(data, media_type)
        if not self._repository.exists(content):
            self._repository.put(content, InMemory({content: data}))
        return content

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other process, and no other thread, of this storage directory changes the artifact."""
        name = hashlib.sha256(str(self.reference).encode()).hexdigest()
        try:
            self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = os.open(self._locks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            lock = _locked(directory, name)
            try:
                yield
            finally:
                if lock is not None:
                    with suppress(OSError):
                        os.unlink(name, dir_fd=directory)
                    os.close(lock)
        finally:
            os.close(directory)


def _locked(directory: int, name: str) -> int | None:
    """Lock a file of a directory, which is removed before it is let go; None where the file system has no locks."""
    while True:
        try:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if is_named(lock, directory, name):
                return lock
        except OSError:
            os.close(lock)
            return None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _previous(manifest: Manifest) -> Digest | None:
    try:
        return Digest.parse(manifest.annotations.get(PREVIOUS))
    except ContentError:
        return None


def _place(content: Descriptor) -> tuple[int, str]:
    """Return where a layer stands among others: by kind, then by path."""
    return _ORDER[Layer.parse(content).kind], path_of(content) or ""
