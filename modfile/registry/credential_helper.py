"""Credential helpers: programs named `docker-credential-<name>` (docker/docker-credential-helpers, "Development")."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from ..errors import RegistryError
from .credential_file import DOCKER_HUB_KEY, Credential
from .endpoint import is_docker_hub
from .failures import one_line

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_FOUND = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 -- what stands in the user name's place beside an identity token
_TIMEOUT = 60.0


class CredentialHelper:
    """One helper.

    Args:
        name: what follows `docker-credential-`.
        origin: the file that names it, for errors.
        timeout: seconds that it may take; people may have to unlock a keychain.

    Raises:
        RegistryError: a program cannot have that name.
    """

    def __init__(self, name: object, origin: object, timeout: float = _TIMEOUT) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RegistryError(f"{origin} names a credential helper that cannot be: {one_line(repr(name), 80)}")
        self.program = f"docker-credential-{name}"
        self._origin = origin
        self._timeout = timeout

    def get(self, host: str) -> Credential | None:
        """Return the credential of a host, None if the helper has none."""
        code, output = self._run("get", _server(host))
        if code != 0:
            if _NOT_FOUND in output:
                return None
            raise self._failed("get", host, output)
        try:
            answer = json.loads(output)
        except (ValueError, RecursionError):
            answer = None
        username, secret = (answer.get("Username"), answer.get("Secret")) if isinstance(answer, dict) else (None, None)
        if not isinstance(username, str) or not isinstance(secret, str):
            raise self._failed("get", host, "what it says is not a credential")
        if not secret:
            return None
        return Credential("", identity_token=secret) if username == _TOKEN_USER else Credential(username, secret)

    def store(self, host: str, credential: Credential) -> None:
        """Let the helper keep a credential."""
        secret = credential.identity_token or credential.password
        username = _TOKEN_USER if credential.identity_token else credential.username
        value = json.dumps({"ServerURL": _server(host), "Username": username, "Secret": secret})
        code, output = self._run("store", value)
        if code != 0:
            raise self._failed("store", host, output.replace(secret, "…") if secret else output)

    def erase(self, host: str) -> bool:
        """Let the helper forget a host's credential; tell whether it had one."""
        if self.get(host) is None:
            return False
        code, output = self._run("erase", _server(host))
        if code != 0 and _NOT_FOUND not in output:
            raise self._failed("erase", host, output)
        return code == 0

    def _run(self, action: str, value: str) -> tuple[int, str]:
        argv = [self.program, action]
        try:
            done: subprocess.CompletedProcess[Any] = subprocess.run(
                argv, input=value.encode(), capture_output=True, timeout=self._timeout, check=False
            )
        except FileNotFoundError:
            raise RegistryError(
                f"{self.program}, the credential helper that {self._origin} names, is not installed; "
                "install it or take it out of that file"
            ) from None
        except subprocess.TimeoutExpired:
            raise RegistryError(
                f"the credential helper {self.program} does not answer within {self._timeout:g} s"
            ) from None
        except OSError as error:
            raise RegistryError(f"cannot run the credential helper {self.program}: {error.strerror}") from None
        if done.returncode == 0:
            return 0, done.stdout.decode("utf-8", "replace")
        return done.returncode, (done.stdout + b" " + done.stderr).decode("utf-8", "replace")

    def _failed(self, action: str, host: str, why: str) -> RegistryError:
        return RegistryError(
            f"the credential helper {self.program} cannot {action} the credential of {host}: {one_line(why)}"
        )


def _server(host: str) -> str:
    return DOCKER_HUB_KEY if is_docker_hub(host) else host
