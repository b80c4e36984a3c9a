"""`modfile verify`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import UsageError, VerificationError

from .located import locate
from .options import AsJSON, Concurrency, PlacedTarget, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.verbs.verify import Verified

    from .console import Console
    from .located import Located


@connected
def verify(
    context: typer.Context,
    target: PlacedTarget,
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The directory to compare; without it, the store's blobs.")
    ] = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Compare with the manifest in the registry; no layer is downloaded.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the files that are missing or changed anew, and no others.")
    ] = False,
    allow_extra: Annotated[
        bool, typer.Option("--allow-extra", help="Files that are not the artifact's are no difference.")
    ] = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Tell whether a directory holds exactly what an artifact says, byte for byte; list what differs.

    Every file is read and hashed; missing, changed and extra files are listed, and the exit code is 4 if there are any.
    Modes and times are not compared. The artifact is that of the local store, or of a layout or an archive where it is;
    with --remote its manifest comes from the registry and no layer is downloaded. Without DIR the artifact's blobs
    there are verified (with --remote: whether the registry has them, by their sizes).

    \b
      modfile verify registry.example.com/llm/minilm:v1 ./minilm
      modfile verify registry.example.com/llm/minilm:v1 ./minilm --remote --repair
      modfile verify registry.example.com/llm/minilm:v1
      modfile verify oci-archive:minilm.tar
    """
    session = Session.of(context)
    if directory is None and (repair or allow_extra):
        raise UsageError("--repair and --allow-extra are of a directory; `modfile fsck --repair` mends the store")
    with ExitStack() as stack:
        located = locate(target, stack, remote=remote)
        found = _compare(session, located, directory, connection, repair=repair, concurrency=concurrency)
    reference = located.reference
    if as_json:
        session.console.json({"Reference": str(reference)} | found.to_json())
    else:
        _show(session.console, found)
    if found.differs(allow_extra=allow_extra):
        counts = f"{len(found.missing)} missing, {len(found.changed)} changed, {len(found.extra)} extra"
        what = directory or located.place.path or ("the registry" if located.remote else "the local store")
        done = f"; {len(found.repaired)} of them repaired" if found.repaired else ""
        hint = f"; {found.hint}" if found.hint else ""
        raise VerificationError(f"{what} is not what {reference} says: {counts}{done}{hint}")
    what = "files" if directory else "blobs"
    session.console.say(f"{directory or reference}: {len(found.right) + len(found.repaired)} {what} are right")


def _compare(
    session: Session,
    located: Located,
    directory: Path | None,
    connection: Connection,
    *,
    repair: bool,
    concurrency: int | None,
) -> Verified:
    from modfile.verbs import verify as verb

    reference, remote = located.reference, located.remote
    workers = session.concurrency(reference, concurrency)
    here = located.inventory or session.storage.layout
    with session.console.progress("verifying") as progress:
        if directory is None:
            store = session.repository(reference, connection) if remote else here
            return verb.verify_store(reference, store, by_size=remote, progress=progress, concurrency=workers)
        source = session.nearest(reference, connection, remote=True) if remote else here
        found = verb.verify_directory(
            reference, source, directory, manifest_alone=remote, progress=progress, concurrency=workers
        )
    if not repair:
        return found
    with session.console.progress("repairing") as progress:
        return verb.repair(found, reference, source, directory, progress=progress, concurrency=workers)


def _show(console: Console, found: Verified) -> None:
    repaired = set(found.repaired)
    for path in found.missing:
        console.result(f"missing  {path}" + (" (repaired)" if path in repaired else ""))
    for path, problem in found.changed:
        console.result(f"changed  {path}: {problem}" + (" (repaired)" if path in repaired else ""))
    for path in found.extra:
        console.result(f"extra    {path}")
