"""`modfile build`."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.environment import source_date_epoch
from modfile.errors import UsageError
from modfile.grouping import MAX_LAYERS

from .console import summary
from .imageoptions import BaseImage, BuildFormat, Format, ImageOptions, ImagePrefix, ImageTag, Platforms
from .layeroptions import Compression, Raw, format_of
from .options import AsJSON, Concurrency, connected
from .origin import (
    DownloadDir,
    ModelProvider,
    ModelURL,
    NoFiles,
    OnlyFiles,
    Wanted,
    model_for_build,
    refuse_without_url,
)
from .rehearsal import DryRun, show_build
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.reference import Reference
    from modfile.registry.repository import Repository
    from modfile.store import Source, Store


@connected
def build(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The directory of the model.")] = Path(),
    tags: Annotated[
        list[str], typer.Option("--tag", "--target", "-t", metavar="REF", help="Name the artifact; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    modelfile: Annotated[
        Path | None,
        typer.Option("--modelfile", "-f", metavar="FILE", help="The Modelfile.  [default: PATH/Modelfile]"),
    ] = None,
    build_arg: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="Give a value to an ARG of the Modelfile; repeatable.")
    ] = [],  # noqa: B006
    output_remote: Annotated[
        bool, typer.Option("--output-remote", help="Write straight to the registry; store nothing here.")
    ] = False,
    concurrency: Concurrency = None,
    raw: Raw = None,
    compression: Compression = None,
    max_layers: Annotated[
        int | None,
        typer.Option(
            "--max-layers",
            metavar="N",
            min=1,
            max=100_000,
            help="Let the smallest files share layers above so many.  [default: 400, of an image 100]",
        ),
    ] = None,
    form: Format = BuildFormat.MODELPACK,
    image_prefix: ImagePrefix = None,
    image_tag: ImageTag = None,
    base_image: BaseImage = None,
    platform: Platforms = [],  # noqa: B006
    source_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the model's sources are.  [default: the git origin of PATH]"),
    ] = None,
    source_revision: Annotated[
        str | None, typer.Option(metavar="REV", help="Their revision.  [default: the git HEAD of PATH]")
    ] = None,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Say that the model can reason.")] = False,
    no_creation_time: Annotated[
        bool, typer.Option("--no-creation-time", help="Leave out all times and owners: same files, same digest.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Read every file, known or not.")] = False,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Pack files that look like secrets; repeatable.")
    ] = [],  # noqa: B006
    model_url: ModelURL = None,
    provider: ModelProvider = None,
    include: OnlyFiles = [],  # noqa: B006
    exclude: NoFiles = [],  # noqa: B006
    download_dir: DownloadDir = None,
    dry_run: DryRun = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Pack a directory as its Modelfile says; print the digest.

    The artifact is put into the local store under the names given, or with --output-remote into their registry: what
    that has already is not sent, and nothing is stored here.

    Layers are the files as they are, so that versions share what they have in common. --no-raw and --compression put
    them into tars, for programs that expect those.

    FROM in the Modelfile starts from another artifact, of the local store or its registry. None of its layers is
    fetched for that; with --output-remote they are mounted, or go from the base's registry to the other.

    With --format image the result is a container image with the files in /models, for a volume of a Kubernetes pod or
    for KServe. With --format both it is the artifact and the image, of one set of layers; both digests are printed,
    the artifact's first. --base gives the image a shell.

    With --dry-run nothing is written but the digests of the files, for the next time: it reads what a build would
    read, warns and refuses as that does, asks the registry what it has, and lists what would be stored or sent.

    With --model-url the model is downloaded first, and a Modelfile is written for it if it has none; PATH is not said
    then. It stays in --download-dir, and goes away after the build if that is not said. `modfile import` is the way
    into a registry that keeps nothing on disk.

    A file that has not changed since it was last read is not read again. With SOURCE_DATE_EPOCH in the
    environment, or with --no-creation-time, the same files and Modelfile give the same digest anywhere.

    \b
      modfile build -t registry.example.com/llm/minilm:v1 .
      modfile build -t registry.example.com/llm/minilm:v1 --output-remote .
      modfile build -t registry.example.com/llm/minilm:v1 --output-remote --dry-run .
      modfile build -t minilm:v1 -t minilm:latest --no-creation-time ./minilm
      modfile build -t minilm:v2 --build-arg base=v1 ./adapter
      modfile build -t minilm:v1 --compression zstd --max-layers 100 ./minilm
      modfile build -t registry.example.com/llm/minilm:v1 --output-remote --format both .
      modfile build -t registry.example.com/llm/minilm:v1 --format image --base docker.io/library/busybox:stable .
      modfile build -t minilm:v1 --model-url hf://sentence-transformers/all-MiniLM-L6-v2 --exclude 'onnx/**'
    """
    from modfile.backoff import Backoff
    from modfile.base import find_base
    from modfile.gitsource import git_source
    from modfile.modelfile import load
    from modfile.packer import Stamp
    from modfile.reference import Reference
    from modfile.resumption import Resuming
    from modfile.substitution import parse_build_args
    from modfile.verbs.build import Builder, Provenance
    from modfile.verbs.build_rehearsal import rehearse_build
    from modfile.verbs.image import MAX_IMAGE_LAYERS
    from modfile.workspace import Workspace

    options = ImageOptions(form, image_prefix, image_tag, base_image, platform)
    options.check(raw, compression)
    session = Session.of(context)
    references = [Reference.parse(tag) for tag in tags]
    for reference in references:
        if reference.digest:
            raise typer.BadParameter(f"{reference}: a build cannot choose its digest", param_hint="--tag")
    if model_url is None:
        refuse_without_url(provider=provider, include=include, exclude=exclude, download_dir=download_dir)
    elif path != Path() or dry_run:
        raise UsageError("--model-url names the model: it goes with neither PATH nor --dry-run")
    else:
        wanted = Wanted(model_url, provider, include, exclude, download_dir)
        model = model_for_build(context, wanted, connection, concurrency, modelfile)
        path, source_url = model.directory, source_url or model.listing.url
        source_revision = source_revision or model.listing.revision or None
    workspace = Workspace(path)
    text = load(_modelfile(path, modelfile), parse_build_args(build_arg))
    named, target = text.base(), references[0] if references else None

    def find_source(reference: Reference) -> Source:
        own = not output_remote or (target is not None and reference.host == target.host)
        return Resuming(session.source(reference, connection if own else DIRECT), Backoff(), session.console.say)

    stamp = Stamp.of(datetime.now(UTC), source_date_epoch(), no_creation_time=no_creation_time)
    git = None if stamp.reproducible else git_source(path)
    storage = session.storage
    repository = _target(session, references, connection, named, options) if output_remote else None
    to: Store = repository or storage.layout
    base = find_base(named, storage.layout, find_source) if named else None
    with ExitStack() as stack, session.console.progress("reading" if dry_run else "building") as progress:
        image = options.settings(session, find_source, stack)
        builder = Builder(
            to,
            stamp,
            Provenance(source_url, source_revision, reasoning, git),
            None if no_cache else storage.cache,
            allow_secret,
            progress,
            session.concurrency(references[0] if output_remote else None, concurrency),
            format_of(raw, compression),
            max_layers or (MAX_IMAGE_LAYERS if image else MAX_LAYERS),
            storage.directory,
            image,
        )
        if dry_run:
            find_mount = repository.find_mount if repository else None
            found = rehearse_build(builder, workspace, text, references, base, find_mount)
        else:
            built = builder.build(workspace, text, references, base)
    if dry_run:
        show_build(session.console, found, "sent" if output_remote else "stored", as_json=as_json)
        return
    for warning in built.warnings:
        session.console.warn(warning)
    count = len(built.manifest.layers)
    verb = "sent" if output_remote else "stored"
    of_base = f", {built.inherited} of {base.parent.name}" if base else ""
    session.console.say(f"built {count} layer{'' if count == 1 else 's'}{of_base}: {summary(verb, built.tally)}")
    if built.image:
        names = ", ".join(map(str, built.image.references)) or built.image.content.digest.short
        session.console.say(f"image {names} for {', '.join(map(str, built.image.image.platforms))}")
    if as_json:
        tagged = [str(reference) for reference in references]
        layers = {"Layers": count} | built.tally.to_json()
        said = {"Base": {"Name": str(base.parent.name), "Digest": str(base.parent.digest)}} if base else {}
        said |= {"Image": built.image.to_json()} if built.image else {}
        session.console.json({"Digest": str(built.content.digest), "References": tagged} | said | layers)
    else:
        session.console.result(str(built.content.digest))
        if built.image and built.image.content != built.content:
            session.console.result(str(built.image.content.digest))


def _modelfile(path: Path, said: Path | None) -> Path:
    """Find the Modelfile: as it was said from here, else from the context."""
    if said is None:
        return path / "Modelfile"
    return said if said.exists() or said.is_absolute() else path / said


def _target(
    session: Session,
    references: list[Reference],
    connection: Connection,
    base: Reference | None,
    options: ImageOptions,
) -> Repository:
    """Return the repository that all names are of."""
    if not references:
        raise UsageError("--output-remote needs a name to write to: --tag host/repository:tag")
    if len({reference.name for reference in references}) > 1:
        raise UsageError("--output-remote writes to one repository; name the others with `modfile tag --remote`")
    host = references[0].host
    shared = base.repository if base and base.host == host else options.repository_of_base(host)
    return session.repository(references[0], connection, shared)
