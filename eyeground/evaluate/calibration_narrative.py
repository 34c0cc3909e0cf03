"""What a calibration says, in three plain sentences and a list of limits: made from facts, by rule."""

from eyeground.evaluate.calibrate import Calibration, CalibrationScores
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.narrative import FEW_IMAGES, FEW_PATIENTS
from eyeground.evaluate.wording import counted, decimal, listed


def sentences(calibration: Calibration, scores: CalibrationScores) -> tuple[str, str, str]:
    """Say what tempering does, what the thresholds keep, and how often the model may answer alone.

    Args:
        calibration: What was learned from validation.
        scores: What it does.

    Returns:
        Three sentences in plain English, all about the test images.

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
        >>> sentences(made, measure_calibration(made, validation=table, test=others, resamples=20))[1]
        'No threshold was asked for.'

    References:
        Our own.
    """
    return _tempering(calibration, scores), _thresholds(calibration, scores), _sets(calibration, scores)


def promise(calibration: Calibration) -> str:
    """Say what is promised of the sets, no more.

    Args:
        calibration: What was learned from validation.

    Returns:
        A sentence.

    Example:
        >>> from eyeground.evaluate.conformal import ConformalSets
        >>> promise(Calibration(("a", "b"), False, Estimate(1.0), (), ConformalSets(0.9, False, (Estimate(0.5),) * 2)))
        'The sets are made to hold the truth for at least 90% of images on average, over images exchangeable with the
        validation images.'

    References:
        Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005.
    """
    of = "the images of each class" if calibration.sets.per_class else "images"
    return (
        f"The sets are made to hold the truth for at least {100 * calibration.sets.coverage:g}% of {of} on average, "
        "over images exchangeable with the validation images."
    )


def limits(calibration: Calibration, scores: CalibrationScores) -> tuple[str, ...]:
    """Say what a reader must not conclude.

    Args:
        calibration: What was learned from validation.
        scores: What it does.

    Returns:
        Sentences in plain English.

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
        >>> limits(made, measure_calibration(made, validation=table, test=others, resamples=20))[-1]
        'Validation has 4 images of 4 patients: everything learned from so few is rough.'

    References:
        Our own.
    """
    told = [
        promise(calibration)
        + " Other cameras, clinics, ages or shares of disease are not exchangeable with them: measure again there.",
        "On average means over many draws of validation images: with these ones the true coverage may be somewhat lower"
        + ("." if calibration.sets.per_class else ", and it may be much lower for a single class."),
        "The temperature was fitted on the same validation images as the thresholds and the quantiles, and the best"
        " epoch was chosen on them: their own numbers flatter, and the promise is a little weaker than it reads. The"
        " numbers on test are free of this.",
    ]
    if not scores.patients_known:
        told.append("Patients are not known: if some have several images, every interval is too narrow.")
    elif scores.validation.patients < scores.validation.n:
        people = counted(scores.validation.patients, "patient")
        told.append(
            f"The {counted(scores.validation.n, 'validation image')} are of {people}: images of one patient are not"
            " independent, so the sets and thresholds rest on less than they seem to."
        )
    if calibration.thresholds:
        told.append(
            "A threshold reaches its target on validation by construction; on other images it falls below it about half"
            " of the time. For a margin, ask for more."
        )
    bare = [
        (name, each.reason)
        for name, each in zip(calibration.classes, calibration.sets.quantiles, strict=True)
        if not each.defined
    ]
    if bare:
        names = listed([name for name, _ in bare])
        told.append(f"Nothing can rule out {names}, so every set holds it: {bare[0][1]}.")
    if scores.validation.n < FEW_IMAGES or scores.validation.patients < FEW_PATIENTS:
        people = f" of {counted(scores.validation.patients, 'patient')}" if scores.patients_known else ""
        told.append(
            f"Validation has {counted(scores.validation.n, 'image')}{people}: everything learned from so few is rough."
        )
    return tuple(told)


