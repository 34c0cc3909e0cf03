"""Which pictures of a large set may be copies of each other: perceptual hashes compared in blocks."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyeground.data.exam.fingerprints import CELLS

_BITS: Final = CELLS * CELLS
_WORDS: Final = _BITS // 64
# Measured on 3,513 real photographs and scans: copies (JPEG quality 60, half size, other brightness and contrast, up
# to 4% cut off each side, turned by 3 degrees) differ in at most 55 of 256 bits, two different eyes in 128 on average.
_MOST_BITS: Final = 56
_MOST_BITS_FIRST_WORD: Final = 22  # of 64: lets 99.9% of such copies pass, and spares the other words of most pairs
_LEAST_DETAIL: Final = 0.6
_LEAST_SHADE: Final = 0.85
_NEAREST: Final = 3  # per picture and way of turning: a copy is nearer than any look-alike
_BLOCK_BYTES: Final = 4 * 2**20
_EVEN_AFTER: Final = 30  # pictures after which their mean counts more than nothing known

# How a copy may have been turned: number -> function on (..., 16, 16). 0 is as it was.
TURNS: Final[tuple[Callable[[NDArray[Any]], NDArray[Any]], ...]] = (
    lambda cells: cells,
    lambda cells: cells[..., :, ::-1],
    lambda cells: cells[..., ::-1, :],
    lambda cells: cells[..., ::-1, ::-1],
    lambda cells: np.swapaxes(cells, -1, -2),
    lambda cells: np.swapaxes(cells, -1, -2)[..., :, ::-1],
    lambda cells: np.swapaxes(cells, -1, -2)[..., ::-1, :],
    lambda cells: np.swapaxes(cells, -1, -2)[..., ::-1, ::-1],
)
TURN_WORDS: Final = (
    "", "mirrored", "upside down and mirrored", "turned by 180 degrees", "turned and mirrored", "turned by 90 degrees",
    "turned by 90 degrees", "turned and mirrored",
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """Two pictures that may be the same.

    Args:
        first: Number of the one that is turned and cut.
        second: Number of the other.
        turn: How the first must be turned to match, an index into ``TURNS``.
        cut: How much of the first's rim must go, an index into ``fingerprints.CUTS``.
        detail: Agreement of their fine structures, -1 to 1.

    Example:
        >>> Candidate(0, 7, 1, 0, 0.9).turn
        1

    References:
        Our own.
    """

    first: int
    second: int
    turn: int
    cut: int
    detail: float


def candidates(
    detail: NDArray[np.int8],
    shade: NDArray[np.uint8],
    cuttable: NDArray[np.bool_],
    *,
    turned: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Candidate, ...]:
    """Find pairs that may be copies, mirrored and turned ones too.

    A picture's hash says where its detail is above the mean of all pictures, so what every photograph of a camera
    shares says nothing. All pairs are compared, 64 bits at a time.

    Args:
        detail: Fingerprints, shape (N, V, 16, 16); the further of V are the picture with its rim cut off.
        shade: Brightness, shape (N, V, 16, 16), 0 outside the picture.
        cuttable: Which pictures have further variants, shape (N,); the others repeat their first.
        turned: Whether mirrored and turned copies are looked for too.
        progress: Called with (comparisons done, comparisons in all).

    Returns:
        The pairs, the most alike first; at most one for each two pictures.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> cells = rng.integers(-99, 99, (40, 1, 16, 16), dtype=np.int8)
        >>> cells[7] = cells[3, :, :, ::-1]
        >>> flat = np.full((40, 1, 16, 16), 9, np.uint8)
        >>> [(pair.first, pair.second, pair.turn) for pair in candidates(cells, flat, np.zeros(40, bool))]
        [(3, 7, 1)]

    References:
        Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, for the manner of hashing.
    """
    count, variants = detail.shape[:2]
    if count < 2:
        return ()
    mean = detail[:, 0].astype(np.float32).sum(axis=0) / (count + _EVEN_AFTER)  # (16, 16)
    # Neighboring cells agree, so each word takes cells from all over the picture.
    order = np.random.default_rng(0).permutation(_BITS)
    words = _hashes(detail[:, 0], mean, order)
    ways = [(turn, cut) for cut in range(variants) for turn in range(len(TURNS) if turned else 1)]
    best: dict[tuple[int, int], Candidate] = {}
    for done, (turn, cut) in enumerate(ways, start=1):
        if cut and turn > 1:
            continue  # a scan is mirrored at most; more would only cost
        rows = np.flatnonzero(cuttable) if cut else np.arange(count)
        asked = words if not (cut or turn) else _hashes(TURNS[turn](detail[rows, cut]), mean, order)
        first, second = _near(asked, rows, words, ordered=cut == 0)
        agree = _agreement(TURNS[turn](detail[:, cut]) - mean, detail[:, 0] - mean, first, second, None)
        light = _agreement(TURNS[turn](shade[:, cut]), shade[:, 0], first, second, shade)
        for place in np.flatnonzero((agree >= _LEAST_DETAIL) & (light >= _LEAST_SHADE)).tolist():
            pair = Candidate(int(first[place]), int(second[place]), turn, cut, float(agree[place]))
            key = (min(pair.first, pair.second), max(pair.first, pair.second))
            if key not in best or best[key].detail < pair.detail:
                best[key] = pair
        if progress is not None:
            progress(done, len(ways))
    return tuple(sorted(best.values(), key=lambda pair: (-pair.detail, pair.first, pair.second)))


def _hashes(cells: NDArray[Any], mean: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Pack the signs of (N, 16, 16) cells to (4, N) words."""
    bits = (cells > mean).reshape(len(cells), _BITS)[:, order]
    return np.ascontiguousarray(np.ascontiguousarray(np.packbits(bits, axis=1)).view(np.uint64).T)


