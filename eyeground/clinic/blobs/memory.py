"""Images in this process's memory: the twin that tests hold the others against. It forgets all at its end."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from eyeground.clinic.blobs.store import BlobMissing, Store, StoreLost, checked, digest_of

_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass
class MemoryStore:
    """Images in a dictionary.

    Args:
        kept: Bytes by hash.
        up: False = it cannot be reached.

    Example:
        >>> store = MemoryStore()
        >>> store.get(store.put(b"an image"))
        b'an image'

    References:
        Our own.
    """

    kept: dict[str, bytes] = field(default_factory=dict)
    up: bool = True

    def put(self, data: bytes) -> str:
        """Keep bytes."""
        self._check()
        sha256 = digest_of(data)
        self.kept[sha256] = bytes(data)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Give bytes back, checked."""
        self._check(sha256)
        if sha256 not in self.kept:
            raise BlobMissing(f"{sha256} is not kept here")
        return checked(self.kept[sha256], sha256)

    def remove(self, sha256: str) -> None:
        """Forget bytes."""
        self._check(sha256)
        self.kept.pop(sha256, None)

    def hashes(self) -> Iterator[str]:
        """List what is kept."""
        self._check()
        yield from sorted(self.kept)

    def _check(self, sha256: str | None = None) -> None:
        """Refuse what the others refuse."""
        if sha256 is not None and not _NAME.fullmatch(sha256):
            raise BlobMissing("that is no hash")
        if not self.up:
            raise StoreLost("the store is down")


_STORES: Final[dict[str, MemoryStore]] = defaultdict(MemoryStore)


def open_store(url: str, *, endpoint: str = "") -> Store:
    """Open a store in this process's memory.

    Args:
        url: ``memory:NAME``; the same name is the same store, as long as the process lives.
        endpoint: Not used here.

    Returns:
        The store.

    Example:
        >>> sha256 = open_store("memory:doctest").put(b"an image")
        >>> open_store("memory:doctest").get(sha256)
        b'an image'

    References:
        Our own.
    """
    return _STORES[url]
