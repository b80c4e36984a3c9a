"""`modfile mlflow info`."""

from __future__ import annotations

import typer

from ..session import Session
from .options import TrackingURI, Version, open_models


def info(context: typer.Context, name: Version, tracking_uri: TrackingURI = None) -> None:
    """Say as JSON what a version is: its artifact, its aliases, what was said of it.

    \b
      modfile mlflow info minilm@champion
      modfile mlflow info models:/minilm/2 | jq -r .Digest
      modfile inspect --remote $(modfile mlflow info minilm@champion | jq -r .Reference)
    """
    from modfile.mlflow.versionname import VersionName

    session = Session.of(context)
    wanted = VersionName.parse(name)
    version = open_models(tracking_uri).find(wanted)
    session.console.say(f"{name} is {version}")
    session.console.json(version.to_json())
