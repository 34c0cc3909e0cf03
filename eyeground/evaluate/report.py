"""The evaluation report: one HTML file that needs nothing else, reads on a screen and prints on A4."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import curves
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.mistakes import most_confident
from eyeground.evaluate.narrative import FEW_IMAGES, sentences
from eyeground.evaluate.page import environment, style
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.run_page import embedded, learning_picture, pictured
from eyeground.evaluate.scorecard import CLASS_COLUMNS, Scorecard
from eyeground.evaluate.wording import counted, titled

_TEMPLATE = "report.jinja.html"
_SECTIONS = [
    ("data", "Data"),
    ("classes", "Per class"),
    ("confusion", "Confusion"),
    ("calibration", "Calibration"),
    ("subgroups", "Subgroups"),
    ("mistakes", "Mistakes"),
]


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """What a report says about the run besides its predictions.

    Args:
        run: Name of the run.
        date: When it was made, ISO 8601 with time zone.
        command: The command line that makes it again.
        weights_sha: SHA-256 of the weights, hexadecimal.
        data_fingerprint: Fingerprint of the data set, hexadecimal.
        counts: Split -> class -> number of images.
        sources: Data source -> split -> number of images; empty for a single source.
        patients: Split -> number of patients.
        notes: What the data doctor found and what was left out, one sentence each.
        weights_report: State (loaded, resized, new, missing, unexpected) -> keys, from loading the pre-trained weights.
        config_yaml: The full configuration.
        best_epoch: Epoch whose weights were kept, from 1.
        seconds: Wall time of training.
        device: What it was trained on.
        precision: Number format of training.

    Example:
        >>> ReportFacts(run="odir3", date="2026-12-01T09:30+08:00").command
        ''

    References:
        Our own.
    """

    run: str
    date: str
    command: str = ""
    weights_sha: str = ""
    data_fingerprint: str = ""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    patients: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    weights_report: Mapping[str, Sequence[str]] = field(default_factory=dict)
    config_yaml: str = ""
    best_epoch: int | None = None
    seconds: float | None = None
    device: str = ""
    precision: str = ""


def render(
    *,
    title: str,
    predictions: Predictions,
    scorecard: Scorecard,
    facts: ReportFacts,
    learning: Sequence[Mapping[str, Any]] = (),
    pixels: Callable[[int], NDArray[np.uint8]] | None = None,
) -> str:
    """Write the report.

    Every name from outside is escaped and stripped of invisible characters. A section with nothing to show says so.

    Args:
        title: Heading, such as the run's name.
        predictions: The prediction table.
        scorecard: The scorecard of the same table.
        facts: What else is known about the run.
        learning: Lines of ``journal.jsonl``; none for data never seen in training.
        pixels: Gives the pixels (H, W, 3) uint8 of a row of the table, for the pictures of mistakes. When it raises
            OSError or ValueError the report says that this picture cannot be shown. None leaves pictures out.

    Returns:
        HTML text, self-contained: no script, nothing fetched.

    Example:
        >>> from eyeground.evaluate.scorecard import scorecard
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "<b>"), False,
        ...                     True, ("",) * 4)
        >>> page = render(title="demo", predictions=table, scorecard=scorecard(table, resamples=20),
        ...               facts=ReportFacts("demo", "2026-12-01"))
        >>> "&lt;b&gt;" in page, "<script" in page
        (True, False)

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    # matplotlib takes a third of a second to import; only a report needs it.
    from eyeground.evaluate import plots
    from eyeground.evaluate.drawing import class_colors

    known = predictions.select(predictions.labelled)
    page = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            css=style(),
            title=title,
            facts=facts,
            sections=_SECTIONS,
            card=scorecard,
            colors=class_colors(len(known.classes), known.ordered),
            big=_big(scorecard),
            small=_small(scorecard),
            says=sentences(predictions, scorecard),
            data=_data(facts, known),
            class_columns=tuple(CLASS_COLUMNS),
            few=FEW_IMAGES,
            confusion=embedded(plots.confusion_matrix(scorecard.confusion, known.classes)),
            curves=_curves(known, scorecard),
            reliability=embedded(
                plots.reliability_diagram(curves.reliability(known.truth, known.scores, known.patients))
            ),
            forest=embedded(plots.forest(scorecard.subgroups, scorecard.headline["auroc_macro_present"], scorecard.n))
            if scorecard.subgroups
            else "",
            hollow=any(
                group.scores["auroc_macro_present"].defined and not group.scores["auroc_macro"].defined
                for group in scorecard.subgroups
            ),
            mistakes=_mistakes(predictions, pixels),
            wrong=int((known.said != known.truth).sum()),
            pictures=pixels is not None,
            learning=learning_picture(learning, facts.best_epoch),
            metrics_note=_partial(scorecard),
            certain=any(
                estimate.has_interval and estimate.low == estimate.high
                for scores in (
                    scorecard.headline,
                    *[line.scores for line in scorecard.per_class],
                    *[group.scores for group in scorecard.subgroups],
                )
                for estimate in scores.values()
            ),
        )
    )
    return page + "\n"


