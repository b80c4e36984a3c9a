"""Platforms that images are for (OCI image specification, `image-index.md`, "Image Index Property Descriptions")."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i386": "386", "armv7l": "arm"}
"""What the system calls an architecture, and what Go, and so OCI, does."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture in Go's words, and the architecture's variant, if it is said."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`, as a person writes it.

        Raises:
            UsageError: it is no platform.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(map(_NAME.fullmatch, parts)):
            raise UsageError(f"{text!r} is not a platform such as linux/amd64")
        return cls(*parts)

    @classmethod
    def of(cls, value: object) -> Platform | None:
        """Return what parsed JSON from outside says: a `platform`, or an image's config; None if it says none."""
        if not isinstance(value, dict):
            return None
        said = [value.get(key) for key in ("os", "architecture", "variant")]
        texts = [text if isinstance(text, str) and _NAME.fullmatch(text) else None for text in said]
        if texts[0] is None or texts[1] is None or texts[0] == "unknown":  # how BuildKit marks what is no image
            return None
        return cls(texts[0], texts[1], texts[2])

    @classmethod
    def of_this_machine(cls) -> Platform:
        """Return where this runs."""
        machine = platform.machine().lower()
        return cls("linux", _ARCHITECTURES.get(machine, machine))

    def fits(self, wanted: Platform) -> bool:
        """Tell whether an image for this platform is one for another; a variant counts if it is asked for."""
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and wanted.variant in (None, self.variant)

    def to_json(self) -> dict[str, Any]:
        """Return it as an index and a config say it."""
        value = {"architecture": self.architecture, "os": self.os}
        return value if self.variant is None else value | {"variant": self.variant}

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


DEFAULT_PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))
"""What an image is made for unless somebody says otherwise; a model is the same on all."""
