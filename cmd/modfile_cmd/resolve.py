"""`modfile resolve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJSON, Concurrency, Target, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.snapshots import Snapshot


@connected
def resolve(
    context: typer.Context,
    target: Target,
    include: Annotated[
        list[str], typer.Option(metavar="GLOB", help="Only files that match: '*.json'; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    exclude: Annotated[list[str], typer.Option(metavar="GLOB", help="No files that match: 'onnx/*'; repeatable.")] = [],  # noqa: B006
    local_files_only: Annotated[
        bool, typer.Option("--local-files-only", help="Ask no registry: what is not here is not found.")
    ] = False,
    force_verify: Annotated[
        bool, typer.Option("--force-verify", help="Read all files again, even if sizes and times are right.")
    ] = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Print the path of a directory with the model's files, ready to be loaded; what is missing is fetched.

    The directory is the one that modfile.pull() gives to Python programs: it shares its files with the local store,
    and they are read-only. It is complete when it is there, and stays until the artifact is pruned.

    \b
      vllm serve "$(modfile resolve registry.example.com/llm/minilm:v1)"
      modfile resolve --json registry.example.com/llm/minilm:v1 | jq -r '.Files[]'
    """
    from modfile.pulling import Puller
    from modfile.reference import Reference
    from modfile.snapshots import Selection

    session = Session.of(context)
    reference = Reference.parse(target)
    with session.console.progress("pulling") as progress:
        puller = Puller(
            session,
            connection,
            local_files_only=local_files_only,
            force_verify=force_verify,
            progress=progress,
            concurrency=concurrency,
        )
        found = puller.snapshot(reference, Selection(include or None, exclude or None))
    if as_json:
        session.console.json({"Reference": str(reference)} | _told(session, reference.at(found.digest), found))
    else:
        session.console.result(str(found.path))


def _told(session: Session, reference: Any, found: Snapshot) -> dict[str, Any]:
    """Return what to say of a directory, under stable keys."""
    from modfile.snapshots import format_of

    return {
        "Path": str(found.path),
        "Digest": str(found.digest),
        "Format": format_of(session.storage.layout, found),
        "Complete": found.complete,
        "Files": list(found.files),
    }
