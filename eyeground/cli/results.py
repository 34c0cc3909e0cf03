"""A trained model and a data set -> predictions, metrics and reports, as files of a run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.atomic_file import write_whole
from eyeground.cli.console import interval_words, tell
from eyeground.cli.console import table as console_table
from eyeground.cli.dataset import Dataset
from eyeground.cli.metrics_table import replace_rows, row_of
from eyeground.cli.prediction import Predicted, Square, predict_split, write_heads
from eyeground.cli.trained import Trained
from eyeground.data.task import Task
from eyeground.data.verify import fingerprint
from eyeground.evaluate.agreement import Agreement, agreement
from eyeground.evaluate.agreement_page import render_agreement
from eyeground.evaluate.heads import HeadsSummary, summarize_heads
from eyeground.evaluate.heads_page import LabelCount, render_heads
from eyeground.evaluate.measurements import Measurements, write_measurements
from eyeground.evaluate.predictions import Predictions, write_predictions
from eyeground.evaluate.report import ReportFacts, render
from eyeground.evaluate.scorecard import Scorecard, scorecard

# What the headline and the contract show, in the order people read them.
HEADLINE = (
    "auroc_macro",
    "ap_macro",
    "f1_macro",
    "f1_weighted",
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "kappa_quadratic",
    "mcc",
    "ece",
    "brier",
)


@dataclass(frozen=True)
class Origin:
    """Where a result comes from, for the report.

    Args:
        title: Name of the result.
        command: What was typed.
        config_yaml: The whole configuration.
        weights_source: What training started from.
        weights_report: Status to keys, as loading reported them.
        best_epoch: Which epoch was chosen, from 1.
        seconds: Time spent training. Unit: s.
        notes: What a reader should know beside the data's own notes.

    References:
        Our own.
    """

    title: str
    command: str
    config_yaml: str
    weights_source: str
    weights_report: Mapping[str, Sequence[str]]
    best_epoch: int | None
    seconds: float
    notes: tuple[str, ...] = ()


def judge(
    folder: Path,
    *,
    trained: Trained,
    dataset: Dataset,
    origin: Origin,
    resamples: int,
    learning: Sequence[Mapping[str, Any]] = (),
    validation: bool = False,
) -> dict[str, Any]:
    """Predict a data set's test part and write everything that is known about the result.

    Args:
        folder: Where ``predictions.csv``, ``metrics.json``, ``metrics_test.csv`` and ``report.html`` go; of several
            heads each has these in ``heads/<name>/`` as well.
        trained: The model.
        dataset: Samples with splits.
        origin: Where the result comes from.
        resamples: Bootstrap resamples.
        learning: Journal lines, for the learning curves.
        validation: Write ``predictions_val.csv`` too.

    Returns:
        The headline: metric name to ``{"value", "low", "high"}`` or ``{"value": None, "reason"}``.

    References:
        docs/run.md for the files.
    """
    test = predict_split(trained, dataset, "test")
    val = predict_split(trained, dataset, "val") if validation else None
    tell(f"measuring {resamples} bootstrap resamples by {'patient' if dataset.patients_known else 'image'}")
    about = {"weights_sha256": trained.weights_sha256, "data_fingerprint": fingerprint(dataset.sha256)}
    facts = _facts(trained, dataset, origin)
    pages: list[Callable[[], None]] = []
    results: dict[str, dict[str, Any]] = {}
    for head in trained.task.heads:
        place = folder if trained.task.single else folder / "heads" / head.name
        place.mkdir(parents=True, exist_ok=True)
        table = test.table(head)
        _write_table(place / "predictions.csv", table)
        if val:
            _write_table(place / "predictions_val.csv", val.table(head))
        if not table.labelled.any():
            tell(f"warning  test has no label of {head.name}: it is not judged")
            for stale in ("metrics.json", "report.html"):
                (place / stale).unlink(missing_ok=True)
            continue
        card = _measure(table, resamples)
        results[head.name] = whole = {**card.to_json(), **about}
        _write_json(place / "metrics.json", whole)
        own = facts if trained.task.single else replace(facts, counts=_of_head(facts.counts, head.name))
        title = origin.title if trained.task.single else f"{origin.title}: {head.name}"
        lines = learning if trained.task.single else ()
        pages.append(partial(_write_page, place, title, table, card, own, lines, test.square))
    if trained.task.single:
        whole = results[trained.task.single.name]
    else:
        summary = _summarize(trained.task, test, resamples)
        whole = {"task": trained.task.name, **summary.to_json(), **about}
        _write_json(folder / "metrics.json", whole)
        write_heads(folder / "predictions.csv", test)
        if val:
            write_heads(folder / "predictions_val.csv", val)
        links = {name: f"heads/{name}/report.html" for name in results}
        labels = _labels(trained.task, dataset)
        pages.append(partial(_write_overview, folder, origin.title, summary, facts, links, labels, learning))
        _show_heads(summary)
    headline: dict[str, Any] = whole["headline"]
    replace_rows(folder / "metrics_test.csv", [row_of(trained.task, test, headline)])
    # The pictures come last: a fault in one of them must not cost the numbers.
    for page in pages:
        page()
    return headline


def _facts(trained: Trained, dataset: Dataset, origin: Origin) -> ReportFacts:
    """What a report says beside its numbers."""
    return ReportFacts(
        run=origin.title,
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        command=origin.command,
        weights_sha=trained.weights_sha256,
        data_fingerprint=fingerprint(dataset.sha256),
        counts=dataset.counts(),
        patients={split: len({s.patient for s in dataset.of(split)}) for split in dataset.counts()},
        sources=dataset.sources(),
        notes=(*dataset.notes, *origin.notes, f"Training started from: {origin.weights_source}"),
        weights_report=origin.weights_report,
        config_yaml=origin.config_yaml,
        best_epoch=origin.best_epoch,
        seconds=origin.seconds,
        device=trained.engine.description,
    )


def _of_head(counts: Mapping[str, Mapping[str, int]], name: str) -> dict[str, dict[str, int]]:
    """The counts of one head, under the names of its own answers."""
    start = f"{name}: "
    return {
        split: {answer.removeprefix(start): count for answer, count in found.items() if answer.startswith(start)}
        for split, found in counts.items()
    }


def _write_table(path: Path, table: Predictions | Measurements) -> None:
    """Write what a head says of each image."""
    if isinstance(table, Measurements):
        write_measurements(path, table)
    else:
        write_predictions(path, table)


def _measure(table: Predictions | Measurements, resamples: int) -> Scorecard | Agreement:
    """Measure what a head says."""
    if isinstance(table, Measurements):
        return agreement(table, resamples=resamples)
    return scorecard(table, resamples=resamples)


def _summarize(task: Task, test: Predicted, resamples: int) -> HeadsSummary:
    """Measure all heads together."""
    tables = {head.name: test.table(head) for head in task.heads}
    return summarize_heads(
        {name: table for name, table in tables.items() if isinstance(table, Predictions)},
        {name: table for name, table in tables.items() if isinstance(table, Measurements)},
        resamples=resamples,
    )


def _write_json(path: Path, whole: Mapping[str, Any]) -> None:
    """Write plain values, whole or not at all."""
    write_whole(path, (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _write_page(
    folder: Path,
    title: str,
    table: Predictions | Measurements,
    card: Scorecard | Agreement,
    facts: ReportFacts,
    learning: Sequence[Mapping[str, Any]],
    pixels: Square,
) -> None:
    """Write the report of one head."""
    if isinstance(table, Measurements) and isinstance(card, Agreement):
        page = render_agreement(title=title, table=table, agreement=card, facts=facts, learning=learning, pixels=pixels)
    elif isinstance(table, Predictions) and isinstance(card, Scorecard):
        page = render(title=title, predictions=table, scorecard=card, facts=facts, learning=learning, pixels=pixels)
    write_whole(folder / "report.html", page.encode())


def _write_overview(
    folder: Path,
    title: str,
    summary: HeadsSummary,
    facts: ReportFacts,
    links: Mapping[str, str],
    labels: Mapping[str, Mapping[str, LabelCount]],
    learning: Sequence[Mapping[str, Any]],
) -> None:
    """Write the report of all heads."""
    page = render_heads(title=title, summary=summary, facts=facts, links=links, labels=labels, learning=learning)
    write_whole(folder / "report.html", page.encode())


def _labels(task: Task, dataset: Dataset) -> dict[str, dict[str, LabelCount]]:
    """How many labels each head has in each split."""
    found: dict[str, dict[str, LabelCount]] = {}
    for split in dataset.counts():
        truth = np.array([sample.truth for sample in dataset.of(split)])
        known = np.isfinite(truth).sum(axis=0).tolist()
        yes = (truth == 1).sum(axis=0).tolist()
        found[split] = {
            head.name: LabelCount(count, len(truth) - count, positive if head.kind == "yes_no" else None)
            for head, count, positive in zip(task.heads, known, yes, strict=True)
        }
    return found


def _show_heads(summary: HeadsSummary) -> None:
    """Say each head's first numbers on the terminal."""
    rows = []
    for line in summary.heads:
        first = [f"{name} {interval_words(found.to_json())}" for name, found in list(line.scores.items())[:2]]
        rows.append([line.name, line.n, "" if line.positives is None else line.positives, *first])
    console_table("heads", ["head", "labelled", "yes", "first", "second"], rows)


def headline_lines(headline: Mapping[str, Any]) -> list[str]:
    """Write the headline for the terminal.

    Args:
        headline: As ``judge`` returns it.

    Returns:
        One aligned line per metric.

    Example:
        >>> headline_lines({"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}})
        ['accuracy            0.500 [0.400-0.600]']

    References:
        Our own.
    """
    shown = [name for name in HEADLINE if name in headline] or list(headline)
    return [f"{name:<19} {interval_words(headline[name])}" for name in shown]
