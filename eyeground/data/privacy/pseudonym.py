"""Keyed pseudonyms: the same name gives the same pseudonym, and without the key nobody can tell whose it is."""

import hashlib
import hmac
import os
import secrets
import stat
import uuid
from pathlib import Path

_LEAST_BYTES = 32
_DIGITS = 20  # 80 bits: two of a million names meet with a probability below 1e-12


class KeyRefused(ValueError):
    """A key file that must not be used; the message says why and what to do."""


class Pseudonyms:
    """Names and UIDs under a secret key.

    Args:
        key: At least 32 secret bytes.

    Raises:
        KeyRefused: If the key is shorter.

    Example:
        >>> names = Pseudonyms(b"k" * 32)
        >>> names.of("SMITH^JOHN") == names.of("SMITH^JOHN"), names.of("SMITH^JOHN") == names.of("DOE^JANE")
        (True, False)

    References:
        RFC 2104 (HMAC), with SHA-256. DICOM PS3.5 B.2 for UIDs below 2.25.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _LEAST_BYTES:
            raise KeyRefused(
                f"the key has {len(key)} bytes, at least {_LEAST_BYTES} are needed; make one with --new-key"
            )
        self._key = key

    def of(self, text: str, *, kind: str = "p") -> str:
        """Give the pseudonym of a name.

        Args:
            text: Patient's id, name of a folder, path of a file. Spaces at its ends do not count.
            kind: One letter that the pseudonym begins with; another kind gives another pseudonym.

        Returns:
            The letter and 20 hexadecimal digits: no word of any language, and never a number to a spreadsheet.
        """
        return kind + self._digest(f"name {kind}", text.strip()).hex()[:_DIGITS]

    def uid(self, text: str) -> str:
        """Give the UID that stands for a DICOM UID.

        Args:
            text: The UID.

        Returns:
            A UID below 2.25, at most 44 characters.
        """
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', text.strip())[:16], version=4).int}"

    def mark(self, text: str) -> str:
        """Give a mark by which something is known again, such as a file and its time, without saying what it is.

        Args:
            text: Anything.

        Returns:
            64 hexadecimal digits.
        """
        return self._digest("mark", text).hex()

    def _digest(self, kind: str, text: str) -> bytes:
        """Keyed hash; the kind keeps a file's name from ever having the pseudonym of a patient."""
        return hmac.new(self._key, f"{kind}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256).digest()


def make_key(path: Path) -> None:
    """Write a new random key that only its owner can read.

    Args:
        path: File to make.

    Raises:
        KeyRefused: If it exists already: another key would give other pseudonyms.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     make_key(Path(folder, "key"))
        ...     oct(Path(folder, "key").stat().st_mode & 0o777)
        '0o600'

    References:
        Our own.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyRefused(f"{path} exists; leave --new-key away to use it") from error
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(_LEAST_BYTES) + "\n")


def read_key(path: Path) -> Pseudonyms:
    """Read a key file.

    Args:
        path: File made by ``make_key``, or any file of at least 32 bytes.

    Returns:
        The pseudonyms under it.

    Raises:
        KeyRefused: If it is missing, too short, a link, or others can read or write it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     make_key(Path(folder, "key"))
        ...     read_key(Path(folder, "key")).of("a") == read_key(Path(folder, "key")).of("a")
        True

    References:
        Our own.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyRefused(f"{path} is no plain file; give the key file itself")
            if status.st_mode & 0o077:
                raise KeyRefused(f"{path} can be read by others; make it private with: chmod 600 {path}")
            content = file.read(4096).strip()
    except OSError as error:
        advice = "make one with --new-key" if isinstance(error, FileNotFoundError) else "check the permissions"
        raise KeyRefused(f"{path} cannot be read as a key ({error.strerror}); {advice}") from error
    return Pseudonyms(content)
