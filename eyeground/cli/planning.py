"""A configuration to what it will cost: memory, pace, hours, money, and the largest batch that fits."""

import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eyeground.cli.compare_config import CompareConfig
from eyeground.cli.config import ConfigError, RunConfig
from eyeground.cli.config_file import load_config, read_values
from eyeground.cli.console import answer, table, tell
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.planned_work import Job, jobs_of, kind_of_config, work_of
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.cli.recipe import augmentation_of, preprocessing_of
from eyeground.data.loader import training_batches
from eyeground.data.sample import Sample
from eyeground.model.cost import shared
from eyeground.model.devices import GIB, Gpu, read_gpus
from eyeground.model.optimization import Precision
from eyeground.model.torch.costing import Costs, awaken, costs_of

# Rehearsed with so many images at most, and taken for each image from there: a step of hundreds would take minutes.
# At least so many, for of one alone torch leaves steps out; and so many where drop path leaves whole ones out.
_MOST_REHEARSED, _LEAST, _LEAST_OF_DROP_PATH = 32, 2, 8
_LOADED = 12
# On a processor the allocator's gaps and its libraries' scratch come to 0.3 to 0.5 of the tensors that come and go
# (docs/scale.md).
_BESIDE_TENSORS = 1.4
# Share of a step in which gradients can be sent while others are computed: the way back.
_BACK = 2 / 3


class DoesNotFit(ValueError):
    """A batch that the device has no room for: says what would fit, and what else can be done."""


@dataclass(frozen=True)
class Here:
    """Memory of this machine before anything is planned.

    Args:
        own_bytes: What this process holds. Unit: bytes.
        free_bytes: What could be had beside it. Unit: bytes.

    Example:
        >>> Here(1, 2).own_bytes
        1

    References:
        Our own.
    """

    own_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Plan:
    """What one kind of run costs.

    Args:
        name: What it is called.
        times: How often it is done.
        parameters: Numbers that the network has.
        learning: How many of them learn.
        gflops_per_image: Matrix work of a training step by the image. Unit: 1e9 floating-point operations.
        batch_size: Images of a micro-batch on each device.
        devices: How many.
        memory_bytes: What a device holds at most; of this machine, what the process does. Unit: bytes.
        tensor_bytes: What of that the training makes. Unit: bytes.
        room_bytes: What it has. Unit: bytes.
        largest_batch: The largest micro-batch that fits on each device.
        step_images_per_s: Pace of the network alone, all devices.
        images_per_s: Pace with the loader where both share a processor.
        loader_images_per_s: What one core of this machine loads and augments.
        images: Images learned from in an epoch.
        epochs: Length of the run.
        hours: All runs of this kind together.
        checkpoint_bytes: Size of one checkpoint on disk. Unit: bytes.
        price: Price of those hours; none where no price was given.

    Example:
        >>> plan = Plan("mine", 1, 10, 10, 1.0, batch_size=8, devices=1, memory_bytes=9, tensor_bytes=9, room_bytes=5,
        ...     largest_batch=4, step_images_per_s=1.0, images_per_s=1.0, loader_images_per_s=1.0, images=8, epochs=1,
        ...     hours=1.0, checkpoint_bytes=120, price=None)
        >>> plan.fits
        False

    References:
        docs/scale.md.
    """

    name: str
    times: int
    parameters: int
    learning: int
    gflops_per_image: float
    batch_size: int
    devices: int
    memory_bytes: int
    tensor_bytes: int
    room_bytes: int
    largest_batch: int
    step_images_per_s: float
    images_per_s: float
    loader_images_per_s: float
    images: int
    epochs: int
    hours: float
    checkpoint_bytes: int
    price: float | None

    @property
    def fits(self) -> bool:
        """Whether the batch has room."""
        return self.batch_size <= self.largest_batch


def plan(
    path: Path,
    overrides: Sequence[str],
    *,
    images: int | None,
    gpus: str | None,
    price: float | None,
    as_json: bool,
) -> None:
    """Say what a configuration will cost.

    Args:
        path: A configuration of a fine-tuning, a pre-training or a comparison.
        overrides: ``key=value`` words.
        images: Images of the data set; None = the data is counted.
        gpus: Which GPUs, such as ``8xH200``; None = this machine's processor.
        price: Of a device for an hour; None = not asked.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the configuration, or the data it names, is not usable.
        GpuUnknown: If the table has no such GPU.
        DoesNotFit: If a batch has no room; all of them are named, after the table.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tiny.yaml"
        >>> _ = path.write_text("{data: images, model: vit_demo_patch8, image_px: 32, batch_size: 4, epochs: 1}")
        >>> plan(path, [], images=50, gpus="1xL4", price=None, as_json=False)
        0.0 min on 1xL4

    References:
        docs/scale.md.
    """
    kind = kind_of_config(read_values(path))
    config: FinetuneConfig | PretrainConfig | CompareConfig = load_config(path, overrides, kind=kind)
    on = read_gpus(gpus) if gpus else None
    jobs = jobs_of(config, name=path.stem, images=images)
    here = Here(0, 0) if on else Here(_own_bytes(), _free_bytes())
    known: dict[str, tuple[Costs, float]] = {}
    plans = [_planned(job, on, here, price=price, known=known) for job in jobs]
    _show(plans, on)
    if wrong := [_no_room(job, each) for job, each in zip(jobs, plans, strict=True) if not each.fits]:
        raise DoesNotFit("; ".join(wrong))
    hours = math.fsum(each.hours for each in plans)
    money = None if price is None else math.fsum(each.price or 0.0 for each in plans)
    told = {"device": f"{on[0]}x{on[1].name}" if on else "this machine", "hours": hours, "price": money}
    payload = {**told, "plans": [asdict(each) for each in plans]}
    total = f"{_hours(hours)} on {told['device']}" + ("" if money is None else f", for {money:,.2f}")
    answer(payload, as_json=as_json, last_line=total)


