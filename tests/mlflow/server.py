"""A real MLflow server: SQLite, loopback, one worker."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PATIENCE = 120
"""Seconds: MLflow takes long to import where the machine is busy, and makes its tables first."""


def environment(directory: Path) -> dict[str, str]:
    """Return an environment in which MLflow finds nothing but a directory of the test's own, and calls nobody."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a dozen processes that nothing here asks for
        "DO_NOT_TRACK": "true",
        "NO_PROXY": "*",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(directory: Path, *options: str, extra: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run `mlflow server` on a free port, with its database and its log in a directory; yield its URL.

    `options` are of `mlflow server`, `extra` is added to its environment.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), directory / "mlflow.log"
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    argv += options or ("--no-serve-artifacts", "--default-artifact-root", str(directory / "artifacts"))
    with log.open("a") as output:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment(directory) | dict(extra or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its workers are in a process group of their own, to be ended together
        )
    try:
        _wait(process, url, log)
        yield url
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the MLflow server does not start: {log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: the group is that of the process alone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
