"""Which images or patients of a test set has a run seen before?"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eyeground.data.sample import Sample


class Seen(NamedTuple):
    """What a run has seen of a test set.

    Args:
        images: Files whose very bytes were learned from.
        patients: Files of patients who were learned from.

    Example:
        >>> Seen((), ()).images
        ()

    References:
        Our own.
    """

    images: tuple[str, ...]
    patients: tuple[str, ...]


def seen_by(run: Path, samples: Sequence[Sample], sha256: dict[str, str], *, patients_known: bool) -> Seen | None:
    """Look for test images and their patients among those a run was trained or chosen by.

    Args:
        run: The run's folder.
        samples: The test samples.
        sha256: Hash of each file, by sample id.
        patients_known: Whether the samples' patients are real groups.

    Returns:
        What was seen; None when the run keeps no ``split.csv``, so that nobody can tell.

    Example:
        >>> seen_by(Path("no/such/run"), [], {}, patients_known=True) is None
        True

    References:
        Our own.
    """
    path = run / "split.csv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "val")]
    hashes, patients = {row["sha256"] for row in rows}, {row["patient"] for row in rows}
    return Seen(
        tuple(s.file for s in samples if sha256[s.id] in hashes),
        tuple(s.file for s in samples if patients_known and s.patient in patients),
    )
