"""A small copy of a fundus photograph with even light, in which anatomy is looked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from eyeground.images.field import Field, find_field

RADIUS_PX = 60.0  # of the field of view in the copy: a disc is then 5 to 11 px in radius
_FINE = 2  # vessels are looked for at twice that size, where the thin ones are still two pixels wide
_EVEN_PX = 30.0  # light that changes over this length (in the fine copy) is the lamp's, not the retina's
_LEAST_LIGHT = 12.0  # added below the fraction, so that noise in the dark does not become contrast
_WHITE = 250
# Part of the contrast that survives a blur: 0.57 and more in 652 photographs of three sets, at most 0.45 in noise.
_LEAST_SMOOTH = 0.48


@dataclass(frozen=True, eq=False)
class FlatField:
    """The field of view of a photograph, small, in contrasts instead of colors.

    Args:
        brightness: Red and green light against what is usual nearby, shape (H, W), 0 outside the field.
        green: The same of green light alone, in which blood and the fovea are dark.
        blue: The same of blue light, in which reflexes of the camera are bright.
        inside: Where the retina is seen, shape (H, W).
        vessels: How much each pixel looks like a vessel, shape (H, W), [0, 1].
        along_cos: Cosine of twice the vessel's direction times ``vessels``; 1 is horizontal, -1 vertical.
        along_sin: Sine of the same.
        center_x: Center of the field. Unit: px of this copy.
        center_y: The same, from the top.
        step: How many pixels of the photograph make one of this copy.
        left: Where this copy begins in the photograph. Unit: px of the photograph.
        top: The same, from the top.

    Example:
        >>> flat = flatten(np.full((64, 64, 3), 90, np.uint8))
        >>> flat is None
        True

    References:
        Our own.
    """

    brightness: NDArray[np.float32]
    green: NDArray[np.float32]
    blue: NDArray[np.float32]
    inside: NDArray[np.bool_]
    vessels: NDArray[np.float32]
    along_cos: NDArray[np.float32]
    along_sin: NDArray[np.float32]
    center_x: float
    center_y: float
    step: float
    left: float
    top: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of this copy."""
        return self.inside.shape[0], self.inside.shape[1]

    def to_photograph(self, x: float, y: float) -> tuple[float, float]:
        """Turn a pixel of this copy into a place in the photograph.

        Args:
            x: Column, whole for the middle of a pixel.
            y: Row.

        Returns:
            The place (x, y). Unit: px of the photograph.
        """
        return self.left + (x + 0.5) * self.step - 0.5, self.top + (y + 0.5) * self.step - 0.5

    def from_photograph(self, x: float, y: float) -> tuple[float, float]:
        """Turn a place in the photograph into a pixel of this copy.

        Args:
            x: Column. Unit: px of the photograph.
            y: Row.

        Returns:
            The pixel (x, y), in fractions.
        """
        return (x + 0.5 - self.left) / self.step - 0.5, (y + 0.5 - self.top) / self.step - 0.5


def flatten(pixels: NDArray[np.uint8]) -> FlatField | None:
    """Make a small copy of a photograph, with even light, and with its vessels.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8. One without a dark surround is taken as cut to its field.

    Returns:
        The copy; None if nothing can be seen: the picture is gray without a round field (no photograph), black, white,
        one flat color, nothing but noise, or less than 64 px on a side.

    Raises:
        ValueError: If the shape is not (H, W, 3).

    Example:
        >>> y, x = np.mgrid[:200, :200]
        >>> round_field = ((x - 100) ** 2 + (y - 100) ** 2 < 90**2)[..., None] * np.array([180, 90, 40])
        >>> flat = flatten((round_field + (x[..., None] > 100) * 9).astype(np.uint8))
        >>> flat.size, round(flat.step, 1)
        ((120, 120), 1.5)

    References:
        Our own; vessels by the eigenvalues of the Hessian, after Frangi et al., MICCAI 1998, LNCS 1496:130.
    """
    field = find_field(pixels)
    height, width = pixels.shape[:2]
    if min(height, width) < 64 or (field is None and _is_gray(pixels)):
        return None
    if field is None:
        field = Field(width / 2, height / 2, max(height, width) / 2, 0, 0, width, height)
    step = field.radius_px / (RADIUS_PX * _FINE)
    small = _shrink(pixels, field, step)
    center_x, center_y = (field.center_x_px - field.left) / step, (field.center_y_px - field.top) / step
    seen = _seen(small, center_x, center_y)
    if seen.sum() < 0.1 * seen.size:
        return None
    red, green, blue = _contrasts(small, seen)
    spread = float(green[seen].std())
    if spread < 1e-3 or float(ndimage.gaussian_filter(green, 2.0)[seen].std()) < _LEAST_SMOOTH * spread:
        return None
    strength, along_cos, along_sin = _ridges(green, seen)
    inside = _half(seen.astype(np.float32)) > 0.5
    return FlatField(
        np.clip((_half(red) + _half(green)) / 2, -0.6, 0.6), _half(green), _half(blue), inside,
        _half(strength), _half(along_cos), _half(along_sin),
        center_x / _FINE, center_y / _FINE, step * _FINE, field.left, field.top,
    )  # fmt: skip


