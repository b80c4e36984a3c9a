"""The files in which docker and podman keep credentials.

docker's `config.json` (docker/cli, "Configuration files") and podman's `auth.json` (containers-auth.json(5)).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RegistryError
from .endpoint import DOCKER_HUB, is_docker_hub

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_LARGEST_FILE = 4 << 20
_VERSION_PATHS = frozenset({"", "v1", "v2"})


@dataclass(frozen=True, slots=True)
class Credential:
    """Who we are to a registry: user name and password, or an identity token in the password's place."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


class CredentialFile:
    """One file of credentials; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """Return what the file holds, nothing if it is not there.

        Raises:
            RegistryError: it cannot be read, or is not what it should be.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise RegistryError(f"cannot read the credentials in {self.path}: {error.strerror}") from error
        if not data.strip():
            return {}
        try:
            content = json.loads(data) if len(data) <= _LARGEST_FILE else None
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self.broken("it is not a JSON object")
        for name in ("auths", "credHelpers"):
            if not isinstance(content.get(name), dict | None):
                raise self.broken(f"its {name!r} is not an object")
        return content

    def broken(self, why: str) -> RegistryError:
        """Return the error for a file that is not what it should be."""
        return RegistryError(f"the credentials file {self.path} is broken: {why}; mend it or log in anew")

    def key(self, host: str) -> str:
        """Return the key under which the file's own program keeps a host's credential."""
        if not is_docker_hub(host):
            return host
        return DOCKER_HUB if self.path.name == "auth.json" else DOCKER_HUB_KEY

    def entry(self, content: dict[str, Any], name: str) -> Credential | None:
        """Return the credential under one key of `auths`, None if it holds none."""
        entry = (content.get("auths") or {}).get(name)
        if entry is None:
            return None
        if not isinstance(entry, dict):
            raise self.broken(f"the entry of {name!r} is not an object")
        fields = {key: entry.get(key) or "" for key in ("auth", "username", "password", "identitytoken")}
        if not all(isinstance(value, str) for value in fields.values()):
            raise self.broken(f"the entry of {name!r} holds something else than text")
        username, password = fields["username"], fields["password"]
        if fields["auth"]:
            username, password = self._decode(fields["auth"], name)
        if not username and not password and not fields["identitytoken"]:
            return None
        return Credential(username, password, fields["identitytoken"])

    def _decode(self, auth: str, name: str) -> tuple[str, str]:
        try:
            username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise self.broken(f"the 'auth' of {name!r} is not user:password in base64") from None
        return username, password.strip("\0")

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """Change the file: what is yielded is written back, whole or not at all, while no other login does the same.

        Raises:
            RegistryError: the file is broken, or cannot be written.
        """
        try:
            target = self.path.resolve()
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, RuntimeError) as error:
            raise self._unwritable(error) from error
        try:
            # The directory is what is locked: the file itself is replaced.
            fcntl.flock(directory, fcntl.LOCK_EX)
            content = self.read()
            before = json.dumps(content)
            yield content
            if json.dumps(content) != before:
                self._replace(target, content, directory)
        finally:
            os.close(directory)

    def _replace(self, target: Path, content: dict[str, Any], directory: int) -> None:
        temporary = None
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # with mode 0600
            temporary = Path(name)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file, indent="\t", ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            os.fsync(directory)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> RegistryError:
        reason = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
        return RegistryError(f"cannot write the credentials to {self.path}: {reason}")


def hosts_of(name: str) -> str:
    """Return the host that a key of `auths` stands for, as docker reads it; empty for a key of one repository."""
    scheme, slashes, rest = name.partition("://")
    if not slashes:
        rest = name
    host, slash, path = rest.partition("/")
    whole = not slash or ((slashes or path.endswith("/")) and path.strip("/") in _VERSION_PATHS)
    if not whole or (slashes and scheme not in ("http", "https")):
        return ""
    return DOCKER_HUB if is_docker_hub(host) else host.lower()
