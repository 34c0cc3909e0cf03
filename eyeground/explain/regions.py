"""The parts of a fundus around disc and fovea, as masks over the square that the network saw."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eyeground.explain.anatomy import Anatomy
from eyeground.explain.frame import Frame
from eyeground.images.retinal_image import Eye

# From the middle of the disc to the fovea: 4.76 mm, standard deviation 0.34 (Jonas et al.), the ruler of every eye.
DISC_FOVEA_MM = 4.7
MACULA_MM = 3.0
DISC_RADII = 1.5  # the rim's surroundings belong to the disc: a network looks at edges
ARCADE_DISTANCES = 1.35  # of disc and fovea: behind the disc, where the main vessels have branched

TITLES: Mapping[str, Mapping[str, str]] = {
    "optic disc": {"en": "optic disc", "zh": "视盘"},
    "macula": {"en": "macula", "zh": "黄斑"},
    "superior arcade": {"en": "superior arcade", "zh": "上方血管弓"},
    "inferior arcade": {"en": "inferior arcade", "zh": "下方血管弓"},
    "arcades": {"en": "arcades", "zh": "上下血管弓"},
    "nasal periphery": {"en": "nasal periphery", "zh": "鼻侧周边"},
    "temporal periphery": {"en": "temporal periphery", "zh": "颞侧周边"},
}


@dataclass(frozen=True, eq=False)
class Regions:
    """A partition of what is visible.

    Args:
        masks: Name of each region, a key of ``TITLES``, to its mask, shape (H, W); none where there are none.
        reason: Why there are none; empty when there are.

    Example:
        >>> Regions({}, "no optic disc is found").masks
        {}

    References:
        Our own.
    """

    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    reason: str = ""


def regions(anatomy: Anatomy, frame: Frame, visible: NDArray[np.bool_], *, eye: Eye = "") -> Regions:
    """Part the visible field around disc and fovea.

    - ``optic disc``: within 1.5 disc radii of its center.
    - ``macula``: within 3 mm of the fovea, taking disc and fovea to be 4.7 mm apart; less the disc.
    - ``superior arcade``, ``inferior arcade``: around the macula up to 1.35 times the distance of disc and fovea, above
      and below the line through both. The eye says which is above: seen from the fovea of a right eye with its disc at
      the right it is the left-hand side, however the photograph is turned. Of an eye that is not known both are one,
      ``arcades``: the photograph may stand on its head.
    - ``nasal periphery``, ``temporal periphery``: what is left, on the disc's side of the fovea and on the other.

    Args:
        anatomy: In px of the pixels that ``frame`` begins with.
        frame: How these lie in the square.
        visible: Where something is seen, shape (H, W) over the square, as ``visible_field`` gives it.
        eye: ``"OD"``, ``"OS"``, or ``""`` when not known.

    Returns:
        The parts that are visible; none, and the reason, where disc or fovea is not found, where the disc is on the
        wrong side for the eye (it is mirrored, stands on its head, or is the other eye), or where it lies on its side.

    Raises:
        ValueError: If ``visible`` is not as large as the square.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.images.disc import Disc
        >>> from eyeground.images.fovea import Fovea
        >>> frame = Frame(128, 128, Preprocessing(image_px=128, fit="squash"))
        >>> found = Anatomy(Disc(94.0, 64.0, 8.0, 1.0), Fovea(54.0, 67.0, 1.0), "")
        >>> list(regions(found, frame, np.ones((128, 128), bool), eye="OD").masks)
        ['optic disc', 'macula', 'superior arcade', 'inferior arcade', 'nasal periphery', 'temporal periphery']
        >>> regions(found, frame, np.ones((128, 128), bool), eye="OS").reason
        'the disc is on the side of the other eye: OS is stated, and it shows OD if it stands upright'

    References:
        Jonas et al., "Optic Disc-Fovea Distance, Axial Length and Parapapillary Zones. The Beijing Eye Study 2011",
        PLoS ONE 2015;10:e0138701. The partition is our own.
    """
    x, y = frame.grid()
    if visible.shape != x.shape:
        raise ValueError(f"the visible field must be as large as the square: got {visible.shape}, not {x.shape}")
    disc, fovea = anatomy.disc, anatomy.fovea
    if disc is None or fovea is None:
        return Regions(reason=anatomy.reason)
    across, down = disc.x - fovea.x, disc.y - fovea.y
    if abs(down) > abs(across):
        return Regions(reason="the photograph lies on its side: the disc is above or below the fovea")
    if eye and eye != anatomy.eye:
        return Regions(
            reason=f"the disc is on the side of the other eye: {eye} is stated, and it shows {anatomy.eye} if it "
            "stands upright"
        )
    apart = math.hypot(across, down)
    from_fovea = np.hypot(x - fovea.x, y - fovea.y)
    toward_disc = (x - fovea.x) * across + (y - fovea.y) * down
    # A quarter turn against the clock from the way to the disc of a right eye, with it in a left one.
    upward = (x - fovea.x) * down - (y - fovea.y) * across
    above = upward > 0 if anatomy.eye == "OD" else upward < 0
    arcade = from_fovea <= ARCADE_DISTANCES * apart
    parts = [
        ("optic disc", np.hypot(x - disc.x, y - disc.y) <= DISC_RADII * disc.radius),
        ("macula", from_fovea <= MACULA_MM / DISC_FOVEA_MM * apart),
        *([("superior arcade", arcade & above), ("inferior arcade", arcade)] if eye else [("arcades", arcade)]),
        ("nasal periphery", toward_disc > 0),
        ("temporal periphery", np.ones(x.shape, np.bool_)),
    ]
    masks, left = {}, visible.copy()
    for name, place in parts:
        masks[name] = left & place
        left &= ~place
    return Regions({name: mask for name, mask in masks.items() if mask.any()})
