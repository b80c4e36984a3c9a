"""Users and their passwords, from a file that `htpasswd -B` writes: `user:$2y$…`, a line each.

Only bcrypt counts, as with the reference registry. The file is read again when it changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import stat
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt

from ..errors import UsageError
from .answers import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")
_LARGEST_FILE = 4 << 20
_SIGNIFICANT = 72
"""So many bytes of a password count, with bcrypt; what comes after them, `htpasswd` does not look at either."""
_REMEMBERED = 1024
_MOST_WAITING = 64
_log = logging.getLogger(__name__)


class Htpasswd:
    """The users of a file. To be asked from one event loop.

    Attributes:
        warnings: what is wrong in the file as it was read first, a line each.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UsageError: it cannot be read, or lets nobody in.
        """
        self._path = path
        try:
            self._version = self._stat()
            self._users, self.warnings = parse(self._read(), str(path))
        except OSError as error:
            raise UsageError(f"--htpasswd {path}: {error.strerror}") from None
        if not self._users:
            more = f" ({self.warnings[0]})" if self.warnings else ""
            raise UsageError(f"--htpasswd {path} has no user; add one with: htpasswd -B {path} USER{more}")
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bool]] = {}
        # bcrypt is slow on purpose: one thread, so that guesses never take more than one processor.
        self._hashing = ThreadPoolExecutor(1, "htpasswd")
        self._nobody = self._hash_of_nobody()

    async def knows(self, user: str, password: str) -> bool:
        """Tell whether this is a user's password. What was right once is right at no cost, until the file changes.

        Raises:
            Refusal: too many passwords are waiting to be looked at.
        """
        self._refresh()
        secret = password.encode()
        if b"\0" in secret:
            return False
        hashed = self._users.get(user)
        name = self._name(user, secret, hashed or self._nobody)
        if name in self._known:
            self._known.move_to_end(name)
            return True
        if name not in self._asked:
            if len(self._asked) >= _MOST_WAITING:
                raise Refusal(Code.TOOMANYREQUESTS, headers={"Retry-After": "1"})
            self._asked[name] = asyncio.ensure_future(self._check(name, secret, hashed))
        return await asyncio.shield(self._asked[name])

    def close(self) -> None:
        """Look at no more passwords."""
        self._hashing.shutdown(wait=False, cancel_futures=True)

    async def _check(self, name: bytes, secret: bytes, hashed: bytes | None) -> bool:
        # A user who is not there takes as long as one who is.
        loop = asyncio.get_running_loop()
        try:
            right = await loop.run_in_executor(
                self._hashing, bcrypt.checkpw, secret[:_SIGNIFICANT], hashed or self._nobody
            )
        finally:
            self._asked.pop(name, None)
        if not right or hashed is None:
            return False
        self._known[name] = None
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return True

    def _name(self, user: str, secret: bytes, hashed: bytes) -> bytes:
        """Return what a checked password is remembered by, of no use to anybody else."""
        parts = b"".join(hashlib.sha256(part).digest() for part in (user.encode(), secret, hashed))
        return hmac.digest(self._key, parts, "sha256")

    def _refresh(self) -> None:
        """Read the file again if it changed; what cannot be read changes nothing."""
        try:
            version = self._stat()
            if version == self._version:
                return
            users, warnings = parse(self._read(), str(self._path))
        except (OSError, UsageError) as error:
            if self._version is not None:
                _log.error("%s cannot be read again, its users stay as they were: %s", self._path, error)
            self._version = None
            return
        self._version, self._users = version, users
        self._nobody = self._hash_of_nobody()
        for warning in warnings:
            _log.warning("%s", warning)

    def _hash_of_nobody(self) -> bytes:
        """Return a hash that no password has, as costly as most of the users'."""
        costs = [hashed[4:6] for hashed in self._users.values()] or [b"10"]
        return b"$2b$" + max(set(costs), key=costs.count) + b"$" + b"." * 53

    def _stat(self) -> tuple[int, int, int, int] | None:
        status = self._path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"--htpasswd {self._path} is not a file")
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> str:
        with self._path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise UsageError(f"--htpasswd {self._path} is larger than {_LARGEST_FILE >> 20} MiB")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise UsageError(f"--htpasswd {self._path} is not UTF-8") from None


def parse(text: str, filename: str) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
    """Read `user:hash` lines; empty ones and comments (`#`) are passed over.

    Returns:
        The hashes by user, and what is wrong with the other lines, which let nobody in. No message has a hash in it.
    """
    users: dict[str, bytes] = {}
    warnings = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, hashed = line.partition(":")
        if not colon or not user or not user.isprintable():
            problem = "is not user:hash"
        elif not _BCRYPT.fullmatch(hashed):
            problem = f"{user}'s password is not hashed by bcrypt at a cost of 4 to 16; use: htpasswd -B"
        elif user in users:
            problem = f"{user} was there before"
        else:
            users[user] = hashed.encode()
            continue
        warnings.append(f"{filename}:{number}: {problem}; the line is passed over")
    return users, tuple(warnings)
