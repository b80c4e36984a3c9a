"""What is known of files that were read before: an unchanged file is not hashed again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from .content import Digest

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, digest TEXT NOT NULL,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layer (
    device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER,
    form TEXT, digest TEXT NOT NULL, length INTEGER NOT NULL, diff_id TEXT NOT NULL,
    PRIMARY KEY (device, inode, form)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packed (
    form TEXT, digest TEXT NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (form)
) WITHOUT ROWID
"""
_SECOND = 1_000_000_000
_FINE, _COARSE = _SECOND // 20, 2 * _SECOND


@dataclass(frozen=True, slots=True)
class KnownLayer:
    """What a file became in a tar: the layer's digest and size in bytes, and the digest of the tar not compressed."""

    digest: Digest
    size: int
    diff_id: Digest


class DigestCache:
    """A SQLite file of (device, inode, size, mtime, ctime) -> digest; and with a layer's form beside -> `KnownLayer`.

    It is a cache: what cannot be read or written counts as unknown, and a damaged file is begun anew. A file whose
    times are younger than its file system's clock can tell apart is not remembered, since a second change could leave
    the same times.
    """

    def __init__(self, path: Path, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._now_ns = now_ns
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._broken = False

    def get(self, status: os.stat_result) -> Digest | None:
        """Return the digest of the file with this status, if it is known."""
        row = self._execute(
            "SELECT digest FROM file WHERE device=? AND inode=? AND size=? AND mtime_ns=? AND ctime_ns=?",
            _key(status),
        )
        return _digest(row[0]) if row else None

    def put(self, status: os.stat_result, digest: Digest) -> None:
        """Remember the digest of a file that was read whole while it had this status, before and after."""
        if self._is_settled(status):
            self._execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)", (*_key(status), str(digest)))

    def get_layer(self, status: os.stat_result, form: str) -> KnownLayer | None:
        """Return what the file with this status became as a layer of a form, if it is known.

        A form is a text that is the same only where the same file gives the same layer.
        """
        row = self._execute(
            "SELECT digest, length, diff_id FROM layer "
            "WHERE device=? AND inode=? AND size=? AND mtime_ns=? AND ctime_ns=? AND form=?",
            (*_key(status), form),
        )
        return KnownLayer(_digest(row[0]), int(str(row[1])), _digest(row[2])) if row else None

    def put_layer(self, status: os.stat_result, form: str, layer: KnownLayer) -> None:
        """Remember what a file became that was read whole while it had this status, before and after."""
        if self._is_settled(status):
            values = (*_key(status), form, str(layer.digest), layer.size, str(layer.diff_id))
            self._execute("INSERT OR REPLACE INTO layer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def get_packed(self, form: str) -> KnownLayer | None:
        """Return what files that are known by their digests became in a plain tar, if it is known.

        A form is a text that is the same only where the tar is: it says the entries and the files' digests.
        """
        row = self._execute("SELECT digest, length FROM packed WHERE form=?", (form,))
        return KnownLayer(_digest(row[0]), int(str(row[1])), _digest(row[0])) if row else None

    def put_packed(self, form: str, layer: KnownLayer) -> None:
        """Remember what files became whose bytes were compared with their digests on the way."""
        self._execute("INSERT OR REPLACE INTO packed VALUES (?, ?, ?)", (form, str(layer.digest), layer.size))

    def _is_settled(self, status: os.stat_result) -> bool:
        """Tell whether a file's times are old enough for the next change to leave others."""
        youngest = max(status.st_mtime_ns, status.st_ctime_ns)
        margin = _FINE if status.st_ctime_ns % _SECOND else _COARSE
        return youngest + margin <= self._now_ns()

    def close(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    def _execute(self, statement: str, values: tuple[object, ...]) -> tuple[object, ...] | None:
        import sqlite3

        with self._lock:
            for again in (True, False):
                if self._broken:
                    return None
                try:
                    row: tuple[object, ...] | None = self._open().execute(statement, values).fetchone()
                except sqlite3.OperationalError:  # locked for long, read-only, full: do without
                    self._broken = True
                except OverflowError:  # a time beyond what a column holds
                    return None
                except sqlite3.DatabaseError:
                    self._begin_anew(forget=again)
                else:
                    return row
        return None

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")  # with the log: never damaged, at worst a little old
            self._connection.executescript(_SCHEMA)
        return self._connection

    def _begin_anew(self, *, forget: bool) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
        if not forget:
            self._broken = True
            return
        try:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            self._broken = True


def _digest(text: object) -> Digest:
    algorithm, _, encoded = str(text).partition(":")
    return Digest(algorithm, encoded)


def _key(status: os.stat_result) -> tuple[int, int, int, int, int]:
    # Inode and device numbers are unsigned; SQLite's integers are signed.
    device, inode = (number - (1 << 64) if number >= 1 << 63 else number for number in (status.st_dev, status.st_ino))
    return device, inode, status.st_size, status.st_mtime_ns, status.st_ctime_ns
