"""Pre-training: images without labels, an engine and a recipe make a run that watches its own health."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.data.augment import Augmentation
from eyeground.data.loader import EvaluationImages, missing_loaders, training_batches
from eyeground.data.pixels import PixelSource
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.model.engine import LossNotFinite, Pretraining
from eyeground.model.processes import ALONE, Processes
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.finetune import LearningRate
from eyeground.train.health import Finding, Health, measure
from eyeground.train.journal import Journal, read_journal
from eyeground.train.loop import MicroBatch, Pace, Progress, Run, TrainingFailed, Verdict, Watcher, run


def pretrain(
    *,
    engine: Pretraining,
    samples: Sequence[Sample],
    contrastive: bool,
    judge: Callable[[Pretraining], Verdict],
    folder: Path,
    pixels: PixelSource,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    learning_rate: LearningRate,
    epochs: int,
    batch_size: int,
    watcher: Watcher,
    model: dict[str, Any],
    accumulation: int = 1,
    seed: int = 0,
    workers: int = 0,
    keep_checkpoints: int = 2,
    checkpoint_seconds: float = 120.0,
    checkpoint_steps: int = 0,
    tensorboard: bool = True,
    stop_wanted: Callable[[], bool] = lambda: False,
    warn: Callable[[Finding], None] = lambda finding: None,
    processes: Processes = ALONE,
) -> tuple[Progress, Health]:
    """Pre-train a network, or go on with it where a run in the same folder stopped.

    A run that has collapsed or diverges ends at once; what it had learned before stays in its checkpoints.

    Args:
        engine: The network with its optimizer.
        samples: What to learn from; labels are not looked at.
        contrastive: Whether the engine wants two views of every image.
        judge: Judges the features after each epoch, asked in every process at once; NaN selects nothing, so that the
            last epoch is kept.
        folder: The run's folder; journal and checkpoints go there.
        pixels: Gives a sample's pixels.
        preprocessing: How pixels reach the network.
        augmentation: What is drawn.
        learning_rate: Its course.
        epochs: Length of the run.
        batch_size: Images per micro-batch, of all processes together.
        watcher: Sees the run go on.
        model: Stored with the weights: what is needed to use them.
        accumulation: Micro-batches per optimizer step.
        seed: Every random draw follows from it.
        workers: Loader processes.
        keep_checkpoints: How many of the newest to keep.
        checkpoint_seconds: Save when this much time has passed. Unit: s.
        checkpoint_steps: Save after every so many steps, 0 = no.
        tensorboard: Write TensorBoard's files too.
        stop_wanted: True = save and stop.
        warn: Told of every finding as it is made.
        processes: Who trains; the engine's.

    Returns:
        Where the run ended, and its health; the first process alone comes back. A run that had to stop has
        ``finished`` unset.

    Raises:
        ValueError: If the images do not fill one step, or a batch cannot be shared among the processes.
        Interrupted: If it was asked to stop.
        TrainingFailed: If the checkpoint there belongs to another run.
        CheckpointError: If a checkpoint cannot be written.
        LoaderLost: If a loader process has ended.

    References:
        He et al., CVPR 2022; Chen et al., ICML 2020.
    """
    micro_batches = len(samples) // batch_size
    if micro_batches < accumulation:
        raise ValueError(
            f"{len(samples)} images do not fill one step of {batch_size} x {accumulation}; "
            "lower batch_size or accumulation"
        )
    places = processes.share(batch_size).tolist()
    steps_per_epoch = micro_batches // accumulation
    usable = steps_per_epoch * accumulation

    def stream(epoch: int, first: int) -> Iterator[MicroBatch]:
        batches = training_batches(
            samples,
            pixels=pixels,
            preprocessing=preprocessing,
            augmentation=augmentation,
            batch_size=batch_size,
            epochs=epochs,
            seed=seed,
            first_epoch=epoch,
            first_batch=first,
            workers=workers,
            views=2 if contrastive else 0,
            places=places,
        )
        for batch in batches:
            if batch.index < usable:
                if contrastive:
                    yield tuple(np.ascontiguousarray(batch.images[:, view]) for view in range(2))
                else:
                    yield (batch.images,)

    some = samples[:: max(1, len(samples) // 16)][:16]
    # Before augmentation, which makes many images out of one picture.
    pictures = next(EvaluationImages(some, pixels=pixels, preprocessing=preprocessing).batches(16)).images
    health = Health(steps_per_epoch=steps_per_epoch, contrastive=contrastive)
    watch = _Watch(health, engine, folder, warn, picture_spread=float(pictures.std(axis=0, dtype=np.float64).mean()))
    journal = Journal(folder / "journal.jsonl", tensorboard=folder / "tensorboard" if tensorboard else None)
    parts: Run[Pretraining] = Run(
        engine=engine,
        stream=stream,
        learning_rate=lambda e: learning_rate.at(e, epochs=epochs, effective_batch=batch_size * accumulation),
        validate=judge,
        checkpoints=Checkpoints(folder / "checkpoints", keep=keep_checkpoints),
        journal=journal,
        pace=Pace(
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            accumulation=accumulation,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_steps=checkpoint_steps,
            images_per_step=batch_size * accumulation,
        ),
        model=model,
        seed=seed,
        watcher=watcher,
        stop_wanted=stop_wanted,
        examine=watch.examine,
        processes=processes,
    )
    progress = Progress(steps_per_epoch=steps_per_epoch)
    try:
        with missing_loaders():
            progress = run(parts)
    except NotWell:
        newest = parts.checkpoints.newest(parts=())
        progress = Progress(**newest.progress) if newest else progress
    except TrainingFailed as error:
        if not isinstance(error.__cause__, LossNotFinite):
            raise
        watch.health.findings.append(Finding("diverged", "not finite", str(error)))
    finally:
        journal.close()
    watch.catch_up()
    return progress, watch.health


class NotWell(TrainingFailed):
    """Pre-training has collapsed or diverges."""


class _Watch:
    """Feeds a run's journal lines to its health."""

    def __init__(
        self, health: Health, engine: Pretraining, folder: Path, warn: Callable[[Finding], None], picture_spread: float
    ) -> None:
        self.health = health
        self._picture_spread = picture_spread
        self._engine, self._path, self._warn = engine, folder / "journal.jsonl", warn
        self._read = False

    def catch_up(self) -> None:
        """Read what an earlier try of the run wrote; once, when the journal has been cut to the checkpoint."""
        if not self._read:
            self._read = True
            self.health.replay(read_journal(self._path))

    def examine(self, line: Mapping[str, Any]) -> tuple[Mapping[str, Any], TrainingFailed | None]:
        """Measure a step, and end a run that has failed."""
        self.catch_up()
        told = len(self.health.findings)
        found = {**measure(self._engine.vitals), "picture_spread": self._picture_spread}
        self.health.observe({**line, **found})
        for finding in self.health.findings[told:]:
            self._warn(finding)
        return found, NotWell(self.health.reasons[-1]) if self.health.must_stop else None
