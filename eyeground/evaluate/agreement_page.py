"""The report of a quantity: one HTML file that needs nothing else, in the look of the evaluation report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.agreement import TITLES, WITH_UNIT, Agreement
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.page import environment, style
from eyeground.evaluate.report import ReportFacts
from eyeground.evaluate.run_page import embedded, how_intervals, in_words, learning_picture, limits_of, pictured
from eyeground.evaluate.wording import counted, decimal, shown

_TEMPLATE = "agreement.jinja.html"
_BIG = ("mae", "bias", "r2", "icc")
_SHOWN = 12  # errors with their pictures

# With fewer images than this, two limits of agreement are hardly known.
_FEW_IMAGES = 50


def render_agreement(
    *,
    title: str,
    table: Measurements,
    agreement: Agreement,
    facts: ReportFacts,
    learning: Sequence[Mapping[str, Any]] = (),
    pixels: Callable[[int], NDArray[np.uint8]] | None = None,
) -> str:
    """Write the report.

    Every name from outside is escaped and stripped of invisible characters. A section with nothing to show says so.

    Args:
        title: Heading, such as the run's name.
        table: The table of the quantity.
        agreement: The agreement of the same table.
        facts: What else is known about the run; ``counts`` hold what the run counts, such as images by split whose
            truth is known.
        learning: Lines of ``journal.jsonl``; none for data never seen in training.
        pixels: Gives the pixels (H, W, 3) uint8 of a row of the table, for the pictures of the largest errors. When it
            raises OSError or ValueError the report says that this picture cannot be shown. None leaves pictures out.

    Returns:
        HTML text, self-contained: no script, nothing fetched.

    Example:
        >>> from eyeground.evaluate.agreement import agreement
        >>> table = Measurements(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                      np.array([10.0, 12.0, 15.0, 21.0]), np.array([11.0, 12.0, 16.0, 19.0]), "<b>", "mmHg",
        ...                      True, ("",) * 4)
        >>> page = render_agreement(title="demo", table=table, agreement=agreement(table, resamples=20),
        ...                         facts=ReportFacts("demo", "2026-12-01"))
        >>> "&lt;b&gt;" in page, "<script" in page
        (True, False)

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    # matplotlib takes a third of a second to import; only a report needs it.
    from eyeground.evaluate import agreement_plots as plots

    known = table.select(table.labelled)
    page = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            title=title,
            facts=facts,
            css=style(),
            found=agreement,
            big=[(*_cell(name, agreement), None) for name in _BIG],
            small=[_cell(name, agreement) for name in TITLES if name not in _BIG],
            sections=[("data", "Data"), ("agreement", "Agreement"), ("errors", "Largest errors")],
            intervals=how_intervals(
                patients_known=agreement.patients_known,
                patients=agreement.patients,
                resamples=agreement.resamples,
                seed=agreement.seed,
            ),
            says=sentences(table, agreement),
            splits=facts.counts,
            counted_names=list(dict.fromkeys(name for split in facts.counts.values() for name in split)),
            spread=_spread(known),
            scatter=embedded(plots.scatter(known, agreement)),
            bland_altman=embedded(plots.bland_altman(known, agreement)),
            histogram=embedded(plots.error_histogram(known, agreement)),
            errors=_errors(table, pixels),
            pictures=pixels is not None,
            learning=learning_picture(learning, facts.best_epoch),
        )
    )
    return page + "\n"


def sentences(table: Measurements, found: Agreement) -> tuple[str, str, str]:
    """Say how far off the model is, which way, and what the numbers cannot tell.

    Args:
        table: The table.
        found: Its agreement.

    Returns:
        Three sentences in plain English.

    Example:
        >>> from eyeground.evaluate.agreement import agreement
        >>> table = Measurements(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                      np.array([10.0, 12.0, 15.0, 21.0]), np.array([11.0, 12.0, 16.0, 19.0]), "IOP", "mmHg",
        ...                      True, ("",) * 4)
        >>> sentences(table, agreement(table, resamples=50))[1].partition(";")[0]
        'No bias is shown: prediction − truth is 0.00 mmHg (95% interval −1.44 to 0.94) on average'

    References:
        Our own.
    """
    return _whole(found), _direction(found), _limits(table, found)


