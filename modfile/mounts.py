"""What is mounted where, as Linux tells it (`proc_pid_mountinfo(5)`)."""

from __future__ import annotations

import os
import re
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def mounted_below(directory: Path) -> list[Path]:
    """Return the places below a directory (a resolved path) where something is mounted; none where nobody tells."""
    try:
        lines = _TABLE.read_bytes().splitlines()
    except OSError:
        return []
    places = (Path(os.fsdecode(_ESCAPE.sub(_character, line.split(b" ")[4]))) for line in lines)
    return sorted(place for place in places if place != directory and place.is_relative_to(directory))


def _character(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8) & 0xFF])