def _planned(
    job: Job, on: tuple[int, Gpu] | None, here: Here, *, price: float | None, known: dict[str, tuple[Costs, float]]
) -> Plan:
    """Plan one kind of run."""
    config = job.config
    if on is None and config.device not in ("auto", "cpu"):
        raise ConfigError(f"device={config.device}: say which GPUs to plan for, such as --gpus 1xL4")
    count = on[0] if on else 1
    batch = math.ceil(config.batch_size / count)
    key = config.model_dump_json(exclude={"data", "seed", "epochs", "out", "weights"})
    if key not in known:
        known[key] = _costs(config, batch, on), loader_rate(config)
    costs, loader = known[key]
    step, answered = (costs.answer if job.frozen else costs.step), costs.answer
    own = here.own_bytes
    room = int(on[1].memory_bytes) if on else own + here.free_bytes
    # State stays; of what comes and goes, a processor's allocator takes more than the tensors.
    state = step.state_bytes / (count if config.strategy == "fsdp" else 1)
    beside = 1.0 if on else _BESIDE_TENSORS
    tensors = int(state + beside * (step.memory_bytes(batch) - step.state_bytes))
    most = step.most_images(step.state_bytes + (room - own - state) / beside)
    if on:
        gpu = on[1]
        answering = answered.seconds_on(gpu, batch)
        seconds = step.seconds_on(gpu, batch, accumulation=config.accumulation)
        if not job.frozen:
            seconds += max(0.0, shared(4 * costs.learning, count, gpu) - _BACK * seconds)
    else:
        answering = answered.seconds_here(batch)
        seconds = step.seconds_here(batch, accumulation=config.accumulation)
    whole = config.batch_size * (1 if job.frozen else config.accumulation)
    alone = whole / seconds
    # On a processor the loader takes its turn with the network; beside a GPU it has cores of its own.
    pace = alone if on else 1 / (1 / alone + 1 / (loader * max(1, min(config.workers, _cores()))))
    judged = config.batch_size / answering
    seen = job.images
    if job.frozen:
        spent = (seen.train + seen.judged + seen.test) / judged
    else:
        steps = seen.train // whole
        spent = config.epochs * (steps * whole / pace + seen.judged / judged) + seen.test / judged
    hours = job.times * spent / 3600
    return Plan(
        name=job.name,
        times=job.times,
        parameters=costs.parameters,
        learning=0 if job.frozen else costs.learning,
        gflops_per_image=step.flops(batch) / batch / 1e9,
        batch_size=batch,
        devices=count,
        memory_bytes=own + tensors,
        tensor_bytes=tensors,
        room_bytes=room,
        largest_batch=most,
        step_images_per_s=alone,
        images_per_s=pace,
        loader_images_per_s=loader,
        images=seen.train,
        epochs=1 if job.frozen else config.epochs,
        hours=hours,
        checkpoint_bytes=0 if job.frozen else int(4 * (_kept(config, costs) + 2 * costs.learning)),
        price=None if price is None else hours * count * price,
    )


