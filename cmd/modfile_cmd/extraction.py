"""Writing an artifact's files, as `extract`, `fetch` and `pull` do it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modfile.errors import UsageError

from .console import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    overwrite: bool = False,
    concurrency: int | None = None,
) -> dict[str, Any]:
    """Write the files, tell people of it, and return what to say of it under stable keys.

    Raises:
        UsageError: the whole directory is to be replaced, but something else is in it that must not go.
    """
    from modfile.verbs.extract import extract

    if overwrite:
        check_expendable(directory, session.storage_directory)
    with session.console.progress("writing") as progress:
        done = extract(
            reference,
            source,
            directory,
            patterns=patterns,
            overwrite=overwrite,
            cache=session.storage.cache,
            progress=progress,
            concurrency=session.concurrency(reference, concurrency),
            note=session.console.say,
        )
    files = len(done.written) + len(done.unchanged)
    session.console.say(f"{files} files in {directory}: {summary('written', done.tally)}")
    return {
        "Digest": str(done.content.digest),
        "Directory": str(directory),
        "Written": list(done.written),
        "Unchanged": list(done.unchanged),
    } | done.tally.to_json()


def check_expendable(directory: Path, storage: Path) -> None:
    """See that replacing a directory whole takes nothing along that nobody means to lose."""
    resolved = Path(os.path.realpath(directory))
    if resolved.is_relative_to(os.path.realpath(storage)):
        raise UsageError(f"--overwrite replaces {directory} whole, which is in the store; choose another directory")
    for what, path in (("the working directory", "."), ("the home directory", "~"), ("the store", storage)):
        try:
            precious = Path(path).expanduser().resolve()
        except (OSError, RuntimeError):  # there is none
            continue
        if precious.is_relative_to(resolved):
            raise UsageError(f"--overwrite replaces {directory} whole, but {what} is in it; choose another directory")
