"""`modfile diff`."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modfile.errors import NotFoundError, UsageError
from modfile.paths import shown

from .console import size
from .located import locate
from .options import AsJSON, Concurrency, connected
from .place import Place, Transport
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modfile.comparison import Comparison, FieldChange, FileChange, TensorChange, WeightsChange
    from modfile.sides import Side
    from modfile.weights.tensor import Tensor

_TENSORS = 40
"""So many tensors of a file are listed for people."""
_PATH = "REF, docker://REF, store:REF, oci:DIR[:REF], oci-archive:FILE[:REF], or a directory as ./DIR, /DIR or DIR/."


@connected
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(metavar="A", show_default=False, help=_PATH)],
    after: Annotated[str, typer.Argument(metavar="B", show_default=False, help="The same.")],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Compare the contents of tensors too; reads those that may differ.")
    ] = False,
    no_headers: Annotated[
        bool, typer.Option("--no-headers", help="Compare files and metadata only; look into no weight file.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 if anything differs, as `git diff` does.")
    ] = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Tell what differs between two artifacts, or between an artifact and a directory.

    Files and metadata that B has more (+), less (-) or otherwise (~) than A; of safetensors and GGUF files that changed
    the tensors, by their headers alone, which come from a registry by ranges; what of B the place of A lacks. A bare
    REF is in the local store or else in its registry. The exit code is 0 whether anything differs or not, unless
    --exit-code is given.

    \b
      modfile diff registry.example.com/llm/minilm:v1 registry.example.com/llm/minilm:v2
      modfile diff registry.example.com/llm/minilm:v1 ./minilm
      modfile diff minilm:v1 oci-archive:minilm.tar --tensors --json
    """
    from modfile.sides import ArtifactSide
    from modfile.verbs.diff import Depth
    from modfile.verbs.diff import diff as compare

    session = Session.of(context)
    if tensors and no_headers:
        raise UsageError("--tensors looks into weight files, and --no-headers into none; choose one of them")
    depth = Depth.CONTENTS if tensors else Depth.FILES if no_headers else Depth.HEADERS
    with ExitStack() as stack:
        sides = [_side(session, text, stack, connection) for text in (before, after)]
        reference = next((side.reference for side in sides if isinstance(side, ArtifactSide)), None)
        with session.console.progress("comparing") as progress:
            found = compare(
                sides[0],
                sides[1],
                depth=depth,
                progress=progress,
                concurrency=session.concurrency(reference, concurrency),
                note=session.console.say,
            )
    if as_json:
        digests = zip((before, after), (found.before, found.after), strict=True)
        said = [{"Reference": text, "Digest": None if digest is None else str(digest)} for text, digest in digests]
        session.console.json({"Before": said[0], "After": said[1]} | found.to_json())
    else:
        for line in _lines(found):
            session.console.result(line)
    if exit_code and not found.is_equal:
        raise typer.Exit(1)


def _side(session: Session, text: str, stack: ExitStack, connection: Connection) -> Side:
    """Find an artifact or a directory; a place that is opened is closed with the stack."""
    from modfile.sides import ArtifactSide, DirectorySide
    from modfile.weightranges import Nearby

    if _names_directory(text):
        return DirectorySide(Path(text), session.storage.cache)
    located = locate(text, stack)
    reference, layout = located.reference, session.storage.layout
    if located.inventory is not None:
        return ArtifactSide(reference, Nearby(located.inventory), located.inventory)
    bare = located.place.transport is Transport.ANY and layout.find(reference) is None
    if bare and reference.host is None and Path(text).is_dir():
        raise NotFoundError(f"{reference} is not in the local store; the directory is ./{text}")
    if located.remote or (bare and reference.host is not None):
        repository = session.repository(reference, connection)
        return ArtifactSide(reference, session.ranged(reference, connection), repository, is_far=True)
    return ArtifactSide(reference, Nearby(session.backed(reference, connection)), layout)


def _names_directory(text: str) -> bool:
    """Tell a directory from a reference, which never begins or ends like this."""
    return Place.parse(text).transport is Transport.ANY and (text.startswith((".", "/")) or text.endswith("/"))


def _lines(found: Comparison) -> Iterator[str]:
    for file in found.files:
        yield _file(file)
        if file.weights is not None:
            yield from (f"    {line}" for line in _weights(file.weights))
    for field in found.metadata:
        yield _field(field)
    yield _summary(found)


def _file(file: FileChange) -> str:
    before, after = file.before, file.after
    line = f"{file.change.sign} {shown(file.path)}"
    if before is None or after is None:
        return line + "".join(f"  {size(only.size)}{_problem(only.problem)}" for only in (before, after) if only)
    if file.has_other_bytes:
        line += f"  {size(before.size)} -> {size(after.size)}"
    if None not in (before.mode, after.mode) and before.mode != after.mode:
        line += f"  mode {before.mode:o} -> {after.mode:o}"
    return line + _problem(before.problem or after.problem)


def _problem(problem: str | None) -> str:
    return f"  ({problem})" if problem else ""


def _weights(change: WeightsChange) -> Iterator[str]:
    for tensor in change.tensors[:_TENSORS]:
        yield _tensor(tensor)
    if len(change.tensors) > _TENSORS:
        yield f"~ {len(change.tensors) - _TENSORS:,} more tensors; --json lists all"
    for field in change.metadata:
        yield _field(field)
    if change.compared:
        yield f"= {change.alike:,} tensors are the same"
    else:
        yield f"= {change.alike:,} tensors have the same type and shape; --tensors compares their contents"


def _tensor(change: TensorChange) -> str:
    said = " -> ".join(dict.fromkeys(_header(tensor) for tensor in (change.before, change.after) if tensor))
    other = "  other contents" if change.before == change.after else ""
    return f"{change.change.sign} {shown(change.name)}  {said}{other}"


def _header(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _field(change: FieldChange) -> str:
    if change.before is None or change.after is None:
        sign, value = ("+", change.after) if change.before is None else ("-", change.before)
        return f"{sign} {shown(change.field)}: {_value(value)}"
    return f"~ {shown(change.field)}: {_value(change.before)} -> {_value(change.after)}"


def _value(value: Any) -> str:
    return shown(json.dumps(value, ensure_ascii=False))


def _summary(found: Comparison) -> str:
    from modfile.comparison import Change

    if found.is_equal:
        if found.before is None or found.after is None or found.before == found.after:
            return "nothing differs"
        return f"files and metadata are the same; the manifests differ{_moved(found)}"
    files = ", ".join(
        f"{found.count(change)} {change.value}" for change in (Change.ADDED, Change.REMOVED, Change.CHANGED)
    )
    return f"files: {files}; metadata: {len(found.metadata)} changed{_moved(found)}"


def _moved(found: Comparison) -> str:
    return f"; to move: {size(found.size)} in {found.pieces} piece{'' if found.pieces == 1 else 's'}"
