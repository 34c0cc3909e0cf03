"""The page of a calibration: one HTML file that needs nothing else, in the look of the evaluation report."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eyeground.evaluate import curves
from eyeground.evaluate.calibrate import METRICS, Calibration, CalibrationScores
from eyeground.evaluate.calibration_narrative import limits, sentences
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.narrative import FEW_IMAGES
from eyeground.evaluate.page import environment, style
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.wording import decimal

_TEMPLATE = "calibration.jinja.html"


@dataclass(frozen=True)
class CalibrationFacts:
    """What a page says about a calibration besides its numbers.

    Args:
        date: When it was made, ISO 8601 with time zone.
        command: The command line that makes it again.
        weights_sha: SHA-256 of the weights it belongs to, hexadecimal.
        files: Name of each prediction table that was read -> its SHA-256, hexadecimal.

    Example:
        >>> CalibrationFacts(date="2026-12-01T09:30+08:00").command
        ''

    References:
        Our own.
    """

    date: str
    command: str = ""
    weights_sha: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def render_calibration(
    *, title: str, calibration: Calibration, scores: CalibrationScores, test: Predictions, facts: CalibrationFacts
) -> str:
    """Write the page.

    Every name from outside is escaped and stripped of invisible characters. A section with nothing to show says so.

    Args:
        title: Heading, such as the run's name.
        calibration: What was learned from validation.
        scores: What it does.
        test: The test images it was measured on, for the pictures; scores as the network gave them.
        facts: What else is known.

    Returns:
        HTML text, self-contained: no script, nothing fetched.

    Example:
        >>> from dataclasses import replace
        >>> from eyeground.evaluate.calibrate import fit_calibration, measure_calibration
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "<b>"), False,
        ...                     True, ("",) * 4)
        >>> made = fit_calibration(table, coverage=0.5, resamples=20)
        >>> others = replace(table, files=("e", "f", "g", "h"))
        >>> found = measure_calibration(made, validation=table, test=others, resamples=20)
        >>> page = render_calibration(title="demo", calibration=made, scores=found, test=others,
        ...                           facts=CalibrationFacts("2026-12-01"))
        >>> "&lt;b&gt;" in page, "<script" in page
        (True, False)

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    # matplotlib takes a third of a second to import; only a page needs it.
    from eyeground.evaluate import calibration_plots as plots
    from eyeground.evaluate.plots import reliability_diagram

    known = test.select(test.labelled)
    counts = np.bincount(known.truth, minlength=len(known.classes)).tolist()
    sets, measured = calibration.sets, scores.sets
    filled = environment()
    filled.filters["signed"] = _signed
    page = filled.get_template(_TEMPLATE).render(
        title=title,
        facts=facts,
        css=style(),
        made=calibration,
        found=scores,
        says=sentences(calibration, scores),
        limits=limits(calibration, scores),
        big=_big(calibration, scores),
        metrics=METRICS,
        splits=(("validation", scores.validation), ("test", scores.test)),
        reliability=[
            (name, _embedded(reliability_diagram(curves.reliability(known.truth, given, known.patients))))
            for name, given in (
                ("As the network gives them", known.scores),
                ("Tempered", calibration.tempered(known.scores)),
            )
        ],
        thresholds=list(zip(calibration.thresholds, scores.validation.thresholds, scores.test.thresholds, strict=True)),
        classes=list(zip(known.classes, counts, sets.quantiles, measured.class_coverage, strict=True)),
        few=FEW_IMAGES,
        sizes=_embedded(plots.set_sizes(measured.sizes)),
        coverage=_embedded(
            plots.coverage_by_class(
                measured.coverage, measured.class_coverage, known.classes, counts, calibration.sets.coverage
            )
        ),
    )
    return page + "\n"


def _big(calibration: Calibration, scores: CalibrationScores) -> list[dict[str, Any]]:
    """The four headline numbers."""
    sets = scores.sets
    wanted = f"{100 * calibration.sets.coverage:g}% wanted"
    return [
        {"name": "Temperature", "estimate": calibration.temperature, "digits": 2, "note": ""},
        {"name": "Calibration error (ECE)", "estimate": scores.test.changes["ece"].after, "digits": 3,
         "note": f"tempered; before {decimal(scores.test.changes['ece'].before.value)}"},
        {"name": "Coverage of the sets", "estimate": sets.coverage, "digits": 3, "note": wanted},
        {"name": "Answers alone", "estimate": sets.alone, "digits": 3,
         "note": f"right in {decimal(sets.right.value)} of these" if sets.right.defined else ""},
    ]  # fmt: skip


def _signed(estimate: Estimate) -> str:
    """A difference with its interval, each with its sign."""
    if not estimate.defined:
        return "–"
    ends = f" [{estimate.low:+.3f} to {estimate.high:+.3f}]" if estimate.has_interval else ""
    return f"{estimate.value:+.3f}{ends}".replace("-", "−")


def _embedded(svg: str) -> str:
    """A picture as a data address: isolated from the page, so that neither ids nor names in it can collide."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
