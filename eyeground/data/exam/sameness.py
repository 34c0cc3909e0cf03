"""The images of a set that are the same picture, byte for byte or nearly."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyeground.data.exam.case import Twins
from eyeground.data.exam.examination import Facts, Prints
from eyeground.data.exam.fingerprints import CUTS, without_rim
from eyeground.data.exam.lookalikes import TURN_WORDS, TURNS, Candidate, candidates
from eyeground.data.exam.twins import Match, Square, match, rough_match, square_of
from eyeground.data.sample import Sample
from eyeground.images.refusal import ImageRefused

# Of the small squares. Of 360 copies the worst had 0.78 and 0.95; of 1,900 pairs of strangers one in ten gets here.
_LEAST_STRUCTURE: Final = 0.75
_LEAST_SHADE: Final = 0.94
# Neighbors in one scan of one eye are alike and no fault: within a patient only what is practically identical counts.
_NEIGHBOR: Final = 0.97


def find_twins(
    samples: Sequence[Sample],
    facts: Sequence[Facts],
    prints: Prints,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Twins, ...]:
    """Group the images that are the same picture.

    Files of the same bytes first; then, one of each such group, pictures whose fingerprints are near are laid over each
    other: small, and what still agrees at 128 px from the files. Two scans (or gray pictures) of one patient must
    agree to the last detail, for neighbors in a volume are alike.

    Args:
        samples: The samples.
        facts: Their facts.
        prints: Their fingerprints.
        progress: Called with (pairs compared, pairs in all).

    Returns:
        The groups, each of at least two, in the order of their first member.

    Example:
        >>> none = np.zeros((0, 3, 16, 16), np.int8)
        >>> find_twins([], [], Prints(none, none.view(np.uint8), np.zeros(0, bool), np.zeros(0, bool), {}.get))
        ()

    References:
        Our own.
    """
    by_bytes: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(facts):
        if each.sha256 and each.size_bytes:
            by_bytes[f"{each.sha256} {samples[number].slice}"].append(number)
    same_file = {numbers[0]: numbers for numbers in by_bytes.values()}
    chosen = np.array([first for first in same_file if prints.there[first]], np.int64)  # one of each
    pairs = [
        (int(chosen[pair.first]), int(chosen[pair.second]), pair)
        for pair in candidates(prints.detail[chosen], prints.shade[chosen], ~prints.round[chosen])
    ]
    matches = _matches(samples, prints, pairs, progress)
    joined = _Groups()
    near: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for (first, second, pair), found in zip(pairs, matches, strict=True):
        if found is not None and _is_same(samples, prints, first, second, pair, found):
            joined.join(first, second)
    for (first, second, pair), found in zip(pairs, matches, strict=True):
        if found is not None and joined.of(first) == joined.of(second):
            near[joined.of(first)].append((found.finest, TURN_WORDS[pair.turn]))
    groups: dict[int, list[int]] = defaultdict(list)
    for first in same_file:
        groups[joined.of(first)] += same_file[first]
    answer = []
    for root, members in groups.items():
        if len(members) > 1:
            found_near = near.get(root, [])
            turned = next((words for _, words in found_near if words), "")
            likeness = min((value for value, _ in found_near), default=1.0)
            answer.append(Twins(tuple(sorted(members)), not found_near, turned, likeness))
    return tuple(sorted(answer, key=lambda twins: twins.members))


def _is_same(samples: Sequence[Sample], prints: Prints, first: int, second: int, pair: Candidate, found: Match) -> bool:
    """Decide on one pair."""
    if pair.turn and not found.surely_same:
        return False
    neighbors = samples[first].patient == samples[second].patient and not prints.round[first]
    if neighbors:
        return found.surely_same and found.finest >= _NEIGHBOR
    return found.same or found.surely_same


def _matches(
    samples: Sequence[Sample],
    prints: Prints,
    pairs: Sequence[tuple[int, int, Candidate]],
    progress: Callable[[int, int], None] | None,
) -> list[Match | None]:
    """Compare each pair, small first; None where they differ already then, or a file has gone."""

    def compare(job: tuple[tuple[int, int, Candidate], NDArray[np.uint8], NDArray[np.uint8]]) -> Match | None:
        (first, second, pair), small_first, small_second = job
        turn = TURNS[pair.turn]
        one = _turned(_small_square(small_first, pair.cut), turn)
        pose, rough = rough_match(one, _small_square(small_second, 0))
        if rough.structure < _LEAST_STRUCTURE or rough.shade < _LEAST_SHADE:
            return None
        try:
            whole, other = (square_of(samples[n].parcel().decode().pixels) for n in (first, second))
        except ImageRefused:
            return None
        return match(_turned((without_rim(whole[0], CUTS[pair.cut]), whole[1]), turn), other, pose)

    answers: list[Match | None] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(pairs), 256):  # the small pictures are read from the disk by this thread alone
            part = [(pair, prints.small(pair[0]), prints.small(pair[1])) for pair in pairs[start : start + 256]]
            answers += pool.map(compare, part)
            if progress is not None:
                progress(len(answers), len(pairs))
    return answers


def _small_square(small: NDArray[np.uint8], cut: int) -> Square:
    """A kept small picture as a square to compare."""
    gray = small.astype(np.float32)
    return without_rim(gray, CUTS[cut]), small > 0


def _turned(square: Square, turn: Callable[[NDArray[Any]], NDArray[Any]]) -> Square:
    """Mirror or turn a square."""
    return np.ascontiguousarray(turn(square[0]), np.float32), np.ascontiguousarray(turn(square[1]), np.bool_)


class _Groups:
    """Sets that grow together."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def of(self, member: int) -> int:
        """The first member of the set that a member is in."""
        while (above := self._above.get(member, member)) != member:
            member = above
        return member

    def join(self, one: int, other: int) -> None:
        """Make two sets one."""
        low, high = sorted((self.of(one), self.of(other)))
        self._above[high] = low
