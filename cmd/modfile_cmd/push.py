"""`modfile push`."""

from __future__ import annotations

import typer

from .console import summary
from .options import AsJSON, Concurrency, Target, connected
from .rehearsal import DryRun, show
from .session import DIRECT, Connection, Session


@connected
def push(
    context: typer.Context,
    target: Target,
    dry_run: DryRun = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Send an artifact to its registry; print REF@digest.

    What the registry has is not sent again; layers of a base (FROM) that are not here are mounted, or read in the
    base's registry. The tag is written last.

    \b
      modfile push registry.example.com/llm/minilm:v1
      cosign sign $(modfile push registry.example.com/llm/minilm:v1)
    """
    from modfile.reference import Reference
    from modfile.verbs.push import push as send
    from modfile.verbs.rehearsal import rehearse

    session = Session.of(context)
    reference = Reference.parse(target)
    repository = session.repository(reference, connection)
    workers = session.concurrency(reference, concurrency)
    if dry_run:
        backed = session.backed(reference, connection)
        found = rehearse(
            reference,
            session.storage.layout,
            repository,
            find_mount=repository.find_mount,
            find_base=backed.find_base,
            concurrency=workers,
        )
        show(session.console, reference, found, "sent", as_json=as_json)
        return
    with session.console.progress("pushing") as progress:
        source = session.backed(reference, connection)
        done = send(reference, source, repository, progress=progress, concurrency=workers)
    session.console.say(f"pushed {reference}: {summary('sent', done.tally)}")
    if as_json:
        session.console.json({"Reference": str(reference), "Digest": str(done.content.digest)} | done.tally.to_json())
    else:
        tagged = f"{reference.name}:{reference.tag}" if reference.tag else reference.name
        session.console.result(f"{tagged}@{done.content.digest}")