def _near(
    asked: NDArray[np.uint64], rows: NDArray[np.int64], words: NDArray[np.uint64], *, ordered: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (i, j) whose hashes are near, the nearest few of each i of ``rows``; with ``ordered`` only j > i."""
    count = words.shape[1]
    step = max(1, _BLOCK_BYTES // (8 * count))

    def block(start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        low = int(rows[start]) if ordered else 0
        differing = np.bitwise_count(asked[0, start : start + step, None] ^ words[0, None, low:])
        place, j = np.nonzero(differing <= _MOST_BITS_FIRST_WORD)
        place += start
        j += low
        keep = j > rows[place] if ordered else j != rows[place]
        place, j = place[keep], j[keep]
        distance = np.zeros(len(place), np.int64)
        for word in range(_WORDS):
            distance += np.bitwise_count(asked[word, place] ^ words[word, j])
        keep = distance <= _MOST_BITS
        place, j, distance = place[keep], j[keep], distance[keep]
        by = np.lexsort((distance, place))
        place, j = place[by], j[by]
        rank = np.arange(len(place)) - np.searchsorted(place, place)  # among the pairs of the same picture
        return rows[place[rank < _NEAREST]], j[rank < _NEAREST]

    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(block, range(0, len(rows), step)))
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _agreement(
    first: NDArray[Any],
    second: NDArray[Any],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    outside: NDArray[np.uint8] | None,
) -> NDArray[np.float64]:
    """Correlate the cells of each pair; where ``outside`` is given, only cells that both pictures reach."""
    answer = np.zeros(len(i))
    for start in range(0, len(i), 4096):
        a = first[i[start : start + 4096]].reshape(-1, _BITS).astype(np.float32)
        b = second[j[start : start + 4096]].reshape(-1, _BITS).astype(np.float32)
        weight = ((a > 0) & (b > 0)).astype(np.float32) if outside is not None else np.ones_like(a)
        under = np.maximum(weight.sum(axis=1, keepdims=True), 1)
        a, b = ((x - (x * weight).sum(axis=1, keepdims=True) / under) * weight for x in (a, b))
        scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        # Two flat pictures agree in that: nothing about them differs.
        answer[start : start + 4096] = np.where(scale > 1e-6, (a * b).sum(axis=1) / np.maximum(scale, 1e-6), 1.0)
    return answer
