"""An artifact that is in a registry becomes a version of a model in MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import AccessDeniedError, ModfileError, UsageError
from ..progress import SILENT
from . import tags as tagging
from .promotion import point
from .version import SCHEME, ModelVersion
from .versionname import VersionName, check_alias, check_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..verbs.promote import Promoted
    from .modelregistry import ModelRegistry
    from .placing import Placed

FIRST = ("baseline", "champion")
"""The aliases of a model's first version, where none are said."""
LATER = ("candidate",)
"""The alias of every later one."""
_LONGEST_DESCRIPTION = 5000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be said of a version.

    Attributes:
        model: the name of the registered model.
        aliases: what the version is to be called; with none, what is usual for a first or a later one.
        general: of the model; JSON values.
        training: of how it came to be; JSON values.
        description: for people.
        force: make another version although there is one of the same artifact.
    """

    model: str
    aliases: Sequence[str] = ()
    general: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    force: bool = False

    def check(self) -> None:
        """See that MLflow and the registry would take all of it, before anything is packed or sent.

        Raises:
            UsageError: they would not.
        """
        check_model(self.model)
        for alias in self.aliases:
            check_alias(alias)
        self.tags()
        if self.description and len(self.description) > _LONGEST_DESCRIPTION:
            raise UsageError(f"the description has more than {_LONGEST_DESCRIPTION:,} characters; MLflow takes no more")

    def tags(self) -> dict[str, str]:
        """Return the tags that say it.

        Raises:
            UsageError: MLflow would refuse one.
        """
        return tagging.tags_of("general", self.general) | tagging.tags_of("training", self.training)


@dataclass(frozen=True, slots=True)
class Registered:
    """A version that is registered; `created` says whether it is new, `tags` which tags of the registry moved."""

    version: ModelVersion
    created: bool
    tags: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys."""
        return self.version.to_json() | {"Created": self.created, "RegistryTags": list(self.tags)}


def register(
    models: ModelRegistry, entry: Entry, place: Callable[[], Placed], note: Callable[[str], None] = SILENT.note
) -> tuple[Registered, Placed]:
    """Bring an artifact to a registry, and register it.

    Nothing is packed or sent before it is known that MLflow answers, and would take what is said.

    Args:
        models: where to register.
        entry: what to say.
        place: brings the artifact.
        note: is told what a person would want to know.

    Raises:
        UsageError: MLflow or the registry would not take what is said.
        ModfileError: the artifact cannot be brought.
        RegistryError, AccessDeniedError: MLflow or the registry failed, or refused; the message says what was done, and
            the same call goes on from there.
    """
    entry.check()
    models.has(entry.model)
    placed = place()
    return Registration(models, entry, note).register(placed), placed


class Registration:
    """Registers an artifact, and keeps account of what is done, should it be cut off.

    A version is made with its tags at once; one of them says that it is unfinished until its aliases are there too. An
    artifact that is a version of the model already is not registered again: what is said of it is brought up to date,
    and a registration that was cut off is taken to its end.

    Args:
        models: where to register.
        entry: what to say; checked.
        note: is told what a person would want to know.
    """

    def __init__(self, models: ModelRegistry, entry: Entry, note: Callable[[str], None]) -> None:
        self._models = models
        self._entry = entry
        self._note = note
        self._done: list[str] = []

    def register(self, placed: Placed) -> Registered:
        """Register an artifact.

        Raises:
            RegistryError, AccessDeniedError, UsageError, NotFoundError: MLflow or the registry failed, or refused; the
                message says what was done, and the same call goes on from there.
        """
        self._done.append(f"{placed.exact} is in the registry")
        try:
            return self._register(placed)
        except ModfileError as error:
            done = "; ".join(self._done)
            raise type(error)(f"{error} (so far: {done}; the same command goes on from there)") from error

    def _register(self, placed: Placed) -> Registered:
        models, entry = self._models, self._entry
        models.create_model(entry.model)
        known = None if entry.force else models.with_digest(entry.model, placed.content.digest)
        if known is None:
            tags = entry.tags() | {
                tagging.DIGEST: str(placed.content.digest),
                tagging.REFERENCE: str(placed.reference),
                tagging.UNFINISHED: "true",
            }
            number = models.create_version(entry.model, f"{SCHEME}{placed.exact}", tags, entry.description)
        else:
            number = known.number
        self._done.append(f"version {number} of {entry.model} is in MLflow")
        if known is not None:
            self._update(known)
        unfinished = known is None or known.is_unfinished
        moved = self._name(placed, number, self._aliases(number, usual=unfinished))
        if unfinished:
            models.delete_tag(entry.model, number, tagging.UNFINISHED)
        version = models.find(VersionName(entry.model, number))
        return Registered(version, known is None, tuple(tag.reference.tag or "" for tag in moved if tag.moved))

    def _update(self, known: ModelVersion) -> None:
        """Bring what is said of a version up to date; what is not said again stays."""
        entry, models = self._entry, self._models
        for namespace, said in (("general", entry.general), ("training", entry.training)):
            if not said:
                continue
            before = tagging.values_of(namespace, known.tags)
            tags = tagging.tags_of(namespace, before | dict(said))
            for key, value in tags.items():
                if known.tags.get(key) != value:
                    models.set_tag(known.model, known.number, key, value)
            for key in tagging.tags_of(namespace, before).keys() - tags.keys():
                if key in known.tags:
                    models.delete_tag(known.model, known.number, key)
        if entry.description is not None and entry.description != known.description:
            models.describe(known.model, known.number, entry.description)

    def _aliases(self, number: int, *, usual: bool) -> Sequence[str]:
        """Return the aliases to give: those that are said, else the usual ones, but none that a newer version has."""
        if self._entry.aliases or not usual:
            return tuple(dict.fromkeys(self._entry.aliases))
        model = self._entry.model
        first = self._models.first_number(model)
        there = self._models.aliases(model)
        chosen = FIRST if first is None or first >= number else LATER
        return tuple(alias for alias in chosen if there.get(alias, 0) <= number)

    def _name(self, placed: Placed, number: int, aliases: Sequence[str]) -> list[Promoted]:
        """Give the version its aliases, and the artifact the tags of the same names."""
        moved = []
        for alias in aliases:

            def tag(alias: str = alias) -> Promoted | None:
                try:
                    return placed.tag(alias)
                except AccessDeniedError as error:
                    if placed.ours:
                        raise
                    self._note(f"{alias} is an alias in MLflow only, since the registry lets nobody tag here: {error}")
                    return None

            _, promoted = point(self._models, self._entry.model, number, alias, tag)
            self._done.append(f"{alias} is version {number}")
            if promoted is not None:
                moved.append(promoted)
        return moved
