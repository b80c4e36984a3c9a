"""The functions of `import modfile`: each finds its surroundings as the command line does, unless it is given them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .description import Artifact, describe
from .errors import UsageError
from .progress import SILENT
from .pulling import Puller, refer
from .reference import Reference
from .session import DIRECT, Connection, Session
from .snapshots import Selection
from .workers import CONCURRENCY

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from .progress import Progress
    from .tensors import Tensors
    from .tensors.tensors import Framework

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
    with _surroundings(session) as here:
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


def generate(path: StrPath, *, overwrite: bool = False) -> Path:
    """Write a Modelfile for a directory of model files, from what the files say; return where it is.

    Raises:
        NotFoundError: there is no such directory.
        WorkspaceError: there is no file to pack, or one cannot be packed.
        DestinationError: it cannot be written, or is there already and not to be replaced.
    """
    from .verbs.generate import generate as write

    return write(Path(path), overwrite=overwrite).path


def build(
    path: StrPath,
    tags: str | Sequence[str],
    *,
    modelfile: StrPath | None = None,
    build_args: Mapping[str, str] | None = None,
    created: datetime | None = None,
    reproducible: bool = False,
    allow_secrets: Sequence[str] = (),
    format: Literal["modelpack", "image", "both"] = "modelpack",
    image_prefix: str | None = None,
    image_tag: str | None = None,
    image_base: str | Reference | None = None,
    platforms: Sequence[str] = (),
    progress: Progress | None = None,
    session: Session | None = None,
) -> Artifact:
    """Pack a directory as its Modelfile says, into the local store.

    Args:
        path: the directory.
        tags: the names to give the artifact: `host/repository:tag`, one or several.
        modelfile: the Modelfile; `Modelfile` in the directory if it is not given (`generate` writes one).
        build_args: values for the Modelfile's ARG lines, by name.
        created: when it was built; what `SOURCE_DATE_EPOCH` says, or now, if it is not given.
        reproducible: leave out all times and owners, so that the same files give the same digest.
        allow_secrets: globs of files that may be packed although they look like secrets.
        format: a ModelPack artifact, a container image that pods mount, or both of the same layers: then the image's
            tag is the artifact's and `-image`.
        image_prefix: the directory of the image that the files are in; `/models` if it is not given.
        image_tag: what to call the image beside an artifact.
        image_base: an image to build on, of the local store or a registry.
        platforms: what the image is for; linux/amd64 and linux/arm64 if none are given.
        progress: is told of what is read.
        session: the surroundings; found as the command line finds them if they are not given.

    Returns:
        What has the names that `tags` are: the artifact, or the image in its place.

    Raises:
        ModelfileError: the Modelfile cannot be read, or chooses nothing.
        WorkspaceError: a file cannot be packed, or looks like a secret.
        NotFoundError: there is no such directory or Modelfile, or nothing of the name that FROM says.
        RegistryError, AccessDeniedError: the registry that FROM names failed, or refused.
        StoreError: the disk did not take it.
        UsageError: a tag is no reference, or there is none; or no ARG line declares a value that is given; or what is
            said of an image makes no sense.
    """
    from .base import find_base
    from .environment import source_date_epoch
    from .grouping import MAX_LAYERS
    from .modelfile import load
    from .packer import Stamp
    from .verbs.build import Builder
    from .verbs.image import MAX_IMAGE_LAYERS, find_image_base, image_settings
    from .workspace import Workspace

    if image_base is not None and format == "modelpack":
        raise UsageError("an image base is of an image; say format image or both")
    references = [Reference.parse(tag) for tag in ([tags] if isinstance(tags, str) else tags)]
    if not references:
        raise UsageError("an artifact needs a name: host/repository:tag, or a name for the local store only")
    text = load(Path(path, "Modelfile") if modelfile is None else Path(modelfile), build_args)
    epoch = None if created else source_date_epoch()
    stamp = Stamp.of(created or datetime.now(UTC), epoch, no_creation_time=reproducible)
    with _surroundings(session) as here:
        layout = here.storage.layout
        image = image_settings(
            format,
            prefix=image_prefix,
            tag=image_tag,
            platforms=platforms,
            find_base=lambda wanted: (
                None if image_base is None else find_image_base(refer(image_base), layout, here.source, wanted)
            ),
        )
        builder = Builder(
            layout,
            stamp,
            cache=here.storage.cache,
            allow_secrets=allow_secrets,
            progress=progress or SILENT,
            max_layers=MAX_IMAGE_LAYERS if image else MAX_LAYERS,
            image=image,
        )
        named = text.base()
        base = find_base(named, layout, here.source) if named else None
        builder.build(Workspace(Path(path)), text, references, base)
        return inspect(references[0], session=here)


def push(
    ref: str | Reference,
    *,
    progress: Progress | None = None,
    max_workers: int | None = None,
    connection: Connection = DIRECT,
    session: Session | None = None,
) -> str:
    """Send an artifact of the local store to its registry; what that has is not sent. The tag is written last.

    Returns:
        What means this artifact and no other: `host/repository:tag@digest`.

    Raises:
        NotFoundError: the local store has nothing of that name.
        UsageError: the name says no registry.
        VerificationError: a blob of the local store is damaged.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    from .verbs.push import push as send

    reference = refer(ref)
    with _surroundings(session) as here:
        done = send(
            reference,
            here.backed(reference, connection),
            here.repository(reference, connection),
            progress=progress or SILENT,
            concurrency=here.concurrency(reference, max_workers),
        )
        return str(replace(reference, digest=done.content.digest))


