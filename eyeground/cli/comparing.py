"""A comparison from its configuration to its verdict: a grid of runs, each of which is done once."""

import json
import math
import shlex
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.compare_config import CompareConfig, Initialization, Way
from eyeground.cli.config import FREE_KEYS, ConfigError
from eyeground.cli.config_file import check_config, dump_config
from eyeground.cli.console import TrainingWatcher, answer, table, tell
from eyeground.cli.dataset import Dataset, fingerprint
from eyeground.cli.features import dataset_of, features_of
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.initializations import Origin, origins, slug
from eyeground.cli.label_fraction import share_labels, stretch
from eyeground.cli.linear import fit_linear
from eyeground.cli.objective import objective_of, task_of
from eyeground.cli.prediction import predict_split
from eyeground.cli.recipe import starting_weights
from eyeground.cli.run_folder import only_one, stop_on_signal
from eyeground.cli.selection import selection_score
from eyeground.cli.trained import open_run
from eyeground.cli.training import build_parts, train
from eyeground.evaluate.comparison import Cell, Comparison, compare_cells
from eyeground.evaluate.comparison_page import ComparisonFacts, markdown, render_comparison
from eyeground.evaluate.predictions import Predictions, read_predictions, write_predictions
from eyeground.evaluate.probe import knn_probe, logistic_probe, subset_of_labels
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.loop import Interrupted

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


def run_comparison(config: CompareConfig, *, name: str, as_json: bool) -> None:
    """Carry out what is not done yet of a grid of runs, and judge all of it.

    Args:
        config: The checked configuration.
        name: Name of the comparison where the configuration gives no folder.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the configuration, the data and what was done before do not go together.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If weights do not belong to their network.
        Interrupted: If a person stopped it; the same command goes on.
        TrainingFailed: If a run's loss is not finite, or a pre-training collapsed.

    References:
        Our own.
    """
    started = time.monotonic()
    settings = {(init.name, way.name): _settings(config, init, way) for init in config.inits for way in config.ways}
    folder = config.out or Path("runs") / name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "runs").is_dir())):
        raise ConfigError(f"{folder}: holds something else than a comparison; choose another out")
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    with only_one(folder), stop_on_signal() as stop_wanted:
        grid = _Grid(config, folder, settings, stop_wanted)
        try:
            cells = grid.carry_out()
        except Interrupted as error:
            again = shlex.join(["eyeground", *sys.argv[1:]])
            raise Interrupted(f"{error}. What is done is kept; go on with the same command: {again}") from None
        tell(f"judging {len(cells)} runs, {config.resamples} bootstrap resamples")
        comparison = compare_cells(
            cells,
            profiles=config.profiles,
            references=config.references,
            headline=config.headline,
            resamples=config.resamples,
        )
        _write(folder, config, comparison, grid)
    _show(comparison)
    found = comparison.to_json()
    answer(
        {
            "out": str(folder),
            "seconds": round(time.monotonic() - started, 1),
            "rows": found["rows"],
            "summary": found["summary"],
            "tests": found["tests"],
            "verdict": found["verdict"],
        },
        as_json=as_json,
        last_line=f"report: {folder / 'report.html'}",
    )


def _settings(config: CompareConfig, init: Initialization, way: Way) -> FinetuneConfig:
    """The checked configuration of a way to use an initialization; weights and seed are put in later."""
    where = f"finetune ({init.name}, {way.name})"
    settings: FinetuneConfig = check_config({**config.finetune, **init.finetune, **way.finetune}, where=where)
    if settings.task not in ("multiclass", "ordinal"):
        raise ConfigError(f"{where}: a comparison is of classes or grades, not of task: {settings.task}")
    if way.frozen and settings.adapt != "full":
        raise ConfigError(f"{where}: adapt={settings.adapt} changes nothing where only frozen features are used")
    return settings


