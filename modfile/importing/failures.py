"""Files that could not be brought: the first one stops the work, or all of them are told in the end."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from ..errors import ModelfileError, ModfileError
from ..paths import shown
from ..workers import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def named(what: str, error: ModfileError) -> ModfileError:
    """Return an error that names a file, or something else that failed, in front of what went wrong."""
    text, name = str(error), shown(what)
    if text.startswith((f"{name}:", f"{name} ")) or isinstance(error, ModelfileError):
        return error
    return type(error)(f"{name}: {text}")


class Failures:
    """What failed so far. For use by many threads at once."""

    def __init__(self, *, keep_going: bool) -> None:
        """Stop at the first failure, or keep going."""
        self._keep_going = keep_going
        self._told: dict[str, str] = {}
        self._lock = Lock()

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """Return what the work for a file gives; None where it failed.

        Raises:
            ModfileError: it failed and nothing more is to be tried; the message names the file.
        """
        try:
            return work()
        except CancelledError:
            raise
        except ModfileError as error:
            told = named(what, error)
            if not self._keep_going:
                raise told from error
            with self._lock:
                self._told[what] = str(told)
            return None

    def raise_any(self, of: int) -> None:
        """See that nothing failed, of so many files.

        Raises:
            ModfileError: something did; the message has a line for each.
        """
        if self._told:
            lines = "".join(f"\n  {text}" for _, text in sorted(self._told.items()))
            raise ModfileError(f"{len(self._told)} of {of} files could not be brought, so nothing is tagged:{lines}")
