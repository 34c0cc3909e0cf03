"""The overview of several heads: one HTML file that needs nothing else and leads to the report of each head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eyeground.data.task import Kind
from eyeground.evaluate.agreement import digits_for
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.head import COLUMNS
from eyeground.evaluate.heads import MEANS, HeadsSummary
from eyeground.evaluate.multilabel import METRICS
from eyeground.evaluate.narrative import FEW_IMAGES
from eyeground.evaluate.page import environment, style
from eyeground.evaluate.report import ReportFacts
from eyeground.evaluate.run_page import embedded, how_intervals, in_words, learning_picture, limits_of
from eyeground.evaluate.wording import counted, listed, shown, titled

_TEMPLATE = "heads.jinja.html"
_NONE = Estimate(float("nan"))
_BIG = 4  # numbers in the first box

_KINDS: Mapping[Kind, str] = {
    "yes_no": "Yes or no",
    "grades": "Grades",
    "classes": "Classes",
    "quantity": "Quantities",
}
_TITLES = {
    "exact_match": "Exact match",
    "hamming_loss": "Hamming loss",
    "f1_micro": "Micro F1",
    "lrap": "Label ranking AP",
    "kappa_quadratic": "QW kappa",
    "balanced_accuracy": "Bal. accuracy",
    "ece": "ECE",
    "pearson": "Pearson",
}


@dataclass(frozen=True)
class LabelCount:
    """How many images of a split have a head's label.

    Args:
        known: Images whose label is known.
        missing: Images whose label is not known.
        positives: Images that are "yes"; None for other kinds of heads.

    Example:
        >>> LabelCount(known=90, missing=10, positives=12).known
        90

    References:
        Our own.
    """

    known: int
    missing: int
    positives: int | None = None


def render_heads(
    *,
    title: str,
    summary: HeadsSummary,
    facts: ReportFacts,
    links: Mapping[str, str],
    labels: Mapping[str, Mapping[str, LabelCount]] | None = None,
    learning: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write the overview.

    Every name from outside is escaped and stripped of invisible characters. A section with nothing to show says so.

    Args:
        title: Heading, such as the run's name.
        summary: What was measured.
        facts: What else is known about the run; ``counts`` are not shown, since one image has a label of each head.
        links: Head -> path of its report relative to this page, not quoted, such as ``"heads/AMD/report.html"``. A head
            without one is named without a link.
        labels: Split -> head -> how many labels are known; None shows those of the evaluated images.
        learning: Lines of ``journal.jsonl``; none for data never seen in training.

    Returns:
        HTML text, self-contained: no script, nothing fetched. It links to the reports of the heads.

    Example:
        >>> import numpy as np
        >>> from eyeground.evaluate.heads import summarize_heads
        >>> from eyeground.evaluate.predictions import Predictions
        >>> p = np.array([0.1, 0.6, 0.35, 0.8])
        >>> table = Predictions(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4, np.array([0, 0, 1, 1]),
        ...                     np.stack([1 - p, p], axis=1), ("no", "yes"), False, True, ("",) * 4)
        >>> page = render_heads(title="demo", summary=summarize_heads({"<b>": table}, {}, resamples=20),
        ...                     facts=ReportFacts("demo", "2026-12-01"), links={"<b>": "heads/b/report.html"})
        >>> "&lt;b&gt;" in page, 'href="heads/b/report.html"' in page, "<script" in page
        (True, True, False)

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    # matplotlib takes a third of a second to import; only a page needs it.
    from eyeground.evaluate import heads_plots as plots

    filled = environment()
    filled.filters.update(named=_named)
    many = len(summary.together) > 0
    counts = labels or {
        "evaluated": {line.name: LabelCount(line.n, line.unlabelled, line.positives) for line in summary.heads}
    }
    sections = [("heads", "Heads"), ("labels", "Labels"), *([("together", "Seen together")] if many else [])]
    page = filled.get_template(_TEMPLATE).render(
        title=title,
        facts=facts,
        css=style(),
        found=summary,
        big=_big(summary),
        small=_small(summary),
        sections=sections,
        intervals=how_intervals(
            patients_known=summary.patients_known,
            patients=summary.patients,
            resamples=summary.resamples,
            seed=summary.seed,
        ),
        says=sentences(summary),
        links=links,
        groups=[
            (kind, words, COLUMNS[kind], lines)
            for kind, words in _KINDS.items()
            if (lines := [line for line in summary.heads if line.kind == kind])
        ],
        few=FEW_IMAGES,
        most_cells=plots.MOST_CELLS,
        dashes=_dashes(summary),
        digits=digits_for,
        forest=embedded(
            plots.auroc_forest(summary.heads, summary.headline["auroc_mean"], summary.headline["auroc_mean_present"])
        ),
        counts=counts,
        counted_heads=list(dict.fromkeys(name for heads in counts.values() for name in heads)),
        bars=embedded(
            plots.label_bars(
                {
                    split: {name: (count.positives, count.known, count.missing) for name, count in heads.items()}
                    for split, heads in counts.items()
                }
            )
        ),
        together=embedded(
            plots.together_matrix(summary.together, summary.together_of, [line.name for line in summary.heads])
        )
        if many
        else "",
        learning=learning_picture(learning, facts.best_epoch),
    )
    return page + "\n"


def sentences(summary: HeadsSummary) -> tuple[str, str, str]:
    """Say how well the heads do together, which does best and worst, and what the numbers cannot tell.

    Args:
        summary: What was measured.

    Returns:
        Three sentences in plain English.

    Example:
        >>> import numpy as np
        >>> from eyeground.evaluate.heads import summarize_heads
        >>> from eyeground.evaluate.predictions import Predictions
        >>> p = np.array([0.1, 0.6, 0.35, 0.8])
        >>> table = Predictions(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4, np.array([0, 0, 1, 1]),
        ...                     np.stack([1 - p, p], axis=1), ("no", "yes"), False, True, ("",) * 4)
        >>> sentences(summarize_heads({"AMD": table}, {}, resamples=20))[1]
        "It answers 'AMD' with an AUROC of 0.750 (95% interval 0.333 to 1.000)."

    References:
        Our own.
    """
    return _whole(summary), _extremes(summary), _limits(summary)


def _big(summary: HeadsSummary) -> list[tuple[str, Estimate, int, str, Estimate]]:
    """The first numbers: means over heads, then the exact match of labels, then R² of quantities."""
    held = {column for line in summary.heads for column in line.scores}
    names = [mean for mean, of in MEANS.items() if held & set(of)] + ["exact_match"]
    cells = [
        (_named(name), summary.headline[name], 3, "", summary.headline.get(f"{name}_present", _NONE))
        for name in names
        if name in summary.headline
    ]
    cells += [(f"R² of {line.name}", line.scores["r2"], 3, "", _NONE) for line in summary.heads if "r2" in line.scores]
    return cells[:_BIG]


def _small(summary: HeadsSummary) -> list[tuple[str, Estimate, int, str]]:
    """What labels say taken as one answer."""
    shown_above = {name for name, *_ in _big(summary)}
    cells = []
    for name in METRICS:
        if name in summary.headline and _named(name) not in shown_above and not name.endswith("_present"):
            part = summary.headline.get(f"{name}_present", _NONE)
            lacking = not summary.headline[name].defined and part.defined
            cells.append(
                (f"{_named(name)} *" if lacking else _named(name), part if lacking else summary.headline[name])
            )
    return [(title, estimate, 3, "") for title, estimate in cells]


def _named(metric: str) -> str:
    """A short title for the head of a column."""
    return _TITLES.get(metric, titled(metric))


def _dashes(summary: HeadsSummary) -> list[str]:
    """Why numbers are undefined, each reason once with the heads it belongs to."""
    told: dict[str, list[str]] = {}
    for line in summary.heads:
        for estimate in line.scores.values():
            if not estimate.defined and line.name not in told.setdefault(estimate.reason, []):
                told[estimate.reason].append(line.name)
    return [f"{listed(names)}: {reason}" for reason, names in told.items()]


def _whole(summary: HeadsSummary) -> str:
    """How well the heads do together."""
    people = f" of {counted(summary.patients, 'patient')}" if summary.patients_known else ""
    start = f"On {counted(summary.n, 'image')}{people}, {counted(len(summary.heads), 'head')} of the model"
    start += " was judged" if len(summary.heads) == 1 else " were judged"
    mean, part = summary.headline["auroc_mean"], summary.headline["auroc_mean_present"]
    ranked = sum(line.auroc is not None for line in summary.heads)
    if not ranked:
        return f"{start}, {'a quantity' if len(summary.heads) == 1 else 'all of them quantities'}."
    if mean.defined and ranked == 1:
        return f"{start}: the AUROC of the only one with classes is {in_words(mean)}."
    if mean.defined:
        over = f"the {ranked} heads" if ranked == len(summary.heads) else f"the {ranked} heads with classes"
        return f"{start}: the mean AUROC over {over} is {in_words(mean)}."
    if part.defined:
        return (
            f"{start}: there is no mean AUROC over all, because {mean.reason}; over the others it is {in_words(part)}."
        )
    return f"{start}: there is no mean AUROC, because {mean.reason}."


def _extremes(summary: HeadsSummary) -> str:
    """Which head is answered best and worst, and how far off quantities are."""
    judged = [line for line in summary.heads if line.auroc is not None and line.auroc.defined]
    judged = [line for line in judged if not line.few] or judged
    ranked = sorted(((line.name, area) for line in judged if (area := line.auroc)), key=lambda entry: entry[1].value)
    parts = []
    if len(ranked) > 1:
        (worst, low), (best, high) = ranked[0], ranked[-1]
        parts.append(f"answers {listed([best])} best, with an AUROC of {in_words(high)}")
        parts.append(f"{listed([worst])} worst, with {in_words(low)}")
    elif ranked:
        parts.append(f"answers {listed([ranked[0][0]])} with an AUROC of {in_words(ranked[0][1])}")
    for line in summary.heads:
        if line.kind == "quantity" and line.scores["mae"].defined:
            off = in_words(line.scores["mae"], digits=digits_for(line.scores["mae"].value), unit=shown(line.unit, 24))
            parts.append(f"reads {listed([line.name])} off by {off} on average")
    if not parts:
        return "No head can be judged on these images."
    return f"It {', and '.join(parts)}."


def _limits(summary: HeadsSummary) -> str:
    """What the reader must not conclude."""
    points = limits_of(patients_known=summary.patients_known, patients=summary.patients)
    lost = [line.name for line in summary.heads if not all(estimate.defined for estimate in line.scores.values())]
    few = [line.name for line in summary.heads if line.few and line.name not in lost]
    if lost:
        points.append(f"{listed(lost)} cannot be judged in full, for want of labels or of an answer that occurs")
    if few:
        points.append(f"fewer than {FEW_IMAGES} images show one of the answers to {listed(few, most=3)}")
    most = max(summary.heads, key=lambda line: line.unlabelled)
    if most.unlabelled:
        share = 100 * most.unlabelled / (most.n + most.unlabelled)
        points.append(
            f"labels are missing, most of all those of {listed([most.name])} ({share:.0f}% of images), so heads are"
            " judged on different images"
        )
    if summary.complete < summary.n / 2 and len(summary.together):
        points.append(
            f"only {counted(summary.complete, 'image')} can be judged for exact match, all labels being known"
        )
    points.append("heads are not tested against each other")
    return f"Limits of these numbers: {'; '.join(points)}."
