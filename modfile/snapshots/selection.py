"""Which files of an artifact are wanted, said as `huggingface_hub.snapshot_download` has it said."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ..errors import NotFoundError
from ..listing import listing_of
from ..paths import listed
from ..plan import Choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..modelpack import Layer
    from ..plan import Plan, PlannedFile

_LISTED = 30


class Selection(Choice):
    """Files that match one of the patterns to allow, if there are any, and none of those to ignore.

    A pattern is `fnmatch`'s, and is held against the whole path: `*` stands for `/` too, so that `*.json` means those
    of every directory. One that ends in `/` means all that is in a directory. What matches nothing is no error, as
    long as something is left.
    """

    def __init__(self, allow: str | Sequence[str] | None = None, ignore: str | Sequence[str] | None = None) -> None:
        super().__init__(None)
        self._allow = None if allow is None else _patterns(allow)
        self._ignore = _patterns(ignore or ())

    @property
    def is_everything(self) -> bool:
        """Whether nothing was said, so that all files are wanted."""
        return self._allow is None and not self._ignore

    def chooses(self, path: str) -> bool:
        """Tell whether the file of this path is wanted."""
        allowed = self._allow is None or any(fnmatchcase(path, pattern) for pattern in self._allow)
        return allowed and not any(fnmatchcase(path, pattern) for pattern in self._ignore)

    def may_be_in(self, layer: Layer) -> bool:
        """Tell whether a packed layer may have a file that is wanted; one that says which files it has tells."""
        known = listing_of(layer)
        if known is not None:
            return any(self.chooses(file.path) for file in known)
        return not layer.metadata or layer.path is None or self.chooses(layer.path)

    def of(self, plan: Plan, name: str) -> dict[str, PlannedFile]:
        """Return the plan's files that are wanted, in its order; `name` is what to call the artifact.

        Raises:
            NotFoundError: none of them is, although there are some.
        """
        chosen = {path: file for path, file in plan.files.items() if self.chooses(path)}
        if plan.files and not chosen and not any(map(self.may_be_in, plan.packed)):
            raise NotFoundError(
                f"the patterns leave no file of {name}, which has: {listed(sorted(plan.files), _LISTED)}"
            )
        return chosen


def _patterns(said: str | Sequence[str]) -> tuple[str, ...]:
    patterns = (said,) if isinstance(said, str) else said
    return tuple(pattern + "*" if pattern.endswith("/") else pattern for pattern in patterns)
