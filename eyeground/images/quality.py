"""Whether an image can be graded, and why not: good, fair, cannot grade."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.images.bscan import measure_scan
from eyeground.images.modality import modality_and_field
from eyeground.images.photograph import measure_photograph
from eyeground.images.retinal_image import Modality, RetinalImage

Grade = Literal["good", "fair", "cannot grade"]
Reason = Literal[
    "too small",
    "one flat color",
    "too dark",
    "too bright",
    "wrong modality",
    "no retina",
    "field cut off",
    "out of focus",
    "haze",
    "weak signal",
]

LEAST_SIDE_PX: Final = 64  # below it a vessel is thinner than a pixel
_LONGEST = 20  # no camera makes pictures so much longer than high; the widest B-scans are 6 times
_SMALL_PX = 160  # below it the finer vessels are
# On 4,193 real images (EyePACS, ODIR with its cataracts, OCTDL, a second OCT device) the darkest photograph's brightest
# 0.2% begin at 36, the lightest scan's darkest 0.2% end at 61, and the flattest image spans 36 levels.
_BLACK = 12
_WHITE = 243
_FLAT = 6


@dataclass(frozen=True)
class _Limits:
    """From where on a measure makes an image fair, and from where on it cannot be graded."""

    measure: str
    fair: float
    cannot: float  # NaN: this alone never makes an image ungradable
    above: bool = False  # whether more is worse


# Set on one half of the real images and on phantoms, as they are and with planted faults; the other half is the test:
# python -m tests.images.measure_quality
_NEVER = float("nan")
_PHOTOGRAPH: Final[Mapping[Reason, _Limits]] = {
    "too dark": _Limits("light", 75, 32),
    "too bright": _Limits("clipped", 0.012, 0.45, above=True),
    "field cut off": _Limits("reach", 0.58, 0.33),
    "out of focus": _Limits("sharpness", -0.7, -1.35),
    "haze": _Limits("contrast", 0.012, _NEVER),
}
_SCAN: Final[Mapping[Reason, _Limits]] = {
    "too dark": _Limits("light", 95, 32),
    "too bright": _Limits("clipped", 0.04, 0.30, above=True),
    "field cut off": _Limits("columns", 0.80, 0.30),
    "out of focus": _Limits("sharpness", 0.20, 0.10),
    "weak signal": _Limits("signal", 0.66, _NEVER),
}
# Below these, focus is not judged. A blurred photograph still shows disc and arcades as soft shapes, a blurred scan its
# layers; where not even those stand out, light is scattered on its way: a cataract, no fault of the photographer.
_FOG: Final[Mapping[str, float]] = {"contrast": 0.0085, "signal": 0.47}


@dataclass(frozen=True)
class Quality:
    """How well an image can be graded.

    Args:
        grade: ``"good"``, ``"fair"`` or ``"cannot grade"``.
        reasons: What is wrong, the gravest first; empty if good. Words of ``Reason``. Where the grade is ``"cannot
            grade"``, only what makes it so is named.
        measures: What was measured; units in ``photograph.measure_photograph`` and ``bscan.measure_scan``. Empty if
            the image was too small or empty to be measured.
        modality: What the image shows, as ``modality_of`` sees it.

    Example:
        >>> str(Quality("fair", ("haze",)))
        'fair: haze'

    References:
        The three grades are those of Fu et al., "Evaluation of retinal image quality assessment networks in different
        color-spaces", MICCAI 2019 (Eye-Quality): good, usable, reject. The reasons are our own.
    """

    grade: Grade
    reasons: tuple[Reason, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    modality: Modality = ""

    def __str__(self) -> str:
        return f"{self.grade}: {', '.join(self.reasons)}" if self.reasons else self.grade


def assess(image: RetinalImage, *, expected: Modality = "") -> Quality:
    """Grade an image by what is measured in it.

    Haze in a photograph and a weak signal in a scan make an image fair, never more: a cataract is a finding, and what
    little is seen behind it is for the grader to use. A photograph of the front of the eye is judged by its size and
    light alone.

    Args:
        image: The image as decoded, before any crop.
        expected: What it should show. ``""``: a fundus photograph or a B-scan, whichever it is.

    Returns:
        Grade, reasons and measures.

    Example:
        >>> assess(RetinalImage(np.zeros((200, 200, 3), np.uint8), "a.png")).reasons
        ('too dark',)

    References:
        Our own; what the limits do to real images and to planted faults is printed by
        ``python -m tests.images.measure_quality``.
    """
    obvious = _obvious(image.pixels)
    if obvious is not None:
        return Quality("cannot grade", (obvious,))
    found, field_seen = modality_and_field(image.pixels)
    kind = found if not expected or found else expected
    gray = bool(np.ptp(image.pixels[::7, ::7].astype(np.int16), axis=2).max() < 12)
    is_scan = kind == "oct" or (kind == "" and gray)
    if is_scan:
        measures = measure_scan(image.pixels)
    else:
        measures = measure_photograph(image.pixels, field_seen if found == "fundus" else "find")
    cannot, fair = _beyond(measures, _SCAN if is_scan else _PHOTOGRAPH)
    light: list[Reason] = [reason for reason in cannot if reason in ("too dark", "too bright")]
    if expected and found and found != expected:
        return Quality("cannot grade", ("wrong modality",), measures, found)
    # A scan whose retina is half out of the frame is hard to know for one, but who expected it will.
    cut = expected == "oct" and "field cut off" in (*cannot, *fair) and measures["joined"] > 0.9
    if (found == "" and expected != "anterior" and not cut) or (found == "anterior" and expected == ""):
        # Where nothing can be seen for want of light, or excess of it, the light is the reason.
        return Quality("cannot grade", tuple(light) or ("no retina",), measures, found)
    if kind == "anterior":
        cannot, fair = light, [reason for reason in fair if reason in ("too dark", "too bright")]
    if min(image.pixels.shape[:2]) < _SMALL_PX:
        fair.append("too small")
    if cannot:
        return Quality("cannot grade", tuple(cannot), measures, found)
    return Quality("fair" if fair else "good", tuple(fair), measures, found)


def verdict(image: RetinalImage, *, expected: Modality = "") -> str:
    """Say in words how well an image can be graded.

    Args:
        image: The image as decoded, before any crop.
        expected: What it should show. ``""``: a fundus photograph or a B-scan, whichever it is.

    Returns:
        ``""`` if good, else ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.

    Example:
        >>> verdict(RetinalImage(np.zeros((200, 200, 3), np.uint8), "a.png"))
        'cannot grade: too dark'

    References:
        As ``assess``.
    """
    quality = assess(image, expected=expected)
    return "" if quality.grade == "good" else str(quality)


def cannot_grade(words: str) -> bool:
    """Tell whether a verdict means that the image is not to be graded.

    Args:
        words: What ``verdict`` answered.

    Returns:
        True for ``"cannot grade: ..."``.

    Example:
        >>> cannot_grade("fair: haze"), cannot_grade("cannot grade: out of focus")
        (False, True)

    References:
        Our own.
    """
    return words.startswith("cannot grade")


def _obvious(pixels: NDArray[np.uint8]) -> Reason | None:
    """What no one could dispute, told without looking for a retina."""
    if min(pixels.shape[:2]) < LEAST_SIDE_PX:
        return "too small"
    if max(pixels.shape[:2]) > _LONGEST * min(pixels.shape[:2]):
        return "no retina"
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 60_000) ** 0.5))
    low, high = np.percentile(pixels[::step, ::step].reshape(-1, 3), (0.2, 99.8), axis=0)
    if high.max() < _BLACK:
        return "too dark"
    if low.min() > _WHITE:
        return "too bright"
    return "one flat color" if (high - low).max() < _FLAT else None


def _beyond(measures: Mapping[str, float], limits: Mapping[Reason, _Limits]) -> tuple[list[Reason], list[Reason]]:
    """Reasons not to grade, and reasons to call it fair. A measure that is NaN is no reason."""
    cannot: list[Reason] = []
    fair: list[Reason] = []
    foggy = any(measures[name] < limit for name, limit in _FOG.items() if name in measures)
    for reason, limit in limits.items():
        value = measures[limit.measure]
        sign = -1.0 if limit.above else 1.0
        if reason == "out of focus" and cannot:
            continue  # what is all but black, white or cut away has no sharpness to speak of
        if reason == "out of focus" and foggy:
            continue  # what is seen through fog is soft, and says nothing about the focus
        if sign * value < sign * limit.cannot:
            cannot.append(reason)
        elif sign * value < sign * limit.fair:
            fair.append(reason)
    return cannot, fair
