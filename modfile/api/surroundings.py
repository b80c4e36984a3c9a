"""Where a function finds the store and the registries."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def surroundings(session: Session | None) -> Iterator[Session]:
    """Give the session that was given, or one of the environment for as long as it is needed."""
    if session is not None:
        yield session
        return
    with Session.from_environment() as found:
        yield found
