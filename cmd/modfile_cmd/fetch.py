"""`modfile fetch`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modfile.errors import UsageError
from modfile.progress import Outcome

from .extraction import write_files
from .inspect import files_of
from .located import Located, locate
from .options import AsJSON, Concurrency, DragonflyEndpoint, Overwrite, PlacedTarget, connected
from .place import Transport
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.store import Source

TENSORS = "tensors.safetensors"
"""What is called what --tensors writes (`modfile.tensors.writing`, which takes time to import)."""


@connected
def fetch(
    context: typer.Context,
    target: PlacedTarget,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files.")],
    patterns: Annotated[
        list[str],
        typer.Option(
            metavar="GLOB", help="Which files, as in a Modelfile: '*.json', 'onnx/**'; repeatable, or with commas."
        ),
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    tensors: Annotated[
        list[str],
        typer.Option(
            metavar="GLOB", help="Which tensors, into DIR/tensors.safetensors: 'encoder.layer.0.*'; repeatable."
        ),
    ] = [],  # noqa: B006
    dragonfly_endpoint: DragonflyEndpoint = None,
    overwrite: Overwrite = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Write only the files that match; print their paths.

    They come from the local store when it holds the artifact, else straight from the registry, and nothing else is
    kept; or from a layout or an archive where it is. The directory is as it was until all files are there and verified;
    one that is right already is left alone. A pattern is a file's name, a directory's, or a glob; one that matches
    nothing is an error.

    With --tensors, tensors of the safetensors files are written into a safetensors file of their own. From a registry
    only they are fetched, and since a digest is of a whole file, they are not verified.

    \b
      modfile fetch registry.example.com/llm/minilm:v1 --output ./here --patterns '*.json'
      modfile fetch registry.example.com/llm/minilm:v1 -o ./here --patterns 'tokenizer*,*.{txt,md}'
      modfile fetch registry.example.com/llm/minilm:v1 -o ./here --tensors 'encoder.layer.0.*'
      modfile fetch oci-archive:minilm.tar -o ./here --patterns '*.json'
    """
    session = Session.of(context)
    wanted = [pattern for text in patterns for pattern in split(text)]
    if not wanted and not tensors:
        raise UsageError("neither --patterns nor --tensors says a pattern; --patterns '**' is every file")
    connection = replace(connection, dragonfly_endpoint=dragonfly_endpoint)
    with ExitStack() as stack:
        found = locate(target, stack)
        reference, source = found.reference, _source(session, found, connection)
        said: dict[str, Any] = {"Directory": str(output), "Written": [], "Unchanged": []}
        if wanted:
            said = write_files(
                session, reference, source, output, patterns=wanted, overwrite=overwrite, concurrency=concurrency
            )
        if tensors:
            said["Written"].append(TENSORS)
            said["Tensors"] = _write_tensors(session, found, connection, output, tensors)
    if as_json:
        session.console.json({"Reference": str(reference)} | said)
    else:
        for path in sorted((*said["Written"], *said["Unchanged"])):
            session.console.result(str(output / path))


def _write_tensors(
    session: Session, found: Located, connection: Connection, output: Path, patterns: list[str]
) -> list[str]:
    """Write the tensors that match; return their names."""
    from modfile.tensors import fetch_tensors, open_tensors

    files = files_of(session, found, connection)
    concurrency = session.concurrency(found.reference)
    with (
        open_tensors(files, str(found.reference), concurrency=concurrency) as tensors,
        session.console.progress("writing") as progress,
    ):
        size = sum(tensors.info(name).size for name in tensors.matching(patterns))
        meter = progress.start(TENSORS, size)
        names = fetch_tensors(tensors, output, patterns, meter=meter, note=session.console.say)
        meter.finish(Outcome.MOVED)
    session.console.say(f"{len(names)} tensors in {output / TENSORS}")
    return list(names)


def _source(session: Session, found: Located, connection: Connection) -> Source:
    if found.inventory is not None:
        return found.inventory
    if found.place.transport is Transport.STORE:
        return session.storage.layout
    return session.nearest(found.reference, connection, remote=found.remote)


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
