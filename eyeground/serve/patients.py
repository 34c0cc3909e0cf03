"""Both eyes of a patient in one line: what is said of each, and of the patient as far as that can be said."""

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import Head
from eyeground.evaluate.answers import write_columns
from eyeground.images.laterality import eye_from_name
from eyeground.serve.batch import Row
from eyeground.serve.contract import Contract

EYES = ("OD", "OS")
_EYE_SIGN = re.compile("[左右]眼?")


class PatientsUnknown(ValueError):
    """Files whose patient nobody says."""


def read_patients(source: str, files: Sequence[Path]) -> dict[str, str]:
    """Find out whose each file is.

    Args:
        source: ``names``: what is left of a file's name without the eye, ``P7_OD.png`` -> ``P7``; files of one patient
            lie in one folder, or in folders that differ by the eye. Or a CSV table with the columns ``file`` (a path as
            given, or its end) and ``patient``.
        files: Files as given.

    Returns:
        File -> patient.

    Raises:
        PatientsUnknown: If the table cannot be read, a file has no patient or several, or a row may mean several files;
            all of it at once.

    Example:
        >>> read_patients("names", [Path("a/P7_OD.png"), Path("a/P7-left.jpg")])
        {'a/P7_OD.png': 'P7', 'a/P7-left.jpg': 'P7'}

    References:
        Our own.
    """
    if source == "names":
        found = {str(path): _without_eye(path.stem) for path in files}
        bare = [file for file, patient in found.items() if not patient]
        wrong = [f"nothing but the eye is left of {_some(bare)}"] if bare else []
        places: dict[str, set[str]] = defaultdict(set)
        for path in files:
            places[found[str(path)]].add("/".join(_without_eye(part) for part in path.absolute().parent.parts))
        # Two people's images may have one name: nobody's eyes are joined to another's for that.
        wrong += [f"{name} stands in several folders" for name, each in places.items() if len(each) > 1 and name]
        if wrong:
            raise PatientsUnknown(f"--patients names: {'; '.join(wrong)}; give a table of files and patients")
        return found
    table = Path(source)
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PatientsUnknown(f"--patients {table}: cannot be read ({error}); or say names") from error
    if not rows or not {"file", "patient"} <= set(rows[0]):
        raise PatientsUnknown(f"--patients {table}: it needs rows with the columns file and patient")
    known: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        known[(row["file"] or "").replace("\\", "/").lstrip("./")].add((row["patient"] or "").strip())
    named: dict[str, list[str]] = defaultdict(list)
    owners: dict[str, str] = {}
    for path in files:
        parts = path.as_posix().split("/")
        ends = ("/".join(parts[start:]).lstrip("./") for start in range(len(parts)))
        end = next((end for end in ends if end in known), "")
        named[end].append(str(path))
        owners[str(path)] = next(iter(known[end]), "") if end else ""
    wrong = [f"{end} has several patients: {_some(sorted(each))}" for end, each in known.items() if len(each) > 1]
    wrong += [
        f"{end} may be any of {_some(each)}: say more of its path"
        for end, each in named.items()
        if end and len(each) > 1
    ]
    if bare := [file for file, patient in owners.items() if not patient]:
        wrong.append(f"no patient for {_some(bare)}")
    if wrong:
        raise PatientsUnknown(f"--patients {table}: {'; '.join(wrong)}")
    return owners


