"""A pre-training from its configuration to its pictures: where the rooms are put together."""

import json
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.config import FREE_KEYS, ConfigError
from eyeground.cli.config_file import dump_config
from eyeground.cli.console import TrainingWatcher, answer, tell
from eyeground.cli.launching import check_alone, check_same, joined, kept_words, note_folder, print_of
from eyeground.cli.neighbors import judge_by_neighbors
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.cli.pretrained_pictures import draw_learning, draw_map, draw_reconstructions
from eyeground.cli.recipe import (
    augmentation_of,
    learning_rate_of,
    pool_of,
    preprocessing_of,
    starting_weights,
    too_few_images,
)
from eyeground.cli.run_folder import check_folder, only_one, reserve_folder, stop_on_signal
from eyeground.cli.trained import modality_of_weights
from eyeground.cli.unlabelled import Unlabelled, open_unlabelled
from eyeground.data.augment import Augmentation, training_transform
from eyeground.data.loader import EvaluationImages, LoaderLost
from eyeground.data.modalities import mismatch
from eyeground.data.order import order_of
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.split import read_hashes
from eyeground.model.optimization import Optimization, Precision
from eyeground.model.processes import ALONE, Processes, ProcessLost
from eyeground.model.spec import MaeSpec, SimclrSpec
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine
from eyeground.model.weights import Tensors, WeightsRefused, canonical, has_folded_batch_norm
from eyeground.train.checkpoint import Checkpoint, Checkpoints
from eyeground.train.health import Finding, Health
from eyeground.train.loop import Interrupted, Progress, Verdict
from eyeground.train.pretrain import pretrain

# What does not change what is learned: a run may be resumed with other values.
FREE = {*FREE_KEYS, "picture_epochs"}
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
    with joined(config) as processes:
        folder, health = pretrain_run(config, name=name, resume=resume, processes=processes)
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
    config: PretrainConfig,
    *,
    name: str,
    resume: Path | None,
    stop: Callable[[], AbstractContextManager[Callable[[], bool]]] = stop_on_signal,
    processes: Processes = ALONE,
) -> tuple[Path, Health]:
    """Carry out one pre-training into its folder.

    Args:
        config: The checked configuration.
        name: Name of the run where the configuration gives no folder.
        resume: Folder of an interrupted run to go on with; None = a new run.
        stop: Watches for the wish to stop while the network is trained.
        processes: Who trains; the first alone writes.

    Returns:
        The run's folder, and its health. The first process alone comes back.

    Raises:
        ConfigError: If the configuration and the images do not go together.
        Interrupted: If it was asked to stop.
        ProcessLost: If another process has ended or answers no more.

    References:
        Our own.
    """
    check_alone(config, processes)
    if resume is None:
        processes.together(lambda: check_folder(config.out, verb="pretrain"))
    before = processes.together(lambda: Checkpoints(resume / "checkpoints").newest(parts=()) if resume else None)
    parts = _prepare(config, resume=resume, before=before, processes=processes)
    with ExitStack() as held:
        folder = processes.first(lambda: _open_folder(config, name=name, resume=resume, parts=parts, held=held))
        with stop() as stop_wanted:
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
            engine = _alone_again(config, folder, parts)
            draw_map(folder, engine, parts.mapped, parts.images.classes, batch_size=config.batch_size)
            if isinstance(engine, MaeEngine):
                draw_reconstructions(folder / "reconstruction.png", engine, parts.shown, parts.preprocessing)
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
    processes: Processes


def _open_folder(config: PretrainConfig, *, name: str, resume: Path | None, parts: _Parts, held: ExitStack) -> Path:
    """Make the run's folder, or take it up, and keep others out of it; say what is about to be done."""
    folder = resume or reserve_folder(config.out, name, verb="pretrain")
    held.enter_context(only_one(folder))
    write_whole(folder / "config.yaml", dump_config(config.model_copy(update={"out": folder})).encode())
    parts.images.write_split(folder / "split.csv")
    note_folder(folder)
    _announce(folder, config, parts)
    return folder


def _read(
    config: PretrainConfig, *, resume: Path | None, before: Checkpoint | None, processes: Processes
) -> tuple[MaeSpec | SimclrSpec, Tensors | None, Unlabelled]:
    """Read starting weights and images; whatever can be wrong with a configuration or its images shows here."""
    preprocessing = preprocessing_of(config)
    wrong = too_few_images(config, processes)
    if processes.sharded and config.picture_epochs:
        wrong.append(
            "picture_epochs: one process draws, and with strategy=fsdp it has a part of the weights only; set 0"
        )
    if wrong:
        raise ConfigError("; ".join(wrong))
    try:
        training_transform(preprocessing, augmentation_of(config))
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
    return spec, tensors, images


def _prepare(config: PretrainConfig, *, resume: Path | None, before: Checkpoint | None, processes: Processes) -> _Parts:
    """Build every part."""
    preprocessing, augmentation = preprocessing_of(config), augmentation_of(config)
    # Apart: one machine may read for longer than another, and those that build exchange words.
    spec, tensors, images = processes.together(lambda: _read(config, resume=resume, before=before, processes=processes))
    check_same(processes, "images or weights", lambda: print_of(images.samples, images.sha256, tensors))
    folded = tensors is not None and has_folded_batch_norm(canonical(tensors))
    frozen = config.batch_norm == "frozen" or (config.batch_norm == "auto" and folded)
    precision = config.precision
    if before:
        frozen, precision = before.model["frozen_batch_norm"], before.model["precision"]
    engine = processes.together(
        lambda: _build(config, spec, tensors=tensors, precision=precision, frozen=frozen, processes=processes)
    )
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
    return _Parts(images, engine, preprocessing, augmentation, frozen, report, labelled, mapped, shown, processes)


def _build(
    config: PretrainConfig,
    spec: MaeSpec | SimclrSpec,
    *,
    tensors: Tensors | None = None,
    precision: Precision,
    frozen: bool,
    processes: Processes = ALONE,
) -> MaeEngine | SimclrEngine:
    """Build the network with its optimizer."""
    common: dict[str, Any] = {
        "tensors": tensors,
        "optimization": Optimization(
            weight_decay=config.weight_decay,
            layer_decay=1.0,
            betas=config.betas,
            clip_norm=config.clip_norm,
            step_in_backward=config.step_in_backward,
        ),
        "device": config.device,
        "precision": precision,
        "seed": config.seed,
        "checkpointing": config.grad_checkpointing,
        "threads": config.threads,
        "processes": processes,
    }
    try:
        if isinstance(spec, MaeSpec):
            return MaeEngine(spec, compiled=config.compiled, **common)
        return SimclrEngine(spec, frozen_batch_norm=frozen, **common)
    except WeightsRefused:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _alone_again(config: PretrainConfig, folder: Path, parts: _Parts) -> MaeEngine | SimclrEngine:
    """The engine for one process: where weights were parted, with those of the newest checkpoint."""
    newest = Checkpoints(folder / "checkpoints").newest(parts=("weights",)) if parts.processes.sharded else None
    if newest is None:
        return parts.engine
    engine = _build(config, parts.engine.spec, precision=parts.engine.precision, frozen=parts.frozen_batch_norm)
    engine.load_state(newest.state)
    return engine


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
            judge=lambda e: judge_by_neighbors(
                e, parts.labelled, len(parts.images.classes), batch_size=config.batch_size, processes=parts.processes
            ),
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
            processes=parts.processes,
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
    except (ProcessLost, LoaderLost) as error:
        raise type(error)(f"{error}; {kept_words(folder, verb='pretrain')}") from error
    finally:
        watcher.close()