class _Grid:
    """The runs of a comparison; each leaves a folder, and one that is there is not done again."""

    def __init__(
        self,
        config: CompareConfig,
        folder: Path,
        settings: Mapping[tuple[str, str], FinetuneConfig],
        stop_wanted: Callable[[], bool],
    ) -> None:
        self._config, self.folder, self._settings, self._stop_wanted = config, folder, settings, stop_wanted
        self._datasets: dict[str, Dataset] = {}
        self.runs = tuple(self._all())
        self.origins: dict[str, Origin] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.fingerprint = ""

    def _all(self) -> Iterator[Run]:
        """Every run: probes first, for they tell the most in the least time; then seed by seed."""
        ways = sorted(self._config.ways, key=lambda way: not way.frozen)
        for frozen in (True, False):
            for seed in self._config.seeds:
                for way in (way for way in ways if way.frozen == frozen):
                    for fraction in sorted(self._config.fractions, reverse=True):
                        for init in self._config.inits:
                            yield Run(init, way, seed, fraction)

    def carry_out(self) -> list[Cell]:
        """Do what is not done, then read all of it."""
        config = self._config
        waiting = [run for run in self.runs if not self._done(run)]
        first = self._settings[config.inits[0].name, config.ways[0].name]
        dataset = self._dataset(first)
        self.fingerprint = fingerprint(dataset.sha256)
        write_whole(self.folder / "config.yaml", dump_config(config.model_copy(update={"out": self.folder})).encode())
        dataset.write_split(self.folder / "split.csv")
        tell(*(f"data     {line}" for line in dataset.summary()))
        tell(f"grid     {len(self.runs)} runs, {len(self.runs) - len(waiting)} of them done before")
        self.origins = origins(
            config,
            self.folder,
            dataset=dataset,
            needed={run.init.name for run in waiting},
            stop_wanted=self._stop_wanted,
        )
        spent: dict[str, list[float]] = defaultdict(list)
        for number, run in enumerate(waiting, 1):
            begun = time.monotonic()
            self._carry_out(run)
            spent[run.way.name].append(time.monotonic() - begun)
            left = sum(_expected(spent, other.way.name) for other in waiting[number:])
            tell(
                f"[{number}/{len(waiting)}] {run.name}: {spent[run.way.name][-1]:.0f} s, about {left / 60:.0f} min left"
            )
            if self._stop_wanted() and number < len(waiting):
                raise Interrupted(f"stopped after {number} of {len(waiting)} runs")
        self.records = {run.name: self._record(run) or {} for run in self.runs}
        return [self._cell(run) for run in self.runs]

    def _dataset(self, config: FinetuneConfig) -> Dataset:
        """Open a data set once for all runs that read it alike."""
        key = config.model_dump_json(include=_DATA_KEYS)
        if key not in self._datasets:
            self._datasets[key] = dataset_of(config)
        return self._datasets[key]

    def _of(self, run: Run) -> FinetuneConfig:
        """A run's whole configuration."""
        settings = self._settings[run.init.name, run.way.name]
        return settings.model_copy(
            update={
                "weights": self.origins[run.init.name].weights,
                "seed": run.seed,
                "out": self.folder / "runs" / run.folder,
            }
        )

    def _record(self, run: Run) -> dict[str, Any] | None:
        """What a finished run wrote down."""
        path = self.folder / "runs" / run.folder / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _done(self, run: Run) -> bool:
        """Whether a run is there; one made with other settings is refused."""
        record = self._record(run)
        if record is None:
            return False
        now = _kept(self._settings[run.init.name, run.way.name])
        other = [key for key in now if now[key] != record["settings"].get(key)]
        if record["pretrain_keys"] != json.loads(json.dumps(run.init.pretrain_keys)):
            other.append("pretrain_keys")
        if other:
            raise ConfigError(
                f"{self.folder / 'runs' / run.folder} was made with other settings ({', '.join(other)}): "
                "choose another out, or remove that folder to have it made anew"
            )
        return True

    def _carry_out(self, run: Run) -> None:
        """Do one run, and keep what it says of the test images."""
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
            "settings": _kept(config),
            "pretrain_keys": run.init.pretrain_keys,
            "seconds": round(time.monotonic() - begun, 1),
            **facts,
        }
        write_whole(folder / "run.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        for rest in ("checkpoints", "tensorboard"):
            shutil.rmtree(folder / rest, ignore_errors=True)

    def _probe(self, run: Run, config: FinetuneConfig) -> tuple[Predictions, dict[str, Any]]:
        """Fit a probe on frozen features, computed once for all seeds and fractions."""
        known = features_of(config, self._dataset(config), cache=self.folder / "features")
        rows, val, test = (known.rows(split) for split in ("train", "val", "test"))
        patients = [known.patients[row] for row in rows]
        rows = rows[subset_of_labels(known.labels[rows], patients, run.fraction, run.seed)]
        x, y, classes = known.features, known.labels, len(known.classes)
        if run.way.name == "linear":
            dataset = share_labels(self._dataset(config), run.fraction, run.seed)
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
        dataset = share_labels(self._dataset(config), run.fraction, run.seed)
        images = len(dataset.of("train"))
        config = stretch(config, run.fraction, images)
        before = Checkpoints(folder / "checkpoints").newest(parts=())
        tensors = None if before and not before.model.get("base") else starting_weights(config)
        parts = build_parts(config, dataset, tensors=tensors, before=before)
        report = {status: list(keys) for status, keys in parts.weights_report.items()}
        watcher = TrainingWatcher(lines=False)
        try:
            progress = train(config, folder, parts, watcher=watcher, stop_wanted=self._stop_wanted)
        finally:
            watcher.close()
        precision = parts.engine.precision
        del parts
        trained = open_run(folder, device=config.device, precision=precision, threads=config.threads)
        predictions = predict_split(trained, dataset, "test").table(trained.task.heads[0])
        assert isinstance(predictions, Predictions)  # noqa: S101 - no quantity is compared
        return predictions, {"weights_report": report, "images": images, "best_epoch": progress.best_epoch}

    def _cell(self, run: Run) -> Cell:
        """Read a finished run."""
        # Grades stay grades beside a run that takes them for mere classes.
        ordered = any(dataset.ordered for dataset in self._datasets.values()) or any(
            settings.graded for settings in self._settings.values()
        )
        predictions = read_predictions(self.folder / "runs" / run.folder / "predictions.csv", ordered=ordered)
        return Cell(run.init.name, run.way.name, run.seed, run.fraction, predictions)


def _kept(config: FinetuneConfig) -> dict[str, Any]:
    """What decides a run's result and is written down with it."""
    return config.model_dump(mode="json", exclude=set(FREE_KEYS) | {"weights", "seed"})


def _expected(spent: Mapping[str, Sequence[float]], way: str) -> float:
    """How long a run of a way will take, as far as that is known."""
    known = spent.get(way) or [seconds for every in spent.values() for seconds in every]
    return sum(known) / len(known)


def _write(folder: Path, config: CompareConfig, comparison: Comparison, grid: _Grid) -> None:
    """Write the table, the numbers and the page."""
    found = comparison.to_json()
    found["origins"] = {name: {"weights": o.weights, **o.facts} for name, o in grid.origins.items()}
    write_whole(
        folder / "comparison.json", (json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )
    write_whole(folder / "table.md", markdown(comparison).encode())
    facts = ComparisonFacts(
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        command=shlex.join(["eyeground", *sys.argv[1:]]),
        config_yaml=dump_config(config),
        data_fingerprint=grid.fingerprint,
        load_reports={name: record.get("weights_report") or {} for name, record in grid.records.items()},
        pretraining={name: origin.facts for name, origin in grid.origins.items() if origin.facts},
        notes=[f"{name}: {note}" for name, record in grid.records.items() for note in record.get("notes", ())],
    )
    page = render_comparison(title=folder.name, comparison=comparison, facts=facts)
    write_whole(folder / "report.html", page.encode())


def _show(comparison: Comparison) -> None:
    """Say the headline and the verdict on the terminal."""
    rows = [
        [
            line["init"],
            line["way"],
            f"{line['fraction']:.0%}",
            f"{line['mean']:.3f}" + ("" if math.isnan(line["sd"]) else f" ± {line['sd']:.3f}"),
            f"{line['low']:.3f}-{line['high']:.3f}",
        ]
        for line in comparison.summary
        if line["metric"] == comparison.headline
    ]
    if rows:
        table(f"{comparison.headline}: mean ± s.d. over seeds", ["start", "way", "labels", "mean", "95%"], rows)
    tell(*comparison.verdict, *comparison.limits)
