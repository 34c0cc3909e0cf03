"""A configuration's keys -> the pieces of work that are planned: which engine, how many images, how often."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.compare_config import CompareConfig
from eyeground.cli.config import ConfigError, RunConfig
from eyeground.cli.config_file import check_config, read_values
from eyeground.cli.dataset import open_manifest, prepared_sources, split_samples
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.label_fraction import stretch
from eyeground.cli.objective import heads_of
from eyeground.cli.pretrain_config import RATIOS, PretrainConfig
from eyeground.cli.recipe import adaptation_of, pool_of, spec_of
from eyeground.data.shards.address import remote_address
from eyeground.data.task import Task
from eyeground.data.volumes import expand, slice_step
from eyeground.model.optimization import Optimization, Precision
from eyeground.model.spec import MaeSpec, SimclrSpec
from eyeground.model.torch.costing import Work
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine

T = TypeVar("T")
# Of classes that only the labels tell: a head's size changes nothing that is planned.
_CLASSES = 5


@dataclass(frozen=True)
class Images:
    """How many images a run sees.

    Args:
        train: To learn from, in every epoch.
        judged: Asked about after every epoch.
        test: Asked about once, at the end.

    Example:
        >>> Images(60, 20, 20).train
        60

    References:
        Our own.
    """

    train: int
    judged: int = 0
    test: int = 0


@dataclass(frozen=True)
class Job:
    """One kind of run.

    Args:
        name: What tables call it.
        config: Its checked configuration.
        images: What it sees.
        times: How often it is done, such as once for every seed.
        frozen: Only features are taken, once, from all of the images.

    Example:
        >>> Job("mine", FinetuneConfig(data="images"), Images(60, 20, 20)).times
        1

    References:
        Our own.
    """

    name: str
    config: FinetuneConfig | PretrainConfig
    images: Images
    times: int = 1
    frozen: bool = False


def kind_of_config(values: Mapping[str, Any]) -> type[FinetuneConfig] | type[PretrainConfig] | type[CompareConfig]:
    """Tell a configuration's kind from its keys.

    Args:
        values: Keys and values, not yet checked.

    Returns:
        Which keys there are.

    Example:
        >>> kind_of_config({"data": "images", "method": "mae"}).__name__
        'PretrainConfig'

    References:
        Our own.
    """
    if "inits" in values:
        return CompareConfig
    return PretrainConfig if "method" in values else FinetuneConfig


def jobs_of(
    config: FinetuneConfig | PretrainConfig | CompareConfig, *, name: str, images: int | None
) -> tuple[Job, ...]:
    """Take a configuration apart into runs.

    Args:
        config: The checked configuration.
        name: What a lone run is called.
        images: Images of the data set; None = the data is counted.

    Returns:
        The runs; equal ones once, with how often.

    Raises:
        ConfigError: If the data is not there and no number was given, or is too small for one step.
        DataProblems: If the table has faults; all are listed.

    Example:
        >>> [job.images.train for job in jobs_of(FinetuneConfig(data="images"), name="mine", images=1000)]
        [600]

    References:
        Our own.
    """
    if isinstance(config, CompareConfig):
        return tuple(_compared(config, images=images))
    return (Job(name, config, counted(config, images=images)),)


def _compared(config: CompareConfig, *, images: int | None) -> Iterator[Job]:
    """The runs of a comparison: what is pre-trained, then each way of each start."""
    made: set[str] = set()
    for init in config.inits:
        if init.pretrain is not None:
            values = {**read_values(init.pretrain), **init.pretrain_keys}
            pretrain = check_config(values, where=f"{init.pretrain} ({init.name})", kind=PretrainConfig)
            key = pretrain.model_dump_json()
            if key not in made or init.after:  # those that are pre-trained alike share it
                made.add(key)
                yield Job(f"pretrain {init.name}", pretrain, counted(pretrain, images=images))
    for init in config.inits:
        for way in config.ways:
            where = f"finetune ({init.name}, {way.name})"
            settings: FinetuneConfig = check_config({**config.finetune, **init.finetune, **way.finetune}, where=where)
            seen = counted(settings, images=images)
            if way.frozen:
                yield Job(f"{init.name}, {way.name}", settings, seen, frozen=True)
                continue
            for fraction in config.fractions:
                fewer = Images(max(1, round(seen.train * fraction)), seen.judged, seen.test)
                share = "" if fraction == 1 else f", {fraction:.0%} of the labels"
                stretched = stretch(settings, fraction, fewer.train)
                yield Job(f"{init.name}, {way.name}{share}", stretched, fewer, times=len(config.seeds))


def counted(config: FinetuneConfig | PretrainConfig, *, images: int | None) -> Images:
    """Say how many images a run sees.

    Args:
        config: Its checked configuration.
        images: Images of the data set; None = they are counted.

    Returns:
        The counts; of a number, shares as ``split`` says, 60:20:20 where it leaves them to the data.

    Raises:
        ConfigError: If the data is not there and no number was given, or does not fill a step.
        DataProblems: If the table has faults; all are listed.

    Example:
        >>> counted(FinetuneConfig(data="images", split="80:10:10"), images=1000)
        Images(train=800, judged=100, test=100)

    References:
        Our own.
    """
    found = _by_shares(config, images) if images is not None else _by_looking(config)
    step = config.batch_size * config.accumulation
    if found.train < step:
        raise ConfigError(
            f"{found.train} training images do not fill one step of {step}: lower batch_size or accumulation, or give "
            "more with --images"
        )
    return found


def _by_shares(config: FinetuneConfig | PretrainConfig, images: int) -> Images:
    """Part a number as the configuration parts the data."""
    if isinstance(config, PretrainConfig):
        return Images(images, min(config.neighbors, images))
    parts = [float(part) for part in (config.split if re.match(RATIOS, config.split) else "60:20:20").split(":")]
    if len(parts) == 2:  # no validation of its own
        parts = [parts[0] * (1 - config.val_fraction), parts[0] * config.val_fraction, parts[1]]
    judged, test = (round(images * part / sum(parts)) for part in parts[1:])
    return Images(images - judged - test, judged, test)


def _by_looking(config: FinetuneConfig | PretrainConfig) -> Images:
    """Read tables and folders, and no image."""
    gone = [str(source.path) for source in config.data if not remote_address(source.path) and not source.path.exists()]
    if gone:
        raise ConfigError(
            f"data: {', '.join(gone)}: not there. Name the folder (data=FOLDER), or say with --images how many images "
            "there will be: then no data is needed"
        )
    ready = prepared_sources(config.data)
    if isinstance(config, PretrainConfig):
        train = labelled = 0
        for source in config.data:
            manifest = open_manifest((source,), classes=None, ordered=None, labels_required=False, ready=ready)
            samples = manifest.samples
            if source.training_part_of:
                placed = split_samples(
                    samples, split=source.training_part_of, split_seed=config.split_seed, val_fraction=0.2
                )
                samples = tuple(sample for sample in placed if sample.split == "train")
            train += len(samples)
            labelled = max(labelled, sum(sample.label is not None for sample in samples))
        return Images(train, min(config.neighbors, labelled))
    manifest = open_manifest(
        config.data, classes=config.classes, ordered=config.graded, heads=heads_of(config), ready=ready
    )
    samples = split_samples(
        manifest.samples, split=config.split, split_seed=config.split_seed, val_fraction=config.val_fraction
    )
    if slice_step(config.slices):
        samples = tuple(expand(samples, slices=config.slices))
    of = [sum(sample.split == split for sample in samples) for split in ("train", "val", "test")]
    return Images(*of)


def work_of(config: FinetuneConfig | PretrainConfig, *, precision: Precision) -> Work:
    """Say how a run's engine is made and what is asked of it; its weights are not read.

    Args:
        config: The run's checked configuration.
        precision: In which numbers.

    Returns:
        The work.

    Raises:
        ConfigError: If the network cannot be so.

    Example:
        >>> config = FinetuneConfig(data="images", model="vit_demo_patch8", image_px=32, classes=["a", "b"])
        >>> work_of(config, precision="fp32").build().spec.classes
        2

    References:
        Our own.
    """
    optimization = Optimization(**{"layer_decay": 1.0} | _taken(Optimization, config))
    common: dict[str, Any] = {
        "optimization": optimization,
        "device": "cpu",
        "precision": precision,
        "checkpointing": config.grad_checkpointing,
    }
    frozen = config.batch_norm == "frozen"

    def some(images: int) -> NDArray[np.float32]:
        return np.empty((images, 3, config.image_px, config.image_px), np.float32)

    try:
        if isinstance(config, FinetuneConfig):
            classes = _outputs(config)
            spec, adaptation = spec_of(config, classes=classes), adaptation_of(config)

            def step(engine: TorchEngine, images: int, passes: int) -> float:
                targets = np.zeros((images, classes), np.float32)
                return engine.train_step([(some(images), targets)] * passes, lr=1e-4, seed=0)

            return Work(
                lambda: _thawed(TorchEngine(spec, adaptation=adaptation, frozen_batch_norm=frozen, **common), config),
                step,
                lambda engine, images: engine.outputs(some(images)),
            )
        if config.method == "mae":
            mae = MaeSpec(**_taken(MaeSpec, config) | {"name": config.model})
            return Work(
                lambda: MaeEngine(mae, **common),
                lambda engine, images, passes: engine.train_step([(some(images),)] * passes, lr=1e-4, seed=0),
                lambda engine, images: engine.features(some(images)),
            )
        words = {"name": config.model, "options": config.model_options, "pool": pool_of(config)}
        simclr = SimclrSpec(**_taken(SimclrSpec, config) | words)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return Work(
        lambda: SimclrEngine(simclr, frozen_batch_norm=frozen, **common),
        lambda engine, images, passes: engine.train_step([(some(images), some(images))] * passes, lr=1e-4, seed=0),
        lambda engine, images: engine.features(some(images)),
    )


def _thawed(engine: TorchEngine, config: FinetuneConfig) -> TorchEngine:
    """With gradual unfreezing, the last stage: everything learns."""
    if config.adapt == "gradual":
        engine.thaw(engine.spec.vit.depth if engine.spec.vit else 10**6)
    return engine


def _outputs(config: FinetuneConfig) -> int:
    """Numbers that the network gives."""
    heads = heads_of(config)
    if heads:
        return Task(config.task, heads).outputs
    classes = len(config.classes) if config.classes else _CLASSES
    return classes - 1 if config.task == "ordinal" else classes


def _taken(kind: type[T], config: RunConfig) -> dict[str, Any]:
    """The keys of a configuration that are fields of a dataclass."""
    return {field.name: getattr(config, field.name) for field in fields(kind) if hasattr(config, field.name)}  # type: ignore[arg-type]
