"""Which entries of a container image's layer are about one directory of the image, told by their names.

OCI image specification, `layer.md`: a file whose name begins with `.wh.` takes away the one of the rest of the name,
`.wh..wh..opq` all that layers below have in its directory.
"""

from __future__ import annotations

from ..errors import ContentError
from ..paths import shown

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class Inside:
    """A directory of an image, relative to its root."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._parts = tuple(directory.split("/"))

    def concerns(self, name: str, *, is_directory: bool) -> bool:
        """Tell whether an entry lies in the directory; one that does is then read as strictly as any.

        Raises:
            ContentError: it is something else in the place of the directory or of one above it, or takes away what
                layers below have there, or it cannot be told where it lies.
        """
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts:
            raise ContentError(f"entry {shown(name)} has a '..' segment")
        if parts and parts[-1].startswith(_WHITEOUT):
            self._refuse_whiteout(name, parts)
            return False
        if self._is_above(parts):
            if not is_directory:
                raise ContentError(f"entry {shown(name)} is no directory, but the model would be in /{self._directory}")
            return False
        return self._is_in(parts)

    def _refuse_whiteout(self, name: str, parts: tuple[str, ...]) -> None:
        gone = parts[:-1] if parts[-1] == _OPAQUE else (*parts[:-1], parts[-1].removeprefix(_WHITEOUT))
        if self._is_above(gone) or self._is_in(gone):
            raise ContentError(
                f"entry {shown(name)} takes away files of /{self._directory} that layers below have; "
                "an image like that is not read: build it anew without them"
            )

    def _is_above(self, parts: tuple[str, ...]) -> bool:
        """Tell whether a path is that of the directory, or of one that it is in."""
        return self._parts[: len(parts)] == parts

    def _is_in(self, parts: tuple[str, ...]) -> bool:
        return parts[: len(self._parts)] == self._parts
