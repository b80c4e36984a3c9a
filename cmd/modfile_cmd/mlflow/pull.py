"""`modfile mlflow pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..extraction import write_files
from ..options import Concurrency, Overwrite, connected
from ..session import DIRECT, Connection, Session
from .options import TrackingURI, Version, open_models


@connected
def pull(
    context: typer.Context,
    name: Version,
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="Where to write the files.")],
    overwrite: Overwrite = False,
    tracking_uri: TrackingURI = None,
    concurrency: Concurrency = None,
    connection: Connection = DIRECT,
) -> None:
    """Write a version's files into a directory; print as JSON what was written.

    They come from the registry, or from the local store what that has, and are verified against the digest that MLflow
    says. The directory is as it was until all of them are there; files that are not the artifact's stay, unless
    --overwrite replaces the directory whole.

    \b
      modfile mlflow pull minilm@champion ./minilm --overwrite
      modfile mlflow pull minilm:2 ./minilm-2
      modfile mlflow pull models:/minilm/2 ./minilm-2
    """
    from modfile.mlflow.versionname import VersionName

    session = Session.of(context)
    wanted = VersionName.parse(name)
    version = open_models(tracking_uri).find(wanted)
    artifact = version.artifact()
    session.console.say(f"{name} is {version}: {artifact}")
    source = session.nearest(artifact, connection, remote=True)
    said = write_files(session, artifact, source, directory, overwrite=overwrite, concurrency=concurrency)
    session.console.json({"Name": version.model, "Version": version.number, "Reference": str(artifact)} | said)
