"""Prediction tables drawn at random, for the tests of this room."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.predictions import Predictions


def scored(
    rows: int, classes: int, seed: int = 0, digits: int | None = None, skill: float = 1.5
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Truth and scores; few digits make many ties."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), truth] += skill
    scores = np.exp(logits)
    scores /= scores.sum(axis=1, keepdims=True)
    if digits is not None:  # ties everywhere; the first column takes up what rounding left
        scores[:, 1:] = np.floor(scores[:, 1:] * 10**digits) / 10**digits
        scores[:, 0] = 1 - scores[:, 1:].sum(axis=1)
    return truth, scores


def table(rows: int = 60, count: int = 3, seed: int = 0, **changes: Any) -> Predictions:
    """A whole table with two images per patient."""
    truth, scores = scored(rows, count, seed)
    drawn = Predictions(
        files=tuple(f"images/{row}.png" for row in range(rows)),
        patients=tuple(f"p{row // 2}" for row in range(rows)),
        eyes=("OD", "OS") * (rows // 2) + ("OD",) * (rows % 2),
        sites=("",) * rows,
        cameras=("",) * rows,
        truth=truth,
        scores=scores,
        classes=("normal", "cataract", "glaucoma", "drusen", "myopia", "occlusion", "haze")[:count],
        ordered=False,
        patients_known=True,
        quality=("good",) * rows,
    )
    return replace(drawn, **changes)
