"""The cache of fetched weights: files named by the hash of what they hold, checked whenever they are read."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from eyeground.atomic_file import atomic_file, write_whole
from eyeground.model.weights import WeightsRefused
from eyeground.model.zoo import Release, by_name, find


@dataclass(frozen=True)
class WeightsCache:
    """Fetched weights on disk.

    ``weights/<sha256>.safetensors`` is a file, ``weights/<release>.json`` says which file is that release and where it
    came from, ``weights/<release>.licence.json`` that its licence was accepted. ``partial/`` holds what is being
    downloaded.

    Args:
        folder: Where everything lies; made when something is written.

    Example:
        >>> import tempfile
        >>> WeightsCache(Path(tempfile.mkdtemp())).path_of(by_name("RETFound_mae_meh")) is None
        True

    References:
        Our own.
    """

    folder: Path

    def accepted(self, release: Release) -> str:
        """Tell when a release's licence was accepted.

        Args:
            release: Which one.

        Returns:
            Date and time, ``""`` = not yet, or another licence was.
        """
        known = _read(self._weights / f"{release.name}.licence.json")
        return str(known.get("accepted", "")) if known.get("licence") == release.licence else ""

    def accept(self, release: Release) -> None:
        """Remember that a release's licence was accepted.

        Args:
            release: Which one.

        Raises:
            OSError: If the cache cannot be written.
        """
        words = {"release": release.name, "licence": release.licence, "page": release.licence_page, "accepted": _now()}
        self._write(self._weights / f"{release.name}.licence.json", words)

    def record(self, release: Release) -> Mapping[str, Any]:
        """Tell what is known of a release that was fetched.

        Args:
            release: Which one.

        Returns:
            Its record, empty = never fetched.
        """
        return _read(self.record_file(release))

    def record_file(self, release: Release) -> Path:
        """Tell where a release's record is; who removes it makes the cache forget what the release was.

        Args:
            release: Which one.

        Returns:
            The file, which need not be there.
        """
        return self._weights / f"{release.name}.json"

    def holds(self, release: Release) -> bool:
        """Whether a release lies here, as far as names and sizes tell; ``path_of`` reads it.

        Args:
            release: Which one.

        Returns:
            True if a file of the right size is there.
        """
        record = self.record(release)
        path = self._file(record)
        return path is not None and path.is_file() and path.stat().st_size == record.get("bytes")

    def path_of(self, release: Release) -> Path | None:
        """Find a release's file, and check every byte of it.

        Args:
            release: Which one.

        Returns:
            A safetensors file with canonical names, or None where it was not fetched.

        Raises:
            WeightsRefused: If it is no longer what was fetched; the file is then removed.
        """
        record = self.record(release)
        path = self._file(record)
        if path is None or not path.is_file():
            return None
        if file_sha256(path) != record["sha256"]:
            path.unlink(missing_ok=True)
            raise WeightsRefused(
                f"{path}: no longer what was fetched (its SHA-256 has changed), so it was removed; fetch it again: "
                f"eyeground weights fetch {release.name}"
            )
        return path

    def keep(
        self,
        release: Release,
        tensors: Mapping[str, NDArray[Any]],
        *,
        words: Mapping[str, str],
        facts: Mapping[str, Any],
    ) -> Path:
        """Put a release's tensors away.

        Args:
            release: Which one.
            tensors: Its arrays by canonical name, already checked.
            words: For the file's own header.
            facts: For the record, beside what the cache itself knows.

        Returns:
            The safetensors file.

        Raises:
            OSError: If the disk is full or the cache cannot be written; nothing half-written stays.
        """
        head, body = _packed(tensors, words)
        digest = hashlib.sha256(head)
        digest.update(body)
        path = self._weights / f"{digest.hexdigest()}.safetensors"
        record = {
            "release": release.name,
            "sha256": digest.hexdigest(),
            "bytes": len(head) + len(body),
            "licence": release.licence,
            "licence_accepted": self.accepted(release),
            "fetched": _now(),
            **facts,
        }
        self._weights.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        try:
            with atomic_file(path) as stream:
                stream.buffer.write(head)
                stream.buffer.write(body)
            self._write(self.record_file(release), record)
        except OSError:
            if not there:
                path.unlink(missing_ok=True)
            raise
        return path

    def partial(self, release: Release) -> Path:
        """Make the folder in which a release's download grows.

        Args:
            release: Which one.

        Returns:
            The folder.

        Raises:
            OSError: If it cannot be made.
        """
        folder = self.folder / "partial" / release.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def locked(self, release: Release, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold a release for one process: a second one waits, and then finds what the first has fetched.

        Args:
            release: Which one.
            waiting: Called once if another process holds it.

        Yields:
            Nothing; the release is held until the block ends, or the process.

        Raises:
            OSError: If the cache cannot be written.
        """
        self._weights.mkdir(parents=True, exist_ok=True)
        with (self._weights / f"{release.name}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _weights(self) -> Path:
        """Folder of whole files and records."""
        return self.folder / "weights"

    def _file(self, record: Mapping[str, Any]) -> Path | None:
        """The file that a record means."""
        digest = str(record.get("sha256", ""))
        return self._weights / f"{digest}.safetensors" if re.fullmatch("[0-9a-f]{64}", digest) else None

    def _write(self, path: Path, words: Mapping[str, Any]) -> None:
        """Write a record."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(words, indent=2, sort_keys=True) + "\n").encode())


def default_cache() -> WeightsCache:
    """Open the user's cache.

    Returns:
        The cache in the folder that ``EYEGROUND_CACHE`` names, else in ``eyeground`` under the user's cache folder.

    Example:
        >>> default_cache().folder.is_absolute()
        True

    References:
        XDG Base Directory Specification.
    """
    named = os.environ.get("EYEGROUND_CACHE")
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "eyeground"
    return WeightsCache(folder.expanduser().absolute())


def cached(word: str) -> Path | None:
    """Turn the name of a release into the file that was fetched.

    Args:
        word: What ``weights:`` in a configuration says.

    Returns:
        The release's safetensors file, checked; None where the word is a path and no name of a release.

    Raises:
        WeightsRefused: If the release was not fetched yet or its file is damaged, or if the word is neither a path nor
            a release; the message says what to type.

    Example:
        >>> cached("weights/mine.safetensors") is None
        True

    References:
        Our own.
    """
    path = Path(word)
    if path.exists():
        return None
    release = find(word)
    if release is None:
        if word != path.name or path.suffix:
            return None
        try:
            release = by_name(word)
        except WeightsRefused as error:
            raise WeightsRefused(f"{word}: no such file or run, and {error}") from None
    found = default_cache().path_of(release)
    if found is None:
        raise WeightsRefused(
            f"{release.name} was not fetched yet; fetch it once: eyeground weights fetch {release.name}"
        )
    return found


def file_sha256(path: Path) -> str:
    """Hash a file.

    Args:
        path: Which one.

    Returns:
        SHA-256 of its content, hexadecimal.

    Raises:
        OSError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a"
        >>> path.write_bytes(b"abc") and file_sha256(path)[:8]
        'ba7816bf'

    References:
        NIST FIPS 180-4.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _packed(tensors: Mapping[str, NDArray[Any]], words: Mapping[str, str]) -> tuple[bytes, memoryview]:
    """Write safetensors, the same bytes for the same tensors: head and body."""
    blob = save({name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}, dict(words))
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:end])
    # safetensors 0.8 writes the words of a header in an order of chance.
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(blob)[end:]


def _read(path: Path) -> dict[str, Any]:
    """Read a record; a missing or unreadable one is empty, as if nothing had been fetched."""
    try:
        words = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return {}
    return words if isinstance(words, dict) else {}


def _now() -> str:
    """Date and time."""
    return datetime.now(UTC).isoformat(timespec="seconds")
