"""A fine-tuning experiment from its configuration to its report: where the rooms are put together."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import dump_config
from eyeground.cli.console import TrainingWatcher, answer, tell
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.launching import check_alone, joined, kept_words, note_folder
from eyeground.cli.metrics_table import record_epoch
from eyeground.cli.results import Origin, headline_lines, judge
from eyeground.cli.run_folder import check_folder, only_one, reserve_folder, stop_on_signal
from eyeground.cli.trained import modality_of_weights, open_run
from eyeground.cli.training import Parts, read_parts, train
from eyeground.data.loader import LoaderLost
from eyeground.data.modalities import mismatch
from eyeground.model.objective import Objective
from eyeground.model.processes import ALONE, Processes, ProcessLost
from eyeground.model.torch.engine import TorchEngine
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import read_journal
from eyeground.train.loop import Interrupted


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning came to.

    Args:
        folder: Its run.
        seconds: Time spent, over all tries. Unit: s.
        best_epoch: Which epoch was chosen, from 1.
        headline: Metric name to value and interval, as in ``metrics.json``.

    Example:
        >>> Outcome(Path("runs/a"), 12.5, 3, {}).best_epoch
        3

    References:
        Our own.
    """

    folder: Path
    seconds: float
    best_epoch: int | None
    headline: Mapping[str, Any]


def run_experiment(config: FinetuneConfig, *, name: str, resume: Path | None, as_json: bool) -> None:
    """Read, split, train, judge, report.

    Args:
        config: The checked configuration.
        name: Name of the run where the configuration gives no folder.
        resume: Folder of an interrupted run to go on with; None = a new run.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the configuration and the data do not go together.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network.
        Interrupted: If a person stopped it.
        TrainingFailed: If the loss is not finite.
        CheckpointError: If a checkpoint cannot be written or read.

    References:
        Our own.
    """
    with joined(config) as processes:
        if resume is None:
            processes.together(lambda: check_folder(config.out, verb="finetune"))
        outcome = carry_out(config, name=name, resume=resume, processes=processes)
    answer(
        {
            "run": str(outcome.folder),
            "seconds": outcome.seconds,
            "best_epoch": outcome.best_epoch,
            "test": outcome.headline,
        },
        as_json=as_json,
        last_line=f"report: {outcome.folder / 'report.html'}",
    )


def carry_out(
    config: FinetuneConfig,
    *,
    name: str,
    resume: Path | None,
    stop: Callable[[], AbstractContextManager[Callable[[], bool]]] = stop_on_signal,
    again: str = "",
    processes: Processes = ALONE,
) -> Outcome:
    """Make a run from beginning to end, or from where it stopped.

    Args:
        config: The checked configuration.
        name: Name of the run where the configuration gives no folder.
        resume: Folder to go on in, whether or not it holds a checkpoint yet; None = a new run.
        stop: Watches for the wish to stop while the network is trained.
        again: What a person types to go on; empty = ``eyeground finetune --resume`` with the run.
        processes: Who trains; the first alone writes and judges.

    Returns:
        What it came to; the files are in its folder. The first process alone comes back.

    Raises:
        ConfigError: If the configuration and the data do not go together.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network.
        Interrupted: If a person stopped it.
        TrainingFailed: If the loss is not finite.
        CheckpointError: If a checkpoint cannot be written or read.
        ProcessLost: If another process has ended or answers no more.

    References:
        docs/run.md for the files.
    """
    check_alone(config, processes)
    started = time.monotonic()
    before = processes.together(lambda: Checkpoints(resume / "checkpoints").newest(parts=()) if resume else None)
    parts = read_parts(config, resume=resume, before=before, processes=processes)
    with ExitStack() as held:
        folder = processes.first(partial(_open_folder, config, name=name, resume=resume, parts=parts, held=held))
        with stop() as stop_wanted:
            watcher = TrainingWatcher(also=lambda epoch, verdict: record_epoch(folder, epoch, verdict.columns))
            try:
                progress = train(config, folder, parts, watcher=watcher, stop_wanted=stop_wanted)
            except Interrupted as error:
                go_on = again or f"eyeground finetune --resume {shlex.quote(str(folder))}"
                raise Interrupted(f"{error}. Go on with: {go_on}") from None
            except (ProcessLost, LoaderLost) as error:
                raise type(error)(f"{error}; {kept_words(folder, verb='finetune')}") from error
            finally:
                watcher.close()
        report = parts.weights_report
        # The engine holds the optimizer: three times the weights, no longer needed.
        dataset, precision = parts.dataset, parts.engine.precision
        del parts
        trained = open_run(folder, device=config.device, precision=precision, threads=config.threads)
        origin = Origin(
            title=folder.name,
            command=shlex.join(["eyeground", *sys.argv[1:]]),
            config_yaml=dump_config(config),
            weights_report=report,
            weights_source=config.weights,
            best_epoch=progress.best_epoch,
            seconds=progress.seconds,
        )
        headline = judge(
            folder,
            trained=trained,
            dataset=dataset,
            origin=origin,
            resamples=config.resamples,
            learning=list(read_journal(folder / "journal.jsonl")),
            validation=True,
        )
    tell(*headline_lines(headline))
    earlier = float(before.progress["seconds"]) if before else 0.0
    return Outcome(folder, round(earlier + time.monotonic() - started, 1), progress.best_epoch, headline)


