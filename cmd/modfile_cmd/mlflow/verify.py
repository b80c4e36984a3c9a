"""`modfile mlflow verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import ModfileError, UsageError, VerificationError

from ..options import Concurrency, connected
from ..session import DIRECT, Connection, Session
from .options import TrackingURI, Version, open_models

if TYPE_CHECKING:
    from modfile.mlflow.version import ModelVersion
    from modfile.verbs.verify import Verified


@connected
def verify(
    context: typer.Context,
    name: Version,
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="The directory to compare.")],
    tracking_uri: TrackingURI = None,
    concurrency: Concurrency = None,
    connection: Connection = DIRECT,
) -> None:
    """Tell whether a directory holds exactly what a version says, byte for byte; print as JSON what differs.

    Every file is read and hashed, and no layer is downloaded. The exit code is 0 if all files are right, 4 if one is
    missing, changed or too many, and 1 if they could not be compared, which says nothing of the files.

    \b
      modfile mlflow verify minilm@champion ./minilm
      modfile mlflow verify minilm:2 ./minilm && echo deployed is version 2
    """
    session = Session.of(context)
    try:
        version, found = _compare(session, name, directory, tracking_uri, connection, concurrency)
    except UsageError:
        raise
    except ModfileError as error:
        raise NotComparedError(str(error)) from error
    session.console.json(
        {"Name": version.model, "Version": version.number, "Reference": str(version.artifact())} | found.to_json()
    )
    for path in found.missing:
        session.console.say(f"missing  {path}")
    for path, problem in found.changed:
        session.console.say(f"changed  {path}: {problem}")
    for path in found.extra:
        session.console.say(f"extra    {path}")
    if found.differs():
        counts = f"{len(found.missing)} missing, {len(found.changed)} changed, {len(found.extra)} extra"
        raise VerificationError(f"{directory} is not what {version} says: {counts}")
    session.console.say(f"{directory}: {len(found.right)} files are right, {name} is {version}")


class NotComparedError(ModfileError):
    """A directory and a version could not be compared."""


def _compare(
    session: Session,
    name: str,
    directory: Path,
    tracking_uri: str | None,
    connection: Connection,
    concurrency: int | None,
) -> tuple[ModelVersion, Verified]:
    from modfile.mlflow.versionname import VersionName
    from modfile.verbs.verify import verify_directory

    wanted = VersionName.parse(name)
    version = open_models(tracking_uri).find(wanted)
    artifact = version.artifact()
    source = session.nearest(artifact, connection)
    with session.console.progress("verifying") as progress:
        found = verify_directory(
            artifact,
            source,
            directory,
            manifest_alone=source is not session.storage.layout,
            progress=progress,
            concurrency=session.concurrency(artifact, concurrency),
        )
    return version, found
