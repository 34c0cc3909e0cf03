"""Files that are whole or not there: a killed program or a full disk leaves the older file untouched."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Write beside the target and swap it in at the end.

    File names that are not UTF-8 pass through unchanged (surrogateescape), and line ends are written as given.

    Args:
        path: File to write; its folder must exist.

    Yields:
        An open text stream.

    Raises:
        OSError: If the folder is missing or the disk is full; the older file is then untouched.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with atomic_file(Path(folder) / "a.txt") as stream:
        ...         _ = stream.write("done")
        ...     (Path(folder) / "a.txt").read_text()
        'done'

    References:
        Our own.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.chmod(0o644)  # mkstemp gives 0600, which colleagues with the results folder cannot read
        beside.replace(path)
        flush_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write bytes so that a crash at any moment leaves the old file or the new one, never a part.

    Args:
        path: File to write; its folder must exist.
        content: All of it.

    Raises:
        OSError: If the folder is missing or the disk is full; the older file is then untouched.

    Example:
        >>> write_whole(Path(tempfile.mkdtemp()) / "a", b"all or nothing")

    References:
        Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.
    """
    with atomic_file(path) as stream:
        stream.buffer.write(content)


def flush_folder(path: Path) -> None:
    """Push a folder's entries to the disk: only then does a new name survive a power cut.

    Args:
        path: The folder.

    Raises:
        OSError: If it cannot be opened.

    Example:
        >>> flush_folder(Path(tempfile.mkdtemp()))

    References:
        fsync(2).
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
