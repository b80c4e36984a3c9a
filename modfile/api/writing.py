"""From models to artifacts: `generate`, `build`, `push`, `import_model`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import UsageError
from ..progress import SILENT
from ..pulling import refer
from ..reference import Reference
from ..session import DIRECT, Connection, Session
from .reading import inspect
from .surroundings import surroundings

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ..description import Artifact
    from ..progress import Progress

    StrPath = str | os.PathLike[str]


def generate(path: StrPath, *, overwrite: bool = False) -> Path:
    """Write a Modelfile for a directory of model files, from what the files say; return where it is.

    Raises:
        NotFoundError: there is no such directory.
        WorkspaceError: there is no file to pack, or one cannot be packed.
        DestinationError: it cannot be written, or is there already and not to be replaced.
    """
    from ..verbs.generate import generate as write

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
    from ..base import find_base
    from ..environment import source_date_epoch
    from ..grouping import MAX_LAYERS
    from ..modelfile import load
    from ..packer import Stamp
    from ..verbs.build import Builder
    from ..verbs.image import MAX_IMAGE_LAYERS, find_image_base, image_settings
    from ..workspace import Workspace

    if image_base is not None and format == "modelpack":
        raise UsageError("an image base is of an image; say format image or both")
    references = [Reference.parse(tag) for tag in ([tags] if isinstance(tags, str) else tags)]
    if not references:
        raise UsageError("an artifact needs a name: host/repository:tag, or a name for the local store only")
    text = load(Path(path, "Modelfile") if modelfile is None else Path(modelfile), build_args)
    epoch = None if created else source_date_epoch()
    stamp = Stamp.of(created or datetime.now(UTC), epoch, no_creation_time=reproducible)
    with surroundings(session) as here:
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
    from ..verbs.push import push as send

    reference = refer(ref)
    with surroundings(session) as here:
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
    from ..environment import origin_settings
    from ..importers import Importers, Order, result_of
    from ..importing.choice import Choice
    from ..verbs.image import image_settings

    with surroundings(session) as here:
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
