"""Tables and notes beside de-identified images."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from eyeground.clinic.exported import Exported, Photo
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import Part
from eyeground.data.privacy.pseudonym import Pseudonyms
from eyeground.images.quality import cannot_grade

UNGRADABLE: Final = "ungradable"
_COLUMNS: Final = ("file", "patient", "eye", "site", "camera", "quality", UNGRADABLE)


def label_columns(part: Part) -> tuple[str, ...]:
    """Name the columns of a table of labels.

    Args:
        part: What of the eye its images show.

    Returns:
        The names; the findings stand last.

    Example:
        >>> label_columns("fundus")[-1]
        'DR'

    References:
        configs/finetune/screening7.yaml.
    """
    return (*_COLUMNS, *FINDINGS[part])


def label_row(case: Exported, photo: Photo, file: str, names: Pseudonyms) -> dict[str, str]:
    """Write what a doctor says of an image; a cell is empty where nobody has assessed it, and never zero instead.

    The doctor's word is about the eye. An image that the gate calls ungradable gets it only where the eye has no better
    one: what was seen in another image need not be in this.

    Args:
        case: The case, which somebody has signed.
        photo: The image.
        file: Name of its copy.
        names: Pseudonyms of the site.

    Returns:
        Column -> cell.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import EyeReview, Opinion, Order
        >>> opinion = Opinion(eyes={"fundus/OD": EyeReview(findings={"DR": 2})})
        >>> answered = Answered("0a", Order(door="check", id="7"), 1, opinion=opinion, signed_at="2026-01-02")
        >>> photo = Photo(0, "fundus", "OD", "0" * 64, "good")
        >>> row = label_row(Exported(answered, "a", "A", photos=(photo,)), photo, "i1.png", Pseudonyms(b"k" * 32))
        >>> row["DR"], row["AMD"], row["quality"]
        ('2', '', 'good')

    References:
        docs/how-to/labels.md.
    """
    opinion = case.answered.opinion
    review = opinion.eyes.get(photo.key) if opinion else None
    better = any(each.key == photo.key and not cannot_grade(each.quality) for each in case.photos)
    speaks = review is not None and not (cannot_grade(photo.quality) and better)
    findings = review.findings if review is not None and speaks and not review.ungradable else {}
    return {
        "file": file.rpartition("/")[2],
        "patient": patient_of(case, names),
        "eye": photo.eye,
        "site": names.of(case.site, kind="s"),
        "camera": names.of(photo.device, kind="c") if photo.device.strip() else "",
        "quality": photo.quality,
        UNGRADABLE: "" if review is None or not speaks else str(int(review.ungradable)),
        **{name: str(findings[name]) if name in findings else "" for name in FINDINGS[photo.part]},
    }


def patient_of(case: Exported, names: Pseudonyms) -> str:
    """Name a patient by a pseudonym; a request that names none is a patient of its own.

    Args:
        case: The case.
        names: Pseudonyms of its site.

    Returns:
        The pseudonym, the same as in a cleaned DICOM header with the same patient's number.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order, Person
        >>> order = Order(door="screening", id="7", person=Person(patient_id="P7"))
        >>> names = Pseudonyms(b"k" * 32)
        >>> patient_of(Exported(Answered("0a", order, 1), "a", "A"), names) == names.of("P7")
        True

    References:
        Our own.
    """
    told = case.answered.order.person.patient_id.strip()
    return names.of(told) if told else names.of(case.answered.case_id, kind="q")


def csv_of(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> bytes:
    """Write a table.

    Args:
        columns: Its columns.
        rows: Its rows.

    Returns:
        CSV in UTF-8.

    Example:
        >>> csv_of(["a"], [{"a": "1"}])
        b'a\\n1\\n'

    References:
        RFC 4180.
    """
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def json_of(told: Any) -> bytes:
    """Write plain values so that the same are the same bytes.

    Args:
        told: The values.

    Returns:
        JSON in UTF-8, its keys sorted.

    Example:
        >>> json_of({"b": 1, "a": "眼"}).decode()
        '{\\n "a": "眼",\\n "b": 1\\n}\\n'

    References:
        RFC 8259.
    """
    return (json.dumps(told, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()
