"""`modfile mlflow`: models that MLflow's registry knows by name, and OCI registries have."""

from .app import app

__all__ = ["app"]
