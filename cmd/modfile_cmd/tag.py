"""`modfile tag`."""

from __future__ import annotations

from typing import Annotated

import typer

from .session import Session


def tag(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", show_default=False, help="A reference of the local store.")],
    target: Annotated[str, typer.Argument(metavar="DST", show_default=False, help="The name to give it.")],
) -> None:
    """Give an artifact another name.

    \b
      modfile tag minilm:v1 registry.example.com/llm/minilm:v1
    """
    from modfile.reference import Reference

    name = Reference.parse(target)
    if name.digest:
        raise typer.BadParameter(f"{name}: a tag is given, a digest is not", param_hint="DST")
    layout = Session.of(context).storage.layout
    layout.tag(layout.resolve(Reference.parse(source)), name)
