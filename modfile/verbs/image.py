"""A container image of the files that a build packs: written beside a ModelPack artifact, or in its place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError, UsageError
from ..images import DEFAULT_PLATFORMS, DEFAULT_PREFIX, ImageBase, Platform, compose, parse_prefix
from ..layout import Layout
from ..manifest import is_manifest
from ..progress import SILENT, Outcome
from ..store import InMemory
from .copy import Tally
from .derive import bring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..content import Descriptor
    from ..images import Image, ModelLayer
    from ..lineage import FindSource
    from ..progress import Progress
    from ..reference import Reference
    from ..store import Source, Store

_SUFFIX = "-image"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DOCKER_LAYERS = 125
MAX_IMAGE_LAYERS = 100
"""The most layers of an image unless the caller says otherwise, those of its base among them: Docker takes 125."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What image to make.

    Attributes:
        beside_artifact: whether there is a ModelPack artifact as well, of the same layers; the image refers to it.
        prefix: the directory of the image that the files are in, relative to its root.
        platforms: what it is for.
        base: what it is built on, for these platforms.
        tag: what to call it beside an artifact; None for the artifact's tag and `-image`.
    """

    beside_artifact: bool = False
    prefix: str = DEFAULT_PREFIX
    platforms: tuple[Platform, ...] = DEFAULT_PLATFORMS
    base: ImageBase | None = None
    tag: str | None = None

    def room(self, most: int) -> int:
        """Return how many of so many layers there are for files.

        Raises:
            UsageError: there is none.
        """
        depth = self.base.depth if self.base else 0
        if most <= depth:
            raise UsageError(f"at most {most} layers are asked for, but the image base alone has {depth}")
        return most - depth

    def names(self, references: Sequence[Reference]) -> tuple[Reference, ...]:
        """Return what to call the image, of what is built under these names.

        Raises:
            UsageError: it would have the artifact's name, or one that is too long.
        """
        if not self.beside_artifact:
            return tuple(references)
        named = dict.fromkeys(replace(one, tag=self.tag or f"{one.tag}{_SUFFIX}") for one in references)
        for name in named:
            if name in references:
                raise UsageError(f"{name} cannot be both the artifact's name and the image's; say another --image-tag")
            if not _TAG.fullmatch(name.tag or ""):
                raise UsageError(
                    f"the image's tag {name.tag!r} is none (letters, digits, '_', '.' and '-', 128 at most); "
                    "say another --image-tag"
                )
        return tuple(named)


def image_settings(
    form: str,
    *,
    prefix: str | None = None,
    tag: str | None = None,
    platforms: Sequence[str] = (),
    find_base: Callable[[tuple[Platform, ...]], ImageBase | None],
) -> ImageSettings | None:
    """Return what image a build is to make, as a person says it; None for none.

    Args:
        form: `modelpack`, `image` or `both`.
        prefix: the directory of the image for the files, None for `/models`.
        tag: what to call it beside an artifact.
        platforms: what it is for, none for those that are usual.
        find_base: finds what it is built on, for platforms; asked only if an image is to be made.

    Raises:
        UsageError: what is said makes no sense.
        ModfileError: the base cannot be found.
    """
    if form not in ("modelpack", "image", "both"):
        raise UsageError(f"format {form!r} is not known; modelpack, image and both are")
    if form == "modelpack":
        if prefix is not None or tag is not None or platforms:
            raise UsageError("prefix, tag and platforms are of an image; say format image or both")
        return None
    if tag is not None and form != "both":
        raise UsageError("an image's own tag is of format both; an image alone has the build's names")
    wanted = tuple(dict.fromkeys(map(Platform.parse, platforms))) or DEFAULT_PLATFORMS
    chosen = DEFAULT_PREFIX if prefix is None else parse_prefix(prefix)
    return ImageSettings(form == "both", chosen, wanted, find_base(wanted), tag)


def find_image_base(
    reference: Reference, layout: Layout | None, find_source: FindSource, platforms: Sequence[Platform]
) -> ImageBase:
    """Find an image to build on in the local store or, where that does not have it or is None, in its registry.

    Raises:
        NotFoundError: there is nothing of that name.
        UsageError: it is not there for a platform.
        ContentError: it is no image.
        RegistryError, AccessDeniedError: the registry failed, or refused.
    """
    root = layout.find(reference) if layout else None
    if root is None and reference.host is None:
        raise NotFoundError(
            f"the image base {reference} is not in the local store; say HOST/{reference} for a registry"
        )
    source: Source = layout if layout and root else find_source(reference)
    found = ImageBase.read(root or source.resolve(reference), source, str(reference), platforms)
    return replace(found, reference=reference) if reference.host else found


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that was built: its index, what it is called, what it is for, and how its parts came to be there."""

    content: Descriptor
    references: tuple[Reference, ...]
    image: Image
    tally: Tally
    settings: ImageSettings

    @property
    def warnings(self) -> list[str]:
        """What a person should know."""
        warnings, base, prefix = [], self.settings.base, self.settings.prefix
        if base and base.holds_model_in(prefix):
            warnings.append(
                f"the image base {base.name} has a model in /{prefix} itself, whose files stay there beside this "
                f"one's; --image-prefix chooses another directory"
            )
        count = len(self.image.manifest.layers)
        if count <= _DOCKER_LAYERS:
            return warnings
        return [
            *warnings,
            f"the image has {count} layers, and Docker takes {_DOCKER_LAYERS}; --max-layers lets files share them, but "
            f"for those that come by FROM",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "Digest": str(self.content.digest),
            "References": [str(reference) for reference in self.references],
            "Platforms": [str(platform) for platform in self.image.platforms],
        }


