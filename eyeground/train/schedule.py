"""Learning rate as a function of fractional epochs (pure)."""

import math


def scaled_learning_rate(*, blr: float, batch_size: int, accumulation: int = 1, world_size: int = 1) -> float:
    """Scale a base learning rate by the effective batch.

    Args:
        blr: Learning rate for a batch of 256.
        batch_size: Images per device and micro-batch.
        accumulation: Micro-batches per optimizer step.
        world_size: Number of devices.

    Returns:
        The peak learning rate.

    Example:
        >>> scaled_learning_rate(blr=5e-3, batch_size=16)
        0.0003125

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    return blr * batch_size * accumulation * world_size / 256


def warmup_cosine(epoch: float, *, epochs: float, peak: float, warmup_epochs: float, minimum: float) -> float:
    """Rise linearly, then fall along half a cosine.

    Args:
        epoch: Fractional epochs done, [0, epochs].
        epochs: Length of the run.
        peak: Highest learning rate.
        warmup_epochs: Length of the rise.
        minimum: Learning rate at the end.

    Returns:
        The learning rate at that moment.

    Example:
        >>> [round(warmup_cosine(e, epochs=20, peak=1.0, warmup_epochs=10, minimum=0.0), 3) for e in (0, 5, 10, 15, 20)]
        [0.0, 0.5, 1.0, 0.5, 0.0]

    References:
        Loshchilov & Hutter, "SGDR", ICLR 2017; He et al., "Masked Autoencoders", CVPR 2022.
    """
    if epoch < warmup_epochs:
        return peak * epoch / warmup_epochs
    if epochs <= warmup_epochs:
        return peak
    done = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * done)) / 2


def warm_restarts(epoch: float, *, peak: float, first_epochs: float, factor: float, minimum: float) -> float:
    """Fall along half a cosine again and again, each time over a longer stretch.

    Args:
        epoch: Fractional epochs done, at least 0.
        peak: Learning rate at each restart.
        first_epochs: Length of the first stretch.
        factor: Each stretch is this times as long as the one before, at least 1.
        minimum: Learning rate at the end of a stretch.

    Returns:
        The learning rate at that moment.

    Example:
        >>> [round(warm_restarts(e, peak=1.0, first_epochs=10, factor=2, minimum=0.0), 3) for e in (0, 5, 10, 20, 30)]
        [1.0, 0.5, 1.0, 0.5, 1.0]

    References:
        Loshchilov & Hutter, "SGDR", ICLR 2017; T0 = 10 and factor 2 in the clinic's recipe.
    """
    length = first_epochs
    while epoch >= length:
        epoch -= length
        length *= factor
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * epoch / length)) / 2
