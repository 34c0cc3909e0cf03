"""Writers of a SQLite database take turns, so that none sleeps while it is free."""

import fcntl
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

_ASK_EVERY_S: Final = 0.001


class Turn:
    """A turn at writing, among all threads and processes that name the same file.

    SQLite itself lets one writer in at a time, but whoever finds it busy sleeps for up to a tenth of a second before it
    asks anew: two busy workers then spend most of their time asleep. Who is killed loses the turn at once.

    Args:
        file: A file beside the database; it stays empty.
        wait_s: How long to wait for a turn. Unit: s.

    Raises:
        TimeoutError: On entering, if nobody gives up the turn in time: whoever has it hangs.

    Example:
        >>> import tempfile
        >>> with Turn(Path(tempfile.mkdtemp(), "turn")):
        ...     print("mine")
        mine

    References:
        flock(2); https://sqlite.org/c3ref/busy_timeout.html
    """

    def __init__(self, file: Path, *, wait_s: float = 30.0) -> None:
        self._file, self._wait_s = file, wait_s
        self._mine = threading.Lock()
        self._handle, self._opener = -1, 0

    def __enter__(self) -> None:
        ends = time.monotonic() + self._wait_s
        if not self._mine.acquire(timeout=self._wait_s):
            raise TimeoutError("no turn at writing in time")
        try:
            if self._opener != os.getpid():  # a forked child's handle would be the parent's, and its lock too
                self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._opener = os.getpid()
            while not self._locked():
                if time.monotonic() > ends:
                    raise TimeoutError("no turn at writing in time")
                time.sleep(_ASK_EVERY_S)
        except BaseException:
            self._mine.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        self._mine.release()

    def _locked(self) -> bool:
        """Take the lock, if it is free."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let the file go."""
        if self._opener == os.getpid():
            os.close(self._handle)
            self._opener = 0
