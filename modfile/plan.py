"""Which files an artifact is, told from its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ContentError, NotFoundError
from .glob import Pattern
from .modelpack import layers_of
from .paths import check_plan, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .content import Descriptor, Digest
    from .manifest import Manifest
    from .modelpack import FileMetadata, Layer

_LISTED = 30


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to be: its path, its bytes by size and digest, what else is known of it."""

    path: str
    content: Descriptor
    metadata: FileMetadata | None


class Plan:
    """The files of an artifact by path, and the layers that pack more files, which have to be unpacked to be known.

    Attributes:
        files: by path, in the order of the layers; those that lie in a tar are added once they are known.
        packed: the layers in a tar format.
    """

    def __init__(self, manifest: Manifest) -> None:
        """Plan a manifest's files.

        Raises:
            ContentError: it is no model, a layer has no path, or a path is not safe.
        """
        self.files: dict[str, PlannedFile] = {}
        self.packed: list[Layer] = []
        said: list[str] = []
        seen: set[Digest] = set()
        for layer in layers_of(manifest):
            if layer.is_packed:
                if layer.content.digest in seen:
                    raise ContentError(f"layer {layer.content.digest.short} is there twice, with the same files")
                seen.add(layer.content.digest)
                self.packed.append(layer)
                if layer.metadata and layer.path is not None:
                    said.append(layer.path)
                continue
            if layer.path is None:
                raise ContentError(f"layer {layer.content.digest.short} does not say which file it is")
            self.add([PlannedFile(layer.path, layer.content, layer.metadata)])
        check_plan([*self.files, *said])

    def add(self, files: Iterable[PlannedFile]) -> None:
        """Add files; `check` then sees whether all of them can be there together.

        Raises:
            ContentError: one has the path of another.
        """
        for file in files:
            if file.path in self.files:
                raise ContentError(f"two layers are the file {shown(file.path)}")
            self.files[file.path] = file

    def check(self) -> None:
        """Check the paths of all files.

        Raises:
            ContentError: one is not safe, or in another's way.
        """
        check_plan(self.files)


class Choice:
    """Files chosen by patterns: a file's own name, a directory's, or a glob as in a Modelfile; all without any.

    With `literal`, the patterns are paths of files and nothing else.
    """

    def __init__(self, patterns: Sequence[str] | None, *, literal: bool = False) -> None:
        self._patterns = patterns
        self._literal = literal

    def may_be_in(self, layer: Layer) -> bool:
        """Tell whether a packed layer may have a file that is chosen; one that says it is a single file tells.

        Raises:
            UsageError: a pattern is malformed.
        """
        if self._patterns is None or not layer.metadata or layer.path is None:
            return True
        return any(self._matched(text, {layer.path: None}) for text in self._patterns)

    def of(self, plan: Plan, name: str) -> dict[str, PlannedFile]:
        """Return the plan's files that are chosen, in its order; `name` is what to call the artifact.

        Raises:
            NotFoundError: a pattern matches no file.
            UsageError: a pattern is malformed.
        """
        if self._patterns is None:
            return plan.files
        chosen: set[str] = set()
        for text in self._patterns:
            matched = self._matched(text, plan.files)
            if not matched:
                has = listed(sorted(plan.files), _LISTED)
                raise NotFoundError(f"{text!r} matches no file of {name}, which has: {has}")
            chosen.update(matched)
        return {path: file for path, file in plan.files.items() if path in chosen}

    def _matched(self, text: str, files: Mapping[str, object]) -> list[str]:
        if text in files:
            return [text]
        if self._literal:
            return []
        below = text.rstrip("/") + "/"
        if found := [path for path in files if path.startswith(below)]:
            return found
        pattern = Pattern.parse(text)
        return [path for path in files if pattern.matches(path)]
