"""Credentials, from and to where docker and podman keep them, or their credential helpers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .credential_file import Credential, CredentialFile, hosts_of
from .credential_helper import CredentialHelper
from .endpoint import DOCKER_HUB, is_docker_hub

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Credential", "CredentialStore"]


class CredentialStore:
    """The credentials in some files, and in the credential helpers that the files name.

    Args:
        files: read in this order, the first that has a credential is taken; written is to the first one only.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._files = [CredentialFile(path) for path in files]

    def get(self, host: str, repository: str = "") -> Credential | None:
        """Return the credential for a repository of a host, None for anonymous access.

        In each file the entry of the repository or of the longest part of its path counts first (podman's), then the
        host's helper, then the store for all hosts, then the host's own entry.

        Raises:
            RegistryError: a file or a helper is broken.
        """
        for file in self._files:
            content = file.read()
            credential = (
                _of_repository(file, content, host, repository)
                or _of_helpers(file, content, host)
                or _of_host(file, content, host)
            )
            if credential is not None:
                return credential
        return None

    def set(self, host: str, credential: Credential) -> str:
        """Keep a host's credential; return where it went, for people to read.

        Raises:
            UsageError: there is no file to keep it in, or a user name that cannot be.
            RegistryError: the file is broken or cannot be written, or the helper fails.
        """
        if not self._files:
            raise UsageError("there is no credentials file to keep the login in")
        if ":" in credential.username or not (credential.username + credential.password).isprintable():
            raise UsageError("a user name has no ':', and neither name nor password has control characters")
        file = self._files[0]
        with file.changing() as content:
            helper = _writing_helper(file, content, host)
            if helper is not None:
                helper.store(host, credential)
            auths = _auths(content)
            _remove(auths, host)
            auths[file.key(host)] = {} if helper is not None else _entry(credential)
        return f"{file.path}" if helper is None else f"the credential helper {helper.program}"

    def erase(self, host: str) -> bool:
        """Forget a host's credential, in every file and helper; tell whether there was one.

        Raises:
            RegistryError: a file is broken or cannot be written, or a helper fails.
        """
        erased = False
        for file in self._files:
            if not file.read():
                continue
            with file.changing() as content:
                for helper in _helpers(file, content, host):
                    erased |= helper.erase(host)
                erased |= _remove(_auths(content), host)
        return erased


def _of_repository(file: CredentialFile, content: dict[str, Any], host: str, repository: str) -> Credential | None:
    parts = repository.split("/") if repository else []
    for end in range(len(parts), 0, -1):
        for name in _names(host):
            if credential := file.entry(content, "/".join([name, *parts[:end]])):
                return credential
    return None


def _of_helpers(file: CredentialFile, content: dict[str, Any], host: str) -> Credential | None:
    return next((found for helper in _helpers(file, content, host) if (found := helper.get(host))), None)


def _of_host(file: CredentialFile, content: dict[str, Any], host: str) -> Credential | None:
    auths = content.get("auths") or {}
    exact = [name for name in (file.key(host), host) if name in auths]
    others = [name for name in auths if name not in exact and hosts_of(name) == _canonical(host)]
    return next((found for name in exact + others if (found := file.entry(content, name))), None)


def _helpers(file: CredentialFile, content: dict[str, Any], host: str) -> list[CredentialHelper]:
    """Return the helpers that may have a host's credential, the host's own first."""
    named = content.get("credHelpers") or {}
    names = [named[name] for name in named if hosts_of(name) == _canonical(host)]
    names += [content["credsStore"]] if content.get("credsStore") else []
    return [CredentialHelper(name, file.path) for name in names if name]


def _writing_helper(file: CredentialFile, content: dict[str, Any], host: str) -> CredentialHelper | None:
    return next(iter(_helpers(file, content, host)), None)


def _auths(content: dict[str, Any]) -> dict[str, Any]:
    auths = content.get("auths")
    if not isinstance(auths, dict):
        auths = content["auths"] = {}
    return auths


def _remove(auths: dict[str, Any], host: str) -> bool:
    """Take a host's entries away; tell whether one of them held something."""
    removed = [auths.pop(name) for name in list(auths) if hosts_of(name) == _canonical(host)]
    return any(removed)


def _entry(credential: Credential) -> dict[str, str]:
    pair = f"{credential.username}:{credential.password}".encode()
    entry = {"auth": base64.b64encode(pair).decode()}
    return entry | ({"identitytoken": credential.identity_token} if credential.identity_token else {})


def _names(host: str) -> list[str]:
    return [DOCKER_HUB, "index.docker.io"] if is_docker_hub(host) else [host]


def _canonical(host: str) -> str:
    return DOCKER_HUB if is_docker_hub(host) else host.lower()