def _big(card: Scorecard) -> list[tuple[str, Estimate, int, str, Estimate | None]]:
    """The four headline numbers, each with the mean over the classes present, for where a class is absent."""
    agreement = "kappa_quadratic" if card.ordered else "kappa"
    names = ("auroc_macro", "f1_macro", agreement, "ece")
    return [(titled(name), card.headline[name], 3, "", card.headline.get(f"{name}_present")) for name in names]


def _small(card: Scorecard) -> list[tuple[str, Estimate, int, str]]:
    """The other numbers; a macro average that is undefined gives way, marked, to the mean over the classes present."""
    taken = {"auroc_macro", "f1_macro", "ece", "kappa", "kappa_quadratic"} - ({"kappa"} if card.ordered else set())
    rows = []
    for name, estimate in card.headline.items():
        if name in taken or name.endswith("_present"):
            continue
        part = card.headline.get(f"{name}_present")
        if not estimate.defined and part is not None and part.defined:
            rows.append((f"{titled(name)} *", part, 3, ""))
        else:
            rows.append((titled(name), estimate, 3, ""))
    return rows


def _data(facts: ReportFacts, known: Predictions) -> dict[str, Any]:
    """The table of images per class and split; without counts from the run, those of the evaluated images."""
    counts = facts.counts or {
        "evaluated": dict(
            zip(known.classes, np.bincount(known.truth, minlength=len(known.classes)).tolist(), strict=True)
        )
    }
    patients = facts.patients or ({"evaluated": len(set(known.patients))} if known.patients_known else {})
    names = list(dict.fromkeys([*known.classes, *(name for split in counts.values() for name in split)]))
    return {
        "splits": list(counts),
        "rows": [(name, [split.get(name, 0) for split in counts.values()]) for name in names],
        "totals": [sum(split.values()) for split in counts.values()],
        "patients": [patients.get(split) for split in counts] if patients else [],
        "sources": [(name, [split.get(key, 0) for key in counts]) for name, split in facts.sources.items()],
    }


def _curves(known: Predictions, card: Scorecard) -> tuple[str, str]:
    """ROC and precision-recall small multiples."""
    from eyeground.evaluate import plots

    rows = [(known.truth == label, known.scores[:, label]) for label in range(len(known.classes))]
    areas = {name: [line.scores[name] for line in card.per_class] for name in ("auroc", "ap")}
    roc = [curves.roc(positive, score, known.patients) for positive, score in rows]
    found = [curves.precision_recall(positive, score, known.patients) for positive, score in rows]
    prevalence = [line.n / card.n for line in card.per_class]
    return (
        embedded(plots.roc_curves(roc, known.classes, areas["auroc"], ordered=known.ordered)),
        embedded(plots.precision_recall_curves(found, known.classes, areas["ap"], prevalence, ordered=known.ordered)),
    )


def _mistakes(predictions: Predictions, pixels: Callable[[int], NDArray[np.uint8]] | None) -> list[dict[str, Any]]:
    """The surest wrong answers with their pictures."""
    answers = []
    for wrong in most_confident(predictions):
        picture, reason = pictured(pixels, wrong.row)
        answers.append({"wrong": wrong, "picture": picture, "reason": reason})
    return answers


def _partial(card: Scorecard) -> str:
    """How the intervals were made."""
    if card.patients < 2:
        return "No intervals: all images are of one patient."
    unit = "patients" if card.patients_known else "images (patients are not known)"
    text = f"Intervals: 95%, percentile bootstrap over {unit}, {card.resamples:,} resamples, seed {card.seed}."
    if card.partial_resamples:
        text += (
            f" In {counted(card.partial_resamples, 'resample')} a class of the data was not drawn;"
            " macro averages run over the other classes there."
        )
    return text
