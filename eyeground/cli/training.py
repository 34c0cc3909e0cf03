"""The parts of a fine-tuning, and its training: used for one run, and for every run of a comparison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyeground.cli.config import ConfigError, FinetuneConfig
from eyeground.cli.dataset import SPLITS, Dataset, open_dataset
from eyeground.cli.judgment import by_volume
from eyeground.cli.recipe import augmentation_of, learning_rate_of, preprocessing_of, spec_of, starting_weights
from eyeground.cli.selection import Score, selection_score
from eyeground.cli.trained import describe_model
from eyeground.data.augment import Augmentation, training_transform
from eyeground.data.loader import EvaluationImages
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.split import read_hashes
from eyeground.model.engine import Provable
from eyeground.model.frameworks import build_engine
from eyeground.model.optimization import Optimization
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


def read_parts(config: FinetuneConfig, *, resume: Path | None, before: Checkpoint | None) -> Parts:
    """Read the data and build every part; whatever can be wrong shows here, before a file is written.

    Args:
        config: The checked configuration.
        resume: Folder of an interrupted run to go on with; None = a new run.
        before: Its newest checkpoint.

    Returns:
        The parts.

    Raises:
        ConfigError: If the configuration and the data do not go together.
        DataProblems: If the data has faults; all are listed.
        WeightsRefused: If the weights do not belong to the network.

    References:
        Our own.
    """
    preprocessing = preprocessing_of(config)
    try:
        training_transform(preprocessing, augmentation_of(config))
        # A patch that does not divide the image is found before any image is read.
        spec_of(config, classes=2)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # A run that goes on has its weights in the checkpoint; where it started from may be gone by now.
    tensors = None if before else starting_weights(config)
    split = resume / "split.csv" if resume else None
    dataset = open_dataset(
        config.data,
        preprocessing=preprocessing,
        classes=config.classes,
        ordered=config.ordered,
        split=str(split) if split and split.is_file() else config.split,
        split_seed=config.split_seed,
        val_fraction=config.val_fraction,
        slices=config.slices,
    )
    if split and split.is_file():
        _check_same_images(split, dataset)
    return build_parts(config, dataset, tensors=tensors, before=before)


def build_parts(
    config: FinetuneConfig, dataset: Dataset, *, tensors: Tensors | None, before: Checkpoint | None
) -> Parts:
    """Build every part around a data set that is open already.

    Args:
        config: The checked configuration.
        dataset: Labelled samples with their splits.
        tensors: Starting weights by the file's own names; None = random, drawn from the seed.
        before: The newest checkpoint of a run to go on with.

    Returns:
        The parts.

    Raises:
        ConfigError: If the configuration and the data do not go together.
        WeightsRefused: If the weights do not belong to the network.

    References:
        Our own.
    """
    _check_parts(config, dataset)
    folded = tensors is not None and has_folded_batch_norm(canonical(tensors))
    frozen = config.batch_norm == "frozen" or (config.batch_norm == "auto" and folded)
    precision = config.precision
    if before:
        frozen, precision = before.model["frozen_batch_norm"], before.model["precision"]
    try:
        engine = build_engine(
            config.engine,
            spec_of(config, classes=len(dataset.classes)),
            tensors=tensors,
            optimization=Optimization(
                weight_decay=config.weight_decay,
                layer_decay=config.layer_decay,
                betas=config.betas,
                clip_norm=config.clip_norm,
                label_smoothing=config.label_smoothing,
            ),
            device=config.device,
            precision=precision,
            seed=config.seed,
            frozen_batch_norm=frozen,
            checkpointing=config.grad_checkpointing,
            threads=config.threads,
        )
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    score = selection_score(config.select_by, dataset.classes)
    loaded = engine.load_report.lines() if engine.load_report else {}
    report = before.model["weights_report"] if before else loaded
    return Parts(dataset, engine, score, preprocessing_of(config), augmentation_of(config), frozen, report)


def _check_parts(config: FinetuneConfig, dataset: Dataset) -> None:
    """Refuse data that could not be trained or judged to the end."""
    wrong = []
    if len(dataset.classes) < 2:
        wrong.append(f"all labels are {dataset.classes[0]!r}: a classifier needs at least two classes")
    wrong += [f"no image is in the split {name!r}" for name in SPLITS if not dataset.of(name)]
    train = dataset.of("train")
    seen = {sample.label for sample in train}
    absent = [name for number, name in enumerate(dataset.classes) if number not in seen]
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
    dataset = parts.dataset
    return finetune(
        engine=parts.engine,
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
            classes=dataset.classes,
            ordered=dataset.ordered,
            preprocessing=parts.preprocessing,
            slices=config.slices,
            modality=dataset.modality,
            frozen_batch_norm=parts.frozen_batch_norm,
            precision=parts.engine.precision,
            batch_size=config.batch_size,
            weights_report=parts.weights_report,
        ),
    )
