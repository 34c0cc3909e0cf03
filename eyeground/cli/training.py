"""The parts of a fine-tuning, and its training: used for one run, and for every run of a comparison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.cli.dataset import SPLITS, Dataset, open_dataset
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.launching import check_same, print_of
from eyeground.cli.objective import SAMPLING, heads_of, objective_of, task_of
from eyeground.cli.prediction import by_volume
from eyeground.cli.recipe import (
    adaptation_of,
    augmentation_of,
    learning_rate_of,
    preprocessing_of,
    spec_of,
    starting_weights,
    too_few_images,
)
from eyeground.cli.selection import Score, selection_score
from eyeground.cli.trained import describe_model, lasting_name
from eyeground.data.augment import Augmentation, training_transform
from eyeground.data.balance import epoch_numbers
from eyeground.data.loader import EvaluationImages
from eyeground.data.order import in_pairs
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.split import read_hashes
from eyeground.data.task import Task
from eyeground.model.adaptation import Adaptation
from eyeground.model.engine import Provable
from eyeground.model.frameworks import build_engine
from eyeground.model.objective import Objective
from eyeground.model.optimization import Optimization
from eyeground.model.processes import ALONE, Processes
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.weights import Tensors, WeightsRefused, canonical, has_folded_batch_norm
from eyeground.train.checkpoint import Checkpoint
from eyeground.train.finetune import finetune
from eyeground.train.loop import Progress, Watcher


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that a fine-tuning needs, checked.

    Args:
        dataset: Labelled samples with their splits.
        engine: The network with its optimizer.
        score: Judges an epoch on validation.
        preprocessing: How pixels reach the network.
        augmentation: What is drawn in training.
        frozen_batch_norm: Whether batch norm stays on its stored statistics.
        weights_report: What became of every key of the starting weights.
        objective: What is asked, and how the loss answers imbalance.
        adaptation: What learns.
        processes: Who trains.

    References:
        Our own.
    """

    dataset: Dataset
    engine: Provable
    score: Score
    preprocessing: Preprocessing
    augmentation: Augmentation
    frozen_batch_norm: bool
    weights_report: Mapping[str, Sequence[str]]
    objective: Objective
    adaptation: Adaptation
    processes: Processes


def read_parts(
    config: FinetuneConfig, *, resume: Path | None, before: Checkpoint | None, processes: Processes = ALONE
) -> Parts:
    """Read the data and build every part; whatever can be wrong shows here, before a file is written.

    Args:
        config: The checked configuration.
        resume: Folder of an interrupted run to go on with; None = a new run.
        before: Its newest checkpoint.
        processes: Who trains.

    Returns:
        The parts.

    Raises:
        ConfigError: If the configuration and the data do not go together.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network.

    References:
        Our own.
    """
    # Apart: one machine may read for longer than another, and those that build exchange words.
    tensors, dataset = processes.together(lambda: _read(config, resume=resume, before=before, processes=processes))
    check_same(processes, "images, labels or weights", lambda: print_of(dataset.samples, dataset.sha256, tensors))
    return processes.together(lambda: build_parts(config, dataset, tensors=tensors, before=before, processes=processes))


def _read(
    config: FinetuneConfig, *, resume: Path | None, before: Checkpoint | None, processes: Processes
) -> tuple[Tensors | None, Dataset]:
    """Read starting weights and data."""
    preprocessing = preprocessing_of(config)
    _check_shares(config, processes)
    try:
        training_transform(preprocessing, augmentation_of(config))
        # A patch that does not divide the image is found before any image is read.
        spec_of(config, classes=2)
        adaptation_of(config)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # A run that goes on has its weights in the checkpoint, and where it started from may be gone by now; not so where a
    # checkpoint holds only what is learned on top of it.
    tensors = None if before and not before.model.get("base") else starting_weights(config)
    split = resume / "split.csv" if resume else None
    dataset = open_dataset(
        config.data,
        preprocessing=preprocessing,
        classes=config.classes,
        ordered=config.graded,
        split=str(split) if split and split.is_file() else config.split,
        split_seed=config.split_seed,
        val_fraction=config.val_fraction,
        slices=config.slices,
        heads=heads_of(config),
    )
    if split and split.is_file():
        _check_same_images(split, dataset)
    return tensors, dataset


