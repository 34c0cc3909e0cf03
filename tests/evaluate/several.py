"""Quantities, and several heads on the same images, drawn at random for the tests of this room."""

from dataclasses import replace
from typing import Any

import numpy as np

from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.predictions import Predictions

from .drawn import scored, table


def quantity(rows: int = 60, seed: int = 0, **changes: Any) -> Measurements:
    """A pressure with errors that two images of a patient share, and a bias of 1.5."""
    rng = np.random.default_rng(seed)
    person = np.arange(rows) // 2
    truth = rng.gamma(9, 1.8, rows)[person] + rng.normal(0, 1, rows)
    same = table(rows, 2)
    made = Measurements(
        files=same.files,
        patients=same.patients,
        eyes=same.eyes,
        sites=same.sites,
        cameras=same.cameras,
        truth=truth,
        said=truth + 1.5 + rng.normal(0, 2, rows)[person] + rng.normal(0, 1, rows),
        name="IOP",
        unit="mmHg",
        patients_known=True,
        quality=same.quality,
    )
    return replace(made, **changes)


def yes_no(rows: int = 60, seed: int = 0, missing: float = 0.0, skill: float = 1.5, **changes: Any) -> Predictions:
    """A yes/no head; some labels are not known."""
    truth, scores = scored(rows, 2, seed, skill=skill)
    truth = np.where(np.random.default_rng(seed + 1).random(rows) < missing, -1, truth)
    return table(rows, 2, **{"truth": truth, "scores": scores, "classes": ("no", "yes"), **changes})


def grades(rows: int = 60, seed: int = 0, **changes: Any) -> Predictions:
    """A head of four grades."""
    truth, scores = scored(rows, 4, seed)
    return table(rows, 4, **{"truth": truth, "scores": scores, "classes": ("0", "1", "2", "3"), "ordered": True,
                             **changes})  # fmt: skip
