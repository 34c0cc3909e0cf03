"""Runs of ours beside the published rows of the same public sets: one table, no cell that was not run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import resampled
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.published import Published, published
from eyeground.evaluate.wording import decimal, with_interval

# Our metric -> column of profile ``retfound2025``, under which the studies print the same number.
METRICS = {
    "auroc_macro": "roc_auc",
    "ap_macro": "average_precision",
    "accuracy": "accuracy",
    "f1_macro": "f1",
    "kappa": "kappa",
}
OCT_METRICS = ("auc_roc", "auc_pr", "acc", "sensitivity", "specificity", "precision", "f1", "mcc")
PADDLE, OCT = "Paddle study", "OCT study"
DONE, NOT_RUN = "done", "not run"
# Why even a run by the recipe does not stand beside the OCT study's rows.
OCT_CAVEAT = "the OCT study has weights and a recipe of its own, and does not say on how many images it tested"


@dataclass(frozen=True)
class Rerun:
    """A run of ours on a public set, as far as it has come.

    Args:
        dataset: Name of the set on the shelf ``data.datasets``.
        engine: Framework it was trained in.
        state: ``"done"``, or why there are no numbers.
        run: Its folder, as a path from the table's.
        test_images: How many images it was measured on; None before that.
        scores: Metric of ``METRICS`` -> estimate; empty unless done.
        oct_scores: Metric of ``OCT_METRICS`` -> estimate; empty where there is nothing to compare with.
        differences: What keeps its numbers from standing beside the published ones, a few words each.

    Example:
        >>> Rerun("octid", "torch").state
        'not run'

    References:
        Our own.
    """

    dataset: str
    engine: str
    state: str = NOT_RUN
    run: str = ""
    test_images: int | None = None
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    oct_scores: Mapping[str, Estimate] = field(default_factory=dict)
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One side of the comparison on one set, ready to be shown.

    Args:
        title: Whose numbers they are.
        state: ``"published"``, ``"done"``, or why there are none.
        test_images: How many images they were measured on; None where nobody says.
        scores: Metric -> estimate; empty where there are no numbers.
        remark: What keeps them from standing beside the others.
        run: Folder of our run, as a path from the table's.

    Example:
        >>> Column("ours, torch", "not run").scores
        {}

    References:
        Our own.
    """

    title: str
    state: str
    test_images: int | None = None
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    remark: str = ""
    run: str = ""


@dataclass(frozen=True)
class Reproduction:
    """All of it: sets, frameworks, and what was run.

    Args:
        sets: Name of each set on the shelf -> its title, in the order to show them.
        engines: The frameworks that have a column.
        reruns: What was run, or tried.

    Example:
        >>> found = Reproduction({"octid": "OCTID"}, ("torch",), ())
        >>> [column.state for column in found.columns("octid")]
        ['published', 'published', 'not run']

    References:
        Our own.
    """

    sets: Mapping[str, str]
    engines: tuple[str, ...]
    reruns: tuple[Rerun, ...]

    @property
    def titles(self) -> tuple[str, ...]:
        """Heads of the columns that ``columns`` gives for any set."""
        return tuple(column.title for column in self.columns(""))

    def rerun(self, dataset: str, engine: str) -> Rerun:
        """Give what was run on a set in a framework.

        Args:
            dataset: Name of the set.
            engine: The framework.

        Returns:
            The run, or one that says ``"not run"``.
        """
        found = (each for each in self.reruns if (each.dataset, each.engine) == (dataset, engine))
        return next(found, Rerun(dataset, engine))

    def columns(self, dataset: str) -> tuple[Column, ...]:
        """Lay a set's published rows and ours side by side.

        Args:
            dataset: Name of the set.

        Returns:
            The published torch row, the published Paddle port's, then a column per framework of ours.
        """
        rows = {_short(row): row for row in published(dataset) if row.study == PADDLE}
        theirs = [_theirs(name, rows.get(name)) for name in ("torch", "Paddle port")]
        expected = next((row.test_images for row in rows.values()), None)
        ours = [self.rerun(dataset, engine) for engine in self.engines]
        return (*theirs, *(_ours(each, each.scores, remark(each, expected)) for each in ours))

    def oct_columns(self, dataset: str) -> tuple[Column, ...]:
        """Lay the OCT study's rows and ours one below the other, by its own conventions.

        Args:
            dataset: Name of the set.

        Returns:
            Its rows, then ours, with what they are worth beside them; none for a set that it does not have.
        """
        rows = [row for row in published(dataset) if row.study == OCT]
        theirs = [_theirs(row.system, row) for row in rows]
        ours = [self.rerun(dataset, engine) for engine in self.engines]
        return (*theirs, *(_ours(each, each.oct_scores, _oct_remark(each)) for each in ours)) if rows else ()

    def rows(self) -> list[dict[str, Any]]:
        """List every number once, ours and theirs.

        Returns:
            Plain values, None where there is no number; ``state`` then says why.
        """
        lines = []
        for name in self.sets:
            for study, profile, columns, metrics in (
                (PADDLE, "retfound2025", self.columns(name), tuple(METRICS)),
                (OCT, "retfound2023", self.oct_columns(name), OCT_METRICS),
            ):
                for column in columns:
                    if column.state == "nothing published":
                        continue
                    ours = column.state != "published"
                    lines += [
                        {
                            "set": name,
                            "study": "ours" if ours else study,
                            "system": column.title.partition(", ")[2] if study == PADDLE or ours else column.title,
                            "profile": profile,
                            "metric": metric,
                            **_plain(column.scores.get(metric, Estimate(math.nan))),
                            "test_images": column.test_images,
                            "seeds": 1 if column.scores else None,
                            "state": column.state,
                            "not_comparable": column.remark,
                            "run": column.run,
                        }
                        for metric in metrics
                    ]
        return lines


