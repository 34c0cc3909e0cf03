"""A comparison's run on a share of the labels."""

import math
from dataclasses import replace

import numpy as np

from eyeground.cli.dataset import Dataset
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.evaluate.probe import subset_of_labels

# A small part of the labels makes short epochs: so many times more of them are trained, at the most.
_MOST_EPOCHS = 10


def share_labels(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Leave only a share of the training patients.

    Args:
        dataset: The data, split.
        fraction: Share of them, (0, 1].
        seed: Draws who stays.

    Returns:
        The same data with fewer training samples.

    References:
        Our own.
    """
    if fraction == 1:
        return dataset
    train_part = dataset.of("train")
    labels = np.array([-1 if sample.label is None else sample.label for sample in train_part])
    rows = subset_of_labels(labels, [sample.patient for sample in train_part], fraction, seed)
    kept = {train_part[row].id for row in rows.tolist()}
    return replace(dataset, samples=tuple(s for s in dataset.samples if s.split != "train" or s.id in kept))


def stretch(config: FinetuneConfig, fraction: float, images: int) -> FinetuneConfig:
    """Train a part of the labels as many more epochs, in batches that it fills.

    Args:
        config: A checked configuration.
        fraction: Share of the labels, (0, 1].
        images: Training images that are left.

    Returns:
        The configuration with more epochs, ten times as many at the most.

    Example:
        >>> stretch(FinetuneConfig(data="images", epochs=5), 0.1, 8).epochs
        50

    References:
        Our own.
    """
    batch = min(config.batch_size, images)
    return config.model_copy(
        update={
            "epochs": min(math.ceil(config.epochs / fraction), _MOST_EPOCHS * config.epochs),
            "batch_size": batch,
            "accumulation": 1 if batch < config.batch_size else config.accumulation,
        }
    )
