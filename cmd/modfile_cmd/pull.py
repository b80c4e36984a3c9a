"""`modfile pull`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import UsageError

from .console import summary
from .extraction import write_files
from .options import AsJSON, Concurrency, DragonflyEndpoint, Overwrite, Target, connected
from .rehearsal import DryRun, show
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.content import Descriptor
    from modfile.reference import Reference


@connected
def pull(
    context: typer.Context,
    target: Target,
    extract_dir: Annotated[
        Path | None, typer.Option("--extract-dir", metavar="DIR", help="Write the files into this directory as well.")
    ] = None,
    extract_from_remote: Annotated[
        bool,
        typer.Option("--extract-from-remote", help="With --extract-dir: keep nothing in the local store."),
    ] = False,
    to_hf_cache: Annotated[
        bool,
        typer.Option(
            "--to-hf-cache",
            help="Lay the model out in Hugging Face's cache as well, for from_pretrained('org/model') without the hub.",
        ),
    ] = False,
    hf_cache_dir: Annotated[
        Path | None,
        typer.Option("--hf-cache-dir", metavar="DIR", help="That cache.  [default: HF_HUB_CACHE, or HF_HOME's hub]"),
    ] = None,
    hf_repo: Annotated[
        str | None,
        typer.Option("--hf-repo", metavar="ORG/MODEL", help="What the model is called there.  [default: as it came]"),
    ] = None,
    dragonfly_endpoint: DragonflyEndpoint = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Fetch an artifact into the local store; print its digest.

    Every byte is verified. What the store has is not fetched again. With --extract-dir the files are written too;
    with --extract-from-remote they are all that is kept. With --dry-run only the manifest is read.

    With --to-hf-cache, a model that came from Hugging Face is found by its libraries under its name there, without a
    network: from_pretrained("org/model", local_files_only=True).

    \b
      modfile pull registry.example.com/llm/minilm:v1
      modfile pull registry.example.com/llm/minilm:v1 --extract-dir ./minilm --extract-from-remote
      modfile pull registry.example.com/llm/minilm@sha256:…
      modfile pull registry.example.com/llm/minilm:v1 --to-hf-cache
    """
    from modfile.reference import Reference
    from modfile.verbs.pull import pull as fetch
    from modfile.verbs.rehearsal import rehearse

    session = Session.of(context)
    reference = Reference.parse(target)
    connection = replace(connection, dragonfly_endpoint=dragonfly_endpoint)
    if overwrite and extract_dir is None:
        raise UsageError("--overwrite is of the directory that --extract-dir names")
    if not to_hf_cache and (hf_cache_dir or hf_repo):
        raise UsageError("--hf-cache-dir and --hf-repo are of the cache that --to-hf-cache writes")
    if to_hf_cache and (dry_run or extract_from_remote):
        raise UsageError("--to-hf-cache shares files with the local store, so the model has to be there")
    if dry_run:
        if extract_dir is not None or extract_from_remote:
            raise UsageError("--dry-run tells what the local store lacks; `modfile diff` compares with a directory")
        far, workers = session.ranged(reference, connection), session.concurrency(reference, concurrency)
        found = rehearse(reference, far, session.storage.layout, concurrency=workers)
        show(session.console, reference, found, "fetched", as_json=as_json)
        return
    if extract_from_remote:
        if extract_dir is None:
            raise UsageError("--extract-from-remote needs --extract-dir, since nothing else is kept")
        source = session.nearest(reference, connection, remote=True)
        said = write_files(session, reference, source, extract_dir, overwrite=overwrite, concurrency=concurrency)
    else:
        with session.console.progress("pulling") as progress:
            done = fetch(
                reference,
                session.source(reference, connection),
                session.storage.layout,
                progress=progress,
                concurrency=session.concurrency(reference, concurrency),
            )
        session.console.say(f"pulled {reference}: {summary('fetched', done.tally)}")
        said = {"Digest": str(done.content.digest)} | done.tally.to_json()
        if extract_dir is not None:
            # By digest: the tag may have moved meanwhile.
            exact, layout = reference.at(done.content.digest), session.storage.layout
            written = write_files(session, exact, layout, extract_dir, overwrite=overwrite, concurrency=concurrency)
            said |= {key: written[key] for key in ("Directory", "Written", "Unchanged")}
        if to_hf_cache:
            snapshot = _lay_into_cache(session, reference, done.content, hf_cache_dir, hf_repo, concurrency)
            said |= {"Snapshot": str(snapshot)}
    if as_json:
        session.console.json({"Reference": str(reference)} | said)
    else:
        session.console.result(said["Digest"])


def _lay_into_cache(
    session: Session,
    reference: Reference,
    content: Descriptor,
    directory: Path | None,
    repo: str | None,
    concurrency: int | None,
) -> Path:
    """Lay what was pulled out in Hugging Face's cache; return the directory of the commit."""
    from modfile.environment import origin_settings
    from modfile.snapshots.huggingface import lay_into_cache

    settings = origin_settings()
    cache = directory or settings.hf_cache
    assert cache is not None  # noqa: S101 - the environment always says one
    with session.console.progress("laying out") as progress:
        snapshot = lay_into_cache(
            reference,
            content,
            session.storage.layout,
            cache,
            repo=repo,
            settings=settings,
            cache=session.storage.cache,
            progress=progress,
            concurrency=session.concurrency(reference, concurrency),
            note=session.console.say,
        )
    session.console.say(f"laid out in {snapshot}")
    return snapshot
