"""`modfile save`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modfile.errors import UsageError

from .console import summary
from .options import AsJSON, Concurrency, connected
from .place import Place, Transport
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.artifact import Artifact
    from modfile.progress import Progress
    from modfile.verbs.copy import Tally
    from modfile.verbs.copying import Gathered, Shipment

_STREAM = "-"


@connected
def save(
    context: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="REF…", show_default=False, help="In the local store, or else in its registry; or any SRC of copy."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write this file; - is standard output.")
    ] = _STREAM,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", "-r", help="Bring along signatures, attestations, and whatever else refers to them."
        ),
    ] = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Write artifacts into one file, an OCI archive; print FILE's place and digest for each.

    Content that several of them have is in it once. Nothing is in a file of that name before all of it is there; one
    that is there is replaced at one moment. The same artifacts give the same bytes. `modfile load` takes them into
    another store; skopeo, podman and docker read them as oci-archive.

    \b
      modfile save registry.example.com/llm/minilm:v1 -o minilm.tar
      modfile save --recursive llm/a:v1 llm/b:v2 -o models.tar
      modfile save llm/minilm:v1 | ssh inside modfile load
    """
    session = Session.of(context)
    if output == _STREAM:
        _check_stream(as_json=as_json)
    there = Place(Transport.ARCHIVE, Path(output), "")
    with ExitStack() as stack:
        source, shipments = _gather(session, targets, connection, there, stack, recursive=recursive)
        with session.console.progress("saving") as progress:
            tally = _write(session, source, shipments, output, progress, concurrency)
    what = f"{len(shipments)} artifacts" if len(shipments) > 1 else targets[0]
    where = "standard output" if output == _STREAM else output
    session.console.say(f"saved {what} to {where}: {summary('written', tally)}")
    if as_json:
        session.console.json({"Artifacts": [_shown(shipment, there) for shipment in shipments]} | tally.to_json())
    elif output != _STREAM:
        for shipment in shipments:
            session.console.result(f"{there.at(shipment.artifact.name)}@{shipment.artifact.content.digest}")


def _check_stream(*, as_json: bool) -> None:
    if as_json:
        raise UsageError("--json prints on standard output, where the archive goes; say -o FILE")
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal; say -o FILE, or send it through a pipe")


def _gather(
    session: Session,
    targets: list[str],
    connection: Connection,
    there: Place,
    stack: ExitStack,
    *,
    recursive: bool,
) -> tuple[Gathered, list[Shipment]]:
    """Find all artifacts, each where it is."""
    from modfile.verbs.copying import Gathered

    from .route import find_route

    parts = []
    for target in dict.fromkeys(targets):
        route = find_route(session, (Place.parse(target), connection), (there, connection), stack)
        found = route.shipments(all_tags=False, recursive=recursive, note=session.console.warn)
        parts.append((found, route.source()))
    return Gathered(parts), [shipment for found, _ in parts for shipment in found]


def _write(
    session: Session,
    source: Gathered,
    shipments: list[Shipment],
    output: str,
    progress: Progress,
    concurrency: int | None,
) -> Tally:
    from modfile.verbs.copying import save_artifacts, stream_artifacts

    if output == _STREAM:
        stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        return stream_artifacts(shipments, source, stream, progress=progress)
    return save_artifacts(
        shipments,
        source,
        Path(output),
        progress=progress,
        concurrency=session.concurrency(None, concurrency),
        note=session.console.say,
    )


def _shown(shipment: Shipment, there: Place) -> dict[str, Any]:
    """Return what to say of an artifact under stable keys, which are those of `copy`."""

    def named(artifact: Artifact) -> dict[str, str]:
        return {"Destination": str(there.at(artifact.name)), "Digest": str(artifact.content.digest)}

    return named(shipment.artifact) | {
        "Referrers": [{"Digest": str(one.content.digest), "Subject": str(one.subject)} for one in shipment.referrers],
        "Attached": [named(attached) for attached in shipment.attached],
    }
