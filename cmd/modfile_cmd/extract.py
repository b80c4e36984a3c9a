"""`modfile extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import size
from .options import AsJSON, Concurrency, Target
from .session import Session


def extract(
    context: typer.Context,
    target: Target,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files.")],
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
) -> None:
    """Write an artifact's files; print the directory.

    They come from the local store and get the modes and times they had. Each file is verified before it has its
    name. One that is right already is left alone; files that are not the artifact's stay.

    \b
      modfile extract registry.example.com/llm/minilm:v1 --output ./minilm
    """
    from modfile.reference import Reference
    from modfile.verbs.extract import extract as write

    session = Session.of(context)
    reference = Reference.parse(target)
    storage = session.storage
    with session.console.progress("extracting") as progress:
        done = write(
            reference,
            storage.layout,
            output,
            cache=storage.cache,
            progress=progress,
            concurrency=session.concurrency(None, concurrency),
        )
    session.console.say(f"wrote {len(done.written)} files ({size(done.bytes)}), {len(done.unchanged)} right already")
    if as_json:
        said = {"Directory": str(output), "Digest": str(done.content.digest), "Bytes": done.bytes}
        session.console.json(said | {"Written": list(done.written), "Unchanged": list(done.unchanged)})
    else:
        session.console.result(str(output))
