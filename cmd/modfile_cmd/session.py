"""What every command is assembled from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modfile import session
from modfile.environment import credential_files, proxy_from_environment
from modfile.session import DIRECT, Connection

if TYPE_CHECKING:
    from pathlib import Path

    from modfile.environment import ConfigFile

    from .console import Console

__all__ = ["DIRECT", "Connection", "Session"]


class Session(session.Session):
    """One run of the program: what the library works with, and a console."""

    def __init__(self, storage_directory: Path, console: Console, config: ConfigFile) -> None:
        super().__init__(
            storage_directory,
            config,
            credential_files=credential_files,
            proxy_for=proxy_from_environment,
            note=console.say,
        )
        self.console = console

    @classmethod
    def of(cls, context: Any) -> Session:
        """Return the session of a command's context."""
        session = context.obj
        assert isinstance(session, cls)  # noqa: S101 - main() puts it there
        return session
