"""Options of the commands that talk to MLflow, and how they come to its registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import UsageError

if TYPE_CHECKING:
    from modfile.mlflow.modelregistry import ModelRegistry

TrackingURI = Annotated[
    str | None,
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", metavar="URI", help="Where MLflow is."),
]
Version = Annotated[
    str, typer.Argument(metavar="REF", show_default=False, help="NAME@ALIAS, NAME:VERSION or models:/NAME/VERSION.")
]
Model = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The registered model.")]

_SETTINGS = {
    # Its own would keep a person waiting for minutes where nobody answers.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def open_models(tracking_uri: str | None) -> ModelRegistry:
    """Return MLflow's model registry.

    Raises:
        UsageError: it is not said where it is, or MLflow is not installed.
    """
    if not tracking_uri:
        raise UsageError("where MLflow is is not said: --tracking-uri http://HOST:PORT, or MLFLOW_TRACKING_URI")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from modfile.mlflow.modelregistry import ModelRegistry

    return ModelRegistry(tracking_uri)
