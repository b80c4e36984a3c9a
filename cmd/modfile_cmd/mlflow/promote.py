"""`modfile mlflow promote`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import connected
from ..session import DIRECT, Connection, Session
from .options import Model, TrackingURI, open_models


@connected
def promote(
    context: typer.Context,
    name: Model,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", show_default=False, help="Its number, another alias, or latest.")
    ],
    alias: Annotated[str, typer.Argument(metavar="ALIAS", show_default=False, help="What it is to be called.")],
    tracking_uri: TrackingURI = None,
    connection: Connection = DIRECT,
) -> None:
    """Let an alias mean a version, in MLflow and as a tag in the registry; print as JSON what moved.

    The alias moves first, then the tag of the same name in the repository of the version's artifact; no layer does. If
    the tag cannot move, the alias goes back to where it was.

    \b
      modfile mlflow promote minilm 2 champion
      modfile mlflow promote minilm candidate champion
    """
    from modfile.mlflow import promotion
    from modfile.mlflow.versionname import VersionName

    session = Session.of(context)
    wanted = VersionName.of(name, version)
    models = open_models(tracking_uri)
    done = promotion.promote(models, wanted, alias, lambda reference: session.repository(reference, connection))
    before = "nothing" if done.before is None else f"version {done.before}"
    session.console.say(f"{alias} is {done.version}, was {before}; {done.tag.reference} is {done.tag.content.digest}")
    session.console.json(done.to_json())