def join_eyes(rows: Sequence[Row], owners: Mapping[str, str], contract: Contract) -> dict[str, list[str]]:
    """Join answers by patient.

    Several images of an eye count as one: the mean of their scores. Where an eye is missing or cannot be graded, the
    patient is not complete: what was found in the other eye stands, and nothing is called healthy.

    Args:
        rows: Answers of files.
        owners: File -> patient.
        contract: The model's.

    Returns:
        Column -> a cell for each patient, in the order in which they first come: ``patient``; for each eye
        ``<eye>_files``, ``<eye>_quality``, and the answer's columns as ``<eye>_<column>``; ``complete``; of a yes/no
        head or grades ``either_prediction``, of several heads ``either_prediction_<head>``: yes if either eye is, the
        higher grade; the same of each threshold, ``either_positive_<class>``; ``eye_unknown``: files whose eye nobody
        says, joined to none.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import Head, Task
        >>> from eyeground.model.spec import ModelSpec
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 1, image_px=32), Task("multilabel", (Head("AMD"),)), False,
        ...                     Preprocessing(image_px=32), "center", "fundus", "00")
        >>> rows = [Row("P7_OD.png", "OD", "good", {}, (0.25,), "", "", (0, 0)),
        ...         Row("P7_OS.png", "OS", "cannot grade: too dark", {}, None, "", "", (0, 0))]
        >>> told = join_eyes(rows, {"P7_OD.png": "P7", "P7_OS.png": "P7"}, contract)
        >>> told["OD_prediction_AMD"], told["OS_prediction_AMD"], told["complete"], told["either_prediction_AMD"]
        (['no'], [''], ['no'], [''])

    References:
        Our own.
    """
    patients = list(dict.fromkeys(owners[row.file] for row in rows))
    columns: dict[str, list[str]] = {"patient": patients}
    scores: dict[str, NDArray[np.float64]] = {}
    for eye in EYES:
        mine = [[row for row in rows if owners[row.file] == patient and row.eye == eye] for patient in patients]
        columns[f"{eye}_files"] = ["|".join(row.file for row in each) for each in mine]
        columns[f"{eye}_quality"] = [_quality(each) for each in mine]
        scores[eye] = np.array([_mean(each, contract.task.columns) for each in mine])
        columns |= {f"{eye}_{name}": cells for name, cells in contract.columns(scores[eye]).items()}
    whole = np.isfinite(np.concatenate([scores[eye] for eye in EYES], axis=1))
    columns["complete"] = ["yes" if row.all() else "no" for row in whole]
    for head, _, place in contract.task.parts():
        if head.kind in ("yes_no", "grades") or (head.kind == "classes" and contract.ordered):
            worse = [_worse(head, [scores[eye][row, place] for eye in EYES]) for row in range(len(patients))]
            columns["either_prediction" if contract.task.single else f"either_prediction_{head.name}"] = worse
    for name in [name.removeprefix("OD_") for name in columns if name.startswith("OD_positive_")]:
        pairs = zip(columns[f"OD_{name}"], columns[f"OS_{name}"], strict=True)
        columns[f"either_{name}"] = ["yes" if "yes" in pair else "no" if set(pair) == {"no"} else "" for pair in pairs]
    lost = [[row.file for row in rows if owners[row.file] == patient and not row.eye] for patient in patients]
    columns["eye_unknown"] = ["|".join(files) for files in lost]
    return columns


def write_patients(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write the table of patients, whole or not at all.

    Args:
        path: CSV file to write.
        columns: As ``join_eyes`` gave them.

    Raises:
        OSError: If the disk is full.

    References:
        RFC 4180.
    """
    write_columns(path, columns)


def _without_eye(name: str) -> str:
    """A name without the words that tell an eye; digits that touch one stay."""
    kept = []
    for word in re.split(r"[\s._-]+", _EYE_SIGN.sub(" ", name)):
        plain = word.strip("0123456789")
        tells = bool(plain) and bool(eye_from_name(f"{plain}.png")) and (len(plain) > 1 or plain == word)
        kept.append(word.replace(plain, "", 1) if tells else word)
    return "_".join(filter(None, kept))


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _quality(rows: Sequence[Row]) -> str:
    """The best verdict among the images of an eye."""
    order = ("good", "fair", "cannot grade")
    return min(
        (row.quality for row in rows), key=lambda words: order.index(words.partition(":")[0]), default="no image"
    )


def _mean(rows: Sequence[Row], columns: int) -> NDArray[np.float64]:
    """Mean scores of an eye's images that could be graded; NaN where there is none."""
    known = [row.scores for row in rows if row.scores is not None]
    return np.mean(known, axis=0) if known else np.full(columns, np.nan)


def _worse(head: Head, eyes: Sequence[NDArray[np.float64]]) -> str:
    """The worse eye's answer; a healthy one only where both are known."""
    known = [each for each in eyes if np.isfinite(each).all()]
    if not known:
        return ""
    if head.kind == "yes_no":
        said = max(int(each[0] > 0.5) for each in known)
    else:
        said = max(int(each.argmax()) for each in known)
    return head.classes[said] if said or len(known) == len(eyes) else ""
