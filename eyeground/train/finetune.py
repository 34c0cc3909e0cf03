"""Fine-tuning: samples, an engine and a recipe make a run."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.data.augment import Augmentation, draws, mix
from eyeground.data.loader import EvaluationImages, missing_loaders, training_batches
from eyeground.data.order import in_pairs
from eyeground.data.pixels import PixelSource
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.task import Task
from eyeground.model.engine import Engine
from eyeground.model.processes import ALONE, Processes
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import Journal
from eyeground.train.loop import MicroBatch, Pace, Progress, Run, TrainingFailed, Verdict, Watcher, run
from eyeground.train.schedule import scaled_learning_rate, warm_restarts, warmup_cosine
from eyeground.train.sharing import rows_of_all


@dataclass(frozen=True)
class LearningRate:
    """The learning rate over a run.

    Args:
        blr: Peak for an effective batch of 256; used when ``lr`` is None.
        lr: Peak as it is.
        minimum: Learning rate at the end of a cosine.
        warmup_epochs: Length of the linear rise; for ``"cosine"``.
        schedule: ``"cosine"``, or ``"restarts"``: cosine falls of 10, 20, 40 ... epochs.

    Example:
        >>> LearningRate(blr=5e-3).at(10, epochs=100, effective_batch=16)
        0.0003125

    References:
        RETFound's recipe; the restarts are the clinic's.
    """

    blr: float = 5e-3
    lr: float | None = None
    minimum: float = 1e-6
    warmup_epochs: float = 10
    schedule: Literal["cosine", "restarts"] = "cosine"

    def at(self, epoch: float, *, epochs: int, effective_batch: int) -> float:
        """Give the peak learning rate at a moment.

        Args:
            epoch: Fractional epochs done.
            epochs: Length of the run.
            effective_batch: Images per optimizer step.

        Returns:
            The learning rate before each layer's scale.
        """
        peak = self.lr if self.lr is not None else scaled_learning_rate(blr=self.blr, batch_size=effective_batch)
        if self.schedule == "restarts":
            return warm_restarts(epoch, peak=peak, first_epochs=10, factor=2, minimum=self.minimum)
        return warmup_cosine(epoch, epochs=epochs, peak=peak, warmup_epochs=self.warmup_epochs, minimum=self.minimum)


def predict_all(
    engine: Engine,
    images: EvaluationImages,
    *,
    task: Task,
    batch_size: int,
    seen: Callable[[int], None] = lambda images: None,
    processes: Processes = ALONE,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Predict a whole set.

    Args:
        engine: A trained network.
        images: The set.
        task: What is asked of each image.
        batch_size: Images per batch.
        seen: Told after each batch how many images it held.
        processes: Who works.

    Returns:
        Scores (N, S), truth (N, H) with NaN where not known, and the plain mean over batches of the task's loss (NaN
        when there are no labels): of classes the cross-entropy, as RETFound computes its ``val_loss``.

    Raises:
        TrainingFailed: If a score is not finite.

    Example:
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.engine import TorchEngine
        >>> engine = TorchEngine(ModelSpec("vit_demo_patch8", classes=3, image_px=16), device="cpu", precision="fp32")
        >>> images = EvaluationImages([Sample("a", Path("."), 0, "p")],
        ...     pixels=lambda s: np.zeros((16, 16, 3), np.uint8), preprocessing=Preprocessing(image_px=16))
        >>> predict_all(engine, images, task=classification("abc"), batch_size=4)[0].shape
        (1, 3)

    References:
        Our own.
    """
    found = rows_of_all(images, engine.predict, batch_size=batch_size, processes=processes, seen=seen).astype(
        np.float64
    )
    if not np.isfinite(found).all():
        raise TrainingFailed(
            "the network answers NaN: its weights are spoiled. Earlier checkpoints are sound. "
            "Try a lower lr or blr, a longer warm-up, clip_norm=1, or precision=fp32"
        )
    truth = np.array([sample.truth for sample in images.samples])
    starts = range(0, len(truth), batch_size)
    losses = [task.loss(found[start : start + batch_size], truth[start : start + batch_size]) for start in starts]
    known = [loss for loss in losses if not math.isnan(loss)]
    return found, truth, float(np.mean(known)) if known else float("nan")


