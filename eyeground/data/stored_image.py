"""An image as it is kept once it is prepared: its name, and its pixels as bytes, without loss."""

import hashlib
import io
import os
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.sample import Sample

_PREDICTOR_TAG: Final = 317
_LONGEST_NAME_BYTES: Final = 240  # file systems stop at 255


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """Compress pixels without loss; gray pictures in one channel, which reading brings back to three.

    Args:
        pixels: Shape (H, W, 3), uint8.

    Returns:
        A TIFF file.

    Example:
        >>> encoded(np.zeros((2, 2, 3), np.uint8))[:4]
        b'II*\\x00'

    References:
        TIFF 6.0, sections 13 and 14.
    """
    gray = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    content = io.BytesIO()
    # LZW of differences. Against PNG at its fastest level: on photographs of 512 px read and written in 0.4 times the
    # time, 7% larger. ZSTD is read in another 0.8 times, but written in 3 times, and few programs open it.
    Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]) if gray else pixels).save(
        content, "TIFF", compression="tiff_lzw", tiffinfo={_PREDICTOR_TAG: 2}
    )
    return content.getvalue()


def stored_name(sample: Sample) -> str:
    """Name the stored image after its source; what no file system would take is shortened.

    Args:
        sample: The image that it is made from.

    Returns:
        A path with forward slashes that ends in ``.tif``.

    Example:
        >>> from pathlib import Path
        >>> stored_name(Sample("a/1.vol", Path("d"), 0, "p", slice=7))
        'a/1.vol.s007.tif'

    References:
        Our own.
    """
    name = sample.file if sample.slice is None else f"{sample.file}.s{sample.slice:03d}"
    folder, slash, last = name.rpartition("/")
    if len(os.fsencode(last)) > _LONGEST_NAME_BYTES:
        last = hashlib.sha256(os.fsencode(last)).hexdigest()
    return f"{folder}{slash}{last}.tif"
