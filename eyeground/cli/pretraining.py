"""A pre-training from its configuration to its pictures: where the rooms are put together."""

import json
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import dump_config
from eyeground.cli.console import TrainingWatcher, answer, tell
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.cli.pretrained_pictures import draw_learning, draw_map, draw_reconstructions
from eyeground.cli.recipe import augmentation_of, learning_rate_of, pool_of, preprocessing_of, starting_weights
from eyeground.cli.run_folder import check_folder, only_one, reserve_folder, stop_on_signal
from eyeground.cli.trained import modality_of_weights
from eyeground.cli.unlabelled import Unlabelled, open_unlabelled
from eyeground.data.augment import Augmentation, training_transform
from eyeground.data.loader import EvaluationImages
from eyeground.data.modalities import mismatch
from eyeground.data.order import order_of
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.split import read_hashes
from eyeground.evaluate.probe import knn_probe
from eyeground.model.optimization import Optimization
from eyeground.model.spec import MaeSpec, SimclrSpec
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine
from eyeground.model.weights import WeightsRefused, canonical, has_folded_batch_norm
from eyeground.train.checkpoint import Checkpoint, Checkpoints
from eyeground.train.health import Finding, Health
from eyeground.train.loop import Interrupted, Progress, Verdict
from eyeground.train.pretrain import pretrain

# What does not change what is learned: a run may be resumed with other values.
FREE = {"out", "device", "threads", "workers", "keep_checkpoints", "checkpoint_seconds", "checkpoint_steps"}
FREE |= {"picture_epochs", "grad_checkpointing"}
_ON_THE_MAP = 500


def run_pretraining(config: PretrainConfig, *, name: str, resume: Path | None, as_json: bool) -> None:
    """Read images, learn from them, watch, draw.

    Args:
        config: The checked configuration.
        name: Name of the run where the configuration gives no folder.
        resume: Folder of an interrupted run to go on with; None = a new run.
        as_json: End with one JSON line.

    Raises:
        SystemExit: With code 1, after the answer, if it collapsed or diverged.
        ConfigError: If the configuration and the images do not go together.
        DataProblems: If images cannot be read; all are listed.
        WeightsRefused: If the weights do not belong to the network.
        Interrupted: If a person stopped it.
        CheckpointError: If a checkpoint cannot be written or read.

    References:
        Our own.
    """
    started = time.monotonic()
    with stop_on_signal() as stop_wanted:
        folder, health = pretrain_run(config, name=name, resume=resume, stop_wanted=stop_wanted)
    verdict = {"status": health.status, "reasons": health.reasons}
    answer(
        {"run": str(folder), "seconds": round(time.monotonic() - started, 1), "health": verdict},
        as_json=as_json,
        last_line=f"run: {folder}   health: {health.status}",
    )
    if health.must_stop:
        tell(
            f"error: pre-training was stopped, it has {health.status}. {health.reasons[-1]}. Checkpoints from before "
            f"are in {folder / 'checkpoints'}; start anew with other settings"
        )
        # Not an exception of ours: with --json it would add a second line to the answer.
        raise SystemExit(1)


