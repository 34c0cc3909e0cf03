"""A calibration as plain values for a file, and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eyeground.evaluate.calibrate import METRICS, Calibration, CalibrationScores, Part
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets
from eyeground.evaluate.thresholds import Positive, Threshold


def to_record(calibration: Calibration, scores: CalibrationScores) -> dict[str, Any]:
    """Write a calibration and its numbers as plain values.

    Args:
        calibration: What was learned from validation.
        scores: What it does.

    Returns:
        Plain values for strict JSON: None, never NaN. ``from_record`` reads the calibration back.

    Example:
        >>> import numpy as np
        >>> from dataclasses import replace
        >>> from eyeground.evaluate.calibrate import fit_calibration, measure_calibration
        >>> from eyeground.evaluate.predictions import Predictions
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "drusen"), False,
        ...                     True, ("",) * 4)
        >>> made = fit_calibration(table, coverage=0.5, resamples=20)
        >>> others = replace(table, files=("e", "f", "g", "h"))
        >>> told = to_record(made, measure_calibration(made, validation=table, test=others, resamples=20))
        >>> from_record(told).temperature == made.temperature, told["sets"]["coverage"]
        (True, 0.5)

    References:
        docs/run.md for the file.
    """
    sets, measured = calibration.sets, scores.sets
    return {
        "classes": list(calibration.classes),
        "ordered": calibration.ordered,
        "patients_known": scores.patients_known,
        "resamples": scores.resamples,
        "seed": scores.seed,
        "images": {"validation": scores.validation.n, "test": scores.test.n},
        "patients": {"validation": scores.validation.patients, "test": scores.test.patients},
        "temperature": calibration.temperature.to_json(),
        "scores": {"validation": _changes(scores.validation), "test": _changes(scores.test)},
        "thresholds": [
            {
                "class": each.positive.name,
                "positive": [calibration.classes[k] for k in each.positive.members],
                "column": column,
                "rule": each.rule,
                "target": each.target,
                "threshold": each.value.to_json(),
                "validation": _pair(scores.validation.thresholds[place]),
                "test": _pair(scores.test.thresholds[place]),
            }
            for place, (each, column) in enumerate(
                zip(calibration.thresholds, calibration.threshold_columns, strict=True)
            )
        ],
        "sets": {
            "coverage": sets.coverage,
            "per_class": sets.per_class,
            "quantiles": _by_class(calibration.classes, sets.quantiles),
            "test": {
                "coverage": measured.coverage.to_json(),
                "coverage_per_class": _by_class(calibration.classes, measured.class_coverage),
                "size": measured.size.to_json(),
                "alone": measured.alone.to_json(),
                "empty": measured.empty.to_json(),
                "accuracy_alone": measured.right.to_json(),
                "sizes": measured.sizes.tolist(),
            },
        },
    }


def from_record(told: Mapping[str, Any]) -> Calibration:
    """Read a calibration back.

    Args:
        told: What ``to_record`` gave.

    Returns:
        The calibration, with exactly the numbers that were written.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is of another kind than it was.
        ValueError: If a class is named that is none.

    Example:
        >>> from_record({"classes": ["a", "b"], "ordered": False, "temperature": {"value": 1.5}, "thresholds": [],
        ...              "sets": {"coverage": 0.9, "per_class": False,
        ...                       "quantiles": {"a": {"value": 0.7}, "b": {"value": None, "reason": "too few"}}}}
        ...             ).sets.quantiles[1].reason
        'too few'

    References:
        docs/run.md for the file.
    """
    classes = tuple(told["classes"])
    return Calibration(
        classes=classes,
        ordered=told["ordered"],
        temperature=_estimate(told["temperature"]),
        thresholds=tuple(
            Threshold(
                Positive(each["class"], tuple(classes.index(name) for name in each["positive"])),
                each["rule"],
                each["target"],
                _estimate(each["threshold"]),
            )
            for each in told["thresholds"]
        ),
        sets=ConformalSets(
            told["sets"]["coverage"],
            told["sets"]["per_class"],
            tuple(_estimate(told["sets"]["quantiles"][name]) for name in classes),
        ),
    )


def _estimate(told: Mapping[str, Any]) -> Estimate:
    """The other way round than ``Estimate.to_json``."""
    value, low, high = (math.nan if told.get(key) is None else float(told[key]) for key in ("value", "low", "high"))
    return Estimate(value, low, high, told.get("reason", ""))


def _changes(part: Part) -> dict[str, Any]:
    """Before, after and difference of each metric."""
    return {
        name: {
            "before": part.changes[name].before.to_json(),
            "after": part.changes[name].after.to_json(),
            "difference": part.changes[name].difference.to_json(),
        }
        for name in METRICS
    }


def _pair(found: tuple[Estimate, Estimate]) -> dict[str, Any]:
    """Sensitivity and specificity."""
    return {"sensitivity": found[0].to_json(), "specificity": found[1].to_json()}


def _by_class(classes: Sequence[str], found: Sequence[Estimate]) -> dict[str, Any]:
    """A number per class."""
    return {name: each.to_json() for name, each in zip(classes, found, strict=True)}
