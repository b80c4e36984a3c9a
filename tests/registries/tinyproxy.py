"""Debian's tinyproxy as a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from .docker import free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DEADLINE = 30.0


class TinyProxy:
    """A running proxy."""

    def __init__(self, host: str, log: Path) -> None:
        self.host = host
        self._log = log

    @property
    def requests(self) -> list[str]:
        """`METHOD target` of every request that came, oldest first."""
        lines = self._log.read_text(errors="replace").splitlines()
        asked = [line.partition("): ")[2] for line in lines if "Request (file descriptor" in line]
        return [" ".join(line.split()[:2]) for line in asked]


@contextlib.contextmanager
def tinyproxy(directory: Path, *, user: str = "", password: str = "") -> Iterator[TinyProxy]:
    """Run a proxy for this machine, with Basic authentication if a user is named."""
    binary = program("tinyproxy", "tinyproxy-bin")
    log = directory / "tinyproxy.log"
    for _ in range(3):
        port = free_port()
        lines = [f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", f'LogFile "{log}"', "LogLevel Connect"]
        lines += ["Timeout 60", "MaxClients 50", *([f"BasicAuth {user} {password}"] if user else [])]
        config = directory / "tinyproxy.conf"
        config.write_text("\n".join(lines) + "\n")
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen([binary, "-d", "-c", str(config)], stdout=output, stderr=output)
        try:
            if _listens(port, process):
                yield TinyProxy(f"127.0.0.1:{port}", log)
                return
        finally:
            process.terminate()
            process.wait(10)
    raise RuntimeError(f"tinyproxy does not start: {(directory / 'output').read_text()[-2000:]}")


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        time.sleep(0.05)
    return False
