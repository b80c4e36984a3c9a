"""What a registry refuses beyond what any store does; the rest is `modfile.errors`."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ModfileError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..content import Digest

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class MissingError(NotFoundError):
    """A manifest names content that is not visible in its repository; `missing` says which, in the manifest's order."""

    def __init__(self, missing: Sequence[Digest]) -> None:
        self.missing = tuple(missing)
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        super().__init__(f"the manifest names content that the repository does not have: {missing[0]}{more}")


class OutOfOrderError(ModfileError):
    """A piece of an upload does not begin where the one before ended; `size` is how many bytes are there."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"the upload goes on at byte {size:,}")


class ConflictError(ModfileError):
    """Another request is writing the same upload."""


class FullError(StoreError):
    """There is no room for what is sent: the disk is full, or what uploads may take in all is."""


class BusyError(ModfileError):
    """There are too many uploads under way; a later try may find room."""


def refusal(error: OSError, what: str) -> StoreError:
    """Return what the disk's error means for something that was being written."""
    message = f"{what}: {error.strerror or error}"
    if error.errno in _NO_ROOM:
        refused: StoreError = FullError(f"{message}; `modfile prune` makes room")
    else:
        refused = StoreError(message)
    refused.__cause__ = error
    return refused


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn what the disk says of something into errors of ours, and tell where there is no room from other trouble."""
    try:
        yield
    except OSError as error:
        raise refusal(error, what) from error
    except StoreError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_ROOM:
            raise FullError(str(error)) from error.__cause__
        raise
