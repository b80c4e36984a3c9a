"""A version of a registered model, as MLflow tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ContentError, UsageError
from ..modelpack import format_time_ns
from ..paths import shown
from ..reference import Reference
from . import tags as tagging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..content import Digest

SCHEME = "modelpack://"
"""What a version's source begins with: the scheme of the fsspec file system and of MLflow's artifact repository."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version; the times are milliseconds since 1970."""

    model: str
    number: int
    source: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    description: str = ""
    status: str = ""
    run_id: str = ""
    created: int = 0
    updated: int = 0

    def __str__(self) -> str:
        return f"version {self.number} of {shown(self.model)}"

    def artifact(self) -> Reference:
        """Return the artifact that the version is: `host/repository@digest`.

        Raises:
            ContentError: its source is none of that form, or its tag says another digest.
        """
        reference = self._reference()
        if reference is None or reference.digest is None or reference.host is None:
            scheme, colon, _ = self.source.partition(":")
            source = f"a {shown(scheme)} URI" if colon else "a path"
            raise ContentError(
                f"{self} is no artifact in a registry: its source is {source}, not {SCHEME}host/repository@digest; "
                "`modfile mlflow register` makes such versions"
            )
        said = self.tags.get(tagging.DIGEST, str(reference.digest))
        if said != str(reference.digest):
            raise ContentError(
                f"{self} contradicts itself: its source says {reference.digest}, its tag {tagging.DIGEST} {shown(said)}"
            )
        return reference.at(reference.digest)

    @property
    def digest(self) -> Digest | None:
        """The digest that the source says; None where it says none."""
        reference = self._reference()
        return reference.digest if reference else None

    @property
    def is_unfinished(self) -> bool:
        """Whether its registration was cut off."""
        return tagging.UNFINISHED in self.tags

    def to_json(self) -> dict[str, Any]:
        """Return the version under stable keys; what it is not said of is null."""
        reference = self._reference()
        return {
            "Name": self.model,
            "Version": self.number,
            "Aliases": list(self.aliases),
            "Source": self.source,
            "Reference": str(reference) if reference else None,
            "Digest": str(self.digest) if self.digest else None,
            "Description": self.description,
            "General": tagging.values_of("general", self.tags),
            "Training": tagging.values_of("training", self.tags),
            "Tags": dict(sorted(self.tags.items())),
            "Status": self.status,
            "RunId": self.run_id or None,
            "CreatedAt": _time(self.created),
            "UpdatedAt": _time(self.updated),
        }

    def _reference(self) -> Reference | None:
        """Return the artifact of the source, if that is one."""
        if not self.source.startswith(SCHEME):
            return None
        try:
            return Reference.parse(self.source.removeprefix(SCHEME))
        except UsageError:
            return None


def _time(milliseconds: int) -> str | None:
    return format_time_ns(milliseconds * 1_000_000) if milliseconds > 0 else None
