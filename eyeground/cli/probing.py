"""Frozen features probed with fractions of the labels: how much a network knows before it is fine-tuned."""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import atomic_file, write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import dump_config
from eyeground.cli.console import answer, counting, interval_words, table, tell
from eyeground.cli.dataset import SPLITS, Dataset
from eyeground.cli.features import FeatureTable, dataset_of, features_of
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.recipe import starting_weights
from eyeground.cli.run_folder import numbered_folder
from eyeground.evaluate import resampled
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.embedding import embedding_map
from eyeground.evaluate.embedding_plots import embedding_panels
from eyeground.evaluate.predictions import Predictions, write_predictions
from eyeground.evaluate.probe import ProbeResult, knn_probe, logistic_probe, subset_of_labels
from eyeground.evaluate.probe_plots import ProbePoint, label_efficiency
from eyeground.evaluate.wording import listed, titled

PROBES = {"logistic": "logistic regression", "knn": "nearest neighbors"}
METRICS = ("auroc_macro", "ap_macro", "balanced_accuracy", "f1_macro", "kappa_quadratic")
_MOST_POINTS = 2000  # a map of more is a blot, and takes minutes


@dataclass(frozen=True, eq=False)
class ProbeFit:
    """One probe fitted to one fraction of the labels, and what it was worth on test.

    Args:
        probe: A key of ``PROBES``.
        fraction: Share of the training patients, (0, 1].
        seed: Which draw of them.
        images: How many training images that is.
        patients: How many patients.
        result: What it says of the test images.
        values: Metric name -> estimate.

    Example:
        >>> ProbeFit("knn", 0.1, 0, 75, 60, ProbeResult(np.ones((1, 1)), None, ()), {}).name
        'knn-0.1-0'

    References:
        Our own.
    """

    probe: str
    fraction: float
    seed: int
    images: int
    patients: int
    result: ProbeResult
    values: dict[str, Estimate]

    @property
    def name(self) -> str:
        """Name of its prediction table."""
        return f"{self.probe}-{self.fraction:g}-{self.seed}"


def numbers(words: str, *, option: str, low: float, high: float, whole: bool = False) -> tuple[float, ...]:
    """Read a list of numbers such as ``0.01,0.1,1``.

    Args:
        words: What was typed.
        option: What to name in the message.
        low: Least number.
        high: Greatest number.
        whole: Whether they must be whole.

    Returns:
        The numbers, each once, in order.

    Raises:
        ConfigError: If one is no number or out of range, or there is none.

    Example:
        >>> numbers("0.5, 0.1,0.5", option="--fractions", low=1e-6, high=1)
        (0.5, 0.1)

    References:
        Our own.
    """
    found: dict[float, None] = {}
    for word in filter(None, (part.strip() for part in words.split(","))):
        try:
            value = float(word)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or (whole and value != int(value)):
            kind = "whole numbers" if whole else "numbers"
            raise ConfigError(f"{option} {words}: {word!r} is none of the {kind} from {low:g} to {high:g}")
        found[value] = None
    if not found:
        raise ConfigError(f"{option} is empty: write numbers with commas between them")
    return tuple(found)


