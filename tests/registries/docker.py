"""Debian's docker-registry as a process of its own."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DEADLINE = 30.0


def program(name: str, package: str) -> str:
    """Return the path of a program that the tests cannot do without."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"the tests need {name}: apt-get install {package}")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def serving(directory: Path, http: dict[str, Any] | None = None, **more: Any) -> Iterator[str]:
    """Run a registry that keeps its data below `directory`; yield its `host:port`."""
    binary = program("docker-registry", "docker-registry")
    for _ in range(3):
        host = f"127.0.0.1:{free_port()}"
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": host, **(http or {})},
            **more,
        }
        path = directory / "config.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([binary, "serve", str(path)], stdout=log, stderr=log, cwd=directory)
        try:
            if _answers(host, "tls" in (http or {}), process):
                yield host
                return
        finally:
            process.terminate()
            process.wait(10)
    raise RuntimeError(f"docker-registry does not start: {(directory / 'log').read_text()[-2000:]}")


def _answers(host: str, tls: bool, process: subprocess.Popen[bytes]) -> bool:
    context = ssl._create_unverified_context()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + _DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            opener.open(f"{'https' if tls else 'http'}://{host}/v2/", timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