def finetune(
    *,
    engine: Engine,
    task: Task,
    train: Sequence[Sample],
    validation: EvaluationImages,
    score: Callable[[NDArray[np.float64], NDArray[np.float64], float], Verdict],
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
    mixup: float = 0.0,
    cutmix: float = 0.0,
    seed: int = 0,
    workers: int = 0,
    patience: int = 0,
    keep_checkpoints: int = 2,
    checkpoint_seconds: float = 120.0,
    checkpoint_steps: int = 0,
    tensorboard: bool = True,
    stop_wanted: Callable[[], bool] = lambda: False,
    order: Callable[[int], NDArray[np.int64]] | None = None,
    epoch_begins: Callable[[int], None] = lambda epoch: None,
    processes: Processes = ALONE,
) -> Progress:
    """Fine-tune a network, or go on with it where a run in the same folder stopped.

    Args:
        engine: The network with its optimizer.
        task: What is asked of each image.
        train: Labelled training samples.
        validation: Labelled images that choose the best epoch.
        score: Scores (N, S), truth (N, H) and the validation loss to a verdict; handed in: training knows no metric.
        folder: The run's folder; journal and checkpoints go there.
        pixels: Gives a sample's pixels.
        preprocessing: How pixels reach the network.
        augmentation: What is drawn in training.
        learning_rate: Its course.
        epochs: Length of the run.
        batch_size: Images per micro-batch, of all processes together.
        watcher: Sees the run go on.
        model: Stored with the weights: what is needed to predict.
        accumulation: Micro-batches per optimizer step.
        mixup: Beta parameter, 0 = off.
        cutmix: Beta parameter, 0 = off.
        seed: Every random draw follows from it.
        workers: Loader processes.
        patience: Epochs without improvement before stopping, 0 = never.
        keep_checkpoints: How many of the newest to keep.
        checkpoint_seconds: Save when this much time has passed. Unit: s.
        checkpoint_steps: Save after every so many steps, 0 = no.
        tensorboard: Write TensorBoard's files too.
        stop_wanted: True = save and stop.
        order: Which samples an epoch holds, from its number from 0; always as many. None = all of them, shuffled.
        epoch_begins: Told the epoch, from 0, before its first step, and again when a run goes on in the middle of it.
        processes: Who trains; the engine's.

    Returns:
        Where the run ended; the first process alone comes back.

    Raises:
        ValueError: If the training set does not fill one step, or a batch cannot be shared among the processes.
        Interrupted: If it was asked to stop.
        TrainingFailed: If the loss is not finite.
        CheckpointError: If a checkpoint cannot be written.
        LoaderLost: If a loader process has ended.

    References:
        Zhou et al., Nature 2023.
    """
    images = len(order(0)) if order else len(train)
    micro_batches = images // batch_size
    if micro_batches < accumulation:
        raise ValueError(
            f"{images} training images do not fill one step of {batch_size} x {accumulation}; "
            "lower batch_size or accumulation"
        )
    if (mixup or cutmix) and not in_pairs(batch_size, world=processes.world):
        raise ValueError(
            f"mixup and CutMix pair the images of a batch: {processes.world} processes need a batch_size of "
            f"{2 * processes.world} or more, not {batch_size}"
        )
    places = processes.share(batch_size).tolist()
    steps_per_epoch = micro_batches // accumulation
    # An epoch is a whole number of steps, so that accumulation never reaches over into the next.
    usable = steps_per_epoch * accumulation

    def stream(epoch: int, first: int) -> Iterator[MicroBatch]:
        batches = training_batches(
            train,
            pixels=pixels,
            preprocessing=preprocessing,
            augmentation=augmentation,
            batch_size=batch_size,
            epochs=epochs,
            seed=seed,
            first_epoch=epoch,
            first_batch=first,
            workers=workers,
            order=order,
            places=places,
        )
        for batch in batches:
            if batch.index < usable:
                with draws(seed, batch.epoch, "mix", batch.index):
                    yield mix(batch.images, task.targets(batch.truth), mixup_alpha=mixup, cutmix_alpha=cutmix)

    def judge(trained: Engine) -> Verdict:
        answers = predict_all(trained, validation, task=task, batch_size=batch_size, processes=processes)
        return processes.first(lambda: score(*answers))

    journal = Journal(folder / "journal.jsonl", tensorboard=folder / "tensorboard" if tensorboard else None)
    parts = Run(
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
            patience=patience,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_steps=checkpoint_steps,
            images_per_step=batch_size * accumulation,
        ),
        model=model,
        seed=seed,
        watcher=watcher,
        stop_wanted=stop_wanted,
        epoch_begins=epoch_begins,
        processes=processes,
    )
    try:
        with missing_loaders():
            return run(parts)
    finally:
        journal.close()
