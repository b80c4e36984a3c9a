"""`modfile extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .extraction import write_files
from .options import AsJSON, Concurrency, Overwrite, Target
from .session import Session


def extract(
    context: typer.Context,
    target: Target,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files.")],
    overwrite: Overwrite = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
) -> None:
    """Write an artifact's files; print the directory.

    They come from the local store and get the modes and times they had. The directory is as it was until all files
    are there and verified. One that is right already is left alone; files that are not the artifact's stay, unless
    --overwrite replaces the directory whole.

    \b
      modfile extract registry.example.com/llm/minilm:v1 --output ./minilm
    """
    from modfile.reference import Reference

    session = Session.of(context)
    reference = Reference.parse(target)
    said = write_files(session, reference, session.storage.layout, output, overwrite=overwrite, concurrency=concurrency)
    if as_json:
        session.console.json({"Reference": str(reference)} | said)
    else:
        session.console.result(str(output))
