"""A fine-tuning experiment from its configuration to its report: where the rooms are put together."""

import fcntl
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError, FinetuneConfig
from eyeground.cli.config_file import dump_config
from eyeground.cli.console import TrainingWatcher, answer, tell
from eyeground.cli.dataset import SPLITS, Dataset, open_dataset
from eyeground.cli.judgment import Origin, by_volume, headline_lines, judge, record_epoch
from eyeground.cli.selection import Score, selection_score
from eyeground.cli.trained import describe_model, open_run, weights_of_run
from eyeground.data.augment import Augmentation, training_transform
from eyeground.data.loader import EvaluationImages
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.split import read_hashes
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import Optimization, TorchEngine
from eyeground.model.weights import Tensors, WeightsRefused, canonical, has_folded_batch_norm, read_weights
from eyeground.train.checkpoint import Checkpoint, Checkpoints
from eyeground.train.finetune import LearningRate, finetune
from eyeground.train.journal import read_journal
from eyeground.train.loop import Interrupted, Progress


def check_folder(out: Path | None) -> None:
    """Refuse a folder that holds something, before any work is done.

    Args:
        out: What the configuration says; None = a free name will be found.

    Raises:
        ConfigError: If it holds something already.

    Example:
        >>> check_folder(Path("no/such/folder"))

    References:
        Our own.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out}: already there; 'eyeground finetune --resume {out}' goes on with it, or choose another out"
        )


def _reserve_folder(out: Path | None, name: str) -> Path:
    """Make the run's folder; runs started at the same moment get folders of their own."""
    if out is not None:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        return out
    number = 1
    while True:
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


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
    started = time.monotonic()
    if resume is None:
        check_folder(config.out)
    before = Checkpoints(resume / "checkpoints").newest(parts=()) if resume else None
    parts = _prepare(config, resume=resume, before=before)
    folder = resume or _reserve_folder(config.out, name)
    with _only_one(folder):
        if resume is None and (folder / "checkpoints").exists():
            raise ConfigError(f"{folder}: another run has just been made there; choose another out")
        write_whole(folder / "config.yaml", dump_config(config.model_copy(update={"out": folder})).encode())
        parts.dataset.write_split(folder / "split.csv")
        _announce(folder, parts)
        with _stop_on_signal() as stop_wanted:
            progress = _train(config, folder, parts, stop_wanted)
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
    seconds = round(earlier + time.monotonic() - started, 1)
    answer(
        {"run": str(folder), "seconds": seconds, "best_epoch": progress.best_epoch, "test": headline},
        as_json=as_json,
        last_line=f"report: {folder / 'report.html'}",
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """Everything that training needs, checked."""

    dataset: Dataset
    engine: TorchEngine
    score: Score
    preprocessing: Preprocessing
    augmentation: Augmentation
    frozen_batch_norm: bool
    weights_report: Mapping[str, Sequence[str]]


def _prepare(config: FinetuneConfig, *, resume: Path | None, before: Checkpoint | None) -> _Parts:
    """Build every part; whatever can be wrong with a configuration or its data shows here, before a file is written."""
    preprocessing, augmentation = _preprocessing(config), _augmentation(config)
    try:
        training_transform(preprocessing, augmentation)
        # A patch that does not divide the image is found before any image is read.
        _spec(config, classes=2)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # A run that goes on has its weights in the checkpoint; where it started from may be gone by now.
    tensors = None if before else _weights(config)
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
    _check_parts(config, dataset)
    folded = tensors is not None and has_folded_batch_norm(canonical(tensors))
    frozen = config.batch_norm == "frozen" or (config.batch_norm == "auto" and folded)
    precision = config.precision
    if before:
        frozen, precision = before.model["frozen_batch_norm"], before.model["precision"]
    try:
        engine = TorchEngine(
            _spec(config, classes=len(dataset.classes)),
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
    return _Parts(dataset, engine, score, preprocessing, augmentation, frozen, report)


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


def _announce(folder: Path, parts: _Parts) -> None:
    """Say what is about to be trained, on what, from what."""
    counts = ", ".join(f"{len(keys)} {status.replace('_', ' ')}" for status, keys in parts.weights_report.items())
    tell(
        f"run      {folder}",
        f"model    {parts.engine.spec.name}: {parts.engine.description}",
        f"weights  {counts or 'random'}",
    )
    if parts.frozen_batch_norm:
        tell("         batch norm stays on its stored statistics")
    tell(*(f"data     {line}" for line in parts.dataset.summary()))


def _train(config: FinetuneConfig, folder: Path, parts: _Parts, stop_wanted: Callable[[], bool]) -> Progress:
    """Train to the end, or to where somebody stops it."""
    dataset = parts.dataset
    watcher = TrainingWatcher(also=lambda epoch, verdict: record_epoch(folder, epoch, verdict.columns))
    try:
        return finetune(
            engine=parts.engine,
            train=dataset.of("train"),
            validation=EvaluationImages(dataset.of("val"), pixels=dataset.pixels, preprocessing=parts.preprocessing),
            score=by_volume(dataset.of("val"), parts.score),
            folder=folder,
            pixels=dataset.pixels,
            preprocessing=parts.preprocessing,
            augmentation=parts.augmentation,
            learning_rate=LearningRate(config.blr, config.lr, config.min_lr, config.warmup_epochs, config.schedule),
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
                classes=dataset.classes,
                ordered=dataset.ordered,
                preprocessing=parts.preprocessing,
                slices=config.slices,
                frozen_batch_norm=parts.frozen_batch_norm,
                precision=parts.engine.precision,
                batch_size=config.batch_size,
                weights_report=parts.weights_report,
            ),
        )
    except Interrupted as error:
        raise Interrupted(f"{error}. Go on with: eyeground finetune --resume {shlex.quote(str(folder))}") from None
    finally:
        watcher.close()


def _preprocessing(config: FinetuneConfig) -> Preprocessing:
    """Take the preprocessing out of the configuration."""
    default = 0.875 if config.image_px <= 224 else 1.0
    return Preprocessing(
        image_px=config.image_px,
        crop_field=config.crop_field,
        store_px=config.store_px,
        fit=config.fit,
        crop_fraction=config.crop_fraction or default,
        mean=config.mean,
        std=config.std,
    )


def _augmentation(config: FinetuneConfig) -> Augmentation:
    """Take the augmentation out of the configuration."""
    return Augmentation(
        crop_scale=config.crop_scale,
        crop_ratio=config.crop_ratio,
        horizontal_flip=config.horizontal_flip,
        vertical_flip=config.vertical_flip,
        rotation_degrees=config.rotation_degrees,
        color_jitter=config.color_jitter,
        rand_augment=config.rand_augment,
        random_erasing=config.random_erasing,
    )


def _spec(config: FinetuneConfig, *, classes: int) -> ModelSpec:
    """Take the network out of the configuration."""
    return ModelSpec(
        config.model,
        classes=classes,
        image_px=config.image_px,
        pool=config.pool,
        fc_norm_passes=config.fc_norm_passes,
        drop_path=config.drop_path,
        options=config.model_options,
    )


def _weights(config: FinetuneConfig) -> Tensors | None:
    """Read the starting weights: none, a file, or another run's best."""
    if config.weights == "random":
        return None
    path = Path(config.weights)
    if path.is_dir():
        return weights_of_run(path)
    return read_weights(path)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run's folder."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{folder}: another process is training in it; wait for it or stop it first") from error
        yield


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C or SIGTERM into a wish to stop after the current step; a second Ctrl-C stops at once."""
    wanted = Counter[str]()

    def note(number: int, frame: object) -> None:
        wanted["stop"] += 1
        if wanted["stop"] > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Not through the console: a signal may arrive while it is writing.
        os.write(2, b"\nstopping after this step; everything will be saved (Ctrl-C again to stop at once)\n")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: wanted["stop"] > 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
