"""`modfile ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import UsageError

from .console import size
from .options import AsJSON, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.verbs.ls import Listed

_MOST_NAMED = 4


@connected
def ls(
    context: typer.Context,
    repository: Annotated[
        str | None,
        typer.Argument(metavar="REPO", show_default=False, help="With --remote: host/repository."),
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="List a repository of a registry.")] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List also manifests that lost their tag.")] = False,
    digests: Annotated[bool, typer.Option("--quiet", "-q", help="Print digests only.")] = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """List the local store, newest first.

    With --remote, the tags of a repository, and which of them are the same artifact. With REPO alone, what the local
    store has of it.

    \b
      modfile ls
      modfile ls --remote registry.example.com/llm/minilm
      modfile ls --json | jq -r '.[].Digest'
    """
    from modfile.reference import Reference
    from modfile.verbs.ls import ls as rows_of
    from modfile.verbs.ls import ls_remote

    session = Session.of(context)
    if remote:
        if repository is None:
            raise UsageError("--remote needs the repository to list: modfile ls --remote HOST/REPOSITORY")
        reference = Reference.parse_repository(repository)
        rows = ls_remote(
            reference.name,
            session.repository(reference, connection),
            concurrency=session.concurrency(reference, None),
        )
    else:
        rows = rows_of(session.storage.layout, untagged=everything)
        if repository is not None:
            rows = tuple(row for row in rows if row.repository == Reference.parse_repository(repository).name)
    for row in rows:
        if row.problem:
            session.console.warn(f"{row.repository or row.digest}:{row.tag or '<none>'}: {row.problem}")
    if as_json:
        session.console.json([row.to_json() for row in rows])
    elif digests:
        for digest in dict.fromkeys(row.digest for row in rows):
            session.console.result(str(digest))
    else:
        heads = ["REPOSITORY", "TAG", "DIGEST", "CREATED", "SIZE", *(["SAME AS"] if remote else [])]
        session.console.table(heads, [_cells(row) for row in rows])


def _cells(row: Listed) -> list[str]:
    return [
        row.repository or "<none>",
        row.tag or "<none>",
        row.digest.short,
        (row.created or "-").replace("T", " ").removesuffix("Z"),
        "-" if row.size is None else size(row.size),
        *([] if row.shared_with is None else [_named(row.shared_with)]),
    ]


def _named(tags: tuple[str, ...]) -> str:
    """Name tags, some of them where there are many."""
    more = len(tags) - _MOST_NAMED
    return ", ".join(tags[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
