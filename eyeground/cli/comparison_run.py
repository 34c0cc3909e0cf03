"""One run of a comparison, carried out from its settings to its answers about the test images."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.compare_config import Initialization, Way
from eyeground.cli.config import FREE_KEYS
from eyeground.cli.console import TrainingWatcher
from eyeground.cli.dataset import Dataset
from eyeground.cli.features import dataset_of, features_of
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.initializations import slug
from eyeground.cli.label_fraction import share_labels, stretch
from eyeground.cli.linear import fit_linear
from eyeground.cli.objective import objective_of, task_of
from eyeground.cli.prediction import predict_split
from eyeground.cli.recipe import starting_weights
from eyeground.cli.selection import selection_score
from eyeground.cli.trained import open_run
from eyeground.cli.training import build_parts, train
from eyeground.data.spread import never
from eyeground.evaluate.predictions import Predictions, write_predictions
from eyeground.evaluate.probe import knn_probe, logistic_probe, subset_of_labels
from eyeground.train.checkpoint import Checkpoints

# What decides whether two runs can share an open data set.
_DATA_KEYS = {
    "data",
    "task",
    "classes",
    "ordered",
    "split",
    "split_seed",
    "val_fraction",
    "slices",
    "crop_field",
    "store_px",
}


@dataclass(frozen=True)
class Run:
    """One run of the grid.

    Args:
        init: Where it starts.
        way: How it is used.
        seed: Its seed.
        fraction: Share of the training patients whose labels are used.

    Example:
        >>> Run(Initialization(name="own MAE"), Way(name="probe"), 0, 0.1).folder
        'own-mae/probe-0.1-0'

    References:
        Our own.
    """

    init: Initialization
    way: Way
    seed: int
    fraction: float

    @property
    def name(self) -> str:
        """Words for people."""
        share = "" if self.fraction == 1 else f", {self.fraction:.0%} of the labels"
        return f"{self.init.name}, {self.way.name}, seed {self.seed}{share}"

    @property
    def folder(self) -> str:
        """Words for a file system."""
        return f"{slug(self.init.name)}/{slug(self.way.name)}-{self.fraction:g}-{self.seed}"


@dataclass
class Carrier:
    """Carries runs out, each into a folder of its own; here, or on a worker that sees the comparison's folder.

    Args:
        folder: The comparison's.
        settings: Initialization and way -> their checked configuration, without weights and seed.
        weights: Initialization -> ``random``, a file, or the folder of a run.
        stop_wanted: True = save and stop.
        datasets: Those that are open already.

    Example:
        >>> Carrier(Path("runs/a"), {}, {"random": "random"}).stop_wanted()
        False

    References:
        Our own.
    """

    folder: Path
    settings: Mapping[tuple[str, str], FinetuneConfig]
    weights: Mapping[str, str]
    stop_wanted: Callable[[], bool] = never
    datasets: dict[str, Dataset] = field(default_factory=dict)

    def __call__(self, run: Run) -> float:
        config = self._of(run)
        folder = self.folder / "runs" / run.folder
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        if run.way.frozen:
            predictions, facts = self._probe(run, config)
        else:
            predictions, facts = self._finetune(run, config, folder)
        write_predictions(folder / "predictions.csv", predictions)
        record = {
            "init": run.init.name,
            "way": run.way.name,
            "seed": run.seed,
            "fraction": run.fraction,
            "weights": config.weights,
            "settings": kept_settings(config),
            "pretrain_keys": run.init.pretrain_keys,
            "seconds": round(time.monotonic() - begun, 1),
            **facts,
        }
        write_whole(folder / "run.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        for rest in ("checkpoints", "tensorboard"):
            shutil.rmtree(folder / rest, ignore_errors=True)
        return time.monotonic() - begun

    def dataset(self, config: FinetuneConfig) -> Dataset:
        """Open a data set once for all runs that read it alike.

        Args:
            config: A run's configuration.

        Returns:
            The data set.
        """
        key = config.model_dump_json(include=_DATA_KEYS)
        if key not in self.datasets:
            self.datasets[key] = dataset_of(config)
        return self.datasets[key]

    def _of(self, run: Run) -> FinetuneConfig:
        """A run's whole configuration."""
        settings = self.settings[run.init.name, run.way.name]
        return settings.model_copy(
            update={
                "weights": self.weights[run.init.name],
                "seed": run.seed,
                "out": self.folder / "runs" / run.folder,
            }
        )

    def _probe(self, run: Run, config: FinetuneConfig) -> tuple[Predictions, dict[str, Any]]:
        """Fit a probe on frozen features, computed once for all seeds and fractions."""
        known = features_of(config, self.dataset(config), cache=self.folder / "features")
        rows, val, test = (known.rows(split) for split in ("train", "val", "test"))
        patients = [known.patients[row] for row in rows]
        rows = rows[subset_of_labels(known.labels[rows], patients, run.fraction, run.seed)]
        x, y, classes = known.features, known.labels, len(known.classes)
        if run.way.name == "linear":
            dataset = share_labels(self.dataset(config), run.fraction, run.seed)
            config = stretch(config, run.fraction, len(rows))
            task = task_of(config, dataset)
            objective = objective_of(config, dataset, task)
            score = selection_score(config.select_by, task)
            scores, best = fit_linear(config, known, rows, objective=objective, score=score)
            facts = {"weights_report": known.facts["load_report"], "images": len(rows), "best_epoch": best}
            return known.predictions(test, scores), facts
        if run.way.name == "probe":
            result = logistic_probe(x[rows], y[rows], x[val], y[val], x[test], classes=classes, seed=run.seed)
        else:
            result = knn_probe(x[rows], y[rows], x[test], classes=classes)
        facts = {"weights_report": known.facts["load_report"], "images": len(rows), "notes": list(result.notes)}
        return known.predictions(test, result.scores), facts

    def _finetune(self, run: Run, config: FinetuneConfig, folder: Path) -> tuple[Predictions, dict[str, Any]]:
        """Fine-tune on the wanted share of the labels, or go on where that stopped."""
        dataset = share_labels(self.dataset(config), run.fraction, run.seed)
        images = len(dataset.of("train"))
        config = stretch(config, run.fraction, images)
        before = Checkpoints(folder / "checkpoints").newest(parts=())
        tensors = None if before and not before.model.get("base") else starting_weights(config)
        parts = build_parts(config, dataset, tensors=tensors, before=before)
        report = {status: list(keys) for status, keys in parts.weights_report.items()}
        watcher = TrainingWatcher(lines=False)
        try:
            progress = train(config, folder, parts, watcher=watcher, stop_wanted=self.stop_wanted)
        finally:
            watcher.close()
        precision = parts.engine.precision
        del parts
        trained = open_run(folder, device=config.device, precision=precision, threads=config.threads)
        predictions = predict_split(trained, dataset, "test").table(trained.task.heads[0])
        assert isinstance(predictions, Predictions)  # noqa: S101 - no quantity is compared
        return predictions, {"weights_report": report, "images": images, "best_epoch": progress.best_epoch}


def kept_settings(config: FinetuneConfig) -> dict[str, Any]:
    """Say what decides a run's result and is written down with it.

    Args:
        config: The run's configuration.

    Returns:
        Plain values by key, without weights and seed, which are written beside them.

    Example:
        >>> "seed" in kept_settings(FinetuneConfig(data="images"))
        False

    References:
        Our own.
    """
    return config.model_dump(mode="json", exclude=set(FREE_KEYS) | {"weights", "seed"})
