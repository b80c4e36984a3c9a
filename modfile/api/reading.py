"""From artifacts to what loads them: `pull`, `fetch`, `inspect`, `open_safetensors`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..description import Artifact, describe
from ..progress import SILENT
from ..pulling import Puller, refer
from ..reference import Reference
from ..session import DIRECT, Connection, Session
from ..snapshots import Selection
from ..workers import CONCURRENCY
from .surroundings import surroundings

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ..progress import Progress
    from ..tensors import Tensors
    from ..tensors.tensors import Framework

    StrPath = str | os.PathLike[str]


def pull(
    ref: str | Reference,
    *,
    revision: str | None = None,
    allow_patterns: str | Sequence[str] | None = None,
    ignore_patterns: str | Sequence[str] | None = None,
    local_dir: StrPath | None = None,
    local_files_only: bool = False,
    force_verify: bool = False,
    max_workers: int | None = None,
    progress: Progress | None = None,
    connection: Connection = DIRECT,
    session: Session | None = None,
) -> Path:
    """Return a directory with a model's files, ready to be loaded; what is missing is downloaded, and all is verified.

    The directory belongs to the storage directory and shares its files with the local store; they are read-only. It
    has its name only when all of it is there, and is the same one for the same artifact, in all processes: one of them
    brings the files while the others wait.

    A tag is looked up in the registry each time; if that cannot be reached, what the tag meant last is taken. A digest
    is not looked up if the artifact is there, nor is a name without a host, which lives in the local store only.

    Args:
        ref: `host/repository[:tag][@digest]`.
        revision: the tag or the digest, if `ref` says none.
        allow_patterns: only files that match one of these, as `fnmatch` has it: `*.json` matches in every directory.
            The directory is the same as without, and grows with what is asked for.
        ignore_patterns: no file that matches one of these.
        local_dir: write the files there instead, as files of their own that may be changed; nothing else is kept.
        local_files_only: ask no registry.
        force_verify: read all files again. Without, files whose sizes and times are as they were laid out are right.
        max_workers: how many files at once; five if neither this nor the config file says so.
        progress: is told of downloads and of what is read.
        connection: how to reach the registry, where that differs from what the config file says.
        session: the surroundings; found as the command line finds them if they are not given.

    Raises:
        NotFoundError: there is no such artifact, or the patterns leave no file of it.
        VerificationError: what came, or what the local store has, is not what its digest says.
        ContentError: it is no model, or would not be safe to write.
        RegistryError, AccessDeniedError: the registry failed, or refused.
        StoreError, DestinationError: the disk did not take it.
        UsageError: `ref` is no reference, or says a revision beside `revision`.
    """
    reference, selection = refer(ref, revision), Selection(allow_patterns, ignore_patterns)
    with surroundings(session) as here:
        puller = Puller(
            here,
            connection,
            local_files_only=local_files_only,
            force_verify=force_verify,
            progress=progress or SILENT,
            concurrency=max_workers,
        )
        if local_dir is not None:
            puller.write(reference, selection, Path(local_dir))
            return Path(local_dir)
        return puller.snapshot(reference, selection).path


def inspect(
    ref: str | Reference,
    *,
    remote: bool = False,
    connection: Connection = DIRECT,
    session: Session | None = None,
) -> Artifact:
    """Say what an artifact is, by its manifest and config.

    They are read in the local store if it has the name, else in the registry.

    Args:
        ref: `host/repository[:tag][@digest]`.
        remote: ask the registry in any case.
        connection: how to reach the registry.
        session: the surroundings; found as the command line finds them if they are not given.

    Raises:
        NotFoundError: there is nothing of that name.
        ContentError: it is no model.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    from ..verbs.inspect import inspect as facts_of

    reference = refer(ref)
    with surroundings(session) as here:
        return describe(reference, facts_of(reference, here.nearest(reference, connection, remote=remote)))


