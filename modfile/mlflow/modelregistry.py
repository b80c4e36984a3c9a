"""MLflow's model registry: a server, or whatever else a tracking URI names. Its client is imported here only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import AccessDeniedError, ContentError, NotFoundError, RegistryError, UsageError
from ..paths import shown
from .tags import DIGEST
from .version import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..content import Digest
    from .versionname import VersionName

_USER = re.compile(r"//[^/@\s]*@")
_CAUSE = re.compile(r"\[Errno -?[0-9]+\] ([\w ]+)|(Read timed out|too many [0-9]+ error responses)", re.ASCII)
_LONGEST_MESSAGE = 300
_UNREACHABLE = "failed with exception"


class ModelRegistry:
    """The registered models of an MLflow server.

    Args:
        tracking_uri: where it is. MLflow's own environment variables say the rest: who we are to it, how long to wait,
            and `MLFLOW_REGISTRY_URI` where models are registered elsewhere.

    Raises:
        UsageError: MLflow is not installed, or knows no such URI.
    """

    page = 1000
    """How many versions are asked for at once."""

    def __init__(self, tracking_uri: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise UsageError(f"MLflow is not installed ({error.name}): pip install 'modfile[mlflow]'") from None
        self._uri = _USER.sub("//", tracking_uri.partition("?")[0])
        self._failure = MlflowException
        self._client: Any = None
        self._client = self._try(MlflowClient, tracking_uri)

    def __str__(self) -> str:
        return f"MLflow at {self._uri}"

    def aliases(self, model: str) -> dict[str, int]:
        """Return a model's aliases, and the versions that they mean.

        Raises:
            NotFoundError: there is no such model.
        """
        found = self._ask("get_registered_model", model, missing=f"{shown(model)} is not registered")
        return {str(alias): _number(version) for alias, version in found.aliases.items()}

    def find(self, name: VersionName) -> ModelVersion:
        """Return the version of a name.

        Raises:
            NotFoundError: there is no such model, version or alias.
        """
        aliases = self.aliases(name.model)
        number = name.number
        if name.alias is not None:
            if name.alias not in aliases:
                known = ", ".join(sorted(aliases)[:20]) or "none"
                raise NotFoundError(f"{shown(name.model)} has no alias {shown(name.alias)} in {self}; it has {known}")
            number = aliases[name.alias]
        if number is None:
            for newest in self._search(name.model, aliases, most=1):
                return newest
            raise NotFoundError(f"{shown(name.model)} has no version in {self}")
        missing = f"{shown(name.model)} has no version {number}"
        return _version(self._ask("get_model_version", name.model, str(number), missing=missing), aliases)

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """Return all versions of a model, the newest first.

        Raises:
            NotFoundError: there is no such model.
        """
        return tuple(self._search(model, self.aliases(model)))

    def first_number(self, model: str) -> int | None:
        """Return the number of the oldest version that a model has."""
        return next((version.number for version in self._search(model, {}, oldest_first=True, most=1)), None)

    def with_digest(self, model: str, digest: Digest) -> ModelVersion | None:
        """Return the newest version of a model that is the artifact of a digest, if there is one."""
        versions = self._search(model, self.aliases(model), f" and tags.`{DIGEST}` = '{digest}'")
        return next((version for version in versions if version.digest == digest), None)

    def has(self, model: str) -> bool:
        """Tell whether there is such a model."""
        try:
            self.aliases(model)
        except NotFoundError:
            return False
        return True

    def create_model(self, model: str) -> None:
        """Make a model, unless it is there."""
        if self.has(model):
            return
        try:
            self._ask("create_registered_model", model)
        except ModelExistsError:
            return  # another one was faster

    def create_version(self, model: str, source: str, tags: Mapping[str, str], description: str | None) -> int:
        """Make a version of a model that is there, with its tags at once; return its number."""
        # No waiting: a version with a source is ready as it is made.
        said: dict[str, Any] = {"tags": dict(tags), "description": description, "await_creation_for": 0}
        return _number(self._ask("create_model_version", model, source, **said).version)

    def describe(self, model: str, number: int, description: str) -> None:
        """Give a version another description."""
        self._ask("update_model_version", model, str(number), description=description)

    def set_tag(self, model: str, number: int, key: str, value: str) -> None:
        """Give a version a tag, or a tag of it another value."""
        self._ask("set_model_version_tag", model, str(number), key, value)

    def delete_tag(self, model: str, number: int, key: str) -> None:
        """Take a tag of a version away."""
        self._ask("delete_model_version_tag", model, str(number), key)

    def set_alias(self, model: str, alias: str, number: int) -> None:
        """Let an alias mean a version."""
        self._ask("set_registered_model_alias", model, alias, str(number))

    def delete_alias(self, model: str, alias: str) -> None:
        """Take an alias away."""
        self._ask("delete_registered_model_alias", model, alias)

    def _search(
        self,
        model: str,
        aliases: Mapping[str, int],
        more: str = "",
        *,
        oldest_first: bool = False,
        most: int | None = None,
    ) -> Iterator[ModelVersion]:
        """Go through versions, the newest first; with `most`, no more of them than so many."""
        quote = '"' if "'" in model else "'"
        if quote in model:
            raise UsageError(f"{shown(model)} cannot be searched in MLflow: its name has quotes of both kinds")
        order = [f"version_number {'ASC' if oldest_first else 'DESC'}"]
        said: dict[str, Any] = {
            "filter_string": f"name={quote}{model}{quote}{more}",
            "max_results": most or self.page,
            "order_by": order,
        }
        token = None
        while True:
            page = self._ask("search_model_versions", **said, page_token=token)
            yield from (_version(found, aliases) for found in page)
            token = page.token
            if not token or most:
                return

    def _ask(self, verb: str, *arguments: Any, missing: str | None = None, **options: Any) -> Any:
        return self._try(getattr(self._client, verb), *arguments, missing=missing, **options)

    def _try(self, call: Any, *arguments: Any, missing: str | None = None, **options: Any) -> Any:
        """Call MLflow, whose errors end here."""
        try:
            return call(*arguments, **options)
        except self._failure as error:
            self._explain(error, missing)
        except ImportError as error:
            raise UsageError(f"{self} needs what is not installed ({error.name}): pip install mlflow") from None
        except Exception as error:
            raise RegistryError(f"{self}: {_told(error)}") from error

    def _explain(self, error: Any, missing: str | None) -> NoReturn:
        """Raise what an error of MLflow's is here."""
        code, told = error.error_code, _told(error)
        told = told.removeprefix(f"{code}: ")
        if _UNREACHABLE in told:
            raise RegistryError(f"{self} cannot be reached: {_cause(str(error)) or told}") from None
        if code == "ENDPOINT_NOT_FOUND":  # a 404 that is not MLflow's own: nothing is known of models there
            raise RegistryError(f"{self} has no such endpoint; is that where MLflow is? ({told})") from None
        if code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            raise NotFoundError(f"{missing} in {self}" if missing else f"{self}: {told}") from None
        if code == "RESOURCE_ALREADY_EXISTS":
            raise ModelExistsError(f"{self}: {told}") from None
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
            who = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who you are"
            raise AccessDeniedError(f"{self} refuses: {told}; {who}") from None
        if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise UsageError(f"{self} refuses: {told}") from None
        raise RegistryError(f"{self}: {told}") from None


class ModelExistsError(RegistryError):
    """A model of that name is registered already."""


def _version(found: Any, aliases: Mapping[str, int]) -> ModelVersion:
    """Take over what MLflow says of a version; searches do not always say its aliases, so they come from the model."""
    number = _number(found.version)
    own: Iterable[str] = (alias for alias, means in aliases.items() if means == number)
    return ModelVersion(
        model=found.name,
        number=number,
        source=found.source or "",
        aliases=tuple(sorted(own)),
        tags=dict(found.tags or {}),
        description=found.description or "",
        status=str(found.status or ""),
        run_id=found.run_id or "",
        created=found.creation_timestamp or 0,
        updated=found.last_updated_timestamp or 0,
    )


def _number(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise ContentError(f"MLflow says {shown(str(text))} where a version's number is expected") from None


def _told(error: BaseException) -> str:
    """Return an error's message in one line that is not too long, without anybody's password."""
    text = _USER.sub("//", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"


def _cause(text: str) -> str | None:
    match = _CAUSE.search(text)
    return match and (match[1] or match[2]).strip()
