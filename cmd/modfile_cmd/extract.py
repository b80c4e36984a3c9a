"""`modfile extract`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from modfile.errors import UsageError

from .extraction import write_files
from .located import locate
from .options import AsJSON, Concurrency, Overwrite, PlacedTarget
from .session import Session


def extract(
    context: typer.Context,
    target: PlacedTarget,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files.")],
    overwrite: Overwrite = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
) -> None:
    """Write an artifact's files; print the directory.

    They come from the local store, or from a layout or an archive where it is, and get the modes and times they had.
    The directory is as it was until all files are there and verified. One that is right already is left alone; files
    that are not the artifact's stay, unless --overwrite replaces the directory whole.

    \b
      modfile extract registry.example.com/llm/minilm:v1 --output ./minilm
      modfile extract oci-archive:minilm.tar --output ./minilm
    """
    session = Session.of(context)
    with ExitStack() as stack:
        found = locate(target, stack)
        reference = found.reference
        if found.remote:
            raise UsageError(f"extract reads what is here; say modfile fetch {target} -o DIR --patterns '**'")
        source = found.inventory or session.storage.layout
        said = write_files(session, reference, source, output, overwrite=overwrite, concurrency=concurrency)
    if as_json:
        session.console.json({"Reference": str(reference)} | said)
    else:
        session.console.result(str(output))
