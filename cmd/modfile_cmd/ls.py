"""`modfile ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import size
from .options import AsJSON
from .session import Session


def ls(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List also manifests that lost their tag.")] = False,
    digests: Annotated[bool, typer.Option("--quiet", "-q", help="Print digests only.")] = False,
    as_json: AsJSON = False,
) -> None:
    """List the local store, newest first.

    \b
      modfile ls
      modfile ls --json | jq -r '.[].Digest'
    """
    from modfile.verbs.ls import ls as rows_of

    session = Session.of(context)
    rows = rows_of(session.storage.layout, untagged=everything)
    for row in rows:
        if row.problem:
            session.console.warn(f"{row.repository or row.digest}: {row.problem}")
    if as_json:
        session.console.json([row.to_json() for row in rows])
    elif digests:
        for digest in dict.fromkeys(row.digest for row in rows):
            session.console.result(str(digest))
    else:
        session.console.table(
            ("REPOSITORY", "TAG", "DIGEST", "CREATED", "SIZE"),
            [
                (
                    row.repository or "<none>",
                    row.tag or "<none>",
                    row.digest.short,
                    (row.created or "-").replace("T", " ").removesuffix("Z"),
                    "-" if row.size is None else size(row.size),
                )
                for row in rows
            ],
        )
