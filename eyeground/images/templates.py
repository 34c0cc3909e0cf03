"""Round templates laid over a small picture: circles, rings and spokes, by Fourier transform."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from eyeground.images.flat_field import RADIUS_PX

Shape = Literal["circle", "ring", "spokes", "spokes_cos", "spokes_sin"]

_REACH_PX = 45.0  # a vessel farther from the disc than this has bent too much to point back at it
_SIDE_PX = fft.next_fast_len(math.ceil(2 * RADIUS_PX + 4 + _REACH_PX), real=True)


class Templates:
    """Templates over one picture's field of view, of which only a part may be seen.

    Args:
        inside: Where the picture is seen, shape (H, W), neither side longer than the diameter of a flat field.

    Example:
        >>> templates = Templates(np.ones((60, 60), np.bool_))
        >>> round(float(templates.area("circle", 5.0)[30, 30]))
        79

    References:
        Our own.
    """

    def __init__(self, inside: NDArray[np.bool_]) -> None:
        self._inside = inside
        self._seen = self.spectrum(np.ones(inside.shape, np.float32))
        self._areas: dict[tuple[Shape, float], NDArray[np.float32]] = {}

    def spectrum(self, picture: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Transform a picture once, for any number of templates.

        Args:
            picture: Shape (H, W) as of ``inside``.

        Returns:
            The spectrum of what is seen of it, padded so that nothing wraps around.
        """
        seen = np.where(self._inside, picture, 0).astype(np.float32)
        return np.asarray(fft.rfft2(seen, s=(_SIDE_PX, _SIDE_PX)), np.complex64)

    def total(self, transformed: NDArray[np.complex64], shape: Shape, radius_px: float = 0.0) -> NDArray[np.float32]:
        """Sum a picture under a template laid on each of its pixels.

        Args:
            transformed: What ``spectrum`` gave.
            shape: ``"circle"``; ``"ring"``, from 1.15 to 1.9 radii; ``"spokes"``, weights that fall with the distance;
                ``"spokes_cos"`` and ``"spokes_sin"``, these times cosine and sine of twice the bearing.
            radius_px: Of a circle or ring; spokes have a size of their own. Unit: px of the picture.

        Returns:
            Shape (H, W).
        """
        back = fft.irfft2(transformed * _template(shape, radius_px), s=(_SIDE_PX, _SIDE_PX))
        return np.asarray(back[: self._inside.shape[0], : self._inside.shape[1]], np.float32)

    def area(self, shape: Shape, radius_px: float = 0.0) -> NDArray[np.float32]:
        """Say how much of a template lies on what is seen.

        Args:
            shape: As for ``total``.
            radius_px: As for ``total``.

        Returns:
            Sum of the template's weights there, shape (H, W).
        """
        if (shape, radius_px) not in self._areas:
            self._areas[shape, radius_px] = self.total(self._seen, shape, radius_px)
        return self._areas[shape, radius_px]

    def contrast(self, transformed: NDArray[np.complex64], radius_px: float) -> NDArray[np.float32]:
        """Say how much brighter each circle is than the ring around it.

        Args:
            transformed: What ``spectrum`` gave.
            radius_px: Radius of the circle. Unit: px of the picture.

        Returns:
            Difference of the means, shape (H, W); NaN where less than 45% of the circle is seen.
        """
        circle, ring = self.area("circle", radius_px), self.area("ring", radius_px)
        inner = self.total(transformed, "circle", radius_px) / np.maximum(circle, 1)
        outer = self.total(transformed, "ring", radius_px) / np.maximum(ring, 1)
        return np.where(circle > 0.45 * math.pi * radius_px**2, inner - outer, np.nan).astype(np.float32)


@lru_cache(maxsize=64)
def _template(shape: Shape, radius_px: float) -> NDArray[np.complex64]:
    """Transform of one template around the origin; all are their own mirror image through it."""
    line = (np.arange(_SIDE_PX) + _SIDE_PX // 2) % _SIDE_PX - _SIDE_PX // 2
    x, y = line[None, :], line[:, None]
    distance = np.hypot(x, y)
    if shape == "circle":
        weights = _within(distance, radius_px)
    elif shape == "ring":
        weights = _within(distance, 1.9 * radius_px) - _within(distance, 1.15 * radius_px)
    else:
        # The disc's own pixels say nothing about where vessels come from.
        weights = np.where((distance > 5) & (distance < _REACH_PX), 1 / (distance + 6), 0.0)
        angle = 2 * np.arctan2(y, x)
        if shape != "spokes":
            weights = weights * (np.cos(angle) if shape == "spokes_cos" else np.sin(angle))
    return np.asarray(fft.rfft2(weights.astype(np.float32)), np.complex64)


def _within(distance: NDArray[np.float64], radius_px: float) -> NDArray[np.float64]:
    """A filled circle whose border pixels count in part."""
    return np.clip(radius_px + 0.5 - distance, 0.0, 1.0)