@dataclass(frozen=True, slots=True)
class ImageBuilder:
    """Writes images into a store that has the layers with the model's files; its settings.

    The layers may come from anywhere: `layers` of `build` are what names them.
    """

    target: Store
    settings: ImageSettings
    progress: Progress
    concurrency: int

    def build(
        self,
        layers: Sequence[ModelLayer],
        said: dict[str, Any],
        annotations: Mapping[str, str],
        references: Sequence[Reference],
        subject: Descriptor | None = None,
    ) -> BuiltImage:
        """Bring the base's layers, then write configs, manifests and index, and name that.

        `said` is `descriptor` and `config` as a ModelPack config has them, `references` are the build's names, and
        `subject` is the ModelPack artifact of the same files.

        Raises:
            UsageError: the image cannot be called so.
            ContentError: it would be larger than registries take.
            NotFoundError: a layer of the base is nowhere.
            StoreError, RegistryError, AccessDeniedError: the store does not take it.
        """
        settings, tally = self.settings, Tally()
        names = settings.names(references)
        image = compose(
            layers,
            said,
            settings.platforms,
            prefix=settings.prefix,
            annotations=annotations,
            base=settings.base,
            subject=subject,
        )
        if settings.base:
            base = settings.base
            tally.update(bring(base.layers, base.source, self.target, self.progress, self.concurrency))
        for content, data in image.documents.items():
            there = self.target.exists(content)
            outcome = Outcome.SKIPPED if there else self.target.put(content, InMemory({content: data}), SILENT)
            if not is_manifest(content.media_type):
                tally.add(content.digest, content.size, outcome)
        if subject:
            self._refer(image.content, subject)
        for name in names:
            self.target.tag(image.content, name)
        return BuiltImage(image.content, names, image, tally, settings)

    def _refer(self, content: Descriptor, subject: Descriptor) -> None:
        """See that a registry lists the image as what refers to the artifact."""
        if isinstance(self.target, Layout):
            return
        from ..registry.repository import Repository  # only who has one has loaded it already

        if isinstance(self.target, Repository):
            self.target.referrers.add(content, subject.digest)
