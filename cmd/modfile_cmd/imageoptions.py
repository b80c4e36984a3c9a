"""Options on the container image that a build makes, and what they ask for together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import UsageError

from .layeroptions import Compressor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from modfile.images import ImageBase, Platform
    from modfile.reference import Reference
    from modfile.store import Source
    from modfile.verbs.image import ImageSettings

    from .session import Session


class BuildFormat(StrEnum):
    """What may be said for `--format`."""

    MODELPACK = "modelpack"
    IMAGE = "image"
    BOTH = "both"


Format = Annotated[
    BuildFormat,
    typer.Option(
        "--format",
        metavar="modelpack|image|both",
        help="Make a ModelPack artifact, a container image that pods mount, or both of the same layers.",
    ),
]
ImagePrefix = Annotated[
    str | None,
    typer.Option("--image-prefix", metavar="DIR", help="The directory of the image for the files.  [default: /models]"),
]
ImageTag = Annotated[
    str | None,
    typer.Option("--image-tag", metavar="TAG", help="With both: the image's tag.  [default: the artifact's, -image]"),
]
BaseImage = Annotated[
    str | None,
    typer.Option(
        "--base", metavar="IMAGE", help="Build the image on this one: a reference, oci:DIR[:REF], oci-archive:FILE."
    ),
]
Platforms = Annotated[
    list[str],
    typer.Option(
        "--platform",
        metavar="OS/ARCH",
        help="Make the image for it; repeatable.  [default: linux/amd64, linux/arm64]",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What was said of an image."""

    format: BuildFormat
    prefix: str | None
    tag: str | None
    base: str | None
    platforms: Sequence[str]

    def check(self, raw: bool | None, compression: Compressor | None) -> None:
        """See that the options go together, and with those on the layers' format.

        Raises:
            UsageError: they do not.
        """
        said = {
            "--image-prefix": self.prefix,
            "--image-tag": self.tag,
            "--base": self.base,
            "--platform": self.platforms or None,
        }
        if self.format is BuildFormat.MODELPACK:
            if names := [name for name, value in said.items() if value is not None]:
                raise UsageError(f"{names[0]} is of an image; say --format image or --format both")
            return
        if raw or compression not in (None, Compressor.NONE):
            raise UsageError("the layers of an image are plain tars; leave out --raw and --compression")

    def settings(
        self, session: Session, find_source: Callable[[Reference], Source], stack: ExitStack
    ) -> ImageSettings | None:
        """Return what image to make, None for none; a base in an archive stays open until the stack is closed.

        Raises:
            UsageError: an option makes no sense, or the base is not there for a platform.
            NotFoundError: there is no such base.
            ContentError: it is no image.
        """
        from modfile.verbs.image import image_settings

        return image_settings(
            self.format,
            prefix=self.prefix,
            tag=self.tag,
            platforms=self.platforms,
            find_base=lambda wanted: _find_base(self.base, wanted, session, find_source, stack) if self.base else None,
        )

    def repository_of_base(self, host: str | None) -> str | None:
        """Return the repository that the base is in, if that is in a registry's: its layers can be mounted there."""
        from modfile.reference import Reference

        from .place import Place

        place = Place.parse(self.base) if self.base else None
        reference = Reference.parse(place.name) if place and place.path is None else None
        return reference.repository if reference and host and reference.host == host else None


def _find_base(
    text: str,
    platforms: Sequence[Platform],
    session: Session,
    find_source: Callable[[Reference], Source],
    stack: ExitStack,
) -> ImageBase:
    from modfile.images import ImageBase
    from modfile.reference import Reference
    from modfile.verbs.image import find_image_base

    from .located import open_catalog
    from .place import Place, Transport

    place = Place.parse(text)
    if place.path is not None:
        inventory, catalog = open_catalog(place, stack)
        return ImageBase.read(catalog.find(place.name or None).content, inventory, str(place), platforms)
    layout = None if place.transport is Transport.REGISTRY else session.storage.layout
    return find_image_base(Reference.parse(place.name), layout, find_source, platforms)
