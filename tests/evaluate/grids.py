"""Grids of runs drawn at random, for the tests of comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eyeground.evaluate.comparison import Cell

from .drawn import table


def grid(
    skills: Mapping[str, float],
    *,
    ways: Sequence[str] = ("probe", "finetune"),
    seeds: int = 2,
    fractions: Sequence[float] = (1.0,),
    rows: int = 80,
    **changes: Any,
) -> list[Cell]:
    """Runs on the same rows; what is hard for one is harder for all."""
    made = table(rows, 3, **changes)
    known = np.maximum(made.truth, 0)
    shared = np.random.default_rng(0).normal(size=(rows, 3))
    cells = []
    for place, (init, skill) in enumerate(skills.items()):
        for way in ways:
            for fraction in fractions:
                for seed in range(seeds):
                    rng = np.random.default_rng([place, len(way), round(1000 * fraction), seed])
                    logits = shared + rng.normal(size=(rows, 3))
                    logits[np.arange(rows), known] += skill * fraction**0.3 + (way == "finetune")
                    scores = np.exp(logits)
                    scores /= scores.sum(axis=1, keepdims=True)
                    cells.append(Cell(init, way, seed, fraction, replace(made, scores=scores)))
    return cells
