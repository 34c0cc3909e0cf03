"""Writers of a SQLite database take turns, so that none sleeps while it is free."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Final

_ASK_EVERY_S: Final = 0.001
# A worker that has let others go first for so long goes as they do.
_PATIENCE_S: Final = 1.0


class Turn:
    """A turn at writing, among all threads and processes that name the same file.

    SQLite itself lets one writer in at a time, but whoever finds it busy sleeps for up to a tenth of a second before it
    asks anew: two busy workers then spend most of their time asleep. Who is killed loses the turn at once.

    Args:
        file: A file beside the database; it stays empty, and so does one named ``FILE.hurry``.
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
        self._handle, self._hurry, self._opener = -1, -1, 0

    def __enter__(self) -> None:
        began = time.monotonic()
        if not self._mine.acquire(timeout=self._wait_s):
            raise TimeoutError("no turn at writing in time")
        try:
            self._open()
            yields = _yields()
            with _lock(self._hurry, fcntl.LOCK_SH) if not yields else nullcontext():
                while not self._taken(yields=yields and time.monotonic() - began < _PATIENCE_S):
                    if time.monotonic() - began > self._wait_s:
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

    def _open(self) -> None:
        """Open the files; a forked child's handles would be the parent's, and its locks too."""
        if self._opener != os.getpid():
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._handle = os.open(self._file, flags, 0o600)
            self._hurry = os.open(f"{self._file}.hurry", flags, 0o600)
            self._opener = os.getpid()

    def _taken(self, *, yields: bool) -> bool:
        """Take the turn, if it is free, and nobody in a hurry waits for it."""
        try:
            with _lock(self._hurry, fcntl.LOCK_EX | fcntl.LOCK_NB) if yields else nullcontext():
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let the files go."""
        if self._opener == os.getpid():
            os.close(self._handle)
            os.close(self._hurry)
            self._opener = 0


def _yields() -> bool:
    """Whether this thread lets others go first."""
    return os.getpriority(os.PRIO_PROCESS, 0) > 0


@contextmanager
def _lock(handle: int, kind: int) -> Iterator[None]:
    """Hold a lock for a while."""
    fcntl.flock(handle, kind)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)
