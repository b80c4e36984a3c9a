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
    from modfile.store import Source, Store


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
    build_arg: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="Give a value to an ARG of the Modelfile; repeatable.")
    ] = [],  # noqa: B006
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

    FROM in the Modelfile starts from another artifact, of the local store or its registry. None of its layers is
    fetched for that; with --output-remote they are mounted, or go from the base's registry to the other.

    A file that has not changed since it was last read is not read again. With SOURCE_DATE_EPOCH in the
    environment, or with --no-creation-time, the same files and Modelfile give the same digest anywhere.

    \b
      modfile build -t registry.example.com/llm/minilm:v1 .
      modfile build -t registry.example.com/llm/minilm:v1 --output-remote .
      modfile build -t minilm:v1 -t minilm:latest --no-creation-time ./minilm
      modfile build -t minilm:v2 --build-arg base=v1 ./adapter
      modfile build -t minilm:v1 --compression zstd --max-layers 100 ./minilm
    """
    from modfile.backoff import Backoff
    from modfile.base import find_base
    from modfile.gitsource import git_source
    from modfile.modelfile import load
    from modfile.packer import Stamp
    from modfile.reference import Reference
    from modfile.resumption import Resuming
    from modfile.substitution import parse_build_args
    from modfile.verbs.build import Builder, Provenance
    from modfile.workspace import Workspace

    session = Session.of(context)
    references = [Reference.parse(tag) for tag in tags]
    for reference in references:
        if reference.digest:
            raise typer.BadParameter(f"{reference}: a build cannot choose its digest", param_hint="--tag")
    workspace = Workspace(path)
    text = load(_modelfile(path, modelfile), parse_build_args(build_arg))
    named, target = text.base(), references[0] if references else None

    def find_source(reference: Reference) -> Source:
        own = not output_remote or (target is not None and reference.host == target.host)
        return Resuming(session.source(reference, connection if own else DIRECT), Backoff(), session.console.say)

    stamp = Stamp.of(datetime.now(UTC), source_date_epoch(), no_creation_time=no_creation_time)
    git = None if stamp.reproducible else git_source(path)
    storage = session.storage
    to: Store = _target(session, references, connection, named) if output_remote else storage.layout
    base = find_base(named, storage.layout, find_source) if named else None
    with session.console.progress("building") as progress:
        built = Builder(
            to,
            stamp,
            Provenance(source_url, source_revision, reasoning, git),
            None if no_cache else storage.cache,
            allow_secret,
            progress,
            session.concurrency(references[0] if output_remote else None, concurrency),
            format_of(raw, compression),
            max_layers,
            storage.directory,
        ).build(workspace, text, references, base)
    for warning in built.warnings:
        session.console.warn(warning)
    count = len(built.manifest.layers)
    verb = "sent" if output_remote else "stored"
    of_base = f", {built.inherited} of {base.parent.name}" if base else ""
    session.console.say(f"built {count} layer{'' if count == 1 else 's'}{of_base}: {summary(verb, built.tally)}")
    if as_json:
        tagged = [str(reference) for reference in references]
        layers = {"Layers": count} | built.tally.to_json()
        said = {"Base": {"Name": str(base.parent.name), "Digest": str(base.parent.digest)}} if base else {}
        session.console.json({"Digest": str(built.content.digest), "References": tagged} | said | layers)
    else:
        session.console.result(str(built.content.digest))


def _modelfile(path: Path, said: Path | None) -> Path:
    """Find the Modelfile: as it was said from here, else from the context."""
    if said is None:
        return path / "Modelfile"
    return said if said.exists() or said.is_absolute() else path / said


def _target(
    session: Session, references: list[Reference], connection: Connection, base: Reference | None
) -> Repository:
    """Return the repository that all names are of."""
    if not references:
        raise UsageError("--output-remote needs a name to write to: --tag host/repository:tag")
    if len({reference.name for reference in references}) > 1:
        raise UsageError("--output-remote writes to one repository; name the others with `modfile tag --remote`")
    shared = base.repository if base and base.host == references[0].host else None
    return session.repository(references[0], connection, shared)
