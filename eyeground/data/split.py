"""Train, validation and test by patient: stratified, seeded, written to a file that is used again."""

import csv
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eyeground.atomic_file import atomic_file
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.data.table import open_table

_SPLITS = ("train", "val", "test")
_COLUMNS = ("source", "file", "patient", "eye", "label", "split", "sha256", "slice")
_Stratum = tuple[int, int]  # head and class
_NO_LABEL = (-1, -1)


def split_by_patient(samples: Sequence[Sample], *, ratios: str | Sequence[float], seed: int) -> tuple[Sample, ...]:
    """Divide samples into train, validation and test so that no patient stands in two of them.

    Each class is divided as nearly in the ratios as whole patients allow, rare classes first; with several heads each
    answer of each head is such a class, and a quantity is cut into fifths. A class with at least as
    many patients as there are splits stands in all of them wherever patients with several classes leave it possible; a
    class with fewer stands in train first. The answer hangs on ids, patients, labels and the seed, not on the order.

    Args:
        samples: The samples; splits they have are replaced.
        ratios: Shares of train, validation and test, as ``"60:20:20"`` or three numbers. That of val or test may be 0.
        seed: Any whole number; another one gives another division.

    Returns:
        The same samples in the same order, each with its split.

    Raises:
        ValueError: If the ratios are not three shares, or there are fewer patients than splits.

    Example:
        >>> eyes = [Sample(f"{i}.png", Path("d"), i % 2, f"p{i // 2}") for i in range(20)]
        >>> [s.split for s in split_by_patient(eyes, ratios="60:20:20", seed=0)].count("train")
        12

    References:
        Sechidis et al., "On the stratification of multi-label data", ECML 2011, for the rare-first order. The rest our
        own.
    """
    shares = _shares(ratios)
    wanted = {split: share for split, share in zip(_SPLITS, shares, strict=True) if share > 0}
    home = _divide(samples, wanted, seed)
    return tuple(replace(sample, split=home[sample.patient]) for sample in samples)


