"""`modfile build`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.environment import source_date_epoch
from modfile.errors import UsageError
from modfile.grouping import MAX_LAYERS

from .console import summary
from .layeroptions import Compression, Raw, format_of
from .options import AsJSON, Concurrency, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.reference import Reference
    from modfile.registry.repository import Repository


@connected
def build(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The directory of the model.")] = Path(),
    tags: Annotated[
        list[str], typer.Option("--tag", "--target", "-t", metavar="REF", help="Name the artifact; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    modelfile: Annotated[
        Path | None,
        typer.Option("--modelfile", "-f", metavar="FILE", help="The Modelfile.  [default: PATH/Modelfile]"),
    ] = None,
    output_remote: Annotated[
        bool, typer.Option("--output-remote", help="Write straight to the registry; store nothing here.")
    ] = False,
    concurrency: Concurrency = None,
    raw: Raw = None,
    compression: Compression = None,
    max_layers: Annotated[
        int,
        typer.Option(
            "--max-layers", metavar="N", min=1, max=100_000, help="Let the smallest files share layers above so many."
        ),
    ] = MAX_LAYERS,
    source_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the model's sources are.  [default: the git origin of PATH]"),
    ] = None,
    source_revision: Annotated[
        str | None, typer.Option(metavar="REV", help="Their revision.  [default: the git HEAD of PATH]")
    ] = None,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Say that the model can reason.")] = False,
    no_creation_time: Annotated[
        bool, typer.Option("--no-creation-time", help="Leave out all times and owners: same files, same digest.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Read every file, known or not.")] = False,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Pack files that look like secrets; repeatable.")
    ] = [],  # noqa: B006
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Pack a directory as its Modelfile says; print the digest.

    The artifact is put into the local store under the names given, or with --output-remote into their registry: what
    that has already is not sent, and nothing is stored here.

    Layers are the files as they are, so that versions share what they have in common. --no-raw and --compression put
    them into tars, for programs that expect those.

    A file that has not changed since it was last read is not read again. With SOURCE_DATE_EPOCH in the
    environment, or with --no-creation-time, the same files and Modelfile give the same digest anywhere.

    \b
      modfile build -t registry.example.com/llm/minilm:v1 .
      modfile build -t registry.example.com/llm/minilm:v1 --output-remote .
      modfile build -t minilm:v1 -t minilm:latest --no-creation-time ./minilm
      modfile build -t minilm:v1 --compression zstd --max-layers 100 ./minilm
    """
    from modfile.gitsource import git_source
    from modfile.modelfile import load
    from modfile.packer import Stamp
    from modfile.reference import Reference
    from modfile.verbs.build import Builder, Provenance
    from modfile.workspace import Workspace

    session = Session.of(context)
    references = [Reference.parse(tag) for tag in tags]
    for reference in references:
        if reference.digest:
            raise typer.BadParameter(f"{reference}: a build cannot choose its digest", param_hint="--tag")
    workspace = Workspace(path)
    text = load(_modelfile(path, modelfile))
    stamp = Stamp.of(datetime.now(UTC), source_date_epoch(), no_creation_time=no_creation_time)
    git = None if stamp.reproducible else git_source(path)
    storage = session.storage
    with session.console.progress("building") as progress:
        built = Builder(
            _target(session, references, connection) if output_remote else storage.layout,
            stamp,
            Provenance(source_url, source_revision, reasoning, git),
            None if no_cache else storage.cache,
            allow_secret,
            progress,
            session.concurrency(references[0] if output_remote else None, concurrency),
            format_of(raw, compression),
            max_layers,
            storage.directory,
        ).build(workspace, text, references)
    for warning in built.warnings:
        session.console.warn(warning)
    count = len(built.manifest.layers)
    verb = "sent" if output_remote else "stored"
    session.console.say(f"built {count} layer{'' if count == 1 else 's'}: {summary(verb, built.tally)}")
    if as_json:
        tagged = [str(reference) for reference in references]
        layers = {"Layers": count} | built.tally.to_json()
        session.console.json({"Digest": str(built.content.digest), "References": tagged} | layers)
    else:
        session.console.result(str(built.content.digest))


def _modelfile(path: Path, said: Path | None) -> Path:
    """Find the Modelfile: as it was said from here, else from the context."""
    if said is None:
        return path / "Modelfile"
    return said if said.exists() or said.is_absolute() else path / said


def _target(session: Session, references: list[Reference], connection: Connection) -> Repository:
    """Return the repository that all names are of."""
    if not references:
        raise UsageError("--output-remote needs a name to write to: --tag host/repository:tag")
    if len({reference.name for reference in references}) > 1:
        raise UsageError("--output-remote writes to one repository; name the others with `modfile tag --remote`")
    return session.repository(references[0], connection)