def _open_folder(config: FinetuneConfig, *, name: str, resume: Path | None, parts: Parts, held: ExitStack) -> Path:
    """Make the run's folder, or take it up, and keep others out of it; say what is about to be done."""
    folder = resume or reserve_folder(config.out, name, verb="finetune")
    held.enter_context(only_one(folder))
    if resume is None and (folder / "checkpoints").exists():
        raise ConfigError(f"{folder}: another run has just been made there; choose another out")
    write_whole(folder / "config.yaml", dump_config(config.model_copy(update={"out": folder})).encode())
    parts.dataset.write_split(folder / "split.csv")
    note_folder(folder)
    _announce(folder, parts, config.weights, config.layer_decay)
    return folder


def _announce(folder: Path, parts: Parts, weights: str, layer_decay: float) -> None:
    """Say what is about to be trained, on what, from what."""
    counts = ", ".join(f"{len(keys)} {status.replace('_', ' ')}" for status, keys in parts.weights_report.items())
    tell(
        f"run      {folder}",
        f"model    {parts.engine.spec.name}: {parts.engine.description}",
        f"weights  {counts or 'random'}",
    )
    if isinstance(parts.engine, TorchEngine) and parts.adaptation.way != "full":
        tell(*(f"learns   {line}" for line in parts.engine.learning.lines()))
        if parts.adaptation.way in ("bitfit", "lora", "adapter") and layer_decay < 1:
            tell(
                f"warning  layer_decay={layer_decay:g} leaves little learning rate to what {parts.adaptation.way} "
                "adds far from the head; layer_decay=1 lets all of it learn alike"
            )
    tell(*(f"loss     {line}" for line in _answers(parts.objective)))
    if parts.frozen_batch_norm:
        tell("         batch norm stays on its stored statistics")
    tell(*(f"data     {line}" for line in parts.dataset.summary()))
    if warning := mismatch(images=parts.dataset.modality, weights=modality_of_weights(weights)):
        tell(f"warning  {warning}")


def _answers(objective: Objective) -> list[str]:
    """How the loss answers imbalance, in words."""
    lines = [f"focal, gamma {objective.focal_gamma:g}"] if objective.focal_gamma else []
    for number, head in enumerate(objective.task.heads):
        weights, shift, _ = objective.of_head(number)
        where = "" if objective.task.single else f"{head.name}: "
        told = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(head.classes, weights, strict=False))
        lines += [f"{where}class weights {told}"] if weights else []
        lines += (
            [f"{where}logits shifted by {', '.join(f'{each:+.2f}' for each in shift)} in training"] if shift else []
        )
    return lines