def hold_out_validation(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[Sample, ...]:
    """Move some patients of train to validation, for sets that come with train and test only.

    Args:
        samples: Samples with splits ``"train"`` and perhaps ``"test"``.
        fraction: Share of the training images to hold out. Unit: fraction, (0, 1).
        seed: Any whole number.

    Returns:
        The same samples in the same order; those of test are unchanged.

    Raises:
        ValueError: If the fraction is not in (0, 1), there is a validation split already, none is in train, or train
            has a single patient.

    Example:
        >>> eyes = [Sample(f"{i}.png", Path("d"), 0, f"p{i}", split="train") for i in range(10)]
        >>> [s.split for s in hold_out_validation(eyes, fraction=0.2, seed=0)].count("val")
        2

    References:
        Our own.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction to hold out must lie between 0 and 1, got {fraction}")
    if any(sample.split == "val" for sample in samples):
        raise ValueError("there is a validation split already; use it, or split anew by patient")
    train = [sample for sample in samples if sample.split == "train"]
    if not train:
        raise ValueError("no sample is in train, so nothing can be held out of it")
    home = _divide(train, {"train": 1 - fraction, "val": fraction}, seed)
    return tuple(
        replace(sample, split=home[sample.patient]) if sample.split == "train" else sample for sample in samples
    )


def check_split(samples: Sequence[Sample]) -> None:
    """Refuse a division that leaks.

    Args:
        samples: Samples with splits.

    Raises:
        DataProblems: Naming every patient that stands in two splits, with the files, and every sample without a split.

    Example:
        >>> check_split([Sample("a", Path("d"), 0, "p", split="train"), Sample("b", Path("d"), 0, "p", split="test")])
        Traceback (most recent call last):
        eyeground.data.problem.DataProblems: 1 problem in the data:
        - patient 'p' stands in train (a) and test (b), a leak; put all of a patient's images into one split

    References:
        Our own.
    """
    problems = [
        Problem(
            f"has the split {sample.split!r}, which is none of {', '.join(_SPLITS)}", sample.file, None, sample.source
        )
        for sample in samples
        if sample.split not in _SPLITS
    ]
    files: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        files[sample.patient][sample.split].append(sample.file)
    for patient, splits in sorted(files.items()):
        if len(splits) > 1:
            where = " and ".join(f"{split or 'no split'} ({', '.join(names)})" for split, names in splits.items())
            what = f"patient {patient!r} stands in {where}, a leak; put all of a patient's images into one split"
            problems.append(Problem(what))
    if problems:
        raise DataProblems(problems)


def write_split(path: Path, samples: Sequence[Sample], sha256: Mapping[str, str] | None = None) -> None:
    """Write who is in which split, whole or not at all.

    Args:
        path: CSV file to write, columns source, file, patient, eye, label (index of the class or empty), split, sha256,
            slice (of a volume; otherwise empty).
        samples: Samples with splits.
        sha256: Sample id -> hash of the file's bytes, as ``verify`` gives it; None leaves the column empty.

    Raises:
        DataProblems: If the division leaks; nothing is written.
        OSError: If the file cannot be written (a full disk, no permission); an older file stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_split(Path(folder, "split.csv"), [Sample("a", Path("d"), 0, "p", split="test")])
        ...     print(Path(folder, "split.csv").read_text().splitlines()[1])
        ,a,p,,0,test,,

    References:
        Our own.
    """
    check_split(samples)
    hashes = sha256 or {}
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for s in sorted(samples, key=lambda sample: (sample.source, sample.file, sample.slice or 0)):
            label, slice = ("" if value is None else value for value in (s.label, s.slice))
            writer.writerow((s.source, s.file, s.patient, s.eye, label, s.split, hashes.get(s.id, ""), slice))


def read_split(path: Path, samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Give samples the splits that a file holds.

    Args:
        path: File written by ``write_split``.
        samples: Samples, whatever splits they have; matched by source and file, for the slices of a volume go together.

    Returns:
        The same samples in the same order, each with its split.

    Raises:
        DataProblems: If the file cannot be read, lacks a sample, holds a file that is not among the samples or stands
            twice, gives another patient, or leaks. All of it at once.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_split(Path(folder, "split.csv"), [Sample("a", Path("d"), 0, "p", split="test")])
        ...     read_split(Path(folder, "split.csv"), [Sample("a", Path("d"), 0, "p")])[0].split
        'test'

    References:
        Our own.
    """
    wanted = {(sample.source, sample.file): sample for sample in samples}
    splits: dict[tuple[str, str], str] = {}
    rows: set[tuple[str, str, str]] = set()
    problems = []
    for row, (source, file, slice, patient, split) in _rows(path, ("source", "file", "slice", "patient", "split")):
        key = (source, file)
        again = key in splits
        if (source, file, slice) in rows or (again and splits[key] != split):
            problems.append(Problem("stands twice in the split file", file, row, source))
        elif key not in wanted:
            problems.append(Problem("stands in the split file but not in the data", file, row, source))
        elif wanted[key].patient != patient:
            what = f"the patient was {patient!r} when the split was made and is {wanted[key].patient!r} now; split anew"
            problems.append(Problem(what, file, row, source))
        if split not in _SPLITS:
            problems.append(Problem(f"the split {split!r} is none of {', '.join(_SPLITS)}", file, row, source))
        splits[key] = split
        rows.add((source, file, slice))
    problems += [
        Problem(f"is not in the split file {path.name}; split anew, or take the image out", file, None, source)
        for source, file in wanted
        if (source, file) not in splits
    ]
    if problems:
        raise DataProblems(problems)
    placed = tuple(replace(sample, split=splits[sample.source, sample.file]) for sample in samples)
    check_split(placed)
    return placed


def read_hashes(path: Path) -> dict[str, str]:
    """Read the hashes of a split file, so that ``verify`` need not decode unchanged images again.

    Args:
        path: File written by ``write_split``.

    Returns:
        Sample id -> sha256; rows without a hash are left out.

    Raises:
        DataProblems: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_split(Path(folder, "s.csv"), [Sample("a", Path("d"), 0, "p", split="test")], {":a": "f00d"})
        ...     read_hashes(Path(folder, "s.csv"))
        {':a': 'f00d'}

    References:
        Our own.
    """
    rows = _rows(path, ("source", "file", "slice", "sha256"))
    return {
        f"{source}:{file}" + (f"#{slice}" if slice else ""): digest
        for _, (source, file, slice, digest) in rows
        if digest
    }


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Read columns of a split file."""
    table = open_table(path)
    missing = [column for column in columns if column not in table.columns and column != "slice"]
    if missing:
        raise DataProblems([Problem(f"is no split file: it lacks the column {', '.join(missing)}", path.name)])
    if "slice" in table.columns or "slice" not in columns:
        return table.rows(columns, strip=False)
    # A file written before volumes were read.
    place = columns.index("slice")
    rows = table.rows([column for column in columns if column != "slice"], strip=False)
    return [(row, [*cells[:place], "", *cells[place:]]) for row, cells in rows]


def _shares(ratios: str | Sequence[float]) -> tuple[float, ...]:
    """Bring ratios to three shares that sum to 1."""
    try:
        numbers = [float(part) for part in (ratios.split(":") if isinstance(ratios, str) else ratios)]
    except ValueError:
        numbers = []
    sane = len(numbers) == 3 and all(math.isfinite(number) and number >= 0 for number in numbers)
    if not (sane and numbers[0] > 0 and any(numbers[1:])):
        raise ValueError(
            f"the split {ratios!r} is not three shares train:val:test, such as 60:20:20 or 6:2:2; train must be above "
            "0, and so must val or test"
        )
    return tuple(number / sum(numbers) for number in numbers)


def _divide(samples: Sequence[Sample], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Decide the split of every patient."""
    classes: dict[str, Counter[_Stratum]] = defaultdict(Counter)
    for sample, strata in zip(samples, _strata(samples), strict=True):
        classes[sample.patient].update(strata)
    if len(classes) < len(shares):
        raise ValueError(
            f"{len(classes)} patients cannot be divided into {len(shares)} splits; "
            "bring more patients or name fewer splits"
        )
    holders: dict[_Stratum, list[str]] = defaultdict(list)
    for patient in sorted(classes):
        for label in classes[patient]:
            holders[label].append(patient)
    shuffled = sorted(classes)
    random.Random(seed).shuffle(shuffled)  # noqa: S311  no secret: anyone must get the same split
    rank = {patient: place for place, patient in enumerate(shuffled)}
    rarity = {label: (len(holders[label]), label) for label in holders}
    # Rare classes first, and within a class patients with many images first: the small ones then even out the rest.
    order = sorted(classes, key=lambda p: (min(rarity[c] for c in classes[p]), -classes[p].total(), rank[p]))
    division = _Division(classes, shares)
    for label in sorted(holders, key=lambda label: rarity[label]):
        if label != _NO_LABEL:
            division.seat(label, sorted(holders[label], key=lambda p: (len(classes[p]), classes[p].total(), rank[p])))
    for patient in order:
        if patient not in division.home:
            division.place(patient, division.best(patient))
    division.fill_empty(order)
    return division.home


def _strata(samples: Sequence[Sample]) -> list[list[_Stratum]]:
    """What each sample counts for: (head, class), or (head, fifth) of a quantity."""
    truth = [sample.truth for sample in samples]
    cuts: list[list[float]] = []
    for column in zip(*truth, strict=True):
        known = sorted(value for value in column if math.isfinite(value))
        # Whole numbers may be grades or a pressure in mmHg: no scale of grades is so long.
        many = bool(samples[0].values) and len(set(known)) > 10
        quantity = many or any(value != int(value) for value in known)
        cuts.append([known[len(known) * fifth // 5] for fifth in range(1, 5)] if quantity else [])
    return [
        [
            (head, sum(value >= cut for cut in cuts[head]) if cuts[head] else int(value))
            for head, value in enumerate(values)
            if math.isfinite(value)
        ]
        or [_NO_LABEL]
        for values in truth
    ]


class _Division:
    """Splits while they fill."""

    def __init__(self, classes: Mapping[str, Counter[_Stratum]], shares: Mapping[str, float]) -> None:
        self.classes, self.shares = classes, shares
        self.home: dict[str, str] = {}
        self.all: Counter[_Stratum] = Counter()
        for counts in classes.values():
            self.all.update(counts)
        self.filled: dict[str, Counter[_Stratum]] = {split: Counter() for split in shares}

    def place(self, patient: str, split: str) -> None:
        """Put a patient into a split."""
        self.home[patient] = split
        self.filled[split].update(self.classes[patient])

    def best(self, patient: str) -> str:
        """The split that lags most behind its share of the images placed so far, each class weighted by its rarity."""
        counts = self.classes[patient]
        placed = sum(self.filled.values(), Counter[_Stratum]())

        # Behind the share of what is placed, not of the whole: measured against the whole, the largest split looks
        # emptiest until the end, and the rare classes, which come first, would all go there.
        def lag(split: str) -> tuple[float, float]:
            filled, share = self.filled[split], self.shares[split]
            by_class = sum(
                count * (share * (placed[label] + count) - filled[label]) / self.all[label]
                for label, count in counts.items()
            )
            return round(by_class, 9), share * (placed.total() + counts.total()) - filled.total()

        return max(self.shares, key=lag)

    def seat(self, label: _Stratum, patients: Sequence[str]) -> None:
        """Give each split one patient of a class: train first, then the larger share, as far as patients last."""
        splits = sorted(self.shares, key=lambda split: (split != "train", -self.shares[split], split))
        for split in splits:
            if self.filled[split][label]:
                continue
            free = [patient for patient in patients if patient not in self.home]
            if not free:
                return
            self.place(free[0], split)

    def fill_empty(self, order: Sequence[str]) -> None:
        """Give a split that got nobody (few patients, a tiny share) the patient who is missed least where they are."""
        for split in self.shares:
            if split in self.home.values():
                continue
            crowds = Counter(self.home.values())

            def missed(patient: str, crowds: Counter[str] = crowds) -> tuple[bool, int, int]:
                home = self.home[patient]
                lost = sum(self.filled[home][label] == count for label, count in self.classes[patient].items())
                return home == "train" and lost > 0, lost, -crowds[home]

            patient = min((p for p in order if crowds[self.home[p]] > 1), key=missed)
            self.filled[self.home[patient]].subtract(self.classes[patient])
            self.place(patient, split)
