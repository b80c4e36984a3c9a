"""`modfile tag`."""

from __future__ import annotations

from typing import Annotated

import typer

from modfile.errors import UsageError

from .options import connected
from .session import DIRECT, Connection, Session


@connected
def tag(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", show_default=False, help="A reference that is there.")],
    target: Annotated[str, typer.Argument(metavar="DST", show_default=False, help="The name to give it.")],
    remote: Annotated[
        bool, typer.Option("--remote", help="In the registry, not in the local store; no layer is moved.")
    ] = False,
    connection: Connection = DIRECT,
) -> None:
    """Give an artifact another name.

    With --remote both names are of one registry; into another repository its layers are mounted.

    \b
      modfile tag minilm:v1 registry.example.com/llm/minilm:v1
      modfile tag --remote registry.example.com/llm/minilm:v1 registry.example.com/prod/minilm:stable
    """
    from modfile.reference import Reference
    from modfile.verbs.copy import copy

    session = Session.of(context)
    old, new = Reference.parse(source), Reference.parse(target)
    if new.digest:
        raise typer.BadParameter(f"{new}: a tag is given, a digest is not", param_hint="DST")
    if not remote:
        layout = session.storage.layout
        layout.tag(layout.resolve(old), new)
        return
    if old.host != new.host:
        raise UsageError(f"{old} and {new} are of two registries; pull the one, tag it, and push it to the other")
    origin = session.repository(old, connection)
    root = origin.resolve(old)
    repository = origin
    if old.repository != new.repository:
        repository = session.repository(new, connection, mount_from=old.repository)
        with session.console.progress("tagging") as progress:
            copy(root, origin, repository, progress=progress, concurrency=session.concurrency(new, None))
    repository.tag(root, new)
