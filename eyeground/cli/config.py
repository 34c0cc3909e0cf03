"""The keys that all trainings share, each with its range and its default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from eyeground.model.optimization import Device, Precision
from eyeground.model.processes import Strategy

# Keys of a training that say nothing about what is learned; they may change when it goes on.
FREE_KEYS = frozenset(
    {"out", "device", "threads", "workers", "keep_checkpoints", "checkpoint_seconds", "checkpoint_steps"}
    | {"grad_checkpointing", "resamples", "devices", "strategy", "step_in_backward", "compiled"}
)


class ConfigError(ValueError):
    """A configuration that cannot be used: every problem at once."""


class Strict(BaseModel):
    """Keys that are all known, and frozen.

    Example:
        >>> Strict()
        Strict()

    References:
        Our own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


Average = Annotated[float, Field(ge=0, lt=1)]


class DataSource(Strict):
    """One folder of images, with its table if it has one.

    Args:
        path: Folder that file names are relative to.
        name: What counts per source are shown under; the folder's name by default.
        table: CSV or Parquet table; none = the folder's layout tells the classes.
        file: Column of file names.
        label: Column of labels.
        group: Column of patients; for a folder layout, a pattern with one bracket applied to the file name.
        eye: Column of the eye.
        site: Column of the site.
        camera: Column of the camera.
        split: Column that says train, val or test.
        volumes: Without a table: the folders inside a class folder are volumes, their images are slices.

    Example:
        >>> DataSource(path="images").table is None
        True

    References:
        Our own.
    """

    path: Path
    name: str = ""
    table: Path | None = None
    file: str | None = None
    label: str | None = None
    group: str | None = None
    eye: str | None = None
    site: str | None = None
    camera: str | None = None
    split: str | None = None
    volumes: bool = False


