"""What was found out about each file, kept on disk as it comes: a killed run goes on where it stood."""

import hashlib
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

_COMMIT_SECONDS: Final = 1.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, version INTEGER, told TEXT, print BLOB
) WITHOUT ROWID
"""


def ledger_path(folder: Path) -> Path:
    """Choose where the ledger of a data folder lies.

    Args:
        folder: The data folder.

    Returns:
        A file below ``$EYEGROUND_CACHE``, or ``~/.cache/eyeground``, named after the folder's true path.

    Example:
        >>> ledger_path(Path("data")).name
        'facts.sqlite'

    References:
        Our own.
    """
    cache = os.environ.get("EYEGROUND_CACHE")
    home = Path(cache) if cache else Path.home() / ".cache" / "eyeground"
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    return home / "doctor" / digest / "facts.sqlite"


class Ledger:
    """One row for each file: its size and time when it was examined, and what was found.

    Only its owner may read it, for it holds file names and small pictures. Use it as a context manager, from one
    thread. A ledger that is damaged is begun anew.

    Args:
        path: SQLite file; its folder is made. None keeps it in a file that vanishes.

    Example:
        >>> with Ledger(None) as ledger:
        ...     ledger.put("a.png", (7, 1), 1, '{"width": 3}', b"")
        ...     ledger.known(1)
        {'a.png': (7, 1)}

    References:
        Our own.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._committed = time.monotonic()
        self._open = self._connect()

    def _connect(self) -> sqlite3.Connection:
        """Open the file, or begin it anew if it is none of ours."""
        if self._path is None:
            return self._prepared(sqlite3.connect("", isolation_level=None))
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.touch(mode=0o600)
        try:
            return self._prepared(sqlite3.connect(self._path, isolation_level=None, timeout=60))
        except sqlite3.DatabaseError:
            for each in self._path.parent.glob(f"{self._path.name}*"):
                each.unlink()
            self._path.touch(mode=0o600)
            return self._prepared(sqlite3.connect(self._path, isolation_level=None, timeout=60))

    @staticmethod
    def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
        """Set a new connection up."""
        connection.execute("PRAGMA journal_mode = WAL")  # a killed writer leaves the last whole commit
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SCHEMA)
        connection.execute("SELECT name, size, mtime_ns, version, told, print FROM facts LIMIT 1").fetchall()
        connection.execute("BEGIN")
        return connection

    def known(self, version: int) -> Mapping[str, tuple[int, int]]:
        """List what was examined already.

        Args:
            version: Of the examination; rows of another one count as not examined.

        Returns:
            Name -> size and time (ns) of the file when it was examined.
        """
        rows = self._open.execute("SELECT name, size, mtime_ns FROM facts WHERE version = ?", (version,))
        return {name: (size, mtime_ns) for name, size, mtime_ns in rows}

    def told(self, name: str) -> str:
        """Give what was found out about one file.

        Args:
            name: Of a file that is known.

        Returns:
            The text that was put.

        Raises:
            KeyError: If it is not known.
        """
        row = self._open.execute("SELECT told FROM facts WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return str(row[0])

    def print_of(self, name: str) -> bytes:
        """Give one file's fingerprint.

        Args:
            name: Of a file that is known.

        Returns:
            The bytes that were put.

        Raises:
            KeyError: If it is not known.
        """
        row = self._open.execute("SELECT print FROM facts WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return bytes(row[0])

    def put(self, name: str, stamp: tuple[int, int], version: int, told: str, fingerprint: bytes) -> None:
        """Write one file's row, to the disk within a second.

        Args:
            name: Which file.
            stamp: Its size and time (ns).
            version: Of the examination.
            told: What was found out, as text.
            fingerprint: Its fingerprint.
        """
        row = (name, *stamp, version, told, fingerprint)
        self._open.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?)", row)
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._open.execute("COMMIT")
            self._open.execute("BEGIN")
            self._committed = time.monotonic()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.execute("COMMIT")
        self._open.close()
