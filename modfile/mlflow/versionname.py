"""Names of model versions: `name@alias`, `name:version`, `models:/name/version`, `models:/name@alias`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError
from ..paths import shown

LATEST = "latest"
_URI = "models:/"
_NUMBER = re.compile(r"[0-9]{1,10}")
_LARGEST = 2**31 - 1
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
_RESERVED = re.compile(r"latest|v[0-9]+", re.IGNORECASE)
_EXPECTED = "expected NAME@ALIAS, NAME:VERSION or models:/NAME/VERSION"


@dataclass(frozen=True, slots=True)
class VersionName:
    """A version of a registered model, by its number or by an alias; the newest one where both are None.

    The constructor trusts; `parse` validates.
    """

    model: str
    number: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> VersionName:
        """Read the name of a version, in MLflow's form or the short one.

        Raises:
            UsageError: it is none.
        """
        rest = text.removeprefix(_URI)
        mark = "/" if rest != text and "/" in rest else ":"
        if mark in rest:
            model, _, version = rest.rpartition(mark)
            if version.lower() != LATEST and not _NUMBER.fullmatch(version):
                raise UsageError(f"{shown(text)} names no version: {shown(version)} is no number; {_EXPECTED}")
            return cls.of(model, version)
        model, at, alias = rest.rpartition("@")
        if not at or not alias:
            raise UsageError(f"{shown(text)} names no version of a model; {_EXPECTED}")
        check_model(model)
        return cls(model, alias=alias)

    @classmethod
    def of(cls, model: str, version: str) -> VersionName:
        """Return the version of a model that a number, an alias or `latest` means.

        Raises:
            UsageError: the model's name, or the number, can be none.
        """
        check_model(model)
        if version.lower() == LATEST:
            return cls(model)
        if not _NUMBER.fullmatch(version):
            return cls(model, alias=version)
        if not 0 < int(version) <= _LARGEST:
            raise UsageError(f"{version} is no version of a model; they are numbered from 1")
        return cls(model, int(version))

    def __str__(self) -> str:
        if self.alias is not None:
            return f"{self.model}@{self.alias}"
        return f"{self.model}:{LATEST if self.number is None else self.number}"


def check_model(name: str) -> None:
    """See that a text can be the name of a registered model, by MLflow's rules.

    Raises:
        UsageError: it cannot.
    """
    if not name.strip() or "/" in name or ":" in name or name in (".", ".."):
        raise UsageError(f"{shown(name)} cannot be a model's name in MLflow: it is not empty and has no '/' or ':'")
    if not name.isprintable() or len(name) > 256:
        raise UsageError(f"{shown(name)} cannot be a model's name: at most 256 characters, all of which print")


def check_alias(alias: str) -> None:
    """See that a text can be an alias in MLflow and a tag in a registry as well.

    Raises:
        UsageError: it cannot.
    """
    if not _ALIAS.fullmatch(alias):
        raise UsageError(
            f"{shown(alias)} cannot be an alias and a tag: letters, digits, '_' and '-', at most 128, not '-' first"
        )
    if _RESERVED.fullmatch(alias):
        raise UsageError(f"{shown(alias)} cannot be an alias: MLflow keeps 'latest' and 'v1', 'v2', … for itself")