def fetch(
    ref: str | Reference,
    output: StrPath,
    patterns: str | Sequence[str],
    *,
    progress: Progress | None = None,
    max_workers: int | None = None,
    connection: Connection = DIRECT,
    session: Session | None = None,
) -> tuple[Path, ...]:
    """Write the files that match into a directory, from the local store or straight from the registry.

    Nothing else is kept. The directory is as it was until all files are there and verified.

    Args:
        ref: `host/repository[:tag][@digest]`.
        output: the directory.
        patterns: as in a Modelfile: a file's path, a directory's, or a glob; `*` ends at `/` there, `**` does not.
        progress: is told of downloads.
        max_workers: how many files at once.
        connection: how to reach the registry.
        session: the surroundings; found as the command line finds them if they are not given.

    Returns:
        Where the files are, sorted.

    Raises:
        NotFoundError: there is no such artifact, or a pattern matches no file of it.
        UsageError: a pattern is malformed.
        VerificationError, ContentError, RegistryError, AccessDeniedError, DestinationError: as for `pull`.
    """
    from ..verbs.extract import extract

    reference = refer(ref)
    with surroundings(session) as here:
        done = extract(
            reference,
            here.nearest(reference, connection),
            Path(output),
            patterns=[patterns] if isinstance(patterns, str) else list(patterns),
            cache=here.storage.cache,
            progress=progress or SILENT,
            concurrency=here.concurrency(reference, max_workers),
            note=here.note,
        )
    return tuple(Path(output, path) for path in sorted((*done.written, *done.unchanged)))


def open_safetensors(
    ref_or_path: str | Reference | os.PathLike[str],
    *,
    file: str | None = None,
    revision: str | None = None,
    framework: Framework = "np",
    verify: bool = False,
    local_files_only: bool = False,
    max_workers: int | None = None,
    connection: Connection = DIRECT,
    session: Session | None = None,
) -> Tensors:
    """Open a model's tensors where they are: of an artifact in a registry only what is asked for is downloaded.

        with modfile.open_safetensors("registry.example.com/llm/minilm:v1") as tensors:
            tensors.keys(), tensors.info("embeddings.word_embeddings.weight").shape
            layer = tensors.get_tensors("encoder.layer.0.*")
            rows = tensors.get_slice("embeddings.word_embeddings.weight")[100:110]

    A name that the local store has means what it means there, as for `fetch` and `inspect`.

    A digest is of a whole file, so what is read of a file in a registry cannot be compared with it: that it is right
    rests on the registry, and on TLS on the way. `verify=True` downloads a file whole before anything of it is given.
    Files that the local store has are verified as a whole, once; those of a path are not. Headers are checked in any
    case: their length, and that the tensors fill the file without a gap or an overlap.

    Args:
        ref_or_path: `host/repository[:tag][@digest]`, or the path of a directory or of a file. A text is a path if it
            begins with `/`, `./`, `../` or `~`, or if something of that name is there.
        file: which safetensors file, or which `….safetensors.index.json`, if there are several.
        revision: the tag or the digest, if the reference says none.
        framework: `np` for numpy arrays, `pt` for torch tensors; neither is needed for `get_bytes` and the rest.
        verify: download whole files, into the storage directory, and verify them.
        local_files_only: ask no registry.
        max_workers: how many requests at once.
        connection: how to reach the registry.
        session: the surroundings; found as the command line finds them if they are not given.

    Raises:
        NotFoundError: there is no such artifact or file, or it has no safetensors file.
        UsageError: there are several, and no index; say `file`.
        ContentError: it is no model, or its index is not one.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    from ..tensors import ArtifactFiles, at_path, open_tensors

    path = None if revision else _path(ref_or_path)
    if path is not None:
        files, name = at_path(path)
        return open_tensors(files, str(path), file or name, framework=framework, concurrency=max_workers or CONCURRENCY)
    reference = refer(ref_or_path if isinstance(ref_or_path, Reference) else str(ref_or_path), revision)
    here = session or Session.from_environment()
    with ExitStack() as stack:
        if session is None:
            stack.callback(here.close)
        files = ArtifactFiles(here, reference, connection, local=local_files_only, verify=verify)
        concurrency = here.concurrency(reference, max_workers)
        tensors = open_tensors(files, str(reference), file, framework=framework, concurrency=concurrency)
        tensors.closing.enter_context(stack.pop_all())
    return tensors


def _path(text: str | Reference | os.PathLike[str]) -> Path | None:
    """Return the path that is meant, None for a reference."""
    if isinstance(text, Reference):
        return None
    if not isinstance(text, str):
        return Path(text)
    path = Path(text).expanduser()
    return path if text.startswith(("/", "./", "../", "~")) or path.exists() else None
