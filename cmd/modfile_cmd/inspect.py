"""`modfile inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJSON, Target, connected
from .session import DIRECT, Connection, Session


@connected
def inspect(
    context: typer.Context,
    target: Target,
    remote: Annotated[bool, typer.Option("--remote", help="Look in the registry, not in the local store.")] = False,
    config: Annotated[bool, typer.Option("--config", help="Print the model's config as it is.")] = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Print what is in an artifact, as JSON.

    It is JSON with --json and without.

    \b
      modfile inspect registry.example.com/llm/minilm:v1
      modfile inspect --remote registry.example.com/llm/minilm:v1 | jq -r '.Layers[].Filepath'
    """
    from modfile.reference import Reference
    from modfile.verbs.inspect import inspect as facts_of
    from modfile.verbs.inspect import inspect_config

    session = Session.of(context)
    reference = Reference.parse(target)
    source = session.repository(reference, connection) if remote else session.storage.layout
    session.console.json(inspect_config(reference, source) if config else facts_of(reference, source))