def _tempering(calibration: Calibration, scores: CalibrationScores) -> str:
    """What the temperature does to scores."""
    found = calibration.temperature
    if found.value == 1.0:
        return f"No temperature was fitted; {found.reason}." if found.reason else "The temperature is 1: scores stay."
    how = "less" if found.value > 1 else "more"
    loss, gap = scores.test.changes["log_loss"], scores.test.changes["ece"]
    low, high = loss.difference.low, loss.difference.high
    verdict = "which is better" if high < 0 else "which is worse" if low > 0 else "which shows no difference"
    if not loss.difference.has_interval:
        verdict = "of which the difference has no interval"
    return (
        f"A temperature of {_range(found, 2)} makes the model {how} sure of itself: on test the log loss goes from "
        f"{decimal(loss.before.value)} to {decimal(loss.after.value)}, {verdict} (difference "
        f"{_range(loss.difference, join=', ')}), and the calibration error from {decimal(gap.before.value)} to "
        f"{decimal(gap.after.value)}."
    )


def _thresholds(calibration: Calibration, scores: CalibrationScores) -> str:
    """How many thresholds fall short on test of what they were chosen for, and which does most."""
    if not calibration.thresholds:
        return "No threshold was asked for."
    pairs = zip(calibration.thresholds, scores.test.thresholds, strict=True)
    found = [(each, pair[0] if each.rule == "sensitivity" else pair[1]) for each, pair in pairs]
    found = [(each, kept) for each, kept in found if kept.defined]
    if not found:
        return "No threshold could be chosen on validation and measured on test."
    # An interval of no width comes from images that all go one way, as a few may: it proves nothing.
    short = sum(kept.has_interval and kept.low < kept.high < each.target for each, kept in found)
    worst, kept = min(found, key=lambda entry: entry[1].value - entry[0].target)
    told = f"a {worst.rule} of {_percent(kept)} where {100 * worst.target:g}% was wanted"
    if len(found) == 1:
        text = f"On test, the threshold of {listed([worst.positive.words])} has {told}"
        reached = kept.value >= worst.target - 1e-12
        text += ", " + (
            "less than chance explains" if short else "which it reaches" if reached else "which may be chance"
        )
    else:
        fall = f"{short or 'none'} of {len(found)} thresholds {'falls' if short < 2 else 'fall'} short of the target"
        text = f"On test, {fall} by more than chance explains; lowest against it is {listed([worst.positive.words])}"
        text += f", with {told}"
    without = len(calibration.thresholds) - len(found)
    return f"{text}; {counted(without, 'other')} could not be chosen or measured." if without else f"{text}."


def _sets(calibration: Calibration, scores: CalibrationScores) -> str:
    """How often the model answers alone, how often it is then right, and how often sets hold the truth."""
    found = scores.sets
    right = f", and is right in {_percent(found.right)} of these" if found.right.defined else ""
    text = (
        f"The model answers alone on {_percent(found.alone)} of the test images{right}; its sets hold the truth for "
        f"{_percent(found.coverage)} of the images, where {100 * calibration.sets.coverage:g}% was wanted"
    )
    covered = [pair for pair in zip(calibration.classes, found.class_coverage, strict=True) if pair[1].defined]
    name, worst = min(covered, key=lambda pair: pair[1].value)
    if worst.value < found.coverage.value:
        text += f", and least often for {listed([name])}: {_percent(worst)}"
    return f"{text}."


def _range(estimate: Estimate, digits: int = 3, join: str = " (") -> str:
    """A value with its interval in words; within brackets the interval stands behind a comma."""
    low, high = decimal(estimate.low, digits), decimal(estimate.high, digits)
    ends = f"{join}95% interval {low} to {high}{')' if join == ' (' else ''}" if estimate.has_interval else ""
    return f"{decimal(estimate.value, digits)}{ends}".replace("-", "−")


def _percent(estimate: Estimate) -> str:
    """A share with its interval in words; one of no width, where nothing varies, is no certainty and stays unsaid."""
    low, high = f"{100 * estimate.low:.0f}", f"{100 * estimate.high:.0f}"
    ends = f" (95% interval {low} to {high}%)" if estimate.has_interval and low != high else ""
    return f"{100 * estimate.value:.0f}%{ends}"
