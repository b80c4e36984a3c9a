"""Git over HTTP, by `git http-backend` (gitprotocol-http): the repositories below the hub's `git_root`."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from .server import HubHandler


def answer(to: HubHandler) -> bool:
    """Answer a request that is for git; tell whether it was."""
    root = to.hub.git_root
    if root is None or ".git/" not in to.route:
        return False
    done = subprocess.run(
        ["git", "http-backend"],
        input=to.body,
        capture_output=True,
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROTOCOL": to.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": to.command,
            "PATH_INFO": to.route,
            "QUERY_STRING": urlsplit(to.path).query,
            "CONTENT_TYPE": to.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(to.body)),
            "HTTP_CONTENT_ENCODING": to.headers.get("Content-Encoding", ""),
        },
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    status = int(headers.pop("Status", "200").split()[0])
    to.reply(status, body, headers)
    return True


def make_repository(root: Path, repo: str, directory: Path, pointers: dict[str, bytes]) -> str:
    """Make `<root>/<repo>.git` of a directory's files, with pointers in the places of some; return the commit."""
    work, bare = root / f"{repo}.work", root / f"{repo}.git"
    bare.parent.mkdir(parents=True, exist_ok=True)
    for place in sorted(path for path in directory.rglob("*") if path.is_file()):
        path = place.relative_to(directory).as_posix()
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(pointers.get(path) or place.read_bytes())
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()},
    }

    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=work, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", "-A", "-f")
    git("commit", "-q", "-m", "model")
    git("clone", "-q", "--bare", str(work), str(bare))
    return git("rev-parse", "HEAD")


_WHO = {"NAME": "tests", "EMAIL": "tests@example.com", "DATE": "2024-05-01T12:00:00Z"}
