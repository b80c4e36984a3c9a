"""`modfile attach`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modfile.environment import source_date_epoch
from modfile.errors import UsageError

from .console import summary
from .layeroptions import Compression, Raw, format_of
from .options import AsJSON, Concurrency, connected
from .session import DIRECT, Connection, Session


@connected
def attach(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False, help="What to add.")],
    source: Annotated[str, typer.Option("--source", "-s", metavar="REF", help="The artifact to start from.")],
    target: Annotated[str, typer.Option("--target", "-t", metavar="REF", help="The name of the new one.")],
    destination_dir: Annotated[
        str | None,
        typer.Option(
            "--destination-dir", "-d", metavar="DIR", help="Where in the artifact.  [default: as FILE is given]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file of the same path.")] = False,
    raw: Raw = None,
    compression: Compression = None,
    config: Annotated[bool, typer.Option("--config", help="FILE is the new model config.")] = False,
    output_remote: Annotated[
        bool, typer.Option("--output-remote", help="Write to the registry; store nothing here.")
    ] = False,
    no_creation_time: Annotated[
        bool, typer.Option("--no-creation-time", help="Leave out the file's time and owner.")
    ] = False,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Attach files that look like secrets; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Add files to an artifact, building nothing anew; print the digest.

    Manifest, config and annotations keep what they say; what the target has is not moved. The source is taken from the
    local store, or from its registry when it is not there or with --output-remote. A file that lies in a layer with
    others is replaced there too: that layer is packed again.

    \b
      modfile attach tokenizer.json -s registry.example.com/llm/minilm:v1 -t registry.example.com/llm/minilm:v2
      modfile attach LICENSE --force --output-remote -s r.example.com/llm/minilm:v1 -t r.example.com/llm/minilm:v1
      modfile attach config.json --config -s minilm:v1 -t minilm:v2
    """
    from modfile.packer import Stamp
    from modfile.reference import Reference
    from modfile.store import Store
    from modfile.verbs.attach import Attacher, attached_path
    from modfile.workspace import Workspace, named_file

    session = Session.of(context)
    old, new = Reference.parse(source), Reference.parse(target)
    if new.digest:
        raise UsageError(f"{new}: an attachment cannot choose its digest")
    shared = old.repository if old.host == new.host else None
    to: Store = session.repository(new, connection, shared) if output_remote else session.storage.layout
    origin = session.nearest(old, connection, remote=output_remote)
    if origin is session.storage.layout:
        origin = session.backed(old, connection)
    with session.console.progress("attaching") as progress:
        attacher = Attacher(
            origin,
            to,
            Stamp.of(datetime.now(UTC), source_date_epoch(), no_creation_time=no_creation_time),
            session.storage.cache,
            force,
            allow_secret,
            progress,
            session.concurrency(new, concurrency),
            format_of(raw, compression),
            session.storage.directory,
        )
        if config:
            if len(files) != 1:
                raise UsageError("--config takes one file")
            done = attacher.replace_config(_small(files[0]), old, new)
        else:
            named = [(named_file(path), attached_path(str(path), destination_dir)) for path in files]
            done = attacher.attach(Workspace(Path()), named, old, new)
    for warning in done.warnings:
        session.console.warn(warning)
    session.console.say(f"attached {len(files)} to {new}: {summary('sent' if output_remote else 'stored', done.tally)}")
    if as_json:
        session.console.json({"Reference": str(new), "Digest": str(done.content.digest)} | done.tally.to_json())
    else:
        session.console.result(str(done.content.digest))


def _small(path: Path) -> bytes:
    from modfile.modelpack import MAX_CONFIG

    with path.open("rb") as file:
        data = file.read(MAX_CONFIG + 1)
    if len(data) > MAX_CONFIG:
        raise UsageError(f"{path} is larger than the {MAX_CONFIG:,} bytes that a config may have")
    return data
