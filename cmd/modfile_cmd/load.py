"""`modfile load`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from modfile.errors import UsageError

from .console import summary
from .options import AsJSON, Concurrency
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modfile.layout import Layout
    from modfile.ociarchive import Archive
    from modfile.progress import Progress
    from modfile.reference import Reference
    from modfile.store import Reader
    from modfile.verbs.copying import Shipment

_STREAM = "-"


def load(
    context: typer.Context,
    input: Annotated[
        str, typer.Option("--input", "-i", metavar="FILE", help="Read this file; - is standard input.")
    ] = _STREAM,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="REF", help="What the only artifact is to be called, whatever FILE says."),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            metavar="HOST/REPOSITORY",
            help="Where artifacts go of which FILE says a tag alone, as skopeo writes it.",
        ),
    ] = None,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
) -> None:
    """Take the artifacts of an OCI archive into the local store; print REF@digest for each.

    What refers to them comes along. Every byte is verified; of an archive that is broken or not complete nothing gets a
    name. FILE may be compressed with gzip or zstd. Archives are those of modfile save, of skopeo and podman
    (oci-archive), and of docker save from Docker 25 on.

    \b
      modfile load -i models.tar
      modfile load -i minilm.tar --name registry.inside/llm/minilm:v1
      ssh outside modfile save llm/minilm:v1 | modfile load
    """
    from modfile.progress import SILENT
    from modfile.reference import Reference
    from modfile.verbs.load import Naming
    from modfile.verbs.load import load as verb

    session = Session.of(context)
    if name is not None and repository is not None:
        raise UsageError("--name says the whole name, --repository a part of it; give one of them")
    naming = Naming(
        None if name is None else _tagged(Reference.parse(name)),
        None if repository is None else Reference.parse_repository(repository),
    )
    if input == _STREAM and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("standard input is a terminal; say -i FILE, or send the archive through a pipe")
    layout = session.storage.layout
    with session.console.progress("loading") as progress, _opened(input, layout, progress) as (archive, store):
        done = verb(
            archive,
            store,
            naming,
            progress=progress if store is layout else SILENT,  # what was spooled was shown as it came
            concurrency=session.concurrency(None, concurrency),
            note=session.console.warn,
        )
    count = len(done.shipments)
    session.console.say(
        f"loaded {count} artifact{'s' if count > 1 else ''} from {archive}: {summary('stored', done.tally)}"
    )
    if as_json:
        session.console.json({"Artifacts": [_shown(shipment) for shipment in done.shipments]} | done.tally.to_json())
    else:
        for shipment in done.shipments:
            session.console.result(f"{shipment.artifact.name}@{shipment.artifact.content.digest}")


def _tagged(reference: Reference) -> Reference:
    if reference.digest is not None:
        raise UsageError(f"{reference}: --name is a tag; the digest is that of what is loaded")
    return reference


@contextmanager
def _opened(file: str, layout: Layout, progress: Progress) -> Iterator[tuple[Archive, Layout]]:
    from modfile.ociarchive import open_archive, receive

    if file != _STREAM:
        with open_archive(Path(file), layout, progress) as opened:
            yield opened
        return
    # A buffered reader fills what it is given by several reads, and sees no interrupt that comes between them: it would
    # wait for bytes that may never come.
    unbuffered = cast("Reader", getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))
    with receive(unbuffered, layout, "standard input", progress) as opened:
        yield opened


def _shown(shipment: Shipment) -> dict[str, Any]:
    """Return what to say of an artifact under stable keys."""
    artifact = shipment.artifact
    return {
        "Reference": artifact.name,
        "Digest": str(artifact.content.digest),
        "Referrers": [{"Digest": str(one.content.digest), "Subject": str(one.subject)} for one in shipment.referrers],
        "Attached": [{"Reference": one.name, "Digest": str(one.content.digest)} for one in shipment.attached],
    }
