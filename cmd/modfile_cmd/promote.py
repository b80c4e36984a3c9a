"""`modfile promote`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from .options import AsJSON, connected
from .session import DIRECT, Connection, Session


@connected
def promote(
    context: typer.Context,
    repository: Annotated[str, typer.Argument(metavar="REPO", show_default=False, help="host/repository.")],
    version: Annotated[
        str, typer.Argument(metavar="VERSION", show_default=False, help="A tag or a digest that is there.")
    ],
    alias: Annotated[str, typer.Argument(metavar="ALIAS", show_default=False, help="The tag that moves there.")],
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Let a tag in a registry point at another version of its repository; print REPO:ALIAS@digest.

    Only a manifest is written, and no layer is moved. It says what the tag pointed at before, so that it can be moved
    back; `modfile ls --remote` shows which tags are the same artifact. For the local store there is `modfile tag`.

    \b
      modfile promote registry.example.com/llm/minilm v2 production
      modfile promote registry.example.com/llm/minilm sha256:… production
      modfile ls --remote registry.example.com/llm/minilm
    """
    from modfile.reference import Reference
    from modfile.verbs.promote import promote as move

    session = Session.of(context)
    name = Reference.parse_repository(repository).name
    wanted = Reference.parse(f"{name}@{version}" if ":" in version else f"{name}:{version}")
    target = Reference.parse(f"{name}:{alias}")
    done = move(session.repository(target, connection), wanted, target)
    before = "was not there" if done.before is None else f"was {done.before.digest}"
    session.console.say(f"{target} {before if done.moved else 'is there already'}")
    if as_json:
        session.console.json(done.to_json())
    else:
        session.console.result(str(replace(target, digest=done.content.digest)))