def import_model(
    url: str,
    ref: str,
    *,
    provider: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    also_tags: Sequence[str] = (),
    local: bool = False,
    keep_going: bool = False,
    allow_secrets: Sequence[str] = (),
    format: Literal["modelpack", "image", "both"] = "modelpack",
    max_workers: int | None = None,
    progress: Progress | None = None,
    connection: Connection = DIRECT,
    session: Session | None = None,
) -> str:
    """Bring a model from a hub straight into a registry; nothing is written to this disk.

    What the registry has is not downloaded, the rest goes from download to upload and is verified on the way. Of a
    revision that was imported before only the list of files is asked for.

    Args:
        url: `hf://org/model[@REV]`, `https://huggingface.co/org/model`, `modelscope://…`, `models:/name/3`, `s3://…`,
            or `org/model` with `provider`.
        ref: `host/repository[:tag]`; the tag is the revision's first 12 characters if it is not said.
        provider: whose `org/model` is: `huggingface` or `modelscope`.
        include: only files that match one of these patterns, as in a Modelfile.
        exclude: no file that matches one of these.
        also_tags: more tags in the same repository.
        local: into the local store instead of the registry.
        keep_going: bring the other files where one fails, and tell all that failed in the end; without, stop there.
        allow_secrets: globs of files that may be brought although they look like secrets.
        format: a ModelPack artifact, a container image that pods mount, or both of the same layers.
        max_workers: how many files at once.
        progress: is told of what is read and brought.
        connection: how to reach the registry.
        session: the surroundings; found as the command line finds them if they are not given.

    Returns:
        What means this artifact and no other: `host/repository:tag@digest`.

    Raises:
        NotFoundError: there is no such model, revision or file.
        VerificationError: bytes are not what the hub said that they are; nothing is tagged.
        AccessDeniedError, OriginError: the hub refused, or failed.
        RegistryError, StoreError: the registry, or the disk, did not take it.
        WorkspaceError: a file looks like a secret.
        UsageError: the URL names no model, or the name makes no sense.
        ModfileError: with `keep_going`, some files could not be brought.
    """
    from .environment import origin_settings
    from .importers import Importers, Order, result_of
    from .importing.choice import Choice
    from .verbs.image import image_settings

    with _surroundings(session) as here:
        settings = here.reaching(origin_settings(), connection)
        importers = Importers(here, Reference.parse(ref), settings, connection, local=local)
        image = image_settings(format, find_base=lambda wanted: None)
        choice = Choice.parse(include, exclude)
        order = Order.take(url, ref, settings, provider=provider, also_tags=also_tags, choice=choice)
        importer = importers.importer(
            allow_secrets=allow_secrets,
            keep_going=keep_going,
            workers=max_workers,
            image=image,
            progress=progress or SILENT,
        )
        return result_of(order, importer.bring(order.origin, order.names, order.choice))


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
    from .verbs.inspect import inspect as facts_of

    reference = refer(ref)
    with _surroundings(session) as here:
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
    from .verbs.extract import extract

    reference = refer(ref)
    with _surroundings(session) as here:
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
    from .tensors import ArtifactFiles, at_path, open_tensors

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


@contextmanager
def _surroundings(session: Session | None) -> Iterator[Session]:
    """Give the session that was given, or one of the environment for as long as it is needed."""
    if session is not None:
        yield session
        return
    with Session.from_environment() as found:
        yield found
