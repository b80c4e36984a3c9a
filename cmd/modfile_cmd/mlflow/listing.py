"""`modfile mlflow list`."""

from __future__ import annotations

import typer

from ..session import Session
from .options import Model, TrackingURI, open_models


def listing(context: typer.Context, name: Model, tracking_uri: TrackingURI = None) -> None:
    """List a model's versions as JSON, the newest first.

    Digest is null where a version is not an artifact in a registry.

    \b
      modfile mlflow list minilm
      modfile mlflow list minilm | jq -r '.[] | [.Version, .Digest, (.Aliases | join(","))] | @tsv'
    """
    session = Session.of(context)
    versions = open_models(tracking_uri).versions(name)
    for version in versions:
        what = version.digest.short if version.digest else "no artifact in a registry"
        session.console.say(f"{version.model}:{version.number}  {what}  {', '.join(version.aliases)}".rstrip())
    session.console.json([version.to_json() for version in versions])
