"""Every image of a data set really decoded, and the same bytes looked for where they must not be."""

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.images.read import Parcel
from eyeground.images.refusal import ImageRefused


def verify(
    samples: Sequence[Sample],
    *,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    known: Mapping[str, str] | None = None,
    keep: Callable[[Sample, Parcel], None] | None = None,
) -> dict[str, str]:
    """Really decode every image, and look for the same bytes where they must not be.

    Args:
        samples: The samples.
        workers: Threads; 0 takes one per core.
        progress: Called with (images done, images in all) after each image.
        known: Sample id -> sha256 of an earlier pass; a file that still has it is not decoded again.
        keep: Decodes each image instead, so that nobody needs to decode it again; raises ``ImageRefused`` if it cannot.
            Called from the threads.

    Returns:
        Sample id -> sha256 of the file's bytes; of one slice among several of a file, of that and the slice's number.

    Raises:
        DataProblems: Naming every image that cannot be read and, among samples that have splits, every file whose very
            bytes stand in two splits or under two labels.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 8)).save(Path(folder, "a.bmp"))
        ...     len(verify([Sample("a.bmp", Path(folder), 0, "p")])[":a.bmp"])
        64

    References:
        Our own.
    """
    before = known or {}

    def check(sample: Sample) -> str | Problem:
        try:
            parcel = sample.parcel()
            digest = digest_of(sample, parcel)
            if before.get(sample.id) != digest:
                if keep is None:
                    parcel.decode(least_px=1)  # all of a JPEG's bytes are read for its smallest picture too
                else:
                    keep(sample, parcel)
        except ImageRefused as error:
            return Problem(error.sentence, sample.file, None, sample.source)
        return digest

    hashes: dict[str, str] = {}
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        try:
            for done, (sample, answer) in enumerate(zip(samples, pool.map(check, samples), strict=True), start=1):
                if isinstance(answer, Problem):
                    problems.append(answer)
                else:
                    hashes[sample.id] = answer
                if progress is not None:
                    progress(done, len(samples))
        except BaseException:  # Ctrl-C must not wait for a hundred thousand queued images
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    problems += same_bytes(samples, hashes)
    if problems:
        raise DataProblems(problems)
    return hashes


def digest_of(sample: Sample, parcel: Parcel) -> str:
    """Hash what an image is made from.

    Args:
        sample: Which image.
        parcel: Its bytes.

    Returns:
        sha256 of the file's bytes; of one slice among several of a file, of that and the slice's number.

    Example:
        >>> from pathlib import Path
        >>> digest_of(Sample("a", Path("d"), 0, "p"), Parcel(b"", "a"))[:8]
        'e3b0c442'

    References:
        FIPS 180-4.
    """
    digest = hashlib.sha256(parcel.data).hexdigest()
    if sample.slice is None or parcel.slice is None:
        return digest
    return hashlib.sha256(f"{digest} {parcel.slice}".encode()).hexdigest()


def fingerprint(sha256: dict[str, str]) -> str:
    """Name a data set by its content.

    Args:
        sha256: Hash of each file, by sample id.

    Returns:
        Hex digits that change when any file is added, lost or changed.

    Example:
        >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
        True

    References:
        Our own.
    """
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(sha256.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def same_image_two_patients(samples: Iterable[Sample], sha256: Mapping[str, str]) -> tuple[tuple[Sample, ...], ...]:
    """Find images that stand, byte for byte, under two patient ids: most likely one person with two ids.

    Args:
        samples: The samples.
        sha256: Sample id -> hash, as ``verify`` gives it.

    Returns:
        Groups of samples with the same bytes and at least two patients.

    Example:
        >>> from pathlib import Path
        >>> twins = [Sample("a", Path("d"), 0, "p"), Sample("b", Path("d"), 0, "q")]
        >>> [[twin.patient for twin in group] for group in same_image_two_patients(twins, {":a": "0", ":b": "0"})]
        [['p', 'q']]

    References:
        Our own.
    """
    groups = _by_hash(samples, sha256)
    return tuple(tuple(group) for group in groups if len({sample.patient for sample in group}) > 1)


def same_bytes(samples: Iterable[Sample], sha256: Mapping[str, str]) -> list[Problem]:
    """Report the same bytes in two splits or under two labels.

    Args:
        samples: The samples; those without a split are passed over.
        sha256: Sample id -> hash, as ``verify`` gives it.

    Returns:
        A problem for each group of samples that leaks or contradicts itself.

    Example:
        >>> from pathlib import Path
        >>> twins = [Sample(name, Path("d"), 0, "p", split=name) for name in ("train", "test")]
        >>> [problem.what for problem in same_bytes(twins, {":train": "0", ":test": "0"})]
        ['the very same image stands in test and train (train, test), a leak; join their patients or remove one']

    References:
        Our own.
    """
    problems = []
    for group in _by_hash((sample for sample in samples if sample.split), sha256):
        names = ", ".join(sample.file for sample in group)
        splits = sorted({sample.split for sample in group})
        if len(splits) > 1:
            both = " and ".join(splits)
            what = f"the very same image stands in {both} ({names}), a leak; join their patients or remove one"
            problems.append(Problem(what, group[0].file, None, group[0].source))
        if any(
            len({value for value in told if math.isfinite(value)}) > 1
            for told in zip(*(s.truth for s in group), strict=True)
        ):
            what = f"the very same image stands under different labels ({names}); correct or remove them"
            problems.append(Problem(what, group[0].file, None, group[0].source))
    return problems


def _by_hash(samples: Iterable[Sample], sha256: Mapping[str, str]) -> list[list[Sample]]:
    """Samples that share their bytes with another."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.id in sha256:
            groups[sha256[sample.id]].append(sample)
    return [group for group in groups.values() if len(group) > 1]
