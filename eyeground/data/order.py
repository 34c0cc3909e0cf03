"""Which image comes when: every draw is a function of the seed, the epoch and what it is for."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def seed_from(*key: object) -> int:
    """Turn a key into a 63-bit seed.

    Args:
        key: Anything whose words tell it apart.

    Returns:
        A number in [0, 2**63).

    Example:
        >>> seed_from(0, "a") == seed_from(0, "a") != seed_from(1, "a")
        True

    References:
        BLAKE2, RFC 7693.
    """
    words = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big") >> 1


def order_of(*, samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Shuffle an epoch.

    Args:
        samples: How many there are (N).
        seed: The run's seed.
        epoch: Which epoch, from 0.

    Returns:
        A permutation of 0 to N-1, a function of its arguments alone.

    Example:
        >>> order_of(samples=4, seed=0, epoch=1).tolist() == order_of(samples=4, seed=0, epoch=1).tolist()
        True

    References:
        Our own.
    """
    return np.random.default_rng(seed_from(seed, "order", epoch)).permutation(samples)


def copies(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how often each entry came before, so that an image that an epoch holds twice is drawn in two ways.

    Args:
        numbers: Samples in the order of an epoch, shape (M,), each at least 0.

    Returns:
        Shape (M,): 0 for a sample's first time, then 1, 2 ...

    Example:
        >>> copies(np.array([3, 1, 3, 3, 1])).tolist()
        [0, 0, 1, 2, 1]

    References:
        Our own.
    """
    by_sample = np.argsort(numbers, kind="stable")
    ordered = numbers[by_sample]
    first = np.searchsorted(ordered, ordered, side="left")
    found = np.empty(len(numbers), np.int64)
    found[by_sample] = np.arange(len(numbers)) - first
    return found


def share(count: int, *, rank: int, world: int) -> NDArray[np.int64]:
    """Say which places of a batch belong to one of several processes.

    Place k goes where its mirror image does, the last but k: mixup and CutMix blend these two, and so find the partner
    that they find in one process. Pairs are dealt in contiguous runs, or, where there are fewer than processes, single
    places.

    Args:
        count: Images of the batch (N), at least ``world``.
        rank: Which process, from 0.
        world: How many there are.

    Returns:
        Places in ascending order, at least one. Over all processes each of 0 to N-1 once; as many in each where N is a
        multiple of 2 ``world``.

    Raises:
        ValueError: If a process would get none.

    Example:
        >>> [share(8, rank=rank, world=2).tolist() for rank in range(2)]
        [[0, 1, 6, 7], [2, 3, 4, 5]]

    References:
        timm's ``Mixup``, which blends a batch with itself in reverse.
    """
    if count < world:
        raise ValueError(
            f"a batch of {count} leaves a process without an image: {world} processes need {world} or more"
        )
    if not in_pairs(count, world=world):
        return np.array_split(np.arange(count), world)[rank]
    near = np.array_split(np.arange((count + 1) // 2), world)[rank]
    return np.unique(np.concatenate([near, count - 1 - near]))


def in_pairs(count: int, *, world: int) -> bool:
    """Tell whether a batch can be dealt so that no image is parted from its mirror image.

    Args:
        count: Images of the batch (N).
        world: How many processes there are.

    Returns:
        Whether there is a pair for each.

    Example:
        >>> in_pairs(8, world=4), in_pairs(8, world=8)
        (True, False)

    References:
        Our own.
    """
    return (count + 1) // 2 >= world
