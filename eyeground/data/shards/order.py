"""Which image comes when, where a set is too large to lie on one disk: shuffled within a window that moves over it."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyeground.data.order import order_of, seed_from
from eyeground.data.sample import Pack, Sample
from eyeground.data.shards.rows import Joined, ShardRows

# 16 GB of shards of the usual size, some 40,000 images of 512 px. Never a thing of the machine: a run that goes on
# elsewhere must see the same order.
WINDOW: Final = 64


def order_for(samples: Sequence[Sample], *, seed: int, window: int = WINDOW) -> Callable[[int], NDArray[np.int64]]:
    """Choose the order of epochs that suits where images lie.

    A set of up to ``window`` shards is shuffled as a whole, like images in files of their own.

    Args:
        samples: What is drawn from.
        seed: The run's seed.
        window: How many shards an epoch reads from at a time.

    Returns:
        Epoch, from 0 -> a permutation of the samples' numbers, a function of the seed, the epoch and the set alone.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample(name, Path("."), None, "p") for name in "abc"]
        >>> order_for(samples, seed=0)(1).tolist() == order_of(samples=3, seed=0, epoch=1).tolist()
        True

    References:
        Our own.
    """
    shards = shard_numbers(samples)
    if len(np.unique(shards[shards >= 0])) <= window:
        return lambda epoch: order_of(samples=len(samples), seed=seed, epoch=epoch)
    return lambda epoch: order_within(shards, window=window, seed=seed, epoch=epoch)


def order_within(shards: NDArray[np.int64], *, window: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Shuffle an epoch so that at any time its images come from few shards.

    The shards are shuffled, and one after the other enters the window. An image comes at a drawn moment between its
    shard's entry and the entry of the one ``window`` places behind it; so each shard is needed for one stretch of the
    epoch only. Images in files of their own come at any moment.

    Args:
        shards: Number of the shard of each sample, -1 = a file of its own, shape (N,).
        window: How many shards are in the window.
        seed: The run's seed.
        epoch: Which epoch, from 0.

    Returns:
        A permutation of 0 to N-1, a function of its arguments alone.

    Example:
        >>> order_within(np.repeat(np.arange(4), 2), window=1, seed=0, epoch=0).tolist()
        [5, 4, 3, 2, 0, 1, 6, 7]

    References:
        Our own.
    """
    draws = np.random.default_rng(seed_from(seed, "order", epoch))
    names, number = np.unique(shards, return_inverse=True)
    entry = np.empty(len(names))
    entry[draws.permutation(len(names))] = np.arange(len(names))
    length = len(names) - 1 + window
    moment = draws.random(len(shards))
    return np.argsort(np.where(shards < 0, moment * length, entry[number] + moment * window), kind="stable")


def shard_numbers(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Say in which shard each sample lies, those of several sets counted on.

    Args:
        samples: The samples.

    Returns:
        Numbers from 0, shape (N,); -1 = a file of its own.

    Example:
        >>> from pathlib import Path
        >>> shard_numbers([Sample("a", Path("."), None, "p")])
        array([-1])

    References:
        Our own.
    """
    first: dict[int, int] = {}  # of each set, by its identity

    def start(pack: Pack) -> int:
        if id(pack) not in first:
            first[id(pack)] = sum(known.shards for known in seen)
            seen.append(pack)
        return first[id(pack)]

    seen: list[Pack] = []
    found = []
    for part in samples.parts if isinstance(samples, Joined) else (samples,):
        if isinstance(part, ShardRows):
            found.append(part.shards.shard_numbers()[part.numbers].astype(np.int64) + start(part.shards))
        else:
            numbers = (-1 if s.pack is None else start(s.pack) + s.pack.shard_of(s.file) for s in part)
            found.append(np.fromiter(numbers, np.int64, len(part)))
    return np.concatenate(found) if found else np.zeros(0, np.int64)