def run_probe(
    config: FinetuneConfig,
    *,
    out: Path | None,
    name: str,
    cache: Path,
    fractions: Sequence[float],
    seeds: Sequence[int],
    neighbors: int,
    layout: Literal["tsne", "pca"],
    as_json: bool,
) -> None:
    """Compute features once, fit every probe to every fraction and draw, and write what each was worth on test.

    All of the labels are one draw only, whatever the number of seeds.

    Args:
        config: Network, weights, preprocessing and data.
        out: Folder to write, empty or not there; None = ``runs/<name>-probe``, numbered if there is one already.
        name: Name of the configuration.
        cache: Folder of kept features.
        fractions: Shares of the training patients, each in (0, 1].
        seeds: Draws of them.
        neighbors: Voters of the nearest-neighbor probe.
        layout: How the map of the features is made.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the configuration, the data or the folder cannot be used.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network.

    References:
        Our own.
    """
    started = time.monotonic()
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: already there; choose another --out")
    if not Path(config.weights).exists():
        starting_weights(config)  # refuses what is not there, before a thousand images are read
    dataset = _open(config)
    features = features_of(config, dataset, cache=cache)
    folder = _make_folder(out, name)
    write_whole(folder / "config.yaml", dump_config(config).encode())
    dataset.write_split(folder / "split.csv")
    (folder / "predictions").mkdir()
    tell(f"probe    {folder}", *(f"data     {line}" for line in dataset.summary()))
    draws = [(f, s) for f in sorted(fractions) for s in (seeds if f < 1 else seeds[:1])]
    fits: list[ProbeFit] = []
    with counting("probing", len(draws) * len(PROBES)) as done:
        for fraction, seed in draws:
            for probe in PROBES:
                fit, predictions = _fit(features, config, probe, fraction, seed, neighbors)
                write_predictions(folder / "predictions" / f"{fit.name}.csv", predictions)
                fits.append(fit)
                done(len(fits), len(draws) * len(PROBES))
    rows = [_row(fit, metric) for fit in fits for metric in METRICS]
    _write_result(folder, features, fits, rows)
    _show(fits)
    _draw(folder, features, fits, config, layout)
    seconds = round(time.monotonic() - started, 1)
    answer(
        {"out": str(folder), "seconds": seconds, "computed": features.computed, "rows": rows},
        as_json=as_json,
        last_line=f"probe: {folder / 'probe.json'}, {folder / 'label_efficiency.svg'}, {folder / 'embedding.svg'}",
    )


def _open(config: FinetuneConfig) -> Dataset:
    """Open the data, and refuse what cannot be probed."""
    if config.task not in ("multiclass", "ordinal"):
        raise ConfigError(f"a probe is of classes or grades, not of task: {config.task}")
    dataset = dataset_of(config)
    wrong = []
    if len(dataset.classes) < 2:
        wrong.append(f"all labels are {listed(dataset.classes)}: a probe needs at least two classes")
    for split, purpose in zip(SPLITS, ("fits on", "chooses its penalty on", "is judged on"), strict=True):
        if not dataset.of(split):
            wrong.append(f"no image is in the split {split!r}, which a probe {purpose}; set split=60:20:20")
    if wrong:
        raise ConfigError("; ".join(wrong))
    return dataset


