"""What the numbers say, in three plain sentences with their limits: made from facts, by rule, never by a model."""

import math

import numpy as np

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.scorecard import ClassScores, Scorecard
from eyeground.evaluate.wording import counted, decimal, listed

# A class with fewer images than this has an interval so wide that its number should not be quoted.
FEW_IMAGES = 20

# With fewer groups than this a percentile interval is too narrow (Efron & Tibshirani 1993, chapter 14).
FEW_PATIENTS = 20


def sentences(predictions: Predictions, card: Scorecard) -> tuple[str, str, str]:
    """Say how well the model does, where it does worst, and what the numbers cannot tell.

    Args:
        predictions: The prediction table.
        card: The scorecard of the same table.

    Returns:
        Three sentences in plain English.

    Example:
        >>> from eyeground.evaluate.scorecard import scorecard
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> sentences(table, scorecard(table, resamples=50))[1]
        "It misses 'cataract' most often, finding 1 of 2 images, 50% (95% interval 0 to 100%), and takes the missed
        image for 'normal'."

    References:
        Our own.
    """
    return _whole(card), _weakest(card), _limits(predictions, card)


def _whole(card: Scorecard) -> str:
    """How well it does on all classes together."""
    people = f" of {counted(card.patients, 'patient')}" if card.patients_known else ""
    start = f"On {counted(card.n, 'labelled image')}{people}, the model "
    area, part, right = (card.headline[name] for name in ("auroc_macro", "auroc_macro_present", "accuracy"))
    names = f"names the right class of {_percent(right, ' of the images')}"
    if area.defined:
        tells = f"tells the {len(card.classes)} classes apart with a macro AUROC of {_decimal(area)}"
        return f"{start}{tells} and {names}."
    if part.defined:
        tells = f"tells the classes that occur apart with a mean AUROC of {_decimal(part)}"
        return (
            f"{start}{tells} and {names}; there is no macro AUROC over all {len(card.classes)}, because {area.reason}."
        )
    return f"{start}{names}; there is no AUROC, because {area.reason}."


def _weakest(card: Scorecard) -> str:
    """Which class is found least, and what it is taken for."""
    present = [(place, line) for place, line in enumerate(card.per_class) if line.n]
    if len(present) == 1:
        only = listed([present[0][1].name])
        return f"Only one class occurs, {only}, so nothing can be said about telling it from others."

    def found(entry: tuple[int, ClassScores]) -> float:
        return entry[1].scores["sensitivity"].value

    place, worst = min(present, key=found)
    best_place, best = max(present, key=found)
    hits, missed = int(card.confusion[place, place]), card.confusion[place].copy()
    missed[place] = 0
    if not missed.any():
        return "Every image of every class is named correctly, which on real photographs asks for a search for leakage."
    other = int(missed.argmax())
    total, taken = int(missed.sum()), int(missed[other])
    if total == 1:
        confused = f"takes the missed image for {listed([card.classes[other]])}"
    elif taken == total:
        confused = f"takes all {total} missed images for {listed([card.classes[other]])}"
    else:
        confused = f"takes {taken} of the {total} missed images for {listed([card.classes[other]])}"
    share = _percent(worst.scores["sensitivity"])
    text = f"It misses {listed([worst.name])} most often, finding {hits} of {counted(worst.n, 'image')}, {share}"
    text = f"{text}, and {confused}"
    if len(present) > 2 and best_place != place:
        text += f"; it misses {listed([best.name])} least, finding {_percent(best.scores['sensitivity'])}"
    return f"{text}."


def _limits(predictions: Predictions, card: Scorecard) -> str:
    """What the reader must not conclude."""
    points = ["they hold for patients, cameras and graders like these and say nothing about others"]
    if not card.patients_known:
        points.append(
            "patients are not known, so the intervals count images and are too narrow if patients have several"
        )
    elif card.patients < 2:
        points.append("all images are of one patient, so there is no interval at all")
    elif card.patients < FEW_PATIENTS:
        points.append(f"with {card.patients} patients the intervals are rough")
    absent = [line.name for line in card.per_class if line.n == 0]
    few = [line.name for line in card.per_class if 0 < line.n < FEW_IMAGES]
    if absent:
        points.append(f"class {listed(absent)} never occurs and is untested")
    if few:
        points.append(f"fewer than {FEW_IMAGES} images show {listed(few, most=3)}")
    points += _calibration(predictions, card)
    return f"Limits of these numbers: {'; '.join(points)}."


def _calibration(predictions: Predictions, card: Scorecard) -> list[str]:
    """Whether scores can be read as probabilities."""
    gap = card.headline["ece"]
    if not gap.defined or (gap.low if gap.has_interval else gap.value) < 0.05:
        return []
    known = predictions.labelled
    sure = predictions.scores[known].max(axis=1).mean()
    right = float(np.mean(predictions.said[known] == predictions.truth[known]))
    lean = "high" if sure > right else "low"
    size = f"calibration error {decimal(gap.value)}"
    return [f"scores must not be read as probabilities, being too {lean} on average ({size})"]


def _decimal(estimate: Estimate) -> str:
    """A value with its interval in words."""
    if not estimate.has_interval:
        return decimal(estimate.value)
    return f"{decimal(estimate.value)} (95% interval {decimal(estimate.low)} to {decimal(estimate.high)})"


def _percent(estimate: Estimate, of: str = "") -> str:
    """A share with its interval in words."""
    if not math.isfinite(estimate.value):
        return f"an unknown share{of}"
    if not estimate.has_interval:
        return f"{100 * estimate.value:.0f}%{of}"
    return f"{100 * estimate.value:.0f}%{of} (95% interval {100 * estimate.low:.0f} to {100 * estimate.high:.0f}%)"
