"""The training loop: steps, validation, checkpoints; it can be left and taken up again at any step."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Learning, LossNotFinite
from eyeground.model.processes import ALONE, Processes
from eyeground.train.checkpoint import Checkpoint, Checkpoints
from eyeground.train.journal import Journal

# Images (N, 3, H, W), then targets (N, K) or a second view; of several processes each has its share.
MicroBatch = tuple[NDArray[np.float32], ...]


class Interrupted(RuntimeError):
    """The run was asked to stop; a checkpoint holds everything up to the last step."""


class TrainingFailed(RuntimeError):
    """The run cannot go on, with the reason and what to try."""


@dataclass(frozen=True)
class Verdict:
    """What validation says of an epoch.

    Args:
        selection: Higher is better; NaN when it cannot be told.
        scores: Metrics by name, for the journal; NaN where undefined.
        loss: Validation loss, NaN where there are no labels.
        notes: Reasons of undefined metrics.
        columns: Further metrics, for tables.

    Example:
        >>> Verdict(0.5, {"accuracy": 0.5}, 0.7).selection
        0.5

    References:
        Our own.
    """

    selection: float
    scores: Mapping[str, float]
    loss: float
    notes: tuple[str, ...] = ()
    columns: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Progress:
    """Where a run stands; stored in every checkpoint.

    Args:
        step: Optimizer steps taken.
        epoch: Epochs completed.
        steps_in_epoch: Steps of the epoch under way.
        steps_per_epoch: Length of an epoch: a run that is resumed must have the same.
        loss_sum: Sum of those steps' losses.
        best_step: Step of the best validation so far.
        best_epoch: Epoch of it, from 1.
        best_selection: Its selection score.
        journal_bytes: Length of the journal. Unit: bytes.
        seconds: Time spent so far, over all tries. Unit: s.
        finished: Nothing is left to do.

    Example:
        >>> Progress().step
        0

    References:
        Our own.
    """

    step: int = 0
    epoch: int = 0
    steps_in_epoch: int = 0
    steps_per_epoch: int = 0
    loss_sum: float = 0.0
    best_step: int | None = None
    best_epoch: int | None = None
    best_selection: float | None = None
    journal_bytes: int = 0
    seconds: float = 0.0
    finished: bool = False


class Watcher(Protocol):
    """Somebody who wants to see the run go on."""

    def step(self, *, step: int, steps: int, images: int, loss: float, lr: float) -> None:
        """One optimizer step was taken."""
        ...

    def epoch(self, *, epoch: int, epochs: int, verdict: Verdict, train_loss: float, best: bool) -> None:
        """One epoch was validated."""
        ...


@dataclass(frozen=True)
class Pace:
    """How long to train and how often to save.

    Args:
        epochs: Length of the run.
        steps_per_epoch: Optimizer steps in an epoch.
        accumulation: Micro-batches per optimizer step.
        patience: Epochs without a better validation before stopping; 0 = never.
        checkpoint_seconds: Save when this much time has passed; 0 = at the end of epochs only. Unit: s.
        checkpoint_steps: Save after every so many steps; 0 = no.
        journal_steps: Write a journal line every so many steps.
        images_per_step: Images of a step, of all processes together; 0 = those that this one sees.

    Example:
        >>> Pace(epochs=2, steps_per_epoch=10).steps
        20

    References:
        Our own.
    """

    epochs: int
    steps_per_epoch: int
    accumulation: int = 1
    patience: int = 0
    checkpoint_seconds: float = 120.0
    checkpoint_steps: int = 0
    journal_steps: int = 1
    images_per_step: int = 0

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.epochs * self.steps_per_epoch


E = TypeVar("E", bound=Learning)


@dataclass(frozen=True, eq=False)
class Run(Generic[E]):
    """The parts that a training run is made of.

    Args:
        engine: Learns.
        stream: Gives micro-batches from (epoch, first micro-batch) on to the end of the run.
        learning_rate: Fractional epoch to peak learning rate.
        validate: Judges the engine as it stands.
        checkpoints: Where to save.
        journal: Where to write.
        pace: How long, how often.
        model: Stored with the weights: what is needed to predict. What stands under ``places`` may change when the run
            goes on.
        seed: Everything random inside the network follows from it and the step.
        watcher: Sees the run go on.
        stop_wanted: Asked after every step; True = save and stop.
        epoch_begins: Told the epoch, from 0, before its first step, and again when a run goes on in the middle of it.
        examine: Looks at every step's journal line; gives what to add to it, and why to end the run, if so.
        processes: Who runs. All learn and validate; the first alone saves, writes, examines and is watched.

    References:
        Our own.
    """

    engine: E
    stream: Callable[[int, int], Iterator[MicroBatch]]
    learning_rate: Callable[[float], float]
    validate: Callable[[E], Verdict]
    checkpoints: Checkpoints
    journal: Journal
    pace: Pace
    model: Mapping[str, Any]
    seed: int
    watcher: Watcher
    stop_wanted: Callable[[], bool] = field(default=lambda: False)
    epoch_begins: Callable[[int], None] = field(default=lambda epoch: None)
    examine: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], TrainingFailed | None]] = field(
        default=lambda line: ({}, None)
    )
    processes: Processes = ALONE


class _Nobody:
    """Watches nothing."""

    def step(self, **told: Any) -> None:
        """One optimizer step was taken."""

    def epoch(self, **told: Any) -> None:
        """One epoch was validated."""


def run(parts: Run[E]) -> Progress:
    """Train to the end, from the newest checkpoint if there is one.

    What is learned does not depend on where the run was interrupted, nor on how many processes share the work: data,
    learning rate and every random draw are functions of the step, and a checkpoint holds the rest.

    Args:
        parts: What the run is made of.

    Returns:
        Where it ended. Of several processes the first alone comes back, also with an error that all of them share.

    Raises:
        Interrupted: If ``stop_wanted`` said so, in any process; a checkpoint was written.
        TrainingFailed: If the loss is not finite; the last sound checkpoint stays.
        CheckpointError: If a checkpoint cannot be written.
        ProcessLost: If another process has ended or answers no more.

    References:
        Our own.
    """
    if parts.processes.rank:
        nowhere = Journal(Path(os.devnull))
        parts = replace(parts, journal=nowhere, watcher=_Nobody(), examine=lambda line: ({}, None))
    try:
        with parts.processes.guard():
            progress = _run(parts)
    except (Interrupted, TrainingFailed):
        parts.processes.part()
        raise
    parts.processes.part()
    return progress


def _run(parts: Run[E]) -> Progress:
    """Train to the end."""
    pace, progress = parts.pace, _take_up(parts)
    if progress.finished:
        return progress
    batches = parts.stream(progress.epoch, progress.steps_in_epoch * pace.accumulation)
    started = saved = time.monotonic()
    spent_before = progress.seconds
    begun = -1
    while progress.epoch < pace.epochs:
        if begun != progress.epoch:
            begun = progress.epoch
            parts.epoch_begins(begun)
        group = [next(batches) for _ in range(pace.accumulation)]
        failure = _step(parts, progress, group)
        now = time.monotonic()
        progress.seconds = spent_before + now - started
        late = pace.checkpoint_seconds > 0 and now - saved >= pace.checkpoint_seconds
        # What one process wishes or finds, all do after the same step.
        stopping, late, failed = map(bool, parts.processes.total(parts.stop_wanted(), late, failure is not None))
        if failed:
            raise failure or TrainingFailed("the first process says why")
        if progress.steps_in_epoch == pace.steps_per_epoch:
            _end_epoch(parts, progress)
            progress.seconds = spent_before + time.monotonic() - started
            progress.finished = progress.epoch == pace.epochs or _out_of_patience(progress, pace.patience)
            due = True
        else:
            due = late or (bool(pace.checkpoint_steps) and progress.step % pace.checkpoint_steps == 0)
        if due or stopping:
            _save(parts, progress)
            saved = time.monotonic()
        if progress.finished:
            break
        if stopping:
            raise Interrupted(f"stopped after step {progress.step} of {pace.steps}; everything so far is saved")
    parts.journal.close()
    return progress


def _take_up(parts: Run[E]) -> Progress:
    """Load the newest checkpoint, or begin."""
    processes = parts.processes
    newest = processes.together(parts.checkpoints.newest)
    # The first's counts: a shared file system may show another process an older state.
    step = processes.every(newest.step if newest else None)[0]
    same = newest is not None and newest.step == step
    found = None if step is None else processes.together(lambda: newest if same else parts.checkpoints.read(step))
    if found is None:
        parts.journal.cut(0)
        parts.journal.write("start", steps=parts.pace.steps, engine=parts.engine.description)
        return Progress(steps_per_epoch=parts.pace.steps_per_epoch, journal_bytes=parts.journal.size_bytes())
    _check_same_task(parts, found)
    parts.engine.load_state(found.state)
    progress = Progress(**found.progress)
    parts.journal.cut(progress.journal_bytes)
    if not progress.finished:
        parts.journal.write("resume", step=progress.step, engine=parts.engine.description)
    return progress


def _check_same_task(parts: Run[E], found: Checkpoint) -> None:
    """Refuse a checkpoint of another network, other classes, another preprocessing or another length of epochs."""
    other = found.differences(parts.model)
    if found.progress["steps_per_epoch"] != parts.pace.steps_per_epoch:
        other.append(f"steps per epoch ({found.progress['steps_per_epoch']} then, {parts.pace.steps_per_epoch} now)")
    if other:
        raise TrainingFailed(
            f"{found.folder} belongs to another task: {', '.join(other)} changed. Put configuration and data back "
            "as they were, or start a new run (weights=<this run> takes its weights)"
        )


def _step(parts: Run[E], progress: Progress, group: Sequence[MicroBatch]) -> TrainingFailed | None:
    """Take one optimizer step; give why the run should end after it, if so."""
    pace = parts.pace
    before = time.monotonic()
    epoch = progress.epoch + progress.steps_in_epoch / pace.steps_per_epoch
    lr = parts.learning_rate(epoch)
    try:
        loss = parts.engine.train_step(group, lr=lr, seed=(parts.seed << 32) + progress.step)
    except LossNotFinite as error:
        raise TrainingFailed(
            f"{error} at step {progress.step + 1} (epoch {epoch:.2f}, learning rate {lr:.3g}). Nothing of this step is "
            "kept, and the last checkpoint is sound. Try a lower lr or blr, a longer warm-up, clip_norm=1, or "
            "precision=fp32"
        ) from error
    progress.step += 1
    progress.steps_in_epoch += 1
    progress.loss_sum += loss
    images = pace.images_per_step or sum(len(batch[0]) for batch in group)
    line = {"step": progress.step, "epoch": round(epoch, 6), "loss": loss, "lr": lr}
    more, failure = parts.examine(line)
    if progress.step % pace.journal_steps == 0 or failure:
        seconds = time.monotonic() - before
        rate = round(images / seconds, 1) if seconds else None
        parts.journal.write("step", **line, **more, images_per_s=rate)
    if not failure:
        parts.watcher.step(step=progress.step, steps=pace.steps, images=images, loss=loss, lr=lr)
    return failure


def _end_epoch(parts: Run[E], progress: Progress) -> None:
    """Validate, and remember the best."""
    verdict = parts.validate(parts.engine)
    train_loss = progress.loss_sum / progress.steps_in_epoch
    progress.epoch += 1
    progress.steps_in_epoch, progress.loss_sum = 0, 0.0
    best = progress.best_selection is None or verdict.selection > progress.best_selection
    # A run whose validation can never be scored keeps its last epoch.
    unscored = math.isnan(verdict.selection)
    if (best and not unscored) or (unscored and progress.best_selection is None):
        progress.best_step, progress.best_epoch = progress.step, progress.epoch
        progress.best_selection = None if unscored else verdict.selection
        best = True
    else:
        best = False
    parts.journal.write(
        "epoch",
        epoch=progress.epoch,
        step=progress.step,
        train_loss=train_loss,
        val_loss=verdict.loss,
        scores=verdict.scores,
        selection=verdict.selection,
        best=best,
        notes=list(verdict.notes),
        columns=verdict.columns,
        seconds=round(progress.seconds, 1),
    )
    parts.watcher.epoch(
        epoch=progress.epoch, epochs=parts.pace.epochs, verdict=verdict, train_loss=train_loss, best=best
    )


def _out_of_patience(progress: Progress, patience: int) -> bool:
    """Tell whether validation has not improved for too long."""
    return bool(patience) and progress.best_epoch is not None and progress.epoch - progress.best_epoch >= patience


def _save(parts: Run[E], progress: Progress) -> None:
    """Write a checkpoint that knows how long the journal was."""
    progress.journal_bytes = parts.journal.size_bytes()
    state = parts.engine.state()
    parts.processes.first(
        lambda: parts.checkpoints.save(
            step=progress.step,
            state=state,
            progress=asdict(progress),
            model=parts.model,
            best_step=progress.best_step,
        )
    )
