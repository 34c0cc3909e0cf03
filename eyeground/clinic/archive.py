"""A backup's file: a tar of parts, with a manifest at its end that seals them all."""

import hashlib
import hmac
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from eyeground.clinic.db.migrate import known
from eyeground.clinic.db.tables import METADATA

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_MOST_PART_BYTES: Final = 2**30  # of a hostile archive; ours hold a few megabytes and one row


class BackupRefused(ValueError):
    """An archive that cannot be used, or a place that holds something already."""


class ArchiveWriter:
    """Writes an archive part by part; nothing of it is remembered but one hash.

    Args:
        file: Where to, open for writing.

    Example:
        >>> buffer = io.BytesIO()
        >>> writer = ArchiveWriter(buffer)
        >>> writer.add("images/0a", b"an image")
        >>> writer.close({"format": FORMAT}, secret="a phrase of your own")
        >>> len(buffer.getvalue()) % 512
        0

    References:
        POSIX.1-2001, pax.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - see close
        self._parts = hashlib.sha256()

    def add(self, name: str, data: bytes) -> None:
        """Write a part.

        Args:
            name: ``tables/<table>/<number>.jsonl`` or ``images/<sha256>``.
            data: All of it.

        Raises:
            OSError: If the disk is full.
        """
        self._write(name, data)
        self._parts.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())

    def close(self, manifest: Mapping[str, Any], *, secret: str) -> None:
        """Write the manifest, sealed, and end the file.

        Args:
            manifest: What it says besides the parts.
            secret: ``Settings.secret``.

        Raises:
            OSError: If the disk is full.
        """
        whole = {**manifest, "parts": self._parts.hexdigest()}
        self._write(_MANIFEST, json.dumps({**whole, "seal": seal(whole, secret)}, sort_keys=True).encode())
        self._tar.close()

    def _write(self, name: str, data: bytes) -> None:
        """Write a file into the tar."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        self._tar.addfile(info, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # or they would all be remembered


def check(path: Path, *, secret: str) -> dict[str, Any]:
    """Read all of an archive and compare it with its seal.

    Args:
        path: The archive.
        secret: The secret of the service that wrote it.

    Returns:
        Its manifest.

    Raises:
        BackupRefused: If it is cut, changed, of another secret, or of a newer version.
        OSError: If it cannot be read.

    References:
        docs/clinic.md.
    """
    found = hashlib.sha256()
    last, images = b"", 0
    with _sound(path):
        for name, file in members(path):
            digest = hashlib.sha256()
            if name == _MANIFEST:
                last = file.read()
                continue
            if last:
                raise BackupRefused(f"{path}: something follows its manifest")
            while chunk := file.read(2**20):
                digest.update(chunk)
            if name.startswith("images/") and (images := images + 1) and name != f"images/{digest.hexdigest()}":
                raise BackupRefused(f"{path}: an image was changed")
            found.update(f"{name} {digest.hexdigest()}\n".encode())
    if not last:
        raise BackupRefused(f"{path}: is cut: its end is not there")
    try:
        sealed: dict[str, Any] = json.loads(last)
        told = sealed.pop("seal")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise BackupRefused(f"{path}: is no backup of this program") from None
    if not hmac.compare_digest(str(told), seal(sealed, secret)):
        raise BackupRefused(f"{path}: was changed, or made by a service with another secret")
    if sealed["parts"] != found.hexdigest() or sealed["images"] != images:
        raise BackupRefused(f"{path}: was changed: its parts are not those that were written")
    if sealed["format"] != FORMAT or sealed["schema"] not in known():
        raise BackupRefused(f"{path}: was made by version {sealed['made_by']}; restore it with that one or a newer")
    return sealed


def members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Read an archive's parts, one after the other, where they lie; nothing is unpacked.

    Args:
        path: The archive.

    Yields:
        Name and contents of each, the manifest included; to be read before the next is asked for.

    Raises:
        BackupRefused: If it is no archive of ours, or holds something else.
        OSError: If it cannot be read.

    References:
        docs/clinic.md.
    """
    allowed = {table.name for table in METADATA.sorted_tables}
    with _sound(path), path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|") as archive:
        for info in archive:
            folder, _, rest = info.name.partition("/")
            ours = (
                info.name == _MANIFEST or folder == "images" or (folder == "tables" and rest.split("/")[0] in allowed)
            )
            # Of a stream, read() takes the member's own size and no more.
            file = archive.extractfile(info) if ours and info.isreg() and info.size <= _MOST_PART_BYTES else None
            if file is None:
                raise BackupRefused(f"{path}: holds something that is no part of a backup")
            yield info.name, file
            archive.members.clear()  # type: ignore[attr-defined]


def seal(manifest: Mapping[str, Any], secret: str) -> str:
    """Seal a manifest, and through it all parts.

    Args:
        manifest: What is sealed.
        secret: ``Settings.secret``.

    Returns:
        64 hex digits.

    Example:
        >>> len(seal({}, "a phrase of your own"))
        64

    References:
        RFC 2104.
    """
    key = hmac.new(secret.encode(), b"eyeground backups", hashlib.sha256).digest()
    return hmac.new(key, json.dumps(manifest, sort_keys=True).encode(), hashlib.sha256).hexdigest()


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """What tar cannot read is no archive of ours, or not all of it."""
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise BackupRefused(f"{path}: is cut, or no backup of this program") from error
