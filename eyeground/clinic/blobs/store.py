"""What a place for images has to be able to do; each file of this shelf is one."""

import hashlib
from collections.abc import Iterator
from typing import Protocol


class BlobMissing(LookupError):
    """No such bytes are kept, or what is kept is no longer what was put there."""


class StoreLost(ConnectionError):
    """The store does not answer, or its disk is full; nothing that it had said to keep is lost."""


class Store(Protocol):
    """Bytes under the hash of what they are: the same image is kept once, and never changes."""

    def put(self, data: bytes) -> str:
        """Keep bytes; when this returns they survive a power cut.

        Args:
            data: What to keep.

        Returns:
            Their SHA-256, 64 hex digits.

        Raises:
            StoreLost: If they cannot be kept.
        """
        ...

    def get(self, sha256: str) -> bytes:
        """Give bytes back, after checking them against their name.

        Args:
            sha256: As ``put`` gave it.

        Returns:
            The bytes.

        Raises:
            BlobMissing: If there are none, or they were changed.
            StoreLost: If the store does not answer.
        """
        ...

    def remove(self, sha256: str) -> None:
        """Forget bytes; what is not there is no error.

        Args:
            sha256: As ``put`` gave it.

        Raises:
            StoreLost: If the store does not answer.
        """
        ...

    def hashes(self) -> Iterator[str]:
        """List everything that is kept.

        Yields:
            SHA-256 of each, sorted.

        Raises:
            StoreLost: If the store does not answer.
        """
        ...


def digest_of(data: bytes) -> str:
    """Name bytes.

    Args:
        data: Any.

    Returns:
        Their SHA-256, 64 hex digits.

    Example:
        >>> digest_of(b"")[:8]
        'e3b0c442'

    References:
        FIPS 180-4.
    """
    return hashlib.sha256(data).hexdigest()


def checked(data: bytes, sha256: str) -> bytes:
    """Give bytes on only if they are what their name says.

    Args:
        data: What was found.
        sha256: What was asked for.

    Returns:
        The bytes.

    Raises:
        BlobMissing: If they were changed.

    Example:
        >>> checked(b"a", digest_of(b"b"))
        Traceback (most recent call last):
        eyeground.clinic.blobs.store.BlobMissing: ... is not what was put there; restore it from a backup

    References:
        Our own.
    """
    if digest_of(data) != sha256:
        raise BlobMissing(f"{sha256} is not what was put there; restore it from a backup")
    return data
