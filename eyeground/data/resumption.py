"""Long work on many files that can be killed at any moment and goes on where it stopped."""

import fcntl
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from eyeground.atomic_file import write_whole

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@contextmanager
def claimed(journal: Path, settings: Mapping[str, Any], *, settings_are_secret: bool = False) -> Iterator[None]:
    """Make a folder for work or take up an interrupted one, and keep a second process out of it.

    Args:
        journal: The work's journal in its folder; its first line holds the settings.
        settings: What must be the same when the work goes on.
        settings_are_secret: Do not name the settings that differ.

    Yields:
        Nothing.

    Raises:
        ValueError: If the folder holds something else, was begun with other settings, or another process works in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, claimed(Path(folder, "new", "journal"), {"size": 1}):
        ...     Path(folder, "new", "journal").read_text()
        '{"size": 1}\\n'

    References:
        Our own.
    """
    folder = journal.parent
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not journal.is_file())):
        raise ValueError(f"{folder}: already there, and not made by this command; choose another place")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{folder}: another process is working in it; wait for it or stop it first") from error
        if not journal.is_file():
            write_journal(journal, settings, ())
        with journal.open(encoding="utf-8", errors="replace") as file:
            before = _object(file.readline()) or {}
        other = [f"{name}={before.get(name)} there, {value} asked" for name, value in settings.items()
                 if before.get(name) != value]  # fmt: skip
        if other:
            told = "" if settings_are_secret else f" ({', '.join(other)})"
            raise ValueError(f"{folder} was made with other settings{told}; choose another place")
        yield


def read_journal(journal: Path) -> Iterator[dict[str, Any]]:
    """Read the lines behind the settings; a line that a kill cut short is passed over.

    Args:
        journal: The journal.

    Yields:
        Each line's object, in order.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "journal").write_text('{}\\n{"file": "a"}\\n{"file": "b')
        ...     list(read_journal(Path(folder, "journal")))
        [{'file': 'a'}]

    References:
        Our own.
    """
    with journal.open(encoding="utf-8", errors="replace") as file:
        file.readline()
        yield from (line for line in map(_object, file) if line is not None)


def write_journal(journal: Path, settings: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a journal whole: at the end of the work, without what was done twice or is gone.

    Args:
        journal: The journal.
        settings: Its first line.
        lines: The others.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_journal(Path(folder, "journal"), {"size": 1}, [{"file": "a"}])
        ...     list(read_journal(Path(folder, "journal")))
        [{'file': 'a'}]

    References:
        Our own.
    """
    write_whole(journal, "".join(json.dumps(line) + "\n" for line in (settings, *lines)).encode())


def in_turn(
    items: Sequence[_Item],
    work: Callable[[_Item], _Answer],
    *,
    journal: Path,
    line: Callable[[_Answer], Mapping[str, Any] | None],
    workers: int,
    progress: Callable[[int, int], None] | None,
    spread: Callable[[Sequence[_Item], Callable[[_Item], _Answer]], Iterator[_Answer]] | None = None,
) -> list[_Answer]:
    """Work on items in threads, a few at a time, and note each in the journal as soon as it is done.

    Args:
        items: What to work on.
        work: Does one item; called from the threads.
        journal: The journal.
        line: Says what to note of an answer; None = nothing.
        workers: Threads; 0 takes one per core.
        progress: Called with (done, all) after each item.
        spread: Who does the work, and gives the answers in order; None = those threads.

    Returns:
        The answers, in the order of the items.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     in_turn([1, 2], lambda n: n * n, journal=Path(folder, "journal"), line=lambda n: {"square": n},
        ...             workers=2, progress=None)
        [1, 4]

    References:
        Our own.
    """
    done: list[_Answer] = []
    with journal.open("ab") as file:
        file.write(b"\n")  # ends a line that a kill cut short
        for answer in spread(items, work) if spread else ahead(items, work, workers=workers):
            done.append(answer)
            noted = line(answer)
            if noted is not None:
                file.write(json.dumps(noted).encode() + b"\n")
                file.flush()
            if progress is not None:
                progress(len(done), len(items))
    return done


def ahead(items: Iterable[_Item], work: Callable[[_Item], _Answer], *, workers: int) -> Iterator[_Answer]:
    """Work on items in threads, a few ahead of the one whose answer is given out.

    Args:
        items: What to work on.
        work: Does one item; called from the threads.
        workers: Threads; 0 takes one per core.

    Yields:
        The answers, in the order of the items.

    Example:
        >>> list(ahead([1, 2], lambda n: n * n, workers=2))
        [1, 4]

    References:
        Our own.
    """
    count = workers or os.cpu_count() or 1
    waiting: deque[Future[_Answer]] = deque()
    queue = iter(items)
    with ThreadPoolExecutor(count) as pool:
        try:
            while True:
                # Not all at once: a hundred thousand finished images would wait in memory for their turn.
                while len(waiting) < 4 * count and (future := _next(queue, pool, work)) is not None:
                    waiting.append(future)
                if not waiting:
                    return
                yield waiting.popleft().result()
        except BaseException:  # Ctrl-C must not wait for what is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def place(path: Path, content: bytes) -> None:
    """Swap a whole file in; not pushed to the disk at once, since a loss is found by its size and made again.

    Args:
        path: File to write; its folder is made.
        content: All of it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     place(Path(folder, "a", "b"), b"x")
        ...     Path(folder, "a", "b").read_bytes()
        b'x'

    References:
        Our own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")
    beside.write_bytes(content)
    beside.replace(path)


def _next(queue: Iterator[_Item], pool: ThreadPoolExecutor, work: Callable[[_Item], _Answer]) -> Future[_Answer] | None:
    """Start the next item, if there is one."""
    for item in queue:
        return pool.submit(work, item)
    return None


def _object(text: str) -> dict[str, Any] | None:
    """Read one line."""
    try:
        read = json.loads(text)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None
