"""De-identified: images and what is known of each case, without anything that tells whose they are."""

from pathlib import Path
from typing import Any, Final

from eyeground.clinic.acuity import read_acuity
from eyeground.clinic.export._cleaning import Copy, clean_copies
from eyeground.clinic.export._means import Means
from eyeground.clinic.export._tables import csv_of, json_of, patient_of
from eyeground.clinic.exported import Exported, LeftOut
from eyeground.clinic.records import EyeExam
from eyeground.data.privacy.pseudonym import Pseudonyms

# Ages above are rare enough to tell somebody: 45 CFR 164.514(b)(2)(i)(C).
_OLDEST: Final = 89
_CHANGES: Final = ("file", "removed", "confirmed")


class Writer:
    """Writes ``images/``, ``cases/`` with one JSON a case, and ``changes.csv``: what was taken out of each image.

    Left out are names, numbers, telephones, dates (of a visit its year stays), earlier visits and every word that
    somebody typed: conclusions and reasons may name a patient. Codes, grades, measurements and scores stay.

    Args:
        into: The folder.
        means: What an export works with.

    Example:
        >>> Writer.VERSIONED
        False

    References:
        45 CFR 164.514(b)(2), "safe harbor"; DICOM PS3.15 annex E for headers.
    """

    VERSIONED: Final = False

    def __init__(self, into: Path, means: Means) -> None:
        self._into, self._means = into, means
        self._changes: list[dict[str, str]] = []

    def add(self, case: Exported) -> int:
        """Add a case.

        Args:
            case: The case.

        Returns:
            How many files.

        Raises:
            BlobMissing: If an image is gone.
            LeftOut: If it has no images, or none of them may leave.
            StoreLost: If the store does not answer.
        """
        if not case.photos:
            raise LeftOut("it has no images")
        copies = clean_copies(case, self._into, self._means)
        if not copies:
            raise LeftOut("none of its images may leave as it is")
        names = self._means.pseudonyms(case.site)
        told = _told(case, copies, names)
        (self._into / "cases").mkdir(exist_ok=True)
        (self._into / "cases" / f"{told['case']}.json").write_bytes(json_of(told))
        self._changes += [
            {"file": each.file, "removed": "; ".join(each.removed), "confirmed": each.why} for each in copies
        ]
        return len(copies) + 1

    def close(self) -> str:
        """Write what was taken out.

        Returns:
            Nothing: there are no versions.
        """
        rows = sorted(self._changes, key=lambda row: row["file"])
        (self._into / "changes.csv").write_bytes(csv_of(_CHANGES, rows))
        return ""


def _told(case: Exported, copies: list[Copy], names: Pseudonyms) -> dict[str, Any]:
    """What is known of a case."""
    answered, person = case.answered, case.answered.order.person
    opinion = answered.opinion
    eyes = {} if opinion is None else {
        key: {"ungradable": eye.ungradable, "findings": dict(eye.findings)} for key, eye in opinion.eyes.items()
    }  # fmt: skip
    age = person.age
    return {
        "case": names.of(answered.case_id, kind="v"),
        "revision": answered.revision,
        "signed": answered.signed,
        "patient": patient_of(case, names),
        "site": names.of(case.site, kind="s"),
        "year": (answered.order.visit_time or case.received_at)[:4],
        "age_years": None if age is None else min(age, _OLDEST + 1),
        "age_is_at_least": age is not None and age > _OLDEST,
        "sex": person.sex,
        "exam": {"OD": _exam(answered.order.od), "OS": _exam(answered.order.os)},
        "doctor": eyes,
        "ai": {key: {name: said.model_dump() for name, said in answers.items()}
               for key, answers in answered.said.items()},
        "models": dict(case.models),
        "quality": dict(answered.quality),
        "unavailable": dict(answered.unavailable),
        "urgency": answered.urgency,
        "rules": answered.rules,
        "images": [
            {
                "file": each.file, "part": each.photo.part, "eye": each.photo.eye, "quality": each.photo.quality,
                "camera": names.of(each.photo.device, kind="c") if each.photo.device.strip() else "",
            }
            for each in copies
        ],
    }  # fmt: skip


def _exam(exam: EyeExam) -> dict[str, Any]:
    """What was measured of an eye, without its hour."""
    try:  # what is no acuity may be anything that somebody typed
        acuity = exam.acuity if exam.acuity and read_acuity(exam.acuity, exam.notation) else ""
    except ValueError:
        acuity = ""
    return {
        "acuity": acuity, "notation": exam.notation, "correction": exam.correction,
        "pressure_mmhg": exam.pressure_mmhg, "pressure_method": exam.pressure_method,
    }  # fmt: skip