def _costs(config: FinetuneConfig | PretrainConfig, batch: int, on: tuple[int, Gpu] | None) -> Costs:
    """Count and, for this machine, rehearse."""
    sparing = not on and isinstance(config, FinetuneConfig) and config.drop_path > 0
    images = min(_MOST_REHEARSED, max(batch, _LEAST_OF_DROP_PATH if sparing else _LEAST))
    precision: Precision = config.precision
    if on:
        # Of fp16 the sizes and rates are bf16's.
        precision = "fp32" if config.precision == "fp32" else "bf16"
    try:
        return costs_of(
            work_of(config, precision=precision),
            images=images,
            passes=min(config.accumulation, 2),
            here=on is None,
            kept_share=1 - config.drop_path / 2 if sparing else 1.0,
            fused_attention=on is not None,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _kept(config: FinetuneConfig | PretrainConfig, costs: Costs) -> int:
    """Numbers of the weights that a checkpoint holds."""
    whole = not isinstance(config, FinetuneConfig) or config.adapt in ("full", "gradual")
    return costs.parameters if whole else costs.learning


def loader_rate(config: RunConfig) -> float:
    """Measure how many training images one core loads and augments, from pixels that are in memory.

    Args:
        config: A checked configuration.

    Returns:
        Images per second.

    Example:
        >>> loader_rate(RunConfig(data="images", image_px=32, store_px=48)) > 0
        True

    References:
        The loader itself, on a drawn picture of ``store_px``.
    """
    side = config.store_px or 2 * config.image_px
    across = np.linspace(0, 255, side)
    picture = np.stack([np.add.outer(across, across) / 2] * 3, axis=-1).astype(np.uint8)
    sample = [Sample(f"{number}.png", Path(), 0, str(number)) for number in range(_LOADED)]
    batches = training_batches(
        sample,
        pixels=lambda sample: picture,
        preprocessing=preprocessing_of(config),
        augmentation=augmentation_of(config),
        batch_size=_LOADED // 3,
        epochs=2,
        seed=0,
        views=2 if isinstance(config, PretrainConfig) and config.method == "simclr" else 0,
    )
    next(batches)
    took, begun = [], time.perf_counter()
    for batch in batches:
        took.append((time.perf_counter() - begun) / len(batch.images))
        begun = time.perf_counter()
    return 1 / statistics.median(took)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _own_bytes() -> int:
    """What a training process holds before it trains: Python and the libraries that this one has loaded as well."""
    awaken()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _free_bytes() -> int:
    """What this machine can still give."""
    file = Path("/proc/meminfo")
    if file.exists():
        return int(file.read_text("utf-8").partition("MemAvailable:")[2].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _no_room(job: Job, plan: Plan) -> str:
    """Say of a batch that does not fit what would."""
    need, room = _gib(plan.memory_bytes), _gib(plan.room_bytes)
    where = f"{job.name}: batch_size={job.config.batch_size} needs {need} on each device, which has {room}"
    less = [key for key in ("grad_checkpointing", "step_in_backward") if _offers(job.config, key)]
    other = f"; {' and '.join(f'{key}=true' for key in less)} would need less memory" if less else ""
    if not plan.largest_batch:
        return f"{where}: not even one image fits{other}; else choose a smaller model or image_px, or a larger device"
    fits = plan.largest_batch * plan.devices
    step = job.config.batch_size * job.config.accumulation
    passes = next(each for each in range(math.ceil(step / fits), step + 1) if step % each == 0)
    alike = f"batch_size={step // passes} accumulation={passes} learns alike"
    return f"{where}: the largest that fits is {fits}; {alike}{other}"


def _offers(config: FinetuneConfig | PretrainConfig, key: str) -> bool:
    """Whether an option that saves memory is off and can be had."""
    if getattr(config, key):
        return False
    alone = config.accumulation == 1 and not config.clip_norm and config.devices == 1
    return key != "step_in_backward" or (alone and not (isinstance(config, PretrainConfig) and config.method != "mae"))


def _show(plans: Sequence[Plan], on: tuple[int, Gpu] | None) -> None:
    """Lay the plans out on the terminal."""
    for each in plans:
        pace = f"{each.images_per_s:,.1f} images/s"
        if on:
            cores = math.ceil(each.step_images_per_s / each.loader_images_per_s)
            data = (
                f"loaders must give as many: {cores:,} of these cores ({each.loader_images_per_s:,.1f} images/s each)"
            )
        else:
            data = f"the network alone {each.step_images_per_s:,.1f}, a core loads {each.loader_images_per_s:,.1f}"
        learning = "nothing learns" if not each.learning else f"{each.learning:,} learn"
        fits = f"{each.largest_batch:,} at the most" if each.fits else f"{each.largest_batch:,} at the most: too large"
        rows = [
            ["parameters", f"{each.parameters:,}", learning],
            ["matrix work", f"{each.gflops_per_image:,.1f} GFLOP", "by the image, there and back"],
            ["batch", f"{each.batch_size:,} a device", fits],
            ["memory", _gib(each.memory_bytes), f"of {_gib(each.room_bytes)} on each device"],
            ["pace", pace, data],
            [
                "length",
                f"{each.epochs:,} epochs",
                f"of {each.images:,} images" + (f", {each.times} times" if each.times > 1 else ""),
            ],
            ["time", _hours(each.hours), "with validation and test" if each.epochs > 1 else ""],
            ["a checkpoint", _gib(each.checkpoint_bytes), "on disk"],
        ]
        if each.price is not None:
            rows.append(["price", f"{each.price:,.2f}", f"for {each.hours * each.devices:,.1f} device hours"])
        table(each.name, ["", "", ""], rows)
    if on:
        tell("GPUs: rates of their data sheets times assumed shares (eyeground/model/devices.toml), not measured")


def _gib(size: float) -> str:
    """Write a size."""
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:,.1f} MiB"


def _hours(hours: float) -> str:
    """Write a length of time."""
    if hours < 1:
        return f"{hours * 60:,.1f} min"
    return f"{hours:,.1f} h" + (f" ({hours / 24:,.1f} days)" if hours > 48 else "")
