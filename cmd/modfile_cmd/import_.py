"""`modfile import`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modfile.environment import origin_settings

from .console import size, summary
from .imageoptions import BaseImage, BuildFormat, Format, ImageOptions, ImagePrefix, ImageTag, Platforms
from .options import AsJSON, connected
from .origin import ModelProvider
from .rehearsal import DryRun
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modfile.origins import Listing
    from modfile.reference import Reference
    from modfile.store import Source
    from modfile.verbs.import_rehearsal import ImportRehearsal

    from .console import Console


@connected
def import_(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            show_default=False,
            help="hf://org/model[@REV], https://huggingface.co/org/model, modelscope://…, models:/name/3, s3://…, …",
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--tag",
            "--target",
            "-t",
            metavar="REF",
            show_default=False,
            help="Where to: host/repository[:tag]; the tag is the commit's first 12 characters unless it is said.",
        ),
    ],
    also_tag: Annotated[
        list[str], typer.Option("--also-tag", metavar="TAG", help="Another tag in that repository; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    provider: ModelProvider = None,
    include: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Bring files that match, no others; repeatable.")
    ] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(metavar="PATTERN", help="Bring no such files; repeatable.")] = [],  # noqa: B006
    mount_from: Annotated[
        str | None,
        typer.Option(
            "--mount-from",
            metavar="REPOSITORY",
            show_default=False,
            help="Another repository of the registry that may have the files, host/repository; they are mounted then.",
        ),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Into the local store instead of the registry.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "--concurrency",
            "-c",
            metavar="N",
            min=1,
            max=100,
            help="How many files at once.  [default: 5]",
        ),
    ] = None,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast/--continue-on-error",
            help="Stop at the first file that fails, or bring the others and tell all that failed; no tag in any case.",
        ),
    ] = True,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Bring files that look like secrets; repeatable.")
    ] = [],  # noqa: B006
    form: Format = BuildFormat.MODELPACK,
    image_prefix: ImagePrefix = None,
    image_tag: ImageTag = None,
    base_image: BaseImage = None,
    platform: Platforms = [],  # noqa: B006
    dry_run: DryRun = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Bring a model from a hub straight into a registry; print REF@digest.

    Nothing is written to this disk: what the registry has is skipped or mounted, and the rest goes from download to
    upload, each byte once, verified on the way. What was interrupted goes on where it was. A revision that was imported
    before costs a look at its list of files. The Modelfile is made of what the files say; source, revision,
    license and base model are written down.

    With --format image the result is a container image with the files in /models; with --format both it is the artifact
    and the image, of one set of layers, and a line is printed for each. Layers are tars then, whose digests are known
    when they have been sent.

    A Hugging Face cache on this machine is used for what it has. A file that cannot be brought is an error that names
    it, and then nothing is tagged.

    \b
      modfile import hf://sentence-transformers/all-MiniLM-L6-v2 -t registry.example.com/llm/minilm
      modfile import hf://org/model@v1.0 -t registry.example.com/llm/model:v1 --also-tag latest --exclude '*.bin'
      modfile import models:/churn/3 -t registry.example.com/ml/churn:3
      cosign sign $(modfile import hf://org/model -t registry.example.com/llm/model)
    """
    from modfile.importers import Importers, Order, result_of
    from modfile.importing.choice import Choice
    from modfile.reference import Reference
    from modfile.verbs.import_rehearsal import rehearse_import

    session = Session.of(context)
    options = ImageOptions(form, image_prefix, image_tag, base_image, platform)
    options.check(None, None)
    choice, reference = Choice.parse(include, exclude), Reference.parse(target)
    settings = session.reaching(origin_settings(), connection)
    other = Reference.parse(mount_from) if mount_from else None
    importers = Importers(session, reference, settings, connection, local=local, mount_from=other)

    def find_source(wanted: Reference) -> Source:
        return session.source(wanted, connection if wanted.host == reference.host else DIRECT)

    with ExitStack() as stack, session.console.progress("importing") as progress:
        image = options.settings(session, find_source, stack)
        order = Order.take(url, target, settings, provider=provider, also_tags=also_tag, choice=choice)
        importer = importers.importer(
            allow_secrets=allow_secret, keep_going=not fail_fast, workers=workers, image=image, progress=progress
        )
        if dry_run:
            find_mount = importers.repository.find_mount if importers.repository else None
            found = rehearse_import(importer, order.origin, order.names, choice, find_mount)
        else:
            done = importer.bring(order.origin, order.names, choice)
    names, listing = order.names, order.origin.listing()
    if dry_run:
        _show(session.console, names, found, as_json=as_json)
        return
    for warning in done.warnings:
        session.console.warn(warning)
    what = "unchanged since it was imported" if done.unchanged else summary("brought", done.tally)
    session.console.say(f"imported {listing.url}{_at(listing)}: {what}")
    beside = image.names(names) if image and done.image else ()
    if as_json:
        said: dict[str, Any] = {"Digest": str(done.content.digest), "References": [str(name) for name in names]}
        said |= {"URL": listing.url, "Revision": listing.revision, "Unchanged": done.unchanged}
        if done.image:
            said["Image"] = {"Digest": str(done.image.digest), "References": [str(name) for name in beside]}
        session.console.json(said | {"Layers": len(done.manifest.layers)} | done.tally.to_json())
        return
    session.console.result(result_of(order, done))
    if done.image:
        session.console.result(f"{beside[0]}@{done.image.digest}")


def _at(listing: Listing) -> str:
    return f" at {listing.revision[:12]}" if listing.revision else ""


def _show(console: Console, names: Sequence[Reference], found: ImportRehearsal, *, as_json: bool) -> None:
    """Print what an import would do."""
    if as_json:
        console.json({"References": [str(name) for name in names]} | found.to_json())
    else:
        rows = [
            (str(one.file.digest or ""), size(one.file.size), one.file.path, f"{one.how} {one.place}".strip())
            for one in found.files
        ]
        console.table(("DIGEST", "SIZE", "FILE", "HOW"), rows)
    if found.unchanged:
        console.say(f"{found.unchanged.digest} is of the same files: nothing would be downloaded")
    else:
        console.say(f"{size(found.size)} of {len(found.files)} files would be downloaded")
