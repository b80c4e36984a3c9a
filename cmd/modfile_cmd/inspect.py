"""`modfile inspect`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .located import Located, locate
from .options import AsJSON, PlacedTarget, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from modfile.store import Source
    from modfile.tensors import ArtifactFiles, PlacedFiles


@connected
def inspect(
    context: typer.Context,
    target: PlacedTarget,
    remote: Annotated[bool, typer.Option("--remote", help="Look in the registry, not in the local store.")] = False,
    config: Annotated[bool, typer.Option("--config", help="Print the model's config as it is.")] = False,
    tensors: Annotated[
        bool, typer.Option("--tensors", help="List the tensors too, by the headers of the safetensors files.")
    ] = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Print what is in an artifact, as JSON.

    It is JSON with --json and without. With --tensors, of the weights only the headers are read.

    \b
      modfile inspect registry.example.com/llm/minilm:v1
      modfile inspect --remote registry.example.com/llm/minilm:v1 | jq -r '.Layers[].Filepath'
      modfile inspect --remote --tensors registry.example.com/llm/minilm:v1 | jq -c '.Tensors[] | [.Name, .Shape]'
      modfile inspect oci-archive:minilm.tar
    """
    from modfile.verbs.inspect import inspect as facts_of
    from modfile.verbs.inspect import inspect_config

    session = Session.of(context)
    with ExitStack() as stack:
        found = locate(target, stack, remote=remote)
        reference = found.reference
        source: Source
        if found.remote:
            source = session.repository(reference, connection)
        else:
            source = found.inventory or session.storage.layout
        said = inspect_config(reference, source) if config else facts_of(reference, source)
        if tensors:
            said["Tensors"] = list_tensors(session, found, connection)
        session.console.json(said)


def list_tensors(session: Session, found: Located, connection: Connection) -> list[dict[str, Any]]:
    """Return what the headers of an artifact's safetensors files say of its tensors, under stable keys."""
    from modfile.tensors import tensors_of

    return [
        {"Name": info.name, "Dtype": info.dtype, "Shape": list(info.shape), "Size": info.size, "File": info.file}
        for info in tensors_of(files_of(session, found, connection))
    ]


def files_of(session: Session, found: Located, connection: Connection) -> ArtifactFiles | PlacedFiles:
    """Return the files of an artifact, to read pieces of them where they are."""
    from modfile.tensors import ArtifactFiles, PlacedFiles

    if found.inventory is not None:
        return PlacedFiles(found.inventory, found.reference)
    return ArtifactFiles(session, found.reference, connection, remote=found.remote)
