"""The folder of a run: free, and nobody else's while a process works in it; and the wish to stop."""

import fcntl
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eyeground.cli.config import ConfigError
from eyeground.model.processes import started


def check_folder(out: Path | None, *, verb: str) -> None:
    """Refuse a folder that holds something, before any work is done.

    Args:
        out: What the configuration says; None = a free name will be found.
        verb: The command that could go on with it.

    Raises:
        ConfigError: If it holds something already.

    Example:
        >>> check_folder(Path("no/such/folder"), verb="finetune")

    References:
        Our own.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out}: already there; 'eyeground {verb} --resume {out}' goes on with it, or choose another out"
        )


def reserve_folder(out: Path | None, name: str, *, verb: str) -> Path:
    """Make the run's folder; runs started at the same moment get folders of their own.

    Args:
        out: What the configuration says; None = a free name below ``runs``.
        name: Name of the run where the configuration gives no folder.
        verb: The command that could go on with it.

    Returns:
        The folder.

    Raises:
        ConfigError: If it holds something already.

    Example:
        >>> import tempfile
        >>> reserve_folder(Path(tempfile.mkdtemp()) / "a", "a", verb="finetune").name
        'a'

    References:
        Our own.
    """
    if out is not None:
        check_folder(out, verb=verb)
        out.mkdir(parents=True, exist_ok=True)
        return out
    return numbered_folder(Path("runs"), name)


def numbered_folder(shelf: Path, name: str) -> Path:
    """Make a folder of a free name: two commands at once get two folders.

    Args:
        shelf: Where.
        name: Its name; ``-2``, ``-3`` ... are appended where it is taken.

    Returns:
        The new folder.

    Example:
        >>> import tempfile
        >>> shelf = Path(tempfile.mkdtemp())
        >>> numbered_folder(shelf, "a").name, numbered_folder(shelf, "a").name
        ('a', 'a-2')

    References:
        Our own.
    """
    number = 1
    while True:
        folder = shelf / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder.

    Args:
        folder: The run's folder.

    Yields:
        Nothing.

    Raises:
        ConfigError: If another process works in it.

    Example:
        >>> import tempfile
        >>> with only_one(Path(tempfile.mkdtemp())):
        ...     pass

    References:
        Our own.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{folder}: another process is training in it; wait for it or stop it first") from error
        yield


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C or SIGTERM into a wish to stop after the current step; a second Ctrl-C stops at once.

    A process that was started beside others also wishes so when who started it is gone.

    Yields:
        A function that tells whether somebody wants to stop.

    Example:
        >>> with stop_on_signal() as wanted:
        ...     wanted()
        False

    References:
        Our own.
    """
    wanted = Counter[str]()
    beside, parent = started(), os.getppid()

    def note(number: int, frame: object) -> None:
        wanted["stop"] += 1
        if wanted["stop"] > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt
        # SIGTERM is also how the processes beside one that failed are ended, with nothing to save.
        if beside and (beside.rank or number == signal.SIGTERM):
            return
        # Not through the console: a signal may arrive while it is writing.
        os.write(2, b"\nstopping after this step; everything will be saved (Ctrl-C again to stop at once)\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: wanted["stop"] > 0 or (beside is not None and os.getppid() != parent)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
