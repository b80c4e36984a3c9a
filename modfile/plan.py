"""Which files an artifact is, told from its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ContentError, NotFoundError
from .foreign import layers_of, note_of
from .glob import Pattern
from .listing import listing_of
from .paths import check_plan, listed, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .content import Descriptor, Digest
    from .manifest import Manifest
    from .modelpack import FileMetadata, Layer

_LISTED = 30


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to be: its path, its bytes by size and digest, what else is known of it.

    `layer` is the layer that packs it, if one does; `offset` is where in that its bytes begin, None if it is compressed
    or does not say.
    """

    path: str
    content: Descriptor
    metadata: FileMetadata | None
    layer: Layer | None = None
    offset: int | None = None


class Plan:
    """The files of an artifact by path, and the layers that pack more files, which have to be unpacked to be known.

    Attributes:
        files: by path, in the order of the layers; those that lie in a tar are added once they are known.
        packed: the layers in a tar format.
        unlisted: those of them that do not say which files they pack.
        listed: the files that the others say they pack, by path; not among `files` before `take_listed`.
        note: what a person has to know of the artifact, if there is anything.
    """

    def __init__(self, manifest: Manifest, config: bytes | None = None) -> None:
        """Plan a manifest's files; `config` is its config, if that is at hand.

        Raises:
            ContentError: it is no model, a layer has no path, or a path is not safe.
        """
        self.files: dict[str, PlannedFile] = {}
        self.packed: list[Layer] = []
        self.unlisted: list[Layer] = []
        self.listed: dict[str, PlannedFile] = {}
        self.note = None if config is None else note_of(manifest, config)
        said: list[str] = []
        seen: set[Digest] = set()
        for layer in layers_of(manifest, config):
            if layer.is_packed:
                if layer.content.digest in seen and layer.is_mixed:
                    continue  # an image may well have the same layer twice, one without files most often
                if layer.content.digest in seen:
                    raise ContentError(f"layer {layer.content.digest.short} is there twice, with the same files")
                seen.add(layer.content.digest)
                said += self._add_packed(layer)
                continue
            if layer.path is None:
                raise ContentError(f"layer {layer.content.digest.short} does not say which file it is")
            self.add([PlannedFile(layer.path, layer.content, layer.metadata)])
        check_plan([*self.files, *said])

    def _add_packed(self, layer: Layer) -> list[str]:
        """Add a layer in a tar format; return the paths that it says it has."""
        self.packed.append(layer)
        known = listing_of(layer)
        if known is None:
            self.unlisted.append(layer)
            return [layer.path] if layer.metadata and layer.path is not None else []
        for file in known:
            self.listed[file.path] = PlannedFile(file.path, file.content, file.metadata, layer, file.offset)
        return [file.path for file in known]

    def take_listed(self) -> None:
        """Count the files that layers list among `files`, for those who compare them with what comes.

        Raises:
            ContentError: another layer is a file of the same path.
        """
        self.add(self.listed.values())

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
            ContentError: one is not safe, or in another's way; or an image has none.
        """
        check_plan(self.files)
        if not self.files and (mixed := [layer for layer in self.packed if layer.is_mixed]):
            raise ContentError(f"the image has no file in /{mixed[0].prefix}, where a model would be")


class Choice:
    """Files chosen by patterns: a file's own name, a directory's, or a glob as in a Modelfile; all without any.

    With `literal`, the patterns are paths of files and nothing else.
    """

    def __init__(self, patterns: Sequence[str] | None, *, literal: bool = False) -> None:
        self._patterns = patterns
        self._literal = literal

    def may_be_in(self, layer: Layer) -> bool:
        """Tell whether a layer that does not list its files may have a chosen one; one that is a single file tells.

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
