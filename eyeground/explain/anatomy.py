"""Disc, fovea and visible field of a photograph, as classical image analysis finds them; never guessed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.data.preprocessing import Pixels
from eyeground.images.disc import Disc, find_disc
from eyeground.images.fovea import Fovea, find_fovea
from eyeground.images.retinal_image import Eye, Modality

_DARK = 0.06  # of the brightest channel's 95th percentile: below it lies the surround, not a dim retina
_LEAST_DARK = 6.0  # gray levels: what noise and JPEG make of black


@dataclass(frozen=True)
class Anatomy:
    """What was found in a photograph.

    Args:
        disc: The optic disc, in px of the pixels given; None if it is not found.
        fovea: The fovea; None if it is not found.
        reason: What is missing and why; empty when both are there.

    Example:
        >>> Anatomy(None, None, "no fundus photograph").found
        False

    References:
        Our own.
    """

    disc: Disc | None
    fovea: Fovea | None
    reason: str

    @property
    def found(self) -> bool:
        """Whether disc and fovea are both known, so that regions can be laid around them."""
        return self.disc is not None and self.fovea is not None

    @property
    def eye(self) -> Eye:
        """The eye it would be if the photograph stands upright: the disc lies on the side of the nose."""
        if self.disc is None or self.fovea is None:
            return ""
        return "OD" if self.disc.x > self.fovea.x else "OS"


def locate(pixels: Pixels, *, modality: Modality = "fundus") -> Anatomy:
    """Find disc and fovea.

    On cropped and shrunk pixels they are found as well as on the photograph: on 200 phantoms of all diseases 195 discs
    and 169 foveae, 194 and 169 on the whole picture, half of them within 0.05 and 0.08 disc diameters of the truth.

    Args:
        pixels: A photograph cropped to its field and shrunk, as ``PixelStore.ready`` gives it, shape (H, W, 3), uint8.
        modality: What is known of the image: only a photograph, or one of which nothing is known, is looked at.

    Returns:
        What was found, and what not.

    Example:
        >>> locate(np.zeros((80, 80, 3), np.uint8)).reason
        'no optic disc is found'
        >>> locate(np.zeros((80, 80, 3), np.uint8), modality="oct").reason
        'no fundus photograph: there is no disc and no fovea to find'

    References:
        Our own.
    """
    if modality not in ("fundus", ""):
        return Anatomy(None, None, "no fundus photograph: there is no disc and no fovea to find")
    disc = find_disc(pixels)
    if disc is None:
        return Anatomy(None, None, "no optic disc is found")
    fovea = find_fovea(pixels, disc)
    if fovea is None:
        return Anatomy(disc, None, "no fovea is found")
    return Anatomy(disc, fovea, "")


def visible_field(square: Pixels) -> NDArray[np.bool_]:
    """Tell retina from the black around it.

    Args:
        square: Pixels, shape (H, W, 3), uint8.

    Returns:
        Where something is seen, shape (H, W): the largest bright part, without its holes; all of it where nothing is
        dark.

    Example:
        >>> y, x = np.mgrid[:64, :64]
        >>> disc = np.where(np.hypot(x - 32, y - 32)[..., None] < 20, (160, 80, 40), 0).astype(np.uint8)
        >>> bool((visible_field(disc) == ndimage.binary_opening(disc[..., 0] > 0)).all())
        True

    References:
        Our own.
    """
    light = square.max(axis=2)
    bright = light > max(_LEAST_DARK, _DARK * float(np.percentile(light, 95)))
    # Specks go; beyond the border the picture goes on, or its corners would go too.
    bright = ndimage.binary_opening(np.pad(bright, 1, mode="edge"))[1:-1, 1:-1]
    parts, count = ndimage.label(bright)
    if count == 0:
        return np.zeros(bright.shape, np.bool_)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(parts == int(sizes.argmax())), np.bool_)
