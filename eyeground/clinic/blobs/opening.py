"""Which store an address means."""

from typing import Final

from eyeground.clinic.blobs.store import Store
from eyeground.pick import pick

_FILES: Final = {"file": "folder", "s3": "s3", "memory": "memory"}


def open_store(url: str, *, endpoint: str = "") -> Store:
    """Open the store that an address names.

    Args:
        url: ``file:PATH``, ``s3://BUCKET/PREFIX``, or ``memory:`` for tests.
        endpoint: Address of an S3-compatible store; empty = Amazon's.

    Returns:
        The store.

    Raises:
        ValueError: If the address is of another kind.
        StoreLost: If the store cannot be opened.

    Example:
        >>> type(open_store("memory:")).__name__
        'MemoryStore'

    References:
        docs/clinic.md.
    """
    kind = url.partition(":")[0]
    if kind not in _FILES:
        raise ValueError("the image store's address must begin with file:, s3: or memory:")
    store: Store = pick("clinic.blobs", _FILES[kind]).open_store(url, endpoint=endpoint)
    return store
