"""`modfile mlflow register`."""

from __future__ import annotations

from typing import Annotated

import typer

from modfile.environment import source_date_epoch

from ..console import summary
from ..options import Concurrency, connected
from ..session import DIRECT, Connection, Session
from .options import Model, TrackingURI, open_models


@connected
def register(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH_OR_REF", show_default=False, help="A model's directory, or an artifact.")
    ],
    name: Model,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            "-t",
            envvar="MODFILE_MLFLOW_TO",
            metavar="REPO",
            help="Where to push: host/repository[:tag], or host/prefix/, to which NAME is added.",
        ),
    ] = None,
    aliases: Annotated[
        list[str],
        typer.Option(
            "--alias",
            "-a",
            metavar="ALIAS",
            help="Call the version so; repeatable.  [default: baseline and champion for the first one, else candidate]",
        ),
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    general_tag: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUE", help="Say this of the model; the value is JSON or text; repeatable."),
    ] = [],  # noqa: B006
    training_tag: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Say this of its training, likewise; repeatable.")
    ] = [],  # noqa: B006
    general_tags_json: Annotated[
        str | None,
        typer.Option(metavar="FILE|JSON", help="Say of the model what a JSON object has, or a file with one."),
    ] = None,
    training_tags_json: Annotated[
        str | None, typer.Option(metavar="FILE|JSON", help="Say of its training what it has, likewise.")
    ] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="The version's description.")] = None,
    allow_secret: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Pack files that look like secrets; repeatable.")
    ] = [],  # noqa: B006
    force: Annotated[
        bool, typer.Option("--force", help="Make a new version although one is this very artifact.")
    ] = False,
    tracking_uri: TrackingURI = None,
    concurrency: Concurrency = None,
    connection: Connection = DIRECT,
) -> None:
    """Register a model's directory, or an artifact, as a version in MLflow; print it as JSON.

    A directory is packed straight into the registry, as its Modelfile says or as `modfile generate` would; the same
    files are the same artifact. An artifact in a registry stays there, and no layer is moved; one of the local store is
    pushed. The version's source is the artifact by its digest. An artifact that is a version of NAME already stays
    that version: the command can be repeated, and goes on where it was cut off.

    Aliases are set in MLflow, and as tags in the registry. Tags are searchable in MLflow as general.KEY and
    training.KEY, of nested objects as training.KEY.INNER. What is said by an option wins over what is in a file.

    \b
      modfile mlflow register ./minilm minilm --to registry.example.com/llm/minilm
      modfile mlflow register registry.example.com/llm/minilm:v2 minilm --training-tag f1=0.93
      modfile mlflow register minilm:v3 minilm -t registry.example.com/llm/minilm:v3 --alias canary
    """
    from modfile.mlflow import registration
    from modfile.mlflow.placing import Placed, Placer, parse_target
    from modfile.mlflow.tags import parse_assignments, read_tags

    session = Session.of(context)
    entry = registration.Entry(
        name,
        aliases,
        read_tags(general_tags_json) | parse_assignments(general_tag),
        read_tags(training_tags_json) | parse_assignments(training_tag),
        description,
        force,
    )
    target = parse_target(to, name) if to else None
    epoch = source_date_epoch()

    def place() -> Placed:
        with session.console.progress("pushing") as progress:
            return Placer(session, connection, progress, concurrency, epoch, allow_secret).place(source, target)

    done, placed = registration.register(open_models(tracking_uri), entry, place, session.console.say)
    for warning in placed.warnings:
        session.console.warn(warning)
    version = done.version
    how = "registered" if done.created else "registered already is"
    moved = summary("sent", placed.tally) if placed.ours else "nothing had to be sent"
    session.console.say(f"{how} {version}: {placed.exact}: {moved}")
    if version.aliases:
        session.console.say(f"aliases: {', '.join(version.aliases)}")
    session.console.json(done.to_json() | placed.tally.to_json())
