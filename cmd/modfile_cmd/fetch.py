"""`modfile fetch`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modfile.errors import UsageError

from .extraction import write_files
from .options import AsJSON, Concurrency, DragonflyEndpoint, Overwrite, Target, connected
from .session import DIRECT, Connection, Session


@connected
def fetch(
    context: typer.Context,
    target: Target,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files.")],
    patterns: Annotated[
        list[str],
        typer.Option(
            metavar="GLOB", help="Which files, as in a Modelfile: '*.json', 'onnx/**'; repeatable, or with commas."
        ),
    ],
    dragonfly_endpoint: DragonflyEndpoint = None,
    overwrite: Overwrite = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Write only the files that match; print their paths.

    They come from the local store when it holds the artifact, else straight from the registry, and nothing else is
    kept. The directory is as it was until all files are there and verified; one that is right already is left alone.
    A pattern is a file's name, a directory's, or a glob; one that matches nothing is an error.

    \b
      modfile fetch registry.example.com/llm/minilm:v1 --output ./here --patterns '*.json'
      modfile fetch registry.example.com/llm/minilm:v1 -o ./here --patterns 'tokenizer*,*.{txt,md}'
    """
    from modfile.reference import Reference

    session = Session.of(context)
    reference = Reference.parse(target)
    wanted = [pattern for text in patterns for pattern in split(text)]
    if not wanted:
        raise UsageError("--patterns says no pattern; '**' is every file")
    connection = replace(connection, dragonfly_endpoint=dragonfly_endpoint)
    source = session.nearest(reference, connection, remote=False)
    said = write_files(
        session, reference, source, output, patterns=wanted, overwrite=overwrite, concurrency=concurrency
    )
    if as_json:
        session.console.json({"Reference": str(reference)} | said)
    else:
        for path in sorted((*said["Written"], *said["Unchanged"])):
            session.console.result(str(output / path))


def split(text: str) -> list[str]:
    """Split patterns at their commas, but for those in braces or brackets, or behind a backslash."""
    parts, depth, escaped = [""], 0, False
    for character in text:
        if character == "," and not depth and not escaped:
            parts.append("")
            continue
        if not escaped:
            depth = max(0, depth + (character in "{[") - (character in "}]"))
        escaped = character == "\\" and not escaped
        parts[-1] += character
    return [part for part in parts if part]
