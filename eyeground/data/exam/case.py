"""One data set as the doctor sees it: what its tables say, what its images are, which of them are the same."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eyeground.data.exam.examination import Facts
from eyeground.data.problem import Problem
from eyeground.data.sample import Sample


@dataclass(frozen=True)
class Twins:
    """Images that are the same picture.

    Args:
        members: Numbers of the samples, in order.
        identical: Whether their files agree byte for byte.
        turned: How one must be mirrored or turned to match, in words; ``""`` if not at all.
        likeness: Correlation of their finest detail; of several pairs, the least. 1 for identical files.

    Example:
        >>> Twins((0, 4), True).likeness
        1.0

    References:
        Our own.
    """

    members: tuple[int, ...]
    identical: bool
    turned: str = ""
    likeness: float = 1.0


@dataclass(frozen=True, eq=False)
class Case:
    """Everything the checks look at; each file in ``data/faults/`` reads it and changes nothing.

    Args:
        samples: The images whose file exists. Labels that differ only in case or spaces are one class here.
        facts: What was measured on each of them, in the same order.
        classes: Names of the classes.
        patients_known: Whether a patient means more than "this image".
        twins: Groups of images that are the same.
        problems: What is wrong with folders and tables.
        spellings: Class -> its labels as written, with their number of images, where there are several.
        misspelled: Ids of the samples whose label is not written as most of its class.
        folders: Source -> its data folder.
        strays: Files in the data folders that were not read although they may be images.
        notes: What reading the tables had to say.

    Example:
        >>> Case((), (), ("a",), True).of_split("train")
        ()

    References:
        Our own.
    """

    samples: tuple[Sample, ...]
    facts: tuple[Facts, ...]
    classes: tuple[str, ...]
    patients_known: bool
    twins: tuple[Twins, ...] = ()
    problems: tuple[Problem, ...] = ()
    spellings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    misspelled: frozenset[str] = frozenset()
    folders: Mapping[str, Path] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def file(self, number: int) -> str:
        """Name an image as the user would open it.

        Args:
            number: Of the sample.

        Returns:
            Data folder and path.
        """
        sample = self.samples[number]
        return str(sample.path) if sample.slice is None else f"{sample.path}#{sample.slice}"

    def files(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """Name several images.

        Args:
            numbers: Of the samples.

        Returns:
            Their paths, in order.
        """
        return tuple(self.file(number) for number in numbers)

    def label(self, number: int) -> str:
        """Name an image's class.

        Args:
            number: Of the sample.

        Returns:
            Its class, ``""`` when not labelled.
        """
        label = self.samples[number].label
        return "" if label is None else self.classes[label]

    def of_split(self, split: str) -> tuple[int, ...]:
        """List the images of a split.

        Args:
            split: Its name.

        Returns:
            Numbers of the samples.
        """
        return tuple(number for number, sample in enumerate(self.samples) if sample.split == split)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits there are, train first; empty before splitting."""
        found = {sample.split for sample in self.samples} - {""}
        return tuple(split for split in ("train", "val", "test") if split in found)

    def by_patient(self) -> dict[str, list[int]]:
        """Numbers of the samples of each patient."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, sample in enumerate(self.samples):
            found[sample.patient].append(number)
        return dict(found)


def listed(words: Sequence[str], most: int = 4) -> str:
    """Write a few words as a list, and how many more there are.

    Args:
        words: Any number of them.
        most: How many to write.

    Returns:
        Words.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'

    References:
        Our own.
    """
    shown = ", ".join(words[:most])
    return f"{shown} and {len(words) - most:,} more" if len(words) > most else shown