def remark(rerun: Rerun, expected: int | None) -> str:
    """Say what keeps a run of ours from standing beside the published rows.

    Args:
        rerun: The run.
        expected: How many test images the published rows were measured on; None where nothing is published.

    Returns:
        A sentence; empty where nothing does.

    Example:
        >>> remark(Rerun("octid", "torch", "done", test_images=170, differences=("epochs 2, not 50",)), 174)
        'not comparable: epochs 2, not 50; other test images: 170, published 174'

    References:
        Our own.
    """
    words = [f"not comparable: {'; '.join(rerun.differences)}"] if rerun.differences else []
    if expected is not None and rerun.test_images not in (None, expected):
        words.append(f"other test images: {rerun.test_images}, published {expected}")
    return "; ".join(words)


def by_oct_study(predictions: Predictions, *, resamples: int) -> dict[str, Estimate]:
    """Measure predictions as the OCT study's table does: profile ``retfound2023``.

    Args:
        predictions: The prediction table, with class 0 as the healthy one.
        resamples: Bootstrap resamples of the intervals.

    Returns:
        Metric of ``OCT_METRICS`` -> estimate.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "hole"), False,
        ...                     True, ("",) * 4)
        >>> by_oct_study(table, resamples=50)["sensitivity"].value
        0.5

    References:
        Zhou et al., Nature 2023;622:156, and its published code of 2023, which the OCT study used.
    """
    known = predictions.select(predictions.labelled)
    profile = ["retfound2023"]

    def measure(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return resampled.measured(known, profile, weights)

    found = estimates(
        measure(np.ones((1, len(known))))[0],
        bootstrap(measure, known.patients, resamples=resamples),
        resampled.reasons(known, profile),
        len(set(known.patients)),
    )
    return {metric: each for (_, metric), each in zip(resampled.keys(profile), found, strict=True)}


def sentences(found: Reproduction) -> list[str]:
    """Say in plain words what the table shows.

    Args:
        found: What was run.

    Returns:
        A sentence for each set and framework, by rule.

    Example:
        >>> sentences(Reproduction({"octid": "OCTID"}, ("torch",), ()))
        ['OCTID, torch: not run.']

    References:
        Our own.
    """
    told = []
    for name, title in found.sets.items():
        theirs, *columns = (column for column in found.columns(name) if column.title != "published, Paddle port")
        for column in columns:
            head, score = f"{title}, {column.title.partition(', ')[2]}", column.scores.get("auroc_macro")
            known = theirs.scores.get("auroc_macro")
            if score is None:
                told.append(f"{head}: {column.state}.")
            elif column.remark:
                told.append(f"{head}: done otherwise than the published rows; its numbers do not stand beside theirs.")
            elif known is None or not score.defined:
                told.append(f"{head}: done; {score.reason or 'nothing is published to stand beside it'}.")
            else:
                place = "inside" if score.low <= known.value <= score.high else "outside"
                told.append(
                    f"{head}: macro AUROC {with_interval(score.value, score.low, score.high, 4)}; the published torch "
                    f"value, {decimal(known.value, 4)}, lies {place} this interval."
                )
    return told


def limits() -> tuple[str, ...]:
    """Say how far the numbers carry.

    Returns:
        Plain sentences.

    Example:
        >>> limits()[0]
        'The published rows are one seed each and have no intervals.'

    References:
        BUAAzxy/2025BUAA_AIFramework_homework: run.sh, and the logs in output_dir/ and torch_results/.
    """
    return (
        "The published rows are one seed each and have no intervals.",
        "Ours are one seed each, too. Their 95% intervals (bootstrap over patients, over images where patients are not "
        "known) cover which test images happened to be drawn, not what another seed would have given.",
        "The published Paddle port kept its learning rate at 5e-4 throughout, because its schedule never reached the "
        "optimizer; our runs in every framework warm up and decay as the published torch runs did.",
    )


def _short(row: Published) -> str:
    """What was trained in: the last word of ``"RETFound_mae_meh, Paddle port"``."""
    return row.system.rpartition(", ")[2]


def _theirs(title: str, row: Published | None) -> Column:
    """A published row as a column."""
    head = title if row is not None and row.study == OCT else f"published, {title}"
    if row is None:
        return Column(head, "nothing published")
    names = OCT_METRICS if row.study == OCT else METRICS.values()
    values = [row.values[name] for name in names]
    scores = {
        metric: Estimate(math.nan if value is None else value, reason="" if value is not None else "printed as nan")
        for metric, value in zip(OCT_METRICS if row.study == OCT else METRICS, values, strict=True)
    }
    return Column(head, "published", row.test_images, scores)


def _ours(rerun: Rerun, scores: Mapping[str, Estimate], remark: str) -> Column:
    """A run of ours as a column; without numbers unless it is done."""
    head = f"ours, {rerun.engine}"
    if rerun.state != DONE:
        return Column(head, rerun.state, remark=remark, run=rerun.run)
    state = DONE if scores else "its classes are not the study's"
    return Column(head, state, rerun.test_images, scores, remark, rerun.run)


def _oct_remark(rerun: Rerun) -> str:
    """What keeps a run of ours from standing beside the OCT study's rows; its caveat wherever there are numbers."""
    caveat = (OCT_CAVEAT,) if rerun.oct_scores and rerun.state == DONE else ()
    return remark(replace(rerun, differences=(*rerun.differences, *caveat)), None)


def _plain(estimate: Estimate) -> dict[str, Any]:
    """A number, its interval and the reason for what is missing, as plain values."""
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (each if math.isfinite(each) else None for each in ends)
    return {"value": value, "low": low, "high": high, "reason": estimate.reason}
