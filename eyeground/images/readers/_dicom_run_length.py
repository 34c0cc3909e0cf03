"""DICOM's run-length compression."""

import struct
from typing import Any, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

_HEADER: Final = struct.Struct("<16I")  # the number of segments, and where up to 15 of them begin


def run_length_planes(stream: bytes, width: int, height: int, samples: int, sample_bytes: int) -> NDArray[Any]:
    """Undo the run-length compression of one frame.

    Each byte of each sample is a segment of its own, packed as in TIFF. Pillow unpacks it, as a single row, so that
    runs that pass from one row to the next do no harm. pydicom unpacks in Python, several times slower.

    Args:
        stream: The frame's codestream.
        width: Columns. Unit: px.
        height: Rows. Unit: px.
        samples: 1 for gray, 3 for color.
        sample_bytes: 1 or 2 bytes for each sample.

    Returns:
        Unsigned values, (H, W) or (H, W, 3).

    Raises:
        ValueError: If the number of segments is another one, or a segment is too short or damaged.

    Example:
        >>> packed = bytes([254, 7, 0, 9])  # three sevens, one nine
        >>> stream = _HEADER.pack(1, 64, *[0] * 14) + packed
        >>> run_length_planes(stream, 2, 2, 1, 1).tolist()
        [[7, 7], [7, 9]]

    References:
        DICOM PS3.5, annex G.
    """
    if len(stream) < _HEADER.size:
        raise ValueError("no header")
    count, *starts = _HEADER.unpack_from(stream)
    if count != samples * sample_bytes:
        raise ValueError("another number of segments")
    ends = [*starts[1:count], len(stream)]
    planes = np.empty((samples, height * width), np.uint16 if sample_bytes == 2 else np.uint8)
    for index, (start, end) in enumerate(zip(starts[:count], ends, strict=True)):
        row = PIL.Image.frombytes("L", (width * height, 1), stream[start:end], "packbits", "L")
        plane = np.asarray(row)[0]
        sample, place = divmod(index, sample_bytes)
        if place == 0:
            planes[sample] = plane
        else:  # the most significant byte came first
            planes[sample] = planes[sample] << 8 | plane
    shaped = planes.reshape(samples, height, width)
    return shaped[0] if samples == 1 else np.ascontiguousarray(shaped.transpose(1, 2, 0))
