"""`modfile fetch`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .console import size
from .options import AsJSON, Concurrency, DragonflyEndpoint, Target, connected
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
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Write only the files that match; print their paths.

    They come from the local store when it holds the artifact, else straight from the registry, and nothing else is
    kept. Each file is verified before it has its name; one that is right already is left alone. A pattern is a file's
    name, a directory's, or a glob; one that matches nothing is an error.

    \b
      modfile fetch registry.example.com/llm/minilm:v1 --output ./here --patterns '*.json'
      modfile fetch registry.example.com/llm/minilm:v1 -o ./here --patterns 'tokenizer*,*.{txt,md}'
    """
    from modfile.reference import Reference
    from modfile.verbs.extract import extract

    session = Session.of(context)
    reference = Reference.parse(target)
    connection = replace(connection, dragonfly_endpoint=dragonfly_endpoint)
    with session.console.progress("fetching") as progress:
        done = extract(
            reference,
            session.nearest(reference, connection, remote=False),
            output,
            patterns=[pattern for text in patterns for pattern in split(text)],
            cache=session.storage.cache,
            progress=progress,
            concurrency=session.concurrency(reference, concurrency),
        )
    session.console.say(f"fetched {len(done.written)} files ({size(done.bytes)}), {len(done.unchanged)} right already")
    if as_json:
        said = {"Directory": str(output), "Digest": str(done.content.digest), "Bytes": done.bytes}
        session.console.json(said | {"Written": list(done.written), "Unchanged": list(done.unchanged)})
    else:
        for path in sorted((*done.written, *done.unchanged)):
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
