"""`modfile rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJSON
from .session import Session


def rm(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(metavar="REF...", show_default=False, help="What to take away.")],
    as_json: AsJSON = False,
) -> None:
    """Take tags away; print them.

    If one of them is not in the local store, none is taken away. The content stays until `modfile prune`. With a
    digest, all tags of that manifest in the repository go.

    \b
      modfile rm registry.example.com/llm/minilm:v1
    """
    from modfile.reference import Reference

    session = Session.of(context)
    layout = session.storage.layout
    references = list(dict.fromkeys(Reference.parse(target) for target in targets))
    for reference in references:
        layout.resolve(reference)
    removed = [(reference, layout.untag(reference)) for reference in references]
    if as_json:
        session.console.json([{"Reference": str(name), "Digest": str(content.digest)} for name, content in removed])
    else:
        for reference, _ in removed:
            session.console.result(str(reference))
