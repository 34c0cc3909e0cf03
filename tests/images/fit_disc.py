"""Fit the weights in `disc.py`: `EYEGROUND_REALDATA=... python -m tests.images.fit_disc` (1 minute).

Nobody marked the discs. Known is the eye, and so the side the disc is on; which of the places on that side it is, the
fit finds out (multiple-instance logistic regression). Photographs are used once more with all but a part without the
disc blackened, as examples of "nowhere". Used is half of fundus-odir3, chosen by a hash of the patient; the other half
is for measuring.
"""

import csv
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

from eyeground.images.disc import EVIDENCE, Candidates, candidates
from eyeground.images.flat_field import RADIUS_PX, FlatField, flatten

_DOUBT = 0.03  # part of the photographs that may be labelled with the wrong eye
_NOWHERE_COUNTS = 0.07  # for the blackened ones, against 1 for the others
_RIDGE = 2.0


def is_for_tuning(group: str) -> bool:
    """Say whether a patient is in the half that may be tuned on."""
    return hashlib.sha256(group.encode()).digest()[0] % 2 == 0


def main() -> None:
    """Fit twice: the first fit says which discs to hide from the second."""
    folder = Path(os.environ["EYEGROUND_REALDATA"]) / "fundus-odir3"
    with (folder / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if is_for_tuning(row["group"])]
    seen, right = [], []
    pictures = []
    for row in rows:
        pixels = np.asarray(Image.open(folder / "images" / row["file"]).convert("RGB"))
        flat = flatten(pixels)
        if flat is not None and len((found := candidates(flat)).x):
            pictures.append((pixels, flat))
            seen.append(found)
            right.append((found.x + 0.5 > flat.center_x) == (row["eye"] == "right"))
    stacked = np.concatenate([found.evidence for found in seen])
    mean, spread = stacked.mean(axis=0), stacked.std(axis=0)
    evidence = [(found.evidence - mean) / spread for found in seen]
    first = _fit(evidence, right, [])
    hidden = []
    for (pixels, flat), found, scaled in zip(pictures, seen, evidence, strict=True):
        blackened = _without_disc(pixels, flat, found, _chances(scaled, first)[0])
        if blackened is not None:
            hidden.append((blackened.evidence - mean) / spread)
    weights = _fit(evidence, right, hidden)
    _say(f"{len(evidence)} photographs, {len(hidden)} of them once more without their disc")
    for name, weight in zip(EVIDENCE, weights[:-1] / spread, strict=True):
        _say(f"{name:16} {weight:+.3g}")
    _say(f"{'nowhere':16} {weights[-1] + (weights[:-1] * mean / spread).sum():+.3g}")


def _say(line: str) -> None:
    """Write a line."""
    sys.stdout.write(line + "\n")


def _without_disc(
    pixels: NDArray[np.uint8], flat: FlatField, found: Candidates, chances: NDArray[np.float64]
) -> Candidates | None:
    """Black out all but a round part that the disc is not in, as a narrow camera sees the macula; None if unsure."""
    best = int(chances.argmax())
    offset = (found.x[best] - flat.center_x) / RADIUS_PX
    if chances[best] < 0.6 or abs(offset) < 0.4:
        return None
    part = 0.45 + 0.17 * ((best * 7919) % 13) / 12  # of the radius
    center_x = flat.center_x - np.sign(offset) * 0.8 * (1 - part) * RADIUS_PX
    if abs(found.x[best] - center_x) < part * RADIUS_PX + 1.5 * found.radius[best]:
        return None
    x, y = flat.to_photograph(center_x, flat.center_y)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    kept = np.hypot(columns - x, rows - y) < part * RADIUS_PX * flat.step
    narrow = flatten(np.where(kept[..., None], pixels, 0).astype(np.uint8))
    if narrow is None:
        return None
    places = candidates(narrow)
    return places if len(places.x) else None


def _chances(evidence: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Chance of each place, and of none."""
    height = np.append(evidence @ weights[:-1], weights[-1])
    chance = np.exp(height - height.max())
    chance /= chance.sum()
    return chance[:-1], float(chance[-1])


def _fit(
    evidence: list[NDArray[np.float64]], right: list[NDArray[np.bool_]], hidden: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Minimize the log loss of the side, and of "nowhere" where the disc is hidden."""

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.append(_RIDGE * weights[:-1], 0.0)
        total = 0.5 * float(slope @ weights)
        for places, good in zip(evidence, right, strict=True):
            chance, nowhere = _chances(places, weights)
            side = float(chance[good].sum()) + 0.5 * nowhere
            likely = (1 - _DOUBT) * side + _DOUBT / 2
            total -= np.log(likely)
            slope[:-1] -= (1 - _DOUBT) / likely * (places.T @ (chance * (good - side)))
            slope[-1] -= (1 - _DOUBT) / likely * nowhere * (0.5 - side)
        for places in hidden:
            chance, nowhere = _chances(places, weights)
            likely = (1 - _DOUBT) * nowhere + _DOUBT
            total -= _NOWHERE_COUNTS * np.log(likely)
            factor = _NOWHERE_COUNTS * (1 - _DOUBT) / likely
            slope[:-1] += factor * nowhere * (places.T @ chance)
            slope[-1] -= factor * nowhere * (1 - nowhere)
        return total, slope

    start = np.append(np.full(len(EVIDENCE), 0.1), 0.0)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


if __name__ == "__main__":
    main()