def _is_gray(pixels: NDArray[np.uint8]) -> bool:
    """Tell gray pictures from colored ones by a thin sample."""
    step = max(1, max(pixels.shape[:2]) // 200)
    sample = pixels[::step, ::step].astype(np.int16)
    return float(np.mean(sample.max(axis=2) - sample.min(axis=2) > 6)) < 0.02


def _shrink(pixels: NDArray[np.uint8], field: Field, step: float) -> NDArray[np.float32]:
    """Cut out the field's box and bring it to the fine size, sides even."""
    width = max(16, round((field.right - field.left) / step / 2) * 2)
    height = max(16, round((field.bottom - field.top) / step / 2) * 2)
    box = (field.left, field.top, field.right, field.bottom)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    small = picture.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.asarray(small).astype(np.float32)


def _seen(small: NDArray[np.float32], center_x: float, center_y: float) -> NDArray[np.bool_]:
    """Where retina is seen: inside the circle, not black, and not a white bar that an export added at the border."""
    height, width = small.shape[:2]
    across, down = np.arange(width) + 0.5 - center_x, np.arange(height) + 0.5 - center_y
    seen = across[None, :] ** 2 + down[:, None] ** 2 < (0.97 * RADIUS_PX * _FINE) ** 2
    seen &= np.maximum(np.maximum(small[..., 0], small[..., 1]), small[..., 2]) > 8
    white = np.minimum(np.minimum(small[..., 0], small[..., 1]), small[..., 2]) >= _WHITE
    border = np.ones_like(white)
    border[1:-1, 1:-1] = False
    bars = ndimage.binary_dilation(white & border, iterations=0, mask=white)
    seen &= ~ndimage.binary_dilation(bars, iterations=4)
    seen = ndimage.binary_opening(seen)
    answer: NDArray[np.bool_] = ndimage.binary_erosion(seen, iterations=2)
    return answer


def _contrasts(small: NDArray[np.float32], seen: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """Red, green and blue green against the light around each pixel, from -1 to 1, 0 where nothing is seen."""
    weight = seen.astype(np.float32)
    around = np.maximum(_blur(weight), 1e-3)
    found = []
    for channel in (0, 1, 2):
        usual = _blur(small[..., channel] * weight) / around
        contrast = np.clip((small[..., channel] - usual) / (usual + _LEAST_LIGHT), -1, 1)
        found.append(np.where(seen, contrast, 0).astype(np.float32))
    return found


def _blur(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur widely, by way of a copy a quarter in size; black beyond the border."""
    height, width = picture.shape
    coarse = Image.fromarray(picture).resize((max(1, width // 4), max(1, height // 4)), Image.Resampling.BOX)
    blurred = ndimage.gaussian_filter(np.asarray(coarse), _EVEN_PX / 4, mode="constant")
    return np.asarray(Image.fromarray(blurred).resize((width, height), Image.Resampling.BILINEAR))


def _ridges(
    green: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Find dark lines: how strong each is, in [0, 1], and cosine and sine of twice its direction times that."""
    # What a closing fills is dark and narrow. Bright spots are not, so the disc leaves no dark ring around itself.
    lines = green - ndimage.grey_closing(green, size=(9, 9))
    strength = along_cos = along_sin = np.zeros_like(green)
    for width_px in (1.5, 2.5):
        scale = width_px**2
        across = ndimage.gaussian_filter(lines, width_px, order=(0, 2)) * scale
        down = ndimage.gaussian_filter(lines, width_px, order=(2, 0)) * scale
        mixed = ndimage.gaussian_filter(lines, width_px, order=(1, 1)) * scale
        lengthwise = (across - down) / 2
        spread = np.hypot(lengthwise, mixed) + 1e-6
        # The greater eigenvalue, at most what it exceeds the lesser by: round dark spots are no lines.
        found = np.maximum(np.minimum((across + down) / 2 + spread, 2 * spread), 0)
        better = found > strength
        strength = np.where(better, found, strength)
        along_cos = np.where(better, -lengthwise / spread, along_cos)
        along_sin = np.where(better, -mixed / spread, along_sin)
    sure = ndimage.binary_erosion(seen, iterations=4)
    if not sure.any():
        return np.zeros_like(green), np.zeros_like(green), np.zeros_like(green)
    strength = np.where(sure, strength, 0)
    # All vessels count alike, large and small; in a picture without any, noise is not raised to their strength.
    full = max(float(np.percentile(strength[sure], 93)), 0.015)
    strength = np.minimum(strength / full, 1)
    return strength, along_cos * strength, along_sin * strength


def _half(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Halve a picture with even sides by means of four."""
    sums = picture[0::2] + picture[1::2]
    return np.asarray((sums[:, 0::2] + sums[:, 1::2]) / 4, np.float32)
