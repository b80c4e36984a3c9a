"""`modfile prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import size
from .options import AsJSON
from .session import Session


def prune(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed; free nothing.")] = False,
    remove_untagged: Annotated[
        bool,
        typer.Option("--remove-untagged/--no-remove-untagged", help="Whether manifests without a tag go too."),
    ] = True,
    as_json: AsJSON = False,
) -> None:
    """Free what no tag needs; print how much.

    Waits for commands that are writing to the store. What `modfile fsck --repair` had set aside goes too, unless it is
    the only copy of something that a tag needs. What clients of `modfile serve` brought in the last day stays, tagged
    or not. Nothing goes while a manifest cannot be read.

    Directories that `modfile resolve` and modfile.pull() laid out go with their artifact; those of parts of an artifact
    that nobody pulled whole, when they were not asked for in 30 days.

    \b
      modfile prune --dry-run
      modfile prune
    """
    from modfile.serve.links import Links
    from modfile.snapshots import Snapshots, prune_snapshots, spared
    from modfile.verbs.prune import prune as free

    session = Session.of(context)
    links = Links(session.storage.directory / "links")
    snapshots = Snapshots(session.storage_directory / "models", session.storage.layout)
    done = free(
        session.storage.layout,
        remove_untagged=remove_untagged,
        spared=lambda: {*links.fresh(), *spared(snapshots)},
        dry_run=dry_run,
        note=session.console.say,
    )
    laid_out = prune_snapshots(snapshots, done.blobs, dry_run=dry_run, note=session.console.say)
    done.bytes += laid_out.bytes
    if as_json:
        said = {"DryRun": dry_run, "Bytes": done.bytes, "Partials": done.partials, "Damaged": done.damaged}
        said |= {"Directories": laid_out.directories}
        digests = {"Manifests": [str(d) for d in done.manifests], "Blobs": [str(d) for d in done.blobs]}
        session.console.json(said | digests)
    else:
        verb = "would free" if dry_run else "freed"
        damaged = f", {done.damaged} damaged ones that were set aside" if done.damaged else ""
        count = laid_out.directories
        directories = f"; {count} model director{'y' if count == 1 else 'ies'}" if count else ""
        session.console.result(
            f"{verb} {size(done.bytes)}: {len(done.blobs)} blobs, {len(done.manifests)} of them untagged manifests"
            f"{damaged}, and {done.partials} partial ones{directories}"
        )
