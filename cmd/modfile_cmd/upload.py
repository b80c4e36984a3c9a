"""`modfile upload`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modfile.environment import source_date_epoch

from .console import size
from .layeroptions import Compression, Raw, format_of
from .options import AsJSON, connected
from .session import DIRECT, Connection, Session


@connected
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The file to send.")],
    repo: Annotated[str, typer.Option("--repo", metavar="REPO", help="host/repository of the later build.")],
    destination_dir: Annotated[
        str | None,
        typer.Option("--destination-dir", metavar="DIR", help="Where in the artifact.  [default: as FILE is given]"),
    ] = None,
    raw: Raw = None,
    compression: Compression = None,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Send a file that looks like a secret; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Send a file ahead of the build; print its layer's descriptor as JSON.

    While other files are still being made, say. A later `modfile build --output-remote` or push into the repository
    finds it there and does not send it again, if it is built in the same format and, for a tar, with the same
    SOURCE_DATE_EPOCH or none.

    \b
      modfile upload model-00001-of-00004.safetensors --repo registry.example.com/llm/big
    """
    from modfile.filenames import kind_of
    from modfile.layermaker import LayerMaker
    from modfile.packer import Stamp, refuse_secrets
    from modfile.paths import check_path
    from modfile.reference import Reference
    from modfile.verbs.attach import attached_path, under_both_names
    from modfile.workspace import Workspace, named_file

    session = Session.of(context)
    form, storage = format_of(raw, compression), session.storage
    repository = session.repository(Reference.parse_repository(repo), connection)
    named, path = named_file(file), attached_path(str(file), destination_dir)
    check_path(path)
    workspace, stamp = Workspace(Path()), Stamp.of(datetime.now(UTC), source_date_epoch())
    refuse_secrets(workspace, under_both_names([(named, path)]), allow_secret)
    with (
        session.console.progress("uploading") as progress,
        LayerMaker(workspace, repository, stamp, storage.cache, storage.directory) as maker,
    ):
        made = maker.make(kind_of(path, named.size), [(named, path)], form, progress.start(path, named.size))
    session.console.say(f"{path}: {made.outcome.value} ({size(made.layer.size)})")
    session.console.json(made.layer.to_json())
