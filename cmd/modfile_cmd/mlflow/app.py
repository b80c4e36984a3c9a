"""The group of commands."""

from __future__ import annotations

import typer

from .info import info
from .listing import listing
from .promote import promote
from .pull import pull
from .register import register
from .verify import verify

_HELP = """Versions and aliases in MLflow's model registry, of artifacts in an OCI registry.

A version's source is an artifact by its digest. What an alias means is looked up in MLflow, the files come from the
OCI registry. Results are JSON on stdout; what is for people goes to stderr.
"""
_EXIT_CODES = """\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 verification failed,
5 access denied by MLflow or the registry, 130 interrupted."""
_VERIFY_EXIT_CODES = """\b
Exit codes: 0 the directory is what the version says, 4 it is not,
1 they could not be compared, 2 wrong usage, 130 interrupted."""

app = typer.Typer(rich_markup_mode=None, help=_HELP, no_args_is_help=True)
app.command(epilog=_EXIT_CODES)(register)
app.command("list", epilog=_EXIT_CODES)(listing)
app.command(epilog=_EXIT_CODES)(info)
app.command(epilog=_EXIT_CODES)(pull)
app.command(epilog=_VERIFY_EXIT_CODES)(verify)
app.command(epilog=_EXIT_CODES)(promote)