def build_parts(
    config: FinetuneConfig,
    dataset: Dataset,
    *,
    tensors: Tensors | None,
    before: Checkpoint | None,
    processes: Processes = ALONE,
) -> Parts:
    """Build every part around a data set that is open already.

    Args:
        config: The checked configuration.
        dataset: Labelled samples with their splits.
        tensors: Starting weights by the file's own names; None = random, drawn from the seed.
        before: The newest checkpoint of a run to go on with.
        processes: Who trains.

    Returns:
        The parts.

    Raises:
        ConfigError: If the configuration and the data do not go together.
        WeightsRefused: If the weights do not belong to the network.

    References:
        Our own.
    """
    task = task_of(config, dataset)
    _check_parts(config, dataset, task)
    objective = objective_of(config, dataset, task)
    folded = tensors is not None and has_folded_batch_norm(canonical(tensors))
    frozen = config.batch_norm == "frozen" or (config.batch_norm == "auto" and folded)
    precision = config.precision
    spec = spec_of(config, classes=task.outputs, tensors=tensors)
    if before:
        spec = replace(spec, adapter_width=before.model["spec"].get("adapter_width", 0))
        frozen, precision = before.model["frozen_batch_norm"], before.model["precision"]
    try:
        engine = build_engine(
            config.engine,
            spec,
            tensors=tensors,
            objective=objective,
            adaptation=adaptation_of(config),
            optimization=Optimization(
                weight_decay=config.weight_decay,
                layer_decay=config.layer_decay,
                betas=config.betas,
                clip_norm=config.clip_norm,
                label_smoothing=config.label_smoothing,
                step_in_backward=config.step_in_backward,
            ),
            device=config.device,
            precision=precision,
            seed=config.seed,
            frozen_batch_norm=frozen,
            checkpointing=config.grad_checkpointing,
            threads=config.threads,
            compiled=config.compiled,
            processes=processes,
        )
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if before and before.model.get("base") and isinstance(engine, TorchEngine):
        then, now = before.model["base"]["sha256"], engine.frozen_sha256
        if then != now:
            raise WeightsRefused(
                f"this run learns on top of other weights than {config.weights} holds now (frozen tensors {now[:12]}, "
                f"then {then[:12]}): set weights in its config.yaml to those it began with"
            )
    score = selection_score(config.select_by, task)
    loaded = engine.load_report.lines() if engine.load_report else {}
    report = before.model["weights_report"] if before else loaded
    return Parts(
        dataset,
        engine,
        score,
        preprocessing_of(config),
        augmentation_of(config),
        frozen,
        report,
        objective,
        adaptation_of(config),
        processes,
    )


def _check_shares(config: FinetuneConfig, processes: Processes) -> None:
    """Refuse a batch that cannot be shared among so many processes."""
    wrong = too_few_images(config, processes)
    if (config.mixup or config.cutmix) and not in_pairs(config.batch_size, world=processes.world):
        wrong.append(
            f"mixup and cutmix pair the images of a batch: {processes.world} processes need batch_size="
            f"{2 * processes.world} or more, not {config.batch_size}"
        )
    if wrong:
        raise ConfigError("; ".join(wrong))


def _check_parts(config: FinetuneConfig, dataset: Dataset, task: Task) -> None:
    """Refuse data that could not be trained or judged to the end."""
    wrong = []
    wrong += [f"no image is in the split {name!r}" for name in SPLITS if not dataset.of(name)]
    train = dataset.of("train")
    seen = {sample.label for sample in train}
    absent = [name for number, name in enumerate(dataset.classes) if number not in seen]
    if (config.mixup or config.cutmix) and any(head.kind in ("grades", "quantity") for head in task.heads):
        wrong.append("mixup and cutmix blend classes, which grades and quantities are not: leave them 0")
    if train and absent:
        wrong.append(f"train has no image of {', '.join(absent)}: it cannot be learned")
    step = config.batch_size * config.accumulation
    if train and len(train) < step:
        wrong.append(f"{len(train)} training images do not fill one step of {step}: lower batch_size or accumulation")
    if wrong:
        raise ConfigError("; ".join(wrong))


