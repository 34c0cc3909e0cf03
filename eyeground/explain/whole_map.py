"""A heat map laid over the whole image as it was taken, for pages that stretch it over the picture."""

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from eyeground.explain.frame import Frame
from eyeground.explain.heat_map import HeatMap
from eyeground.explain.overlay import level_of
from eyeground.images.cut import Cut

LONGEST_PX: Final = 512


def whole_map(heat: HeatMap, frame: Frame, cut: Cut, *, longest_px: int = LONGEST_PX) -> NDArray[np.uint8]:
    """Bring a heat map from the square that the network saw to the whole image.

    Args:
        heat: The map over the square, at any resolution.
        frame: How cropped and shrunk pixels lie in that square.
        cut: Which part of the image these pixels are.
        longest_px: Longest side of the answer. Unit: px.

    Returns:
        Shape (h, w), uint8, in the image's proportions: the scale of all our heat maps, 0 at 1.5 times the even share
        and below, 255 at 16 times and above. 0 where the network saw nothing, and outside the round field.

    Raises:
        ValueError: If ``longest_px`` is below 1.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> heat = HeatMap(np.full((32, 32), 16, np.float32), "occlusion", "AMD: yes")
        >>> frame = Frame(64, 64, Preprocessing(image_px=32, crop_fraction=1))
        >>> whole_map(heat, frame, Cut(96, 64, 0, 0, 64, 64), longest_px=6).tolist()[1]
        [255, 255, 255, 255, 0, 0]

    References:
        ``eyeground.explain.overlay``, whose scale it has.
    """
    if longest_px < 1:
        raise ValueError("the map needs at least 1 px")
    scale = min(1.0, longest_px / max(cut.width, cut.height))
    width, height = (max(1, round(side * scale)) for side in (cut.width, cut.height))
    # Middles of our pixels, in px of the whole image, of the part, of the square, and of the map itself.
    x = (np.arange(width) + 0.5) * cut.width / width - cut.left
    y = (np.arange(height) + 0.5) * cut.height / height - cut.top
    in_x, in_y = (x >= 0) & (x < cut.right - cut.left), (y >= 0) & (y < cut.bottom - cut.top)
    zoom_x, zoom_y = frame.width / (cut.right - cut.left), frame.height / (cut.bottom - cut.top)
    square_x = np.array([frame.to_square(each * zoom_x - 0.5, 0)[0] for each in x])
    square_y = np.array([frame.to_square(0, each * zoom_y - 0.5)[1] for each in y])
    px = frame.preprocessing.image_px
    in_x &= (square_x >= -0.5) & (square_x < px - 0.5)
    in_y &= (square_y >= -0.5) & (square_y < px - 0.5)
    rows, columns = heat.values.shape
    places = np.meshgrid((square_y + 0.5) * rows / px - 0.5, (square_x + 0.5) * columns / px - 0.5, indexing="ij")
    found = ndimage.map_coordinates(heat.values, places, order=1, mode="nearest")  # (h, w)
    level = level_of(np.asarray(found, np.float32)) * (in_y[:, None] & in_x[None, :])
    if (cut.left, cut.top, cut.right, cut.bottom) != (0, 0, cut.width, cut.height):
        # A part is the square about a round field: its corners, and the caption burned into them, are no retina.
        middle_x, middle_y = (cut.right - cut.left) / 2, (cut.bottom - cut.top) / 2
        level = level * (np.hypot((y - middle_y)[:, None], (x - middle_x)[None, :]) <= max(middle_x, middle_y))
    return np.asarray((255 * level).round(), np.uint8)


def whole_png(heat: HeatMap, frame: Frame, cut: Cut, *, longest_px: int = LONGEST_PX) -> bytes:
    """Write a heat map over the whole image as a file.

    Args:
        heat: As for ``whole_map``.
        frame: Likewise.
        cut: Likewise.
        longest_px: Likewise.

    Returns:
        A PNG, 8-bit gray.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> heat = HeatMap(np.ones((32, 32), np.float32), "occlusion", "AMD: yes")
        >>> whole_png(heat, Frame(64, 64, Preprocessing(image_px=32)), Cut(64, 64, 0, 0, 64, 64))[1:4]
        b'PNG'

    References:
        ISO/IEC 15948.
    """
    file = BytesIO()
    Image.fromarray(whole_map(heat, frame, cut, longest_px=longest_px)).save(file, "PNG", optimize=True)
    return file.getvalue()
