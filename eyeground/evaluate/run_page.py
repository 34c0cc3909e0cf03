"""What the pages about one run share beside their style: pictures as data, learning curves, words on intervals."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.mistakes import thumbnail
from eyeground.evaluate.narrative import FEW_PATIENTS
from eyeground.evaluate.wording import decimal


def embedded(svg: str) -> str:
    """Make a picture a data address: isolated from the page, so that neither ids nor names in it can collide.

    Args:
        svg: SVG text; empty = no picture.

    Returns:
        The address; empty for no picture.

    Example:
        >>> embedded("<svg/>"), embedded("")
        ('data:image/svg+xml;base64,PHN2Zy8+', '')

    References:
        RFC 2397.
    """
    return svg and "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def pictured(pixels: Callable[[int], NDArray[np.uint8]] | None, row: int) -> tuple[str, str]:
    """Show an image small, or say why it cannot be shown.

    Args:
        pixels: Gives the pixels (H, W, 3) uint8 of a row of the table; None = no pictures are wanted.
        row: Which row.

    Returns:
        The picture as a data address, and why there is none; both empty where none is wanted.

    Example:
        >>> pictured(lambda row: np.zeros((8, 8, 3), np.uint8), 0)[0][:23]
        'data:image/jpeg;base64,'

    References:
        Our own.
    """
    if pixels is None:
        return "", ""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(thumbnail(pixels(row))).decode(), ""
    except (OSError, ValueError) as problem:
        return "", str(problem)


def learning_picture(journal: Sequence[Mapping[str, Any]], best_epoch: int | None) -> str:
    """Draw losses and scores by epoch.

    Args:
        journal: Lines of ``journal.jsonl``.
        best_epoch: Epoch whose weights were kept, from 1, or None.

    Returns:
        The picture as a data address; empty where no epoch was completed.

    Example:
        >>> learning_picture([{"event": "step", "loss": 1.0}], None)
        ''

    References:
        Our own.
    """
    if not any(line.get("event") == "epoch" for line in journal):
        return ""
    # matplotlib takes a third of a second to import; only a page needs it.
    from eyeground.evaluate.plots import learning_curves

    return embedded(learning_curves(journal, best_epoch))


def how_intervals(*, patients_known: bool, patients: int, resamples: int, seed: int) -> str:
    """Say how intervals were made.

    Args:
        patients_known: Whether patients are real groups.
        patients: Number of patients.
        resamples: Number of bootstrap resamples.
        seed: Their seed.

    Returns:
        A sentence.

    Example:
        >>> how_intervals(patients_known=True, patients=9, resamples=2000, seed=0)
        'Intervals: 95%, percentile bootstrap over patients, 2,000 resamples, seed 0.'

    References:
        Our own.
    """
    if patients < 2:
        return "No intervals: all images are of one patient."
    unit = "patients" if patients_known else "images (patients are not known)"
    return f"Intervals: 95%, percentile bootstrap over {unit}, {resamples:,} resamples, seed {seed}."


def limits_of(*, patients_known: bool, patients: int) -> list[str]:
    """Say what any reader must not conclude, whatever was measured.

    Args:
        patients_known: Whether patients are real groups.
        patients: Number of patients.

    Returns:
        Parts of a sentence, to be joined by semicolons.

    Example:
        >>> len(limits_of(patients_known=True, patients=300)), limits_of(patients_known=True, patients=7)[1]
        (1, 'with 7 patients the intervals are rough')

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 14.
    """
    points = ["they hold for patients, cameras and graders like these and say nothing about others"]
    if not patients_known:
        points.append(
            "patients are not known, so the intervals count images and are too narrow if patients have several"
        )
    elif patients < 2:
        points.append("all images are of one patient, so there is no interval at all")
    elif patients < FEW_PATIENTS:
        points.append(f"with {patients} patients the intervals are rough")
    return points


def in_words(estimate: Estimate, *, digits: int = 3, unit: str = "") -> str:
    """Write a value with its interval inside a sentence.

    Args:
        estimate: The value, defined.
        digits: Digits after the point.
        unit: Unit, ``""`` for a pure number.

    Returns:
        Such as ``2.31 mmHg (95% interval 2.10 to 2.52)``.

    Example:
        >>> in_words(Estimate(-2.314, -2.1, -2.52), digits=2, unit="mmHg")
        '−2.31 mmHg (95% interval −2.10 to −2.52)'

    References:
        Our own.
    """
    value, low, high = (
        decimal(number, digits).replace("-", "−") for number in (estimate.value, estimate.low, estimate.high)
    )
    text = f"{value} {unit}".strip()
    return f"{text} (95% interval {low} to {high})" if estimate.has_interval else text
