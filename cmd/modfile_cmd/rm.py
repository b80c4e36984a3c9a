"""`modfile rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJSON, connected
from .session import DIRECT, Connection, Session


@connected
def rm(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(metavar="REF...", show_default=False, help="What to take away.")],
    remote: Annotated[bool, typer.Option("--remote", help="From the registry, not from the local store.")] = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Take tags away; print them.

    If one of them is not there, none is taken away. The content stays until `modfile prune`, in a registry until its
    own garbage collection. With a digest, all tags of that manifest in the repository go. Some registries delete by
    digest only, and say so.

    \b
      modfile rm registry.example.com/llm/minilm:v1
      modfile rm --remote registry.example.com/llm/minilm@sha256:…
    """
    from modfile.reference import Reference

    session = Session.of(context)
    references = list(dict.fromkeys(Reference.parse(target) for target in targets))
    if remote:
        repositories = {ref: session.repository(ref, connection) for ref in references}
        removed = [(ref, repositories[ref].resolve(ref)) for ref in references]
        for ref in references:
            repositories[ref].delete(ref)
    else:
        removed = list(zip(references, session.storage.layout.untag(references), strict=True))
    if as_json:
        session.console.json([{"Reference": str(name), "Digest": str(content.digest)} for name, content in removed])
    else:
        for reference, _ in removed:
            session.console.result(str(reference))
