"""`modfile copy`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import size, summary
from .options import AsJSON, Concurrency, connected_twice
from .place import Place
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modfile.verbs.copying import Piece, Shipment

    from .route import Route


@connected_twice
def copy(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            show_default=False,
            help="REF, docker://REF, store:REF, oci:DIR[:REF] or oci-archive:FILE[:REF].",
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="DST", show_default=False, help="The same.")],
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", "-r", help="Bring along its signatures, attestations, and whatever else refers to it."
        ),
    ] = False,
    all_tags: Annotated[
        bool, typer.Option("--all-tags", "-a", help="Every tag of the repository, or every artifact of the layout.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; list what would be brought.")] = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    origin: Connection = DIRECT,
    destination: Connection = DIRECT,
) -> None:
    """Copy an artifact between registries, the local store, OCI layouts and OCI archives; print DST@digest.

    Its bytes stay as they are, and so does its digest. What is at DST is not brought again; from registry to registry
    nothing is kept here. A bare REF as SRC is in the local store or else in its registry; as DST it is in its
    registry if it has a host, else in the local store. Without a tag DST takes that of SRC; HOST/ or HOST/PREFIX/
    takes its repository too.

    \b
      modfile copy --recursive old.example.com/llm/minilm:v1 new.example.com/
      modfile copy --all-tags old.example.com/llm/minilm new.example.com/mirror/minilm
      modfile copy minilm:v1 oci-archive:minilm.tar
      modfile copy oci-archive:minilm.tar registry.example.com/llm/minilm:v1
    """
    from .route import find_route

    session = Session.of(context)
    here, there = Place.parse(source), Place.parse(target)
    with ExitStack() as stack:
        route = find_route(session, (here, origin), (there, destination), stack, all_tags=all_tags)
        shipments = route.shipments(all_tags=all_tags, recursive=recursive, note=session.console.warn)
        said: dict[str, Any] = {"Artifacts": [_shown(route, shipment) for shipment in shipments]}
        if dry_run:
            said |= _survey(session, route, shipments, as_json=as_json)
        else:
            with session.console.progress("copying") as progress:
                tally = route.copy(shipments, progress, concurrency)
            count = f"{len(shipments)} artifacts" if all_tags else source
            session.console.say(f"copied {count} to {there}: {summary('brought', tally)}")
            said |= tally.to_json()
    if as_json:
        session.console.json(said)
    elif not dry_run:
        for artifact in said["Artifacts"]:
            session.console.result(f"{artifact['Destination']}@{artifact['Digest']}")


def _survey(session: Session, route: Route, shipments: Sequence[Shipment], *, as_json: bool) -> dict[str, Any]:
    """Print what a copy would bring."""
    from modfile.verbs.copy import label

    pieces: Sequence[Piece] = route.survey(shipments)
    missing = [piece.content for piece in pieces if not piece.there]
    if not as_json:
        rows = [(str(content.digest), size(content.size), label(content)) for content in missing]
        session.console.table(("DIGEST", "SIZE", "WHAT"), rows)
    total = size(sum(content.size for content in missing))
    session.console.say(f"would bring {len(missing)} of {len(pieces)} pieces ({total})")
    return {"Missing": [content.to_json() for content in missing], "There": len(pieces) - len(missing)}


def _shown(route: Route, shipment: Shipment) -> dict[str, Any]:
    """Return what to say of an artifact under stable keys."""
    artifact = shipment.artifact
    destination = route.shown(artifact)
    return {
        "Destination": destination,
        "Digest": str(artifact.content.digest),
        "Referrers": [
            {"Digest": str(referrer.content.digest), "Subject": str(referrer.subject)}
            for referrer in shipment.referrers
        ],
        "Attached": [
            {"Destination": route.shown(attached), "Digest": str(attached.content.digest)}
            for attached in shipment.attached
        ],
    }
