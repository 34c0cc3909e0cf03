"""Predictions of a volume's B-scans pooled to one for the volume."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def pool(scores: NDArray[np.float64], volumes: Sequence[Hashable]) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Average the scores of each volume's B-scans.

    Args:
        scores: Probabilities of B-scans, shape (N, K); a row of NaN is a B-scan that was not graded.
        volumes: The volume each belongs to, N.

    Returns:
        Probabilities of volumes, shape (M, K), in the order in which they first occur, NaN for a volume none of whose
        B-scans was graded; and the number of each volume's first row.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> means, first = pool(np.array([[0.2, 0.8], [1.0, 0.0], [0.4, 0.6]]), ["a", "b", "a"])
        >>> means.round(2).tolist(), first
        ([[0.3, 0.7], [1.0, 0.0]], (0, 1))

    References:
        De Fauw et al., "Clinically applicable deep learning for diagnosis and referral in retinal disease", Nat Med
        2018;24:1342, averages probabilities over a scan's segmentations; ours averages over its B-scans.
    """
    if len(volumes) != len(scores):
        raise ValueError(f"{len(scores)} rows of scores for {len(volumes)} B-scans")
    first: dict[Hashable, int] = {}
    for row, volume in enumerate(volumes):
        first.setdefault(volume, row)
    place = {volume: number for number, volume in enumerate(first)}
    group = np.array([place[volume] for volume in volumes], np.int64)
    graded = np.isfinite(scores).all(axis=1)
    sums, counts = np.zeros((len(first), scores.shape[1])), np.zeros(len(first))
    np.add.at(sums, group[graded], scores[graded])
    np.add.at(counts, group[graded], 1)
    means = np.full_like(sums, np.nan)
    means[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return means, tuple(first.values())
