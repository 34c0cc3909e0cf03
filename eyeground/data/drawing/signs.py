"""How a disease changes the eye as a whole: the signs that are no separate spots."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Signs:
    """Changes of disc, vessels and clarity; the defaults are a healthy eye.

    Quadrants are superotemporal, inferotemporal, superonasal, inferonasal, in this order.

    Args:
        severity: How plain the disease is, 0 (subtle) to 1.
        cup_ratio: Vertical cup-to-disc ratio, or None to keep the eye's own.
        notch: Extra loss of rim at one pole, over the disc's radius.
        notch_pole: -1 for the upper pole, +1 for the lower.
        artery_width: Factor on the arteries' caliber.
        vein_width: Factor on the veins' caliber, per quadrant.
        winding: Extra amplitude of the veins' winding, per quadrant. Unit: degrees.
        beading: Depth of the veins' beading, [0, 1).
        pallor: How waxy the disc is, [0, 1].
        swelling: How far the disc's margin is blurred and raised, [0, 1].
        haze: How much of the light is veil, [0, 1).
        melanin: Added pigment loss (below 0) or gain.

    Example:
        >>> Signs().swelling
        0.0

    References:
        Our own.
    """

    severity: float = 0.5
    cup_ratio: float | None = None
    notch: float = 0.0
    notch_pole: int = 1
    artery_width: float = 1.0
    vein_width: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    winding: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    beading: float = 0.0
    pallor: float = 0.0
    swelling: float = 0.0
    haze: float = 0.0
    melanin: float = 0.0


def draw_signs(disease: str, rng: np.random.Generator) -> tuple[Signs, tuple[int, ...]]:
    """Draw the signs of a disease.

    Args:
        disease: A name of ``eyeground.data.phantom.FUNDUS_DISEASES``.
        rng: Source of the random numbers.

    Returns:
        The signs, and the quadrants (0 to 3) in which a vein occlusion bleeds; the latter is empty for other diseases.

    Example:
        >>> signs, quadrants = draw_signs("glaucoma", np.random.default_rng(0))
        >>> 0.6 < signs.cup_ratio < 1, quadrants
        (True, ())

    References:
        Our own, after the usual descriptions: Kanski's Clinical Ophthalmology, 9th ed.
    """
    severity = float(rng.beta(1.6, 1.4))
    if disease == "glaucoma":
        ratio = 0.64 + 0.24 * severity + float(rng.uniform(-0.02, 0.02))
        pole = 1 if rng.random() < 0.7 else -1  # the lower rim goes first in most eyes
        return Signs(severity, cup_ratio=ratio, notch=float(rng.uniform(0.0, 0.2)), notch_pole=pole), ()
    if disease == "dr3":
        return Signs(severity, beading=float(rng.uniform(0.2, 0.45)), vein_width=(1.12,) * 4), ()
    if disease == "dr4":
        return Signs(severity, beading=float(rng.uniform(0.0, 0.35)), vein_width=(1.1,) * 4), ()
    if disease == "rvo":
        central = rng.random() < 0.4
        quadrants = (0, 1, 2, 3) if central else (int(rng.choice([0, 1, 2, 3], p=[0.5, 0.34, 0.08, 0.08])),)
        widths, winding = [1.0] * 4, [0.0] * 4
        for quadrant in quadrants:
            widths[quadrant] = 1.2 + 0.4 * severity
            winding[quadrant] = 0.18 + 0.3 * severity
        swelling = 0.25 + 0.35 * severity if central else 0.0
        return (
            Signs(
                severity,
                vein_width=(widths[0], widths[1], widths[2], widths[3]),
                winding=(winding[0], winding[1], winding[2], winding[3]),
                swelling=swelling,
            ),
            quadrants,
        )
    if disease == "rp":
        width = 0.72 - 0.3 * severity
        return Signs(severity, artery_width=width, vein_width=(width,) * 4, pallor=0.4 + 0.5 * severity), ()
    if disease == "disc_swelling":
        return Signs(
            severity,
            cup_ratio=0.05,
            swelling=0.5 + 0.5 * severity,
            vein_width=(1.12,) * 4,
            winding=(0.06 + 0.08 * severity,) * 4,
        ), ()
    if disease == "cataract":
        return Signs(severity, haze=0.34 + 0.46 * severity), ()
    return Signs(severity), ()
