"""`modfile version`."""

from __future__ import annotations

import platform

import typer

from modfile import __version__

from .options import AsJSON
from .session import Session


def version(context: typer.Context, as_json: AsJSON = False) -> None:
    """Print the version."""
    console = Session.of(context).console
    if as_json:
        console.json({"Version": __version__, "Python": platform.python_version(), "Platform": platform.platform()})
    else:
        console.result(f"modfile {__version__}")
