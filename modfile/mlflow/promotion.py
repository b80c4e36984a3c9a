"""Aliases that move: in MLflow and, under the same name, as a tag in the artifact's registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ModfileError
from ..verbs.promote import promote as move_tag
from .versionname import VersionName, check_alias

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..reference import Reference
    from ..store import Store
    from ..verbs.promote import Promoted
    from .modelregistry import ModelRegistry
    from .version import ModelVersion

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Promotion:
    """A version that has an alias, and the tag of the same name; `before` is the version that had the alias."""

    version: ModelVersion
    alias: str
    before: int | None
    tag: Promoted

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return {
            "Name": self.version.model,
            "Version": self.version.number,
            "Alias": self.alias,
            "VersionBefore": self.before,
        } | self.tag.to_json()


def promote(
    models: ModelRegistry, name: VersionName, alias: str, find_repository: Callable[[Reference], Store]
) -> Promotion:
    """Let an alias mean a version, and the tag of the same name its artifact; no layer is moved.

    The artifact is looked up first. The alias moves before the tag; where the tag cannot move, the alias goes back.

    Args:
        models: where the version is registered.
        name: the version.
        alias: what it is to be called.
        find_repository: gives the repository of a reference.

    Raises:
        UsageError: there can be no such alias or tag.
        NotFoundError: there is no such version, or its artifact is gone.
        ContentError: the version is no artifact.
        RegistryError, AccessDeniedError: MLflow or the registry failed, or refused; the message says what moved.
    """
    check_alias(alias)
    version = models.find(name)
    artifact = version.artifact()
    repository = find_repository(artifact)
    repository.resolve(artifact)
    target = replace(artifact, tag=alias, digest=None)
    before, moved = point(models, version.model, version.number, alias, lambda: move_tag(repository, artifact, target))
    return Promotion(models.find(VersionName(version.model, version.number)), alias, before, moved)


def point(models: ModelRegistry, model: str, number: int, alias: str, tag: Callable[[], T]) -> tuple[int | None, T]:
    """Let an alias mean a version, and then its tag; return the version it meant before, and what `tag` gives.

    Raises:
        ModfileError: one of them failed; the alias means what it meant before, or the message says that it does not.
    """
    before = models.aliases(model).get(alias)
    if before != number:
        models.set_alias(model, alias, number)
    try:
        return before, tag()
    except ModfileError as error:
        raise type(error)(
            f"the tag {alias} did not move: {error}; {_undo(models, model, number, alias, before)}"
        ) from error


def _undo(models: ModelRegistry, model: str, number: int, alias: str, before: int | None) -> str:
    """Let an alias mean again what it meant; say how that went."""
    if before == number:
        return f"the alias is at version {number}, where it was"
    try:
        if models.aliases(model).get(alias) != number:
            return "the alias has moved on meanwhile, and is left there"
        if before is None:
            models.delete_alias(model, alias)
            return "the alias was taken away again"
        models.set_alias(model, alias, before)
    except ModfileError as error:
        return f"the alias is at version {number} already and could not be moved back ({error}); promote again"
    return f"the alias is back at version {before}"