def _check_same_images(split: Path, dataset: Dataset) -> None:
    """Refuse to go on with images that are not the ones the run began with."""
    before = read_hashes(split)
    changed = [sample.file for sample in dataset.samples if before.get(sample.id, "") != dataset.sha256[sample.id]]
    if changed:
        raise ConfigError(
            f"{len(changed)} images changed since this run began, first {changed[0]}: put them back, or start a new run"
        )


def train(
    config: FinetuneConfig, folder: Path, parts: Parts, *, watcher: Watcher, stop_wanted: Callable[[], bool]
) -> Progress:
    """Train to the end, or to where somebody stops it.

    Args:
        config: The checked configuration.
        folder: The run's folder.
        parts: What was built from it.
        watcher: Sees the run go on.
        stop_wanted: True = save and stop.

    Returns:
        Where the run ended.

    Raises:
        Interrupted: If it was asked to stop.
        TrainingFailed: If the loss is not finite.

    References:
        Our own.
    """
    dataset, task = parts.dataset, parts.objective.task
    return finetune(
        engine=parts.engine,
        task=task,
        train=dataset.of("train"),
        validation=EvaluationImages(dataset.of("val"), pixels=dataset.pixels, preprocessing=parts.preprocessing),
        score=by_volume(dataset.of("val"), parts.score),
        folder=folder,
        pixels=dataset.pixels,
        preprocessing=parts.preprocessing,
        augmentation=parts.augmentation,
        learning_rate=learning_rate_of(config),
        epochs=config.epochs,
        batch_size=config.batch_size,
        accumulation=config.accumulation,
        mixup=config.mixup,
        cutmix=config.cutmix,
        seed=config.seed,
        workers=config.workers,
        patience=config.patience,
        keep_checkpoints=config.keep_checkpoints,
        checkpoint_seconds=config.checkpoint_seconds,
        checkpoint_steps=config.checkpoint_steps,
        watcher=watcher,
        stop_wanted=stop_wanted,
        model=describe_model(
            parts.engine.spec,
            framework=config.engine,
            task=task,
            ordered=dataset.ordered,
            preprocessing=parts.preprocessing,
            slices=config.slices,
            modality=dataset.modality,
            frozen_batch_norm=parts.frozen_batch_norm,
            precision=parts.engine.precision,
            batch_size=config.batch_size,
            weights_report=parts.weights_report,
            adaptation=parts.adaptation,
            base=_base(config, parts),
            places={"base": lasting_name(config.weights)},
        ),
        order=order_of_epochs(config, dataset.of("train")),
        epoch_begins=_thawing(config, parts),
        processes=parts.processes,
    )


def _base(config: FinetuneConfig, parts: Parts) -> dict[str, Any] | None:
    """What checkpoints of a part that learns alone leave out."""
    if not parts.adaptation.delta or not isinstance(parts.engine, TorchEngine):
        return None
    return {"seed": config.seed, "sha256": parts.engine.frozen_sha256}


def order_of_epochs(config: FinetuneConfig, samples: Sequence[Sample]) -> Callable[[int], NDArray[np.int64]] | None:
    """Say which images an epoch holds, where imbalance is answered by choosing them.

    Args:
        config: The checked configuration.
        samples: Training samples, labelled.

    Returns:
        Epoch, from 0, to numbers of samples; None = all of them, shuffled.

    Example:
        >>> order_of_epochs(FinetuneConfig(data="images"), []) is None
        True

    References:
        Our own.
    """
    strategy = next((strategy for strategy in config.imbalance if strategy in SAMPLING), None)
    if strategy is None:
        return None
    labels = np.array([-1 if sample.label is None else sample.label for sample in samples])
    return lambda epoch: epoch_numbers(
        labels, strategy=strategy, seed=config.seed, epoch=epoch, up_to=config.oversample_to
    )


def _thawing(config: FinetuneConfig, parts: Parts) -> Callable[[int], None]:
    """What happens when an epoch begins: with gradual unfreezing one block more learns."""
    engine = parts.engine
    if config.adapt == "gradual" and isinstance(engine, TorchEngine):
        return lambda epoch: engine.thaw(epoch // config.gradual_epochs)
    return lambda epoch: None