def _make_folder(out: Path | None, name: str) -> Path:
    """Make the folder of the result; two commands at once get two folders."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        return out
    return numbered_folder(Path("runs"), f"{name}-probe")


def _fit(
    features: FeatureTable, config: FinetuneConfig, probe: str, fraction: float, seed: int, neighbors: int
) -> tuple[ProbeFit, Predictions]:
    """Fit one probe to one draw of the labels, and measure it on test."""
    x, y, classes = features.features, features.labels, len(features.classes)
    train, val, test = (features.rows(split) for split in SPLITS)
    patients = [features.patients[row] for row in train.tolist()]
    some = train[subset_of_labels(y[train], patients, fraction, seed)]
    if probe == "logistic":
        result = logistic_probe(x[some], y[some], x[val], y[val], x[test], classes=classes, seed=seed)
    else:
        result = knn_probe(x[some], y[some], x[test], classes=classes, k=neighbors)
    predictions = features.predictions(test, result.scores)
    fit = ProbeFit(
        probe=probe,
        fraction=fraction,
        seed=seed,
        images=len(some),
        patients=len({features.patients[row] for row in some.tolist()}),
        result=result,
        values=_measure(predictions, config.resamples),
    )
    return fit, predictions


def _measure(predictions: Predictions, resamples: int) -> dict[str, Estimate]:
    """Measure a table, with 95% intervals by patient."""
    known = predictions.select(predictions.labelled)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = resampled.standard_values(known, weights, *resampled.per_class(known, weights))
        return np.stack([found[name] for name in METRICS], axis=1)

    reasons = [resampled.reason(name, known) for name in METRICS]
    point = statistic(np.ones((1, len(known))))[0]
    samples = bootstrap(statistic, known.patients, resamples=resamples)
    found = estimates(point, samples, reasons, len(set(known.patients)))
    return dict(zip(METRICS, found, strict=True))


def _row(fit: ProbeFit, metric: str) -> dict[str, Any]:
    """One number of one fit, as plain values."""
    plain = {"low": None, "high": None, **fit.values[metric].to_json()}
    return {"probe": fit.probe, "fraction": fit.fraction, "seed": fit.seed, "metric": metric, **plain}


def _write_result(
    folder: Path, features: FeatureTable, fits: Sequence[ProbeFit], rows: Sequence[dict[str, Any]]
) -> None:
    """Write ``probe.json``: where the features come from, every fit, every number."""
    whole = {
        "features": str(features.folder),
        **{
            name: features.facts[name] for name in ("weights", "weights_sha256", "spec", "preprocessing", "load_report")
        },
        "classes": list(features.classes),
        "ordered": features.ordered,
        "patients_known": features.patients_known,
        "images": {split: len(features.rows(split)) for split in SPLITS},
        "fits": [
            {
                "probe": fit.probe,
                "fraction": fit.fraction,
                "seed": fit.seed,
                "images": fit.images,
                "patients": fit.patients,
                "c": fit.result.c,
                "notes": list(fit.result.notes),
                "predictions": f"predictions/{fit.name}.csv",
            }
            for fit in fits
        ],
        "rows": list(rows),
    }
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / "probe.json", text.encode())


def _show(fits: Sequence[ProbeFit]) -> None:
    """Show the fits in the terminal, and what they noted, each sentence once."""
    table(
        "frozen features on test, 95% intervals by patient",
        ["probe", "labels", "seed", "images", "C", titled("auroc_macro")],
        [
            [
                PROBES[fit.probe],
                f"{100 * fit.fraction:g}%",
                fit.seed,
                fit.images,
                "" if fit.result.c is None else f"{fit.result.c:g}",
                interval_words(fit.values["auroc_macro"].to_json()),
            ]
            for fit in fits
        ],
    )
    noted: dict[str, list[str]] = {}
    for fit in fits:
        for note in fit.result.notes:
            noted.setdefault(note, []).append(fit.name)
    tell(*(f"note: {note} ({listed(names, most=3)})" for note, names in noted.items()))


def _draw(
    folder: Path,
    features: FeatureTable,
    fits: Sequence[ProbeFit],
    config: FinetuneConfig,
    layout: Literal["tsne", "pca"],
) -> None:
    """Draw the label efficiency and the map; they come last, for a fault in a picture must not cost the numbers."""
    points = {
        words: [ProbePoint(fit.fraction, fit.images, fit.values["auroc_macro"]) for fit in fits if fit.probe == probe]
        for probe, words in PROBES.items()
    }
    drawn = label_efficiency(points, measure="macro AUROC on test")
    write_whole(folder / "label_efficiency.svg", drawn.encode())
    count = len(features.samples)
    chosen = np.arange(count)
    if count > _MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(count, _MOST_POINTS, replace=False))
    if count < 3:
        tell("note: a map needs at least 3 images; none was drawn")
        return
    tell(f"mapping  {len(chosen)} of {count} images by {'t-SNE' if layout == 'tsne' else 'PCA'}")
    places = embedding_map(features.features[chosen], layout)
    samples = [features.samples[row] for row in chosen.tolist()]
    with atomic_file(folder / "embedding.csv") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "source", "split", "x", "y"))
        writer.writerows(
            (s.file, s.source, s.split, repr(x), repr(y)) for s, (x, y) in zip(samples, places.tolist(), strict=True)
        )
    words = {
        "tsne": "t-SNE: near images are alike; the sizes of groups and the distances between them mean nothing",
        "pca": "PCA: the two widest directions of the features",
    }
    weights = "random weights" if config.weights == "random" else f"weights {Path(config.weights).name}"
    page = embedding_panels(
        places,
        labels=features.labels[chosen],
        classes=features.classes,
        eyes=[s.eye for s in samples],
        sources=[s.source for s in samples],
        ordered=features.ordered,
        caption=f"{config.model}, {weights}, {len(chosen):,} of {count:,} images\n{words[layout]}",
    )
    write_whole(folder / "embedding.svg", page.encode())