def pretrain_run(
    config: PretrainConfig, *, name: str, resume: Path | None, stop_wanted: Callable[[], bool]
) -> tuple[Path, Health]:
    """Carry out one pre-training into its folder.

    Args:
        config: The checked configuration.
        name: Name of the run where the configuration gives no folder.
        resume: Folder of an interrupted run to go on with; None = a new run.
        stop_wanted: True = save and stop.

    Returns:
        The run's folder, and its health.

    Raises:
        ConfigError: If the configuration and the images do not go together.
        Interrupted: If it was asked to stop.

    References:
        Our own.
    """
    if resume is None:
        check_folder(config.out, verb="pretrain")
    before = Checkpoints(resume / "checkpoints").newest(parts=()) if resume else None
    parts = _prepare(config, resume=resume, before=before)
    folder = resume or reserve_folder(config.out, name, verb="pretrain")
    with only_one(folder):
        write_whole(folder / "config.yaml", dump_config(config.model_copy(update={"out": folder})).encode())
        parts.images.write_split(folder / "split.csv")
        _announce(folder, config, parts)
        progress, health = _train(config, folder, parts, stop_wanted)
        record: dict[str, Any] = {
            "status": health.status,
            "reasons": health.reasons,
            "seconds": round(progress.seconds, 1),
        }
        record |= {"epochs": progress.epoch, "finished": progress.finished, "modality": parts.images.modality}
        record |= {"weights_report": {key: list(keys) for key, keys in parts.weights_report.items()}}
        write_whole(folder / "health.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        draw_learning(folder)
        if progress.finished:
            draw_map(folder, parts.engine, parts.mapped, parts.images.classes, batch_size=config.batch_size)
            if isinstance(parts.engine, MaeEngine):
                draw_reconstructions(folder / "reconstruction.png", parts.engine, parts.shown, parts.preprocessing)
    return folder, health


@dataclass(frozen=True, eq=False)
class _Parts:
    """Everything that pre-training needs, checked."""

    images: Unlabelled
    engine: MaeEngine | SimclrEngine
    preprocessing: Preprocessing
    augmentation: Augmentation
    frozen_batch_norm: bool
    weights_report: Mapping[str, Sequence[str]]
    labelled: EvaluationImages
    mapped: EvaluationImages
    shown: EvaluationImages


def _prepare(config: PretrainConfig, *, resume: Path | None, before: Checkpoint | None) -> _Parts:
    """Build every part; whatever can be wrong with a configuration or its images shows here."""
    preprocessing, augmentation = preprocessing_of(config), augmentation_of(config)
    try:
        training_transform(preprocessing, augmentation)
        spec = _spec(config)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    tensors = None if before else starting_weights(config)
    images = open_unlabelled(config, preprocessing)
    if resume and (resume / "split.csv").is_file():
        _check_same_images(resume / "split.csv", images)
    step = config.batch_size * config.accumulation
    if len(images.samples) < step:
        raise ConfigError(
            f"{len(images.samples)} images do not fill one step of {step}: lower batch_size or accumulation, "
            "or add images"
        )
    folded = tensors is not None and has_folded_batch_norm(canonical(tensors))
    frozen = config.batch_norm == "frozen" or (config.batch_norm == "auto" and folded)
    precision = config.precision
    if before:
        frozen, precision = before.model["frozen_batch_norm"], before.model["precision"]
    common: dict[str, Any] = {
        "tensors": tensors,
        "optimization": Optimization(
            weight_decay=config.weight_decay, layer_decay=1.0, betas=config.betas, clip_norm=config.clip_norm
        ),
        "device": config.device,
        "precision": precision,
        "seed": config.seed,
        "checkpointing": config.grad_checkpointing,
        "threads": config.threads,
    }
    try:
        engine: MaeEngine | SimclrEngine
        if isinstance(spec, MaeSpec):
            engine = MaeEngine(spec, **common)
        else:
            engine = SimclrEngine(spec, frozen_batch_norm=frozen, **common)
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    report = engine.load_report.lines() if engine.load_report else {}
    if before:
        report = before.model["weights_report"]
    order = order_of(samples=len(images.labelled), seed=config.seed, epoch=0)[: config.neighbors]
    labels = {sample.id: sample.label for sample in images.labelled}
    some = [replace(sample, label=labels.get(sample.id)) for sample in _spread(images.samples, _ON_THE_MAP)]
    labelled, mapped, shown = (
        EvaluationImages(chosen, pixels=images.pixels, preprocessing=preprocessing)
        for chosen in ([images.labelled[row] for row in sorted(order.tolist())], some, _spread(images.samples, 8))
    )
    return _Parts(images, engine, preprocessing, augmentation, frozen, report, labelled, mapped, shown)


def _spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Take a few samples from all over a set."""
    return list(samples[:: max(1, math.ceil(len(samples) / most))])


def _spec(config: PretrainConfig) -> MaeSpec | SimclrSpec:
    """Take the network out of the configuration."""
    if config.method == "mae":
        return MaeSpec(
            config.model,
            image_px=config.image_px,
            mask_ratio=config.mask_ratio,
            norm_pix=config.norm_pix,
            decoder_width=config.decoder_width,
            decoder_depth=config.decoder_depth,
            decoder_heads=config.decoder_heads,
        )
    return SimclrSpec(
        config.model,
        image_px=config.image_px,
        pool=pool_of(config),
        drop_path=config.drop_path,
        options=config.model_options,
        temperature=config.temperature,
        projector=config.projector,
    )


def _check_same_images(split: Path, images: Unlabelled) -> None:
    """Refuse to go on with images that are not the ones the run began with."""
    before = read_hashes(split)
    changed = [s.file for s in images.samples if before.get(s.id) != images.sha256[s.id]]
    gone = set(before) - {sample.id for sample in images.samples}
    if changed or gone:
        raise ConfigError(
            f"{len(changed)} images changed and {len(gone)} are gone since this run began, first "
            f"{(changed or sorted(gone))[0]}: put them back, or start a new run"
        )


def _announce(folder: Path, config: PretrainConfig, parts: _Parts) -> None:
    """Say what is about to learn, from what, starting where."""
    counts = ", ".join(f"{len(keys)} {status.replace('_', ' ')}" for status, keys in parts.weights_report.items())
    batch = config.batch_size * config.accumulation
    peak = learning_rate_of(config).at(config.warmup_epochs, epochs=config.epochs, effective_batch=batch)
    tell(
        f"run      {folder}",
        f"model    {config.method} of {config.model}: {parts.engine.description}",
        f"weights  {counts or 'random'}",
        f"batch    {batch} images a step ({config.batch_size} x {config.accumulation}), peak learning rate {peak:.3g}",
        *(f"data     {line}" for line in parts.images.summary()),
    )
    if parts.frozen_batch_norm:
        tell("         batch norm stays on its stored statistics")
    if warning := mismatch(images=parts.images.modality, weights=modality_of_weights(config.weights)):
        tell(f"warning  {warning}")


def _train(
    config: PretrainConfig, folder: Path, parts: _Parts, stop_wanted: Callable[[], bool]
) -> tuple[Progress, Health]:
    """Train to the end, or to where it fails or somebody stops it."""
    engine = parts.engine

    def picture(epoch: int, verdict: Verdict) -> None:
        if isinstance(engine, MaeEngine) and config.picture_epochs and epoch % config.picture_epochs == 0:
            (folder / "pictures").mkdir(exist_ok=True)
            path = folder / "pictures" / f"epoch-{epoch:04d}.png"
            draw_reconstructions(path, engine, parts.shown, parts.preprocessing)

    def warn(finding: Finding) -> None:
        tell(f"{finding.status}  {finding.name}: {finding.words}")

    recipe = {key: value for key, value in config.model_dump(mode="json").items() if key not in FREE}
    recipe["data"] = [source.name or source.path.name for source in config.data]
    watcher = TrainingWatcher(also=picture)
    try:
        return pretrain(
            engine=engine,
            samples=parts.images.samples,
            contrastive=config.method == "simclr",
            judge=lambda e: _neighbors(e, parts, config.batch_size),
            folder=folder,
            pixels=parts.images.pixels,
            preprocessing=parts.preprocessing,
            augmentation=parts.augmentation,
            learning_rate=learning_rate_of(config),
            epochs=config.epochs,
            batch_size=config.batch_size,
            accumulation=config.accumulation,
            seed=config.seed,
            workers=config.workers,
            keep_checkpoints=config.keep_checkpoints,
            checkpoint_seconds=config.checkpoint_seconds,
            checkpoint_steps=config.checkpoint_steps,
            watcher=watcher,
            stop_wanted=stop_wanted,
            warn=warn,
            model={
                "method": config.method,
                "spec": engine.spec.to_json(),
                "preprocessing": asdict(parts.preprocessing),
                "modality": parts.images.modality,
                "frozen_batch_norm": parts.frozen_batch_norm,
                "precision": engine.precision,
                "weights_report": {status: list(keys) for status, keys in parts.weights_report.items()},
                "recipe": recipe,
            },
        )
    except Interrupted as error:
        raise Interrupted(f"{error}. Go on with: eyeground pretrain --resume {shlex.quote(str(folder))}") from None
    finally:
        watcher.close()


def _neighbors(engine: Any, parts: _Parts, batch_size: int) -> Verdict:
    """Judge the features by the labels of each image's nearest neighbors, of other patients."""
    samples = parts.labelled.samples
    classes = len(parts.images.classes)
    if len({sample.patient for sample in samples}) < 4:
        return Verdict(math.nan, {}, math.nan)
    features = np.concatenate([engine.features(batch.images) for batch in parts.labelled.batches(batch_size)])
    truth = np.array([sample.label for sample in samples])
    patients = sorted({sample.patient for sample in samples})
    # Every second patient asks, the others answer.
    asks = np.isin([sample.patient for sample in samples], patients[::2])
    present = np.unique(truth[asks])
    if not asks.any() or asks.all() or len(present) < 2:
        return Verdict(math.nan, {}, math.nan)
    scores = knn_probe(features[~asks], truth[~asks], features[asks], classes=classes).scores
    # Votes count by how rare a class is: among mostly healthy eyes every neighbor of a sick one may be healthy.
    share = np.bincount(truth[~asks], minlength=classes) / (~asks).sum()
    said = (scores / np.maximum(share, 1e-9)).argmax(axis=1)
    recall = [float((said[truth[asks] == k] == k).mean()) for k in present]
    return Verdict(math.nan, {"knn_accuracy": float(np.mean(recall)), "knn_chance": 1 / len(present)}, math.nan)
