"""Patients and pictures that stand where they must not: in two splits, under two patients, under two labels, twice."""

from collections import defaultdict
from collections.abc import Iterator

from eyeground.data.exam.case import Case, Twins, listed
from eyeground.data.exam.finding import Finding, counted


def find(case: Case) -> Iterator[Finding]:
    """Name patients in two splits, and the same picture in two splits, under two patients or labels, or twice.

    Args:
        case: The data set.

    Yields:
        A finding for each patient and for each group of pictures; a group may be several faults.

    Example:
        >>> list(find(Case((), (), (), True)))
        []

    References:
        Our own.
    """
    if case.patients_known:
        yield from _patients(case)
    for twins in case.twins:
        yield from _twins(case, twins)


def _patients(case: Case) -> Iterator[Finding]:
    """Patients with images in more than one split."""
    for patient, numbers in sorted(case.by_patient().items()):
        splits = defaultdict(list)
        for number in numbers:
            if case.samples[number].split:
                splits[case.samples[number].split].append(number)
        if len(splits) > 1:
            where = ", ".join(f"{split} ({len(found)})" for split, found in sorted(splits.items()))
            yield Finding(
                "patient in two splits",
                "fault",
                f"patient {patient} stands in {where}",
                "put all of a patient's images into one split",
                case.files(numbers),
            )


def _twins(case: Case, twins: Twins) -> Iterator[Finding]:
    """What is wrong about one group of equal pictures."""
    samples = [case.samples[number] for number in twins.members]
    if twins.identical:
        same = "the very same file"
    else:
        same = "the same picture" + (f", {twins.turned}," if twins.turned else "")
    figures = {} if twins.identical else {"likeness": round(twins.likeness, 3)}
    files = case.files(twins.members)
    splits = sorted({sample.split for sample in samples} - {""})
    patients = sorted({sample.patient for sample in samples})
    labels = sorted({case.label(number) for number in twins.members} - {""})
    wrong = False
    if len(labels) > 1:
        wrong = True
        yield Finding(
            "same image under two labels",
            "fault",
            f"{same} stands under the labels {listed(labels)}",
            "look at it and correct the label, or leave all copies out",
            files,
            figures,
        )
    if len(splits) > 1:
        wrong = True
        yield Finding(
            "same image in two splits",
            "fault",
            f"{same} stands in {' and '.join(splits)}: what is learned by heart is taken for knowledge",
            "join the patients and split anew, or leave one copy out",
            files,
            figures,
        )
    if case.patients_known and len(patients) > 1:
        wrong = True
        yield Finding(
            "same image under two patients",
            "fault",
            f"{same} stands under the patients {listed(patients)}: most likely one person with two ids",
            "give them one id, so that no split parts them",
            files,
            figures,
        )
    if not wrong:
        yield Finding(
            "same image twice",
            "odd",
            f"{same} stands {counted(len(samples), 'time')}"
            + (f" in {splits[0]}" if splits else "")
            + "; it counts that often in training and in the results",
            "keep one copy",
            files,
            figures,
        )
