"""Images in a local folder, each under its hash; whole or not there, and safe from a power cut."""

import re
from collections.abc import Iterator
from pathlib import Path

from eyeground.atomic_file import flush_folder, write_whole
from eyeground.clinic.blobs.store import BlobMissing, Store, StoreLost, checked, digest_of

_NAME = re.compile(r"[0-9a-f]{64}")


class Folder:
    """A folder of images; only its owner can look in.

    Args:
        place: Where; made if it is missing.

    Raises:
        StoreLost: If it cannot be made.

    Example:
        >>> import tempfile
        >>> store = Folder(Path(tempfile.mkdtemp()))
        >>> store.get(store.put(b"an image"))
        b'an image'

    References:
        git's object store, for the layout.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreLost(f"{place}: {error.strerror}") from error

    def put(self, data: bytes) -> str:
        """Keep bytes."""
        sha256 = digest_of(data)
        target = self._path(sha256)
        try:
            # What is there under its name was written whole; it is read again when it is used.
            if target.is_file() and target.stat().st_size == len(data):
                return sha256
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True, mode=0o700)
                flush_folder(self._place)
            write_whole(target, data)
        except OSError as error:
            raise StoreLost(f"an image cannot be kept: {error.strerror}; free space or allow writing") from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """Give bytes back, checked."""
        try:
            return checked(self._path(sha256).read_bytes(), sha256)
        except FileNotFoundError:
            self._check()
            raise BlobMissing(f"{sha256} is not kept here") from None
        except OSError as error:
            raise StoreLost(f"an image cannot be read: {error.strerror}") from error

    def remove(self, sha256: str) -> None:
        """Forget bytes."""
        try:
            self._path(sha256).unlink()
        except FileNotFoundError:
            self._check()
        except OSError as error:
            raise StoreLost(f"an image cannot be removed: {error.strerror}") from error

    def hashes(self) -> Iterator[str]:
        """List what is kept."""
        try:
            # Not by glob(): that finds nothing, silently, in a folder that cannot be read.
            folders = [folder for folder in self._place.iterdir() if len(folder.name) == 2]
            found = sorted(path.name for folder in folders for path in folder.iterdir())
        except OSError as error:
            raise StoreLost(f"the images cannot be listed: {error.strerror}") from error
        yield from filter(_NAME.fullmatch, found)

    def _check(self) -> None:
        """Tell an image that is missing from a folder that is."""
        if not self._place.is_dir():
            raise StoreLost(f"{self._place} is gone; is it mounted?")

    def _path(self, sha256: str) -> Path:
        """Where it lies; a name that is no hash leads nowhere."""
        if not _NAME.fullmatch(sha256):
            raise BlobMissing("that is no hash")
        return self._place / sha256[:2] / sha256


def open_store(url: str, *, endpoint: str = "") -> Store:
    """Open the folder.

    Args:
        url: ``file:PATH``.
        endpoint: Not used here.

    Returns:
        The store.

    Raises:
        StoreLost: If it cannot be made.

    Example:
        >>> import tempfile
        >>> len(open_store(f"file:{tempfile.mkdtemp()}").put(b""))
        64

    References:
        Our own.
    """
    return Folder(Path(url.removeprefix("file:")))
