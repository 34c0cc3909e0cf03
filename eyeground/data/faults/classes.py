"""Classes that are absent or tiny, and how unequal the classes are."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from eyeground.data.balance import MILD, MODERATE, SEVERE
from eyeground.data.exam.case import Case, listed
from eyeground.data.exam.finding import Finding, Severity, counted

_FEW_IMAGES: Final = 10
_FEW_PATIENTS: Final = 5
# The largest class over the smallest; from the last on, accuracy says nothing and a plain loss learns the large class.
_MANY_SHARE: Final = 0.05
_MANY_TIMES: Final = 10.0
_MANY_IMAGES: Final = 20


def find(case: Case) -> Iterator[Finding]:
    """Name classes absent from a split, tiny classes, imbalance, and patients with very many images.

    Args:
        case: The data set.

    Yields:
        The findings.

    Example:
        >>> list(find(Case((), (), (), True)))
        []

    References:
        Shannon entropy; Gini, "Variabilità e mutabilità", 1912. The limits are our own.
    """
    counts = Counter(sample.label for sample in case.samples if sample.label is not None)
    if not counts:
        return
    yield from _absent(case, counts)
    for label in sorted(counts):
        name = case.classes[label]
        mine = [number for number, sample in enumerate(case.samples) if sample.label == label]
        patients = len({case.samples[number].patient for number in mine})
        if len(mine) < _FEW_IMAGES or (case.patients_known and patients < _FEW_PATIENTS):
            people = f" of {counted(patients, 'patient')}" if case.patients_known else ""
            yield Finding(
                "tiny class",
                "odd",
                f"the class {name!r} has {counted(len(mine), 'image')}{people}",
                "too few to learn from or to judge by: join it with another class, bring more, or leave it out",
                case.files(mine),
                {"images": len(mine), "patients": patients},
            )
    if len(counts) > 1:
        yield from _imbalance(case, counts)
    if case.patients_known:
        yield from _crowds(case)


def _absent(case: Case, counts: Counter[int]) -> Iterator[Finding]:
    """Classes that a split lacks."""
    for split in case.splits if len(case.splits) > 1 else ():
        present = {case.samples[number].label for number in case.of_split(split)}
        for label in sorted(set(counts) - present):
            name = case.classes[label]
            severity: Severity = "fault" if split == "train" else "odd"
            why = "it cannot be learned" if split == "train" else "nothing can be said about it there"
            yield Finding(
                "class absent from a split",
                severity,
                f"{split} has no image of the class {name!r}: {why}",
                "split anew, by patient and class, or leave the class out",
                case.files(number for number, sample in enumerate(case.samples) if sample.label == label),
            )


def _imbalance(case: Case, counts: Counter[int]) -> Iterator[Finding]:
    """How unequal the classes are."""
    sizes = np.array(sorted(counts.values()), np.float64)
    shares = sizes / sizes.sum()
    classes = len(sizes)
    ratio = float(sizes[-1] / sizes[0])
    gini = float((2 * np.arange(1, classes + 1) - classes - 1) @ sizes / (classes * sizes.sum()))
    entropy = float(-(shares * np.log(shares)).sum() / np.log(classes))
    if ratio < MILD:
        return
    word = "severe" if ratio >= SEVERE else "moderate" if ratio >= MODERATE else "mild"
    advice = {
        "mild": "judge by macro averages, not by accuracy",
        "moderate": "judge by macro averages and per class, and keep each class in every split",
        "severe": "judge by macro averages and per class; bring more of the small classes, join them, or give them "
        "more weight in training",
    }[word]
    largest, smallest = max(counts, key=lambda k: counts[k]), min(counts, key=lambda k: counts[k])
    told = listed([f"{case.classes[label]} {count:,}" for label, count in counts.most_common()], 12)
    yield Finding(
        "imbalance",
        "note" if word == "mild" else "odd",
        f"{word} imbalance, {ratio:.0f} to 1 between {case.classes[largest]!r} and {case.classes[smallest]!r} "
        f"(Gini {gini:.2f}, entropy {entropy:.2f} of 1): {told}",
        advice,
        (),
        {"ratio": round(ratio, 3), "gini": round(gini, 4), "entropy": round(entropy, 4)},
    )


def _crowds(case: Case) -> Iterator[Finding]:
    """Patients with very many images."""
    by_patient = case.by_patient()
    usual = float(np.median([len(numbers) for numbers in by_patient.values()]))
    for patient, numbers in sorted(by_patient.items()):
        share = len(numbers) / len(case.samples)
        if len(numbers) >= max(_MANY_IMAGES, _MANY_TIMES * usual) and share >= _MANY_SHARE:
            yield Finding(
                "patient with very many images",
                "odd",
                f"patient {patient} has {counted(len(numbers), 'image')}, {100 * share:.0f}% of all "
                f"(most have {usual:.0f})",
                "find out whether it is one person; if so, keep some of the images",
                case.files(numbers),
                {"images": len(numbers), "share": round(share, 4)},
            )
