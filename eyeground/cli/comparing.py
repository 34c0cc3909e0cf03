"""A comparison from its configuration to its verdict: a grid of runs, each of which is done once."""

import json
import math
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.compare_config import CompareConfig, Initialization, Way
from eyeground.cli.comparison_run import Carrier, Run, kept_settings
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import check_config, dump_config
from eyeground.cli.console import answer, table, tell
from eyeground.cli.dataset import Dataset
from eyeground.cli.fan_out import fanned_out
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.initializations import Origin, origins
from eyeground.cli.run_folder import only_one, stop_on_signal
from eyeground.data.shards.address import remote_address
from eyeground.data.spread import Spread, here
from eyeground.data.verify import fingerprint
from eyeground.evaluate.comparison import Cell, Comparison, compare_cells
from eyeground.evaluate.comparison_page import ComparisonFacts, markdown, render_comparison
from eyeground.evaluate.predictions import read_predictions
from eyeground.train.loop import Interrupted


def run_comparison(config: CompareConfig, *, name: str, as_json: bool, on: str | None = None, workers: int = 0) -> None:
    """Carry out what is not done yet of a grid of runs, and judge all of it.

    Args:
        config: The checked configuration.
        name: Name of the comparison where the configuration gives no folder.
        as_json: End with one JSON line.
        on: Whose Ray makes the runs, each on a worker; None = this process does.
        workers: Workers there; 0 = as many as there are cores.

    Raises:
        ConfigError: If the configuration, the data and what was done before do not go together.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If weights do not belong to their network.
        Interrupted: If a person stopped it; the same command goes on.
        TrainingFailed: If a run's loss is not finite, or a pre-training collapsed.
        ClusterUnfit: If the cluster is not there, or cannot do it.
        WorkersLost: If workers die again and again; the runs that are done are kept.

    References:
        Our own.
    """
    started = time.monotonic()
    settings = {(init.name, way.name): _settings(config, init, way) for init in config.inits for way in config.ways}
    folder = config.out or Path("runs") / name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "runs").is_dir())):
        raise ConfigError(f"{folder}: holds something else than a comparison; choose another out")
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    every = list(settings.values())
    with (
        only_one(folder),
        fanned_out(
            on,
            workers=workers,
            # The lock is new: whoever sees it shares the folder, and has not one of the same name.
            reads=[folder / ".lock", *{s.path for each in every for s in each.data if not remote_address(s.path)}],
            device=every[0].device,
            threads=max(each.threads for each in every),
        ) as spread,
        stop_on_signal() as stop_wanted,
    ):
        grid = _Grid(config, folder, settings, stop_wanted, spread)
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
        spread: Spread | None,
    ) -> None:
        self._config, self.folder, self._settings, self._stop_wanted = config, folder, settings, stop_wanted
        self._datasets: dict[str, Dataset] = {}
        self._spread = spread
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
        dataset = Carrier(self.folder, self._settings, {}, datasets=self._datasets).dataset(first)
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
        carrier = Carrier(self.folder, self._settings, {name: origin.weights for name, origin in self.origins.items()})
        if self._spread is None:
            carrier = replace(carrier, stop_wanted=self._stop_wanted, datasets=self._datasets)
        spent: dict[str, list[float]] = defaultdict(list)
        begun = time.monotonic()
        number = 0
        for seconds in (self._spread or here)(waiting, carrier, stop_wanted=self._stop_wanted):
            run = waiting[number]
            number += 1
            spent[run.way.name].append(seconds)
            # Workers side by side get more done than time passes.
            pace = max(1.0, sum(map(sum, spent.values())) / (time.monotonic() - begun))
            left = sum(_expected(spent, other.way.name) for other in waiting[number:]) / pace
            tell(f"[{number}/{len(waiting)}] {run.name}: {seconds:.0f} s, about {left / 60:.0f} min left")
        if number < len(waiting):
            raise Interrupted(f"stopped after {number} of {len(waiting)} runs")
        self.records = {run.name: self._record(run) or {} for run in self.runs}
        return [self._cell(run) for run in self.runs]

    def _record(self, run: Run) -> dict[str, Any] | None:
        """What a finished run wrote down."""
        path = self.folder / "runs" / run.folder / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _done(self, run: Run) -> bool:
        """Whether a run is there; one made with other settings is refused."""
        record = self._record(run)
        if record is None:
            return False
        now = kept_settings(self._settings[run.init.name, run.way.name])
        other = [key for key in now if now[key] != record["settings"].get(key)]
        if record["pretrain_keys"] != json.loads(json.dumps(run.init.pretrain_keys)):
            other.append("pretrain_keys")
        if other:
            raise ConfigError(
                f"{self.folder / 'runs' / run.folder} was made with other settings ({', '.join(other)}): "
                "choose another out, or remove that folder to have it made anew"
            )
        return True

    def _cell(self, run: Run) -> Cell:
        """Read a finished run."""
        # Grades stay grades beside a run that takes them for mere classes.
        ordered = any(dataset.ordered for dataset in self._datasets.values()) or any(
            settings.graded for settings in self._settings.values()
        )
        predictions = read_predictions(self.folder / "runs" / run.folder / "predictions.csv", ordered=ordered)
        return Cell(run.init.name, run.way.name, run.seed, run.fraction, predictions)


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
