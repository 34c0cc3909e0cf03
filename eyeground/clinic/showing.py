"""Images as people see them: decoded safely, whatever was sent, and written anew for a browser or a report."""

import threading
from collections import OrderedDict
from io import BytesIO
from typing import Final

from PIL import Image

from eyeground.clinic.blobs.store import Store
from eyeground.images.decode import decode

_QUALITY: Final = 92
_MOST_BYTES: Final = 128 * 2**20
_MOST_SLICES: Final = 10_000


class Showing:
    """Gives images as JPEG; what was shown last is kept in memory.

    Args:
        store: Where images lie.
        most_bytes: How much is kept. Unit: bytes.

    Example:
        >>> from eyeground.clinic.blobs.memory import MemoryStore
        >>> from eyeground.data.phantom import draw_fundus
        >>> store, png = MemoryStore(), BytesIO()
        >>> Image.fromarray(draw_fundus("normal", seed=1, size_px=64).image.pixels).save(png, "PNG")
        >>> Showing(store).shown(store.put(png.getvalue()))[:2]
        b'\\xff\\xd8'

    References:
        Our own.
    """

    def __init__(self, store: Store, *, most_bytes: int = _MOST_BYTES) -> None:
        self._store, self._most_bytes = store, most_bytes
        self._kept: OrderedDict[tuple[str, int | None, int | None], bytes] = OrderedDict()
        self._slices: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def shown(self, sha256: str, *, slice: int | None = None, most_px: int | None = None) -> bytes:
        """Give an image: turned as its header says, 8-bit, in color.

        Args:
            sha256: Which, by its hash in the store.
            slice: Which B-scan of a volume, from 0; None = the middle one.
            most_px: Longest side; None = as it is. Unit: px.

        Returns:
            A JPEG without a word about the patient.

        Raises:
            BlobMissing: If it is not kept.
            StoreLost: If the store does not answer.
            ImageRefused: If it cannot be decoded.
        """
        key = (sha256, slice, most_px)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        decoded = decode(self._store.get(sha256), source="image", slice=slice)
        image = Image.fromarray(decoded.pixels)
        if most_px is not None:
            image.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
        file = BytesIO()
        image.save(file, "JPEG", quality=_QUALITY)
        made = file.getvalue()
        with self._lock:
            self._slices[sha256] = decoded.slices
            while len(self._slices) > _MOST_SLICES:
                self._slices.popitem(last=False)
            self._kept[key] = made
            while sum(map(len, self._kept.values())) > self._most_bytes:
                self._kept.popitem(last=False)
        return made

    def slices(self, sha256: str) -> int | None:
        """Say how many B-scans or pages an image has.

        Args:
            sha256: Which.

        Returns:
            How many; None where it was not shown here lately.
        """
        with self._lock:
            return self._slices.get(sha256)