class RunConfig(Strict):
    """What every kind of training can be told: data, network, pace, augmentation, machine.

    Args:
        data: A folder, or a list of sources joined into one set.
        slices: Which B-scans of a volume are used: ``center``, ``all``, or ``every:N`` about the center. A volume's
            prediction is the mean over its B-scans.
        model: A ViT shape of ours or any timm name.
        model_options: Further arguments for timm.
        image_px: Side of the input. Unit: px.
        pool: ViT head: ``avg`` = mean of the patch tokens, ``cls`` = the CLS token; ``auto`` = what the network's
            releases are made for (``cls`` for DINOv2, else ``avg``).
        weights: ``random``, a release that was fetched, a weights file of any framework, or a run's folder.
        batch_norm: ``auto`` freezes it where the weights carry folded statistics.
        epochs: Length of the run.
        batch_size: Images per micro-batch, of all processes together.
        accumulation: Micro-batches per optimizer step.
        blr: Peak learning rate for a batch of 256.
        lr: Peak learning rate as it is; overrules ``blr``.
        min_lr: Learning rate at the end.
        warmup_epochs: Length of the linear rise.
        schedule: ``cosine`` or ``restarts``.
        weight_decay: AdamW's decay.
        betas: AdamW's two averages.
        clip_norm: Greatest gradient norm, 0 = no clipping.
        drop_path: Greatest drop-path rate.
        crop_scale: Least and greatest area of a random crop.
        crop_ratio: Least and greatest shape of it.
        horizontal_flip: Probability.
        vertical_flip: Probability.
        rotation_degrees: Greatest rotation. Unit: degrees.
        color_jitter: Brightness, contrast, saturation, hue.
        color_jitter_probability: Probability that a training image's colors are jittered.
        brightness_contrast: Brightness and contrast changed a second time, with the same probability.
        grayscale: Probability that a training image loses its colors.
        blur: Probability that a training image is blurred.
        rand_augment: timm's string, empty = off.
        random_erasing: Probability.
        crop_field: Crop photographs to their field of view.
        store_px: Shrink the short side to at most this on reading, 0 = keep. Unit: px.
        fit: ``crop`` or ``squash``: how a whole image becomes a square.
        crop_fraction: Share of the short side that ``crop`` keeps; none = 0.875 up to 224 px, 1 above.
        mean: Subtracted from each channel.
        std: Divides each channel.
        seed: Every random draw follows from it.
        out: The run's folder; none = ``runs/<name of the config>``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; for Paddle and MindSpore also ``gpu``, ``xpu`` (Kunlun), ``npu``
            and ``ascend``, which were not tried here.
        devices: Processes on this machine that share every batch, each on a device of its own; what is learned does not
            depend on it. Under torchrun or srun their number counts instead.
        strategy: With several processes: ``ddp`` (``auto``) gives each all weights, ``fsdp`` each a part.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads, 0 = torch's choice.
        workers: Loader processes.
        grad_checkpointing: Recompute activations, for less memory.
        step_in_backward: Step each weight as soon as its gradient is there, for less memory; in one process, with
            ``accumulation: 1`` and ``clip_norm: 0``, and not for SimCLR.
        compiled: Let torch.compile make one program of the network; not for SimCLR.
        keep_checkpoints: How many of the newest to keep beside the best.
        checkpoint_seconds: Save when this much time has passed. Unit: s.
        checkpoint_steps: Save after every so many steps, 0 = no.

    Example:
        >>> RunConfig(data="images").image_px
        224

    References:
        RETFound_MAE at 897d71c for the defaults.
    """

    data: tuple[DataSource, ...] = Field(min_length=1)
    slices: str = Field("center", pattern=r"^(center|all|every:[1-9]\d{0,4})$")

    model: str = "vit_large_patch16"
    model_options: dict[str, Any] = Field(default_factory=dict)
    image_px: int = Field(224, ge=8, le=4096)
    pool: Literal["auto", "avg", "cls"] = "auto"
    weights: str = "random"
    batch_norm: Literal["auto", "train", "frozen"] = "auto"

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(16, ge=1)
    accumulation: int = Field(1, ge=1)
    blr: float = Field(5e-3, gt=0)
    lr: float | None = Field(None, gt=0)
    min_lr: float = Field(1e-6, ge=0)
    warmup_epochs: float = Field(10, ge=0)
    schedule: Literal["cosine", "restarts"] = "cosine"
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[Average, Average] = (0.9, 0.999)
    clip_norm: float = Field(0.0, ge=0)
    drop_path: float = Field(0.2, ge=0, lt=1)

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: float = Field(0.5, ge=0, le=1)
    vertical_flip: float = Field(0.0, ge=0, le=1)
    rotation_degrees: float = Field(0.0, ge=0, le=180)
    color_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    color_jitter_probability: float = Field(1.0, ge=0, le=1)
    brightness_contrast: tuple[float, float] = (0.0, 0.0)
    grayscale: float = Field(0.0, ge=0, le=1)
    blur: float = Field(0.0, ge=0, le=1)
    rand_augment: str = "rand-m9-mstd0.5-inc1"
    random_erasing: float = Field(0.25, ge=0, le=1)
    crop_field: bool = True
    store_px: int = Field(512, ge=0)
    fit: Literal["crop", "squash"] = "crop"
    crop_fraction: float | None = Field(None, gt=0, le=1)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    seed: int = Field(0, ge=0, lt=2**31)
    out: Path | None = None
    device: Device = "auto"
    devices: int = Field(1, ge=1, le=256)
    strategy: Strategy = "auto"
    precision: Precision = "auto"
    threads: int = Field(0, ge=0)
    workers: int = Field(0, ge=0, le=256)
    grad_checkpointing: bool = False
    step_in_backward: bool = False
    compiled: bool = False
    keep_checkpoints: int = Field(2, ge=1)
    checkpoint_seconds: float = Field(120.0, ge=0)
    checkpoint_steps: int = Field(0, ge=0)

    @field_validator("data", mode="before")
    @classmethod
    def _one_source(cls, value: Any) -> Any:
        """Take a bare path for a list of one source."""
        if isinstance(value, str | Path):
            return [{"path": value}]
        if isinstance(value, Mapping):
            return [value]
        return [{"path": item} if isinstance(item, str | Path) else item for item in value or ()]

    @field_validator("crop_scale", "crop_ratio")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        """Least before greatest."""
        if not 0 < value[0] <= value[1]:
            raise ValueError("least and greatest, both above 0")
        return value

    @field_validator("color_jitter")
    @classmethod
    def _colors(cls, value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """As torchvision takes them."""
        if min(value) < 0 or value[3] > 0.5:
            raise ValueError("brightness, contrast, saturation at least 0, hue in [0, 0.5]")
        return value

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        """Nothing is divided by zero."""
        if min(value) <= 0:
            raise ValueError("every channel's std is above 0")
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> "RunConfig":
        """Two sources of one name could not be told apart."""
        names = [source.name or source.path.name for source in self.data]
        if len(set(names)) < len(names):
            raise ValueError(f"two sources are called {max(names, key=names.count)!r}: give each a 'name'")
        return self

    @model_validator(mode="after")
    def _stepping(self) -> "RunConfig":
        """Refuse what needs the whole gradient at once beside a step that does not wait for it."""
        if not self.step_in_backward:
            return self
        needs = {"accumulation": (1, self.accumulation), "clip_norm": (0, self.clip_norm), "devices": (1, self.devices)}
        wrong = [f"{key}={wanted}, not {given:g}" for key, (wanted, given) in needs.items() if given != wanted]
        if wrong:
            raise ValueError(f"step_in_backward needs {', '.join(wrong)}: a weight steps when its gradient is complete")
        return self
