"""`modfile history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .console import size
from .options import AsJSON, Target, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.reference import Reference
    from modfile.store import Source


@connected
def history(
    context: typer.Context,
    target: Target,
    remote: Annotated[
        bool, typer.Option("--remote", help="Ask registries: for the artifact, and for bases that are not here.")
    ] = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Print what an artifact is built on, and what that is built on, itself first.

    LAYERS is how many an artifact has, and how many of them its base does not have; SIZE is that of the latter. Bases
    are looked for by their digests, in the local store and with --remote in the registries that their children name.
    One that is not found is the last, with a warning.

    \b
      modfile history registry.example.com/llm/llama3-support:v1
      modfile history --remote registry.example.com/llm/llama3-support:v1
      modfile history --json registry.example.com/llm/llama3-support:v1 | jq -r '.History[].Digest'
    """
    from modfile.reference import Reference
    from modfile.verbs.history import history as generations_of

    session = Session.of(context)
    reference = Reference.parse(target)
    layout = session.storage.layout

    def find_source(base: Reference) -> Source:
        return session.source(base, connection if base.host == reference.host else DIRECT)

    source = find_source(reference) if remote and reference.host else layout
    found = generations_of(reference, source, layout, find_source if remote else None)
    for one in found:
        if one.problem:
            session.console.warn(f"{one.name or one.digest}: {one.problem}")
    if as_json:
        session.console.json({"Reference": str(reference), "History": [one.to_json() for one in found]})
        return
    rows = [
        (
            one.name or "<none>",
            one.digest.short,
            (one.created or "-").replace("T", " ").removesuffix("Z"),
            "-" if one.layers is None else f"{one.layers} ({'?' if one.own is None else one.own} own)",
            "-" if one.own_bytes is None else size(one.own_bytes),
        )
        for one in found
    ]
    session.console.table(("NAME", "DIGEST", "CREATED", "LAYERS", "SIZE"), rows)
