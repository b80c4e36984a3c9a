"""`modfile upload`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import size
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
    raw: Annotated[bool, typer.Option("--raw", help="Send the file as it is; the default.")] = True,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Send a file that looks like a secret; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Send a file ahead of the build; print its layer's descriptor as JSON.

    While other files are still being made, say. A later `modfile build --output-remote` or push into the repository
    finds it there and does not send it again.

    \b
      modfile upload model-00001-of-00004.safetensors --repo registry.example.com/llm/big
    """
    from modfile.filenames import kind_of
    from modfile.packer import Packer, Stamp, refuse_secrets
    from modfile.paths import check_path
    from modfile.reference import Reference
    from modfile.verbs.attach import attached_path, under_both_names
    from modfile.workspace import Workspace, named_file

    session = Session.of(context)
    repository = session.repository(Reference.parse_repository(repo), connection)
    named, path = named_file(file), attached_path(str(file), destination_dir)
    check_path(path)
    workspace = Workspace(Path())
    refuse_secrets(workspace, under_both_names([(named, path)]), allow_secret)
    with session.console.progress("uploading") as progress:
        meter = progress.start(path, named.size)
        digest, outcome = Packer(workspace, repository, session.storage.cache).pack(named, meter)
    session.console.say(f"{path}: {outcome.value} ({size(named.size)})")
    session.console.json(Stamp(None).layer(named, path, kind_of(path, named.size), digest).to_json())
