"""A trained model and a data set -> predictions, metrics and the report, as files of a run."""

import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError, DataSource
from eyeground.cli.console import answer, counting, interval_words, tell
from eyeground.cli.dataset import Dataset, fingerprint, open_dataset
from eyeground.cli.run_folder import numbered_folder
from eyeground.cli.seen import seen_by
from eyeground.cli.selection import Score
from eyeground.cli.trained import Trained, open_run
from eyeground.data.loader import EvaluationImages
from eyeground.data.sample import Sample
from eyeground.evaluate import report
from eyeground.evaluate.pooling import pool
from eyeground.evaluate.predictions import Predictions, write_predictions
from eyeground.evaluate.profiles import retfound2025
from eyeground.evaluate.scorecard import scorecard
from eyeground.model.optimization import Device, Framework, Precision
from eyeground.train.finetune import predict_all
from eyeground.train.journal import read_journal
from eyeground.train.loop import Verdict

Square = Callable[[int], NDArray[np.uint8]]

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
        folder: Where ``predictions.csv``, ``metrics.json``, ``metrics_test.csv`` and ``report.html`` go.
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
    predictions, square, loss = predict_split(trained, dataset, "test")
    write_predictions(folder / "predictions.csv", predictions)
    if validation:
        write_predictions(folder / "predictions_val.csv", predict_split(trained, dataset, "val")[0])
    tell(f"measuring {resamples} bootstrap resamples by {'patient' if dataset.patients_known else 'image'}")
    card = scorecard(predictions, resamples=resamples)
    known = predictions.truth >= 0
    columns = retfound2025.values(predictions.truth[known], predictions.scores[known], val_loss=loss)
    _replace_rows(folder / "metrics_test.csv", [columns])
    facts = report.ReportFacts(
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
    whole = card.to_json()
    whole |= {"weights_sha256": trained.weights_sha256, "data_fingerprint": facts.data_fingerprint}
    write_whole(
        folder / "metrics.json", (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )
    # The pictures come last: a fault in one of them must not cost the numbers.
    page = report.render(
        title=origin.title,
        predictions=predictions,
        scorecard=card,
        facts=facts,
        learning=learning,
        pixels=square,
    )
    write_whole(folder / "report.html", page.encode())
    headline: dict[str, Any] = whole["headline"]
    return headline


def predict_split(trained: Trained, dataset: Dataset, split: str) -> tuple[Predictions, Square, float]:
    """Predict one part of a data set; of a volume, all chosen B-scans, pooled to one prediction.

    Args:
        trained: The model.
        dataset: Samples with splits.
        split: Which part.

    Returns:
        The table, a function that gives a row's image as the network saw it, and the mean loss over images.

    Raises:
        ConfigError: If the part is empty.

    References:
        Our own.
    """
    samples = dataset.of(split)
    if not samples:
        raise ConfigError(f"no sample is in the split {split!r}: nothing to judge")
    images = EvaluationImages(samples, pixels=dataset.pixels, preprocessing=trained.preprocessing)
    with counting(f"predicting {split}", len(samples)) as done:
        seen = [0]

        def count(number: int) -> None:
            seen[0] += number
            done(seen[0], len(samples))

        scores, truth, loss = predict_all(trained.engine, images, batch_size=trained.batch_size, seen=count)
    scores, first = pool(scores, [sample.volume for sample in samples])
    # A volume is shown by the middle one of its B-scans.
    rows: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        rows.setdefault(sample.volume, []).append(row)
    shown = [numbers[len(numbers) // 2] for numbers in rows.values()]
    samples, truth = tuple(samples[row] for row in first), truth[list(first)]
    predictions = Predictions(
        files=tuple(s.file for s in samples),
        patients=tuple(s.patient for s in samples),
        eyes=tuple(s.eye for s in samples),
        sites=tuple(s.site for s in samples),
        cameras=tuple(s.camera for s in samples),
        truth=truth,
        scores=scores / scores.sum(axis=1, keepdims=True),
        classes=trained.classes,
        ordered=trained.ordered,
        patients_known=dataset.patients_known,
        quality=("",) * len(samples),
    )
    return predictions, lambda row: images.square(shown[row]), loss


def by_volume(samples: Sequence[Sample], score: Score) -> Score:
    """Let a score judge volumes, not their single B-scans.

    Args:
        samples: What will be scored, in order.
        score: Judges scores (N, K), labels (N,) and a loss.

    Returns:
        The same judge, given the means over each volume's B-scans.

    Example:
        >>> [sample] = [Sample("a", Path("."), 1, "p")]
        >>> by_volume([sample], lambda scores, truth, loss: len(truth))(np.ones((1, 2)), np.array([1]), 0.0)
        1

    References:
        Our own.
    """

    def judge_volumes(scores: NDArray[np.float64], truth: NDArray[np.int64], loss: float) -> Verdict:
        pooled, first = pool(scores, [sample.volume for sample in samples])
        return score(pooled, truth[list(first)], loss)

    return judge_volumes


def judge_on(
    run: Path,
    source: DataSource,
    *,
    name: str,
    resamples: int,
    framework: Framework | None,
    device: Device,
    precision: Precision,
    allow_seen: bool,
    as_json: bool,
) -> None:
    """Judge a run's best model on other data, into ``RUN/evaluations/<name>/``.

    Args:
        run: The run's folder.
        source: The data.
        name: Name of the evaluation; empty = the data's folder, numbered if there is one already.
        resamples: Bootstrap resamples.
        framework: In which framework; None = in the one it was trained in.
        device: Where to compute.
        precision: How to compute.
        allow_seen: Go on although some images or patients were trained on.
        as_json: End with one JSON line.

    Raises:
        DataProblems: If the data has faults.
        ConfigError: If it was trained on.
        CheckpointError: If the run holds no sound checkpoint.

    References:
        Our own.
    """
    started = time.monotonic()
    trained = open_run(run, framework=framework, device=device, precision=precision)
    dataset = open_dataset(
        (source,),
        preprocessing=trained.preprocessing,
        classes=trained.classes,
        ordered=trained.ordered,
        split="test",
        split_seed=0,
        val_fraction=0.2,
        slices=trained.slices,
    )
    notes = _seen(run, dataset, allow_seen=allow_seen)
    folder = _evaluation_folder(run, source, name)
    config = run / "config.yaml"
    origin = Origin(
        title=f"{run.name} on {folder.name}",
        command=shlex.join(["eyeground", *sys.argv[1:]]),
        config_yaml=config.read_text(encoding="utf-8") if config.is_file() else "",
        weights_source=f"the best checkpoint of {run.name} (step {trained.step})",
        weights_report={},
        best_epoch=None,
        seconds=0.0,
        notes=notes,
    )
    headline = judge(folder, trained=trained, dataset=dataset, origin=origin, resamples=resamples)
    tell(*headline_lines(headline))
    answer(
        {
            "run": str(run),
            "evaluation": str(folder),
            "images": len(dataset.samples),
            "seconds": round(time.monotonic() - started, 1),
            "test": headline,
        },
        as_json=as_json,
        last_line=f"report: {folder / 'report.html'}",
    )


def _evaluation_folder(run: Path, source: DataSource, name: str) -> Path:
    """Make the evaluation's folder; one that is named again is written again."""
    shelf = run / "evaluations"
    if name:
        if Path(name).name != name or name.startswith("."):
            raise ConfigError(f"--name {name!r}: a plain name, it becomes a folder in {shelf}")
        (shelf / name).mkdir(parents=True, exist_ok=True)
        return shelf / name
    place = source.path.resolve()
    stem = place.parent.name if place.name == "images" else place.name
    return numbered_folder(shelf, stem)


def record_epoch(folder: Path, epoch: int, columns: Mapping[str, float]) -> None:
    """Write an epoch's line of ``metrics_val.csv``; a table that somebody changed is made again from the journal.

    Args:
        folder: The run's folder.
        epoch: Which epoch, from 1.
        columns: RETFound's metrics.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> record_epoch(run, 1, dict.fromkeys(retfound2025.COLUMNS, 0.5))
        >>> (run / "metrics_val.csv").read_text().count("0.5")
        10

    References:
        RETFound_MAE at 897d71c for the columns.
    """
    path = folder / "metrics_val.csv"
    try:
        retfound2025.append_row(path, columns, row=epoch)
    except ValueError:
        lines = [line for line in read_journal(folder / "journal.jsonl") if line["event"] == "epoch"]
        rows = [{k: math.nan if v is None else v for k, v in line["columns"].items()} for line in lines]
        _replace_rows(path, rows)


def _replace_rows(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a RETFound table anew."""
    path.unlink(missing_ok=True)
    for row in rows:
        retfound2025.append_row(path, row)


def _seen(run: Path, dataset: Dataset, *, allow_seen: bool) -> tuple[str, ...]:
    """Refuse images or patients that the model was trained on or chosen by."""
    seen = seen_by(run, dataset.samples, dataset.sha256, patients_known=dataset.patients_known)
    if seen is None:
        return ("the run keeps no split.csv: whether these images were trained on cannot be told",)
    images, same = seen
    if not images and not same:
        return ()
    told = f"{len(images)} of these images were used in training, and {len(same)} carry the id of a patient who was"
    if not allow_seen:
        raise ConfigError(
            f"{told}; first: {(images + same)[0]}. A model judged on what it has seen looks better than it is. "
            "Take them out; if they are other people whose ids happen to be the same, or you know what you do, "
            "say --allow-seen (the report will tell)"
        )
    return (f"{told}: these numbers are not an independent test",)


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
    return [f"{name:<19} {interval_words(headline[name])}" for name in HEADLINE if name in headline]
