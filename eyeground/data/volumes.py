"""Which B-scans of a volume are trained on and judged."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePosixPath

from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.images.read import look
from eyeground.images.refusal import ImageRefused

# These formats hold one image; what says otherwise by a wrong name is taken by its center slice.
_SINGLE = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib"))


def slice_step(slices: str) -> int:
    """Read how slices are chosen.

    Args:
        slices: ``"center"``, ``"all"``, or ``"every:N"``.

    Returns:
        0 for the center one, otherwise the step from one slice to the next.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> slice_step("center"), slice_step("all"), slice_step("every:4")
        (0, 1, 4)

    References:
        Our own.
    """
    if slices in ("center", "all"):
        return int(slices == "all")
    match = re.fullmatch(r"every:([1-9]\d{0,4})", slices)
    if match is None:
        raise ValueError(f"slices={slices!r}: write center, all, or every:N such as every:4")
    return int(match[1])


def chosen(count: int, step: int) -> tuple[int, ...]:
    """Choose slices of a volume, evenly about its center.

    Args:
        count: How many it has.
        step: As ``slice_step`` gives it.

    Returns:
        Their numbers, from 0, in order; the center one is always among them.

    Example:
        >>> chosen(9, 0), chosen(9, 4), chosen(3, 1), chosen(10, 4)
        ((4,), (0, 4, 8), (0, 1, 2), (1, 5, 9))

    References:
        Our own.
    """
    center = count // 2
    return tuple(range(center % step, count, step)) if step else (center,)


def expand(
    samples: Sequence[Sample], *, slices: str, progress: Callable[[int, int], None] | None = None
) -> tuple[Sample, ...]:
    """Put each volume's chosen B-scans in its place; only headers are read.

    Args:
        samples: One for each file or folder of slices.
        slices: ``"center"`` changes nothing, ``"all"`` takes every B-scan, ``"every:N"`` each N-th about the center.
        progress: Called with (files looked at, files in all).

    Returns:
        The samples in order; the B-scans of a volume share file, label, patient and split.

    Raises:
        DataProblems: Naming every file whose header cannot be read.
        ValueError: If ``slices`` is not understood.

    Example:
        >>> from pathlib import Path
        >>> len(expand([Sample("a.png", Path("d"), 0, "p")], slices="all"))
        1

    References:
        Our own.
    """
    step = slice_step(slices)
    if not step:
        return tuple(samples)

    def count(sample: Sample) -> int | Problem:
        if PurePosixPath(sample.file).suffix.lower() in _SINGLE and not sample.path.is_dir():
            return 1
        try:
            return look(sample.path, source=sample.file).slices
        except ImageRefused as error:
            return Problem(error.sentence, sample.file, None, sample.source)

    expanded: list[Sample] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (sample, found) in enumerate(zip(samples, pool.map(count, samples), strict=True), start=1):
            if isinstance(found, Problem):
                problems.append(found)
            elif found == 1:
                expanded.append(sample)
            else:
                expanded += [replace(sample, slice=number) for number in chosen(found, step)]
            if progress is not None:
                progress(done, len(samples))
    if problems:
        raise DataProblems(problems)
    return tuple(expanded)
