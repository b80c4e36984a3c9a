"""Writing an artifact's files, as `extract`, `fetch` and `pull` do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .console import summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modfile.reference import Reference
    from modfile.store import Source

    from .session import Session


def write_files(
    session: Session,
    reference: Reference,
    source: Source,
    directory: Path,
    *,
    patterns: Sequence[str] | None = None,
    concurrency: int | None = None,
) -> dict[str, Any]:
    """Write the files, tell people of it, and return what to say of it under stable keys."""
    from modfile.verbs.extract import extract

    with session.console.progress("writing") as progress:
        done = extract(
            reference,
            source,
            directory,
            patterns=patterns,
            cache=session.storage.cache,
            progress=progress,
            concurrency=session.concurrency(reference, concurrency),
        )
    files = len(done.written) + len(done.unchanged)
    session.console.say(f"{files} files in {directory}: {summary('written', done.tally)}")
    return {
        "Digest": str(done.content.digest),
        "Directory": str(directory),
        "Written": list(done.written),
        "Unchanged": list(done.unchanged),
    } | done.tally.to_json()
