"""From the pixels a photograph was cropped and shrunk to, to the square that the network saw, and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.preprocessing import Pixels, Preprocessing


@dataclass(frozen=True)
class Frame:
    """How cropped and shrunk pixels lie in the square that the network saw.

    Places are whole in the middle of a pixel, as ``find_disc`` gives them.

    Args:
        height: Of the pixels. Unit: px.
        width: Of the pixels. Unit: px.
        preprocessing: Size and manner of the square.

    Example:
        >>> Frame(256, 256, Preprocessing(image_px=224)).to_square(16.0, 127.5)
        (0.0, 111.5)

    References:
        ``eyeground.data.preprocessing.square``, whose twin this is.
    """

    height: int
    width: int
    preprocessing: Preprocessing

    @property
    def _resized(self) -> tuple[int, int]:
        """Width and height before the center is cut out, as ``square`` makes them."""
        if self.preprocessing.fit == "squash":
            return self.preprocessing.image_px, self.preprocessing.image_px
        short, wanted = min(self.width, self.height), self.preprocessing.resized_px
        width, height = (wanted if side == short else int(wanted * side / short) for side in (self.width, self.height))
        return width, height

    @property
    def _corner(self) -> tuple[int, int]:
        """Left and top of the center that is cut out."""
        left, top = (round((side - self.preprocessing.image_px) / 2) for side in self._resized)
        return left, top

    def to_square(self, x: float, y: float) -> tuple[float, float]:
        """Bring a place to the square.

        Args:
            x: From the left edge. Unit: px of the pixels.
            y: From the top edge.

        Returns:
            The place (x, y) in px of the square; it may lie outside of it.
        """
        (width, height), (left, top) = self._resized, self._corner
        return (x + 0.5) * width / self.width - left - 0.5, (y + 0.5) * height / self.height - top - 0.5

    def from_square(self, x: float, y: float) -> tuple[float, float]:
        """Bring a place of the square back.

        Args:
            x: From the left edge. Unit: px of the square.
            y: From the top edge.

        Returns:
            The place (x, y) in px of the pixels.
        """
        (width, height), (left, top) = self._resized, self._corner
        return (x + left + 0.5) * self.width / width - 0.5, (y + top + 0.5) * self.height / height - 0.5

    def grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the place of every pixel of the square.

        Returns:
            x and y, shape (image_px, image_px) each. Unit: px of the pixels.
        """
        (width, height), (left, top) = self._resized, self._corner
        along = np.arange(self.preprocessing.image_px)
        x, y = (along + left + 0.5) * self.width / width - 0.5, (along + top + 0.5) * self.height / height - 0.5
        grid_x, grid_y = np.meshgrid(x, y)
        return grid_x, grid_y

    def show(self, pixels: Pixels, side_px: int) -> Pixels:
        """Cut the square that the network saw out of the pixels at another size, for people.

        Args:
            pixels: Shape (height, width, 3).
            side_px: Side of the answer. Unit: px.

        Returns:
            Shape (side_px, side_px, 3), uint8.
        """
        px = self.preprocessing.image_px
        left, top = self.from_square(-0.5, -0.5)
        right, bottom = self.from_square(px - 0.5, px - 0.5)
        box = (max(0.0, left + 0.5), max(0.0, top + 0.5), min(self.width, right + 0.5), min(self.height, bottom + 0.5))
        shown = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BICUBIC, box=box)
        return np.asarray(shown)
