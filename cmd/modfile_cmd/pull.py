"""`modfile pull`."""

from __future__ import annotations

import typer

from .console import summary
from .options import AsJSON, Concurrency, Target, connected
from .session import DIRECT, Connection, Session


@connected
def pull(
    context: typer.Context,
    target: Target,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Fetch an artifact into the local store; print its digest.

    Every byte is verified. What the store has is not fetched again.

    \b
      modfile pull registry.example.com/llm/minilm:v1
      modfile pull registry.example.com/llm/minilm@sha256:…
    """
    from modfile.reference import Reference
    from modfile.verbs.pull import pull as fetch

    session = Session.of(context)
    reference = Reference.parse(target)
    repository = session.repository(reference, connection)
    with session.console.progress("pulling") as progress:
        done = fetch(
            reference,
            repository,
            session.storage.layout,
            progress=progress,
            concurrency=session.concurrency(reference, concurrency),
        )
    session.console.say(f"pulled {reference}: {summary('fetched', done.tally)}")
    if as_json:
        session.console.json({"Reference": str(reference), "Digest": str(done.content.digest)} | done.tally.to_json())
    else:
        session.console.result(str(done.content.digest))
