"""A configuration's keys -> the parts of a run that they describe."""

from typing import Literal

from eyeground.cli.config import RunConfig
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.trained import named_weights
from eyeground.data.augment import Augmentation
from eyeground.data.preprocessing import Preprocessing
from eyeground.model.adaptation import Adaptation
from eyeground.model.architecture import adapter_width_of
from eyeground.model.processes import Processes
from eyeground.model.spec import VIT_SHAPES, ModelSpec
from eyeground.model.weights import Tensors
from eyeground.train.finetune import LearningRate


def preprocessing_of(config: RunConfig) -> Preprocessing:
    """Take the preprocessing out of a configuration.

    Args:
        config: A checked configuration.

    Returns:
        How pixels reach the network.

    Example:
        >>> preprocessing_of(RunConfig(data="images")).resized_px
        256

    References:
        RETFound: no extra crop above 224 px.
    """
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


def augmentation_of(config: RunConfig) -> Augmentation:
    """Take the augmentation out of a configuration.

    Args:
        config: A checked configuration.

    Returns:
        What is drawn in training.

    Example:
        >>> augmentation_of(RunConfig(data="images")).horizontal_flip
        0.5

    References:
        Our own.
    """
    return Augmentation(
        crop_scale=config.crop_scale,
        crop_ratio=config.crop_ratio,
        horizontal_flip=config.horizontal_flip,
        vertical_flip=config.vertical_flip,
        rotation_degrees=config.rotation_degrees,
        color_jitter=config.color_jitter,
        color_jitter_probability=config.color_jitter_probability,
        brightness_contrast=config.brightness_contrast,
        grayscale=config.grayscale,
        blur=config.blur,
        rand_augment=config.rand_augment,
        random_erasing=config.random_erasing,
    )


def learning_rate_of(config: RunConfig) -> LearningRate:
    """Take the course of the learning rate out of a configuration.

    Args:
        config: A checked configuration.

    Returns:
        The course.

    Example:
        >>> learning_rate_of(RunConfig(data="images")).blr
        0.005

    References:
        Our own.
    """
    return LearningRate(config.blr, config.lr, config.min_lr, config.warmup_epochs, config.schedule)


def pool_of(config: RunConfig) -> Literal["avg", "cls"]:
    """Take the kind of head out of a configuration.

    Args:
        config: A checked configuration.

    Returns:
        What is said, else what the network's releases are made for.

    Example:
        >>> pool_of(RunConfig(data="images", model="vit_large_patch14_dinov2"))
        'cls'

    References:
        RETFound: mean of the patch tokens for its MAE weights, CLS token for its DINOv2 weights.
    """
    if config.pool != "auto":
        return config.pool
    return VIT_SHAPES[config.model].pool if config.model in VIT_SHAPES else "avg"


def spec_of(config: FinetuneConfig, *, classes: int, tensors: Tensors | None = None) -> ModelSpec:
    """Take the network out of a configuration.

    Args:
        config: A checked configuration.
        classes: Number of classes (K).
        tensors: Starting weights: adapters among them are part of the network, whatever learns now.

    Returns:
        What to build.

    Raises:
        ValueError: If the network cannot be so.

    Example:
        >>> spec_of(FinetuneConfig(data="images"), classes=5).name
        'vit_large_patch16'

    References:
        Our own.
    """
    return ModelSpec(
        config.model,
        classes=classes,
        image_px=config.image_px,
        pool=pool_of(config),
        fc_norm_passes=config.fc_norm_passes,
        drop_path=config.drop_path,
        options=config.model_options,
        adapter_width=adapter_width_of({name: array.shape for name, array in (tensors or {}).items()}),
    )


def adaptation_of(config: FinetuneConfig) -> Adaptation:
    """Take what learns out of a configuration.

    Args:
        config: A checked configuration.

    Returns:
        The adaptation.

    Raises:
        ValueError: If it cannot be so.

    Example:
        >>> adaptation_of(FinetuneConfig(data="images", adapt="lora")).delta
        True

    References:
        Our own.
    """
    return Adaptation(
        config.adapt,
        last_blocks=config.last_blocks,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        lora_targets=config.lora_targets,
        adapter_width=config.adapter_width,
    )


def starting_weights(config: RunConfig) -> Tensors | None:
    """Read the starting weights: none, a release that was fetched, a file, or another run's best.

    Args:
        config: A checked configuration.

    Returns:
        Arrays by canonical name, or by the other run's; None = random, drawn from the seed.

    Raises:
        WeightsRefused: If the file is missing, damaged or asks for more than tensors, or the release was not fetched.
        CheckpointError: If the run's folder holds no sound checkpoint.

    Example:
        >>> starting_weights(RunConfig(data="images")) is None
        True

    References:
        Our own.
    """
    return named_weights(config.weights)


def too_few_images(config: RunConfig, processes: Processes) -> list[str]:
    """Tell whether a batch leaves a process without an image.

    Args:
        config: A checked configuration.
        processes: Who trains.

    Returns:
        What is wrong and what to do; empty where each has one.

    Example:
        >>> from eyeground.model.processes import ALONE
        >>> too_few_images(RunConfig(data="images", batch_size=1), ALONE)
        []

    References:
        Our own.
    """
    if config.batch_size >= processes.world:
        return []
    return [
        f"batch_size={config.batch_size} is shared among {processes.world} processes and leaves some without an image: "
        f"set batch_size={processes.world} or more (and accumulation lower), or start fewer processes"
    ]