def _cell(name: str, found: Agreement) -> tuple[str, Any, int, str]:
    """Title, estimate, digits and unit of a measure."""
    unit = found.unit if name in WITH_UNIT else ""
    return TITLES[name], found.headline[name], found.digits if name in WITH_UNIT else 3, unit


def _whole(found: Agreement) -> str:
    """How far off it is, and whether that is better than no model."""
    people = f" of {counted(found.patients, 'patient')}" if found.patients_known else ""
    off = in_words(found.headline["mae"], digits=found.digits, unit=shown(found.unit, 24))
    start = f"On {counted(found.n, 'image')}{people} whose {shown(found.name, 40)} is known, the model is off by {off}"
    explained = found.headline["r2"]
    if not explained.defined:
        return f"{start} on average; whether it does better than one guess for all cannot be said: {explained.reason}."
    if explained.value <= 0:
        return f"{start} on average, which is no better than guessing their mean for all (R² {in_words(explained)})."
    ends = f"{100 * explained.low:.0f} to {100 * explained.high:.0f}%".replace("-", "−")
    interval = f", 95% interval {ends}" if explained.has_interval else ""
    return f"{start} on average and explains {100 * explained.value:.0f}% of their spread (R²{interval})."


def _direction(found: Agreement) -> str:
    """Which way it errs, and between what limits single errors lie."""
    bias, low, high = (found.headline[name] for name in ("bias", "loa_low", "loa_high"))
    unit = shown(found.unit, 24)
    if bias.has_interval and bias.low > 0:
        text = f"It reads high by {in_words(bias, digits=found.digits, unit=unit)} on average"
    elif bias.has_interval and bias.high < 0:
        turned = Estimate(-bias.value, -bias.high, -bias.low)
        text = f"It reads low by {in_words(turned, digits=found.digits, unit=unit)} on average"
    else:
        start = "No bias is shown: prediction" if bias.has_interval else "Prediction"
        text = f"{start} − truth is {in_words(bias, digits=found.digits, unit=unit)} on average"
    if not low.defined:
        return f"{text}."
    ends = f"{decimal(low.value, found.digits)} and {decimal(high.value, found.digits)} {unit}".strip()
    return f"{text}; 95 of 100 single images are expected to be off by something between {ends}.".replace("-", "−")


def _limits(table: Measurements, found: Agreement) -> str:
    """What the reader must not conclude."""
    points = limits_of(patients_known=found.patients_known, patients=found.patients)
    truth = table.truth[table.labelled]
    ends = [decimal(float(end), found.digits).replace("-", "−") for end in (truth.min(), truth.max())]
    unit = f" {shown(found.unit, 24)}" if found.unit else ""
    points.append(f"the truth runs from {ends[0]} to {ends[1]}{unit}, and nothing is known beyond")
    if found.n < _FEW_IMAGES:
        points.append(f"{counted(found.n, 'image')} are too few for limits of agreement that can be relied on")
    points.append("R², correlations and agreement coefficients grow with the spread of the truth among the images")
    return f"Limits of these numbers: {'; '.join(points)}."


def _spread(known: Measurements) -> list[tuple[str, list[float]]]:
    """Least, quartiles, greatest, mean and standard deviation of truth and prediction."""
    return [
        (name, [*np.percentile(values, [0, 25, 50, 75, 100]).tolist(), float(values.mean()), float(values.std())])
        for name, values in (("truth", known.truth), ("predicted", known.said))
    ]


def _errors(table: Measurements, pixels: Callable[[int], NDArray[np.uint8]] | None) -> list[dict[str, Any]]:
    """The rows that are farthest off, with their pictures."""
    error = np.where(table.labelled, table.said - table.truth, 0.0)
    answers = []
    for row in np.argsort(-np.abs(error), kind="stable")[:_SHOWN].tolist():
        if error[row] != 0:
            picture, reason = pictured(pixels, row)
            answers.append(
                {
                    "file": table.files[row],
                    "eye": table.eyes[row],
                    "truth": float(table.truth[row]),
                    "said": float(table.said[row]),
                    "error": float(error[row]),
                    "picture": picture,
                    "reason": reason,
                }
            )
    return answers
