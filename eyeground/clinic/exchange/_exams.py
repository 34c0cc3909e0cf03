"""What a patient message says was measured of an eye, and what it tells of earlier visits."""

import math
import re
from typing import Any, Final

from eyeground.clinic.acuity import read_acuity, read_pressure
from eyeground.clinic.exchange._fields import Fields
from eyeground.clinic.records import EyeExam, Visit

MOST_VISITS: Final = 200
_NOTES: Final = 4000  # letters
_NOTATIONS: Final = {
    "decimal": "decimal", "小数": "decimal", "fivemark": "five_mark", "5mark": "five_mark", "五分": "five_mark",
    "logmar": "logmar", "snellen": "snellen", "lowvision": "low_vision",
}  # fmt: skip
_CORRECTIONS: Final = {
    "uncorrected": "uncorrected", "sc": "uncorrected", "裸眼": "uncorrected",
    "corrected": "corrected", "cc": "corrected", "矫正": "corrected", "戴镜": "corrected",
    "pinhole": "pinhole", "ph": "pinhole", "小孔": "pinhole",
}  # fmt: skip
_METHODS: Final = {
    "goldmann": "goldmann", "gat": "goldmann", "压平": "goldmann",
    "noncontact": "non_contact", "nct": "non_contact", "airpuff": "non_contact", "非接触": "non_contact",
    "rebound": "rebound", "icare": "rebound", "回弹": "rebound", "other": "other", "其他": "other",
}  # fmt: skip


def read_exams(vision: Fields) -> tuple[EyeExam, EyeExam]:
    """Read a ``vision_data``.

    Args:
        vision: Its fields; what is wrong is noted there.

    Returns:
        The right eye's and the left eye's.

    Example:
        >>> read_exams(Fields({"left_eye": "4.9", "intraocular_pressure": {"right": 17}}))[1].notation
        'five_mark'

    References:
        docs/clinic.md.
    """
    pressures = vision.part("intraocular_pressure")
    right = _acuity(vision, "right_eye") | _pressure(pressures, "right")
    left = _acuity(vision, "left_eye") | _pressure(pressures, "left")
    return EyeExam(**right), EyeExam(**left)


def read_visits(patient: Fields) -> tuple[Visit, ...]:
    """Read the ``screening_records``.

    Args:
        patient: The patient's fields; what is wrong is noted there.

    Returns:
        What could be read.

    Example:
        >>> read_visits(Fields({"screening_records": [{"screening_time": "2025-11-02"}]}))[0].time
        '2025-11-02'

    References:
        docs/clinic.md.
    """
    visits = []
    for record in patient.parts("screening_records"):
        od, os = read_exams(record.part("vision_data"))
        visits.append(
            Visit(
                time=record.time("screening_time"), notes=record.text("notes", most=_NOTES, lines=True),
                od=od, os=os, results=_results(record),
            )
        )  # fmt: skip
    if len(visits) > MOST_VISITS:
        patient.wrong("too_long", "screening_records")
    return tuple(visits)


def _acuity(vision: Fields, name: str) -> dict[str, Any]:
    """Read a visual acuity: a number, a text, or an object that names notation and correction."""
    told = vision.value(name)
    notation, correction = "", ""
    if isinstance(told, dict):
        inner = vision.part(name)
        notation = inner.word("notation", _NOTATIONS)
        correction = inner.word("correction", _CORRECTIONS)
        told, vision, name = inner.value("value"), inner, "value"
    if isinstance(told, bool) or not isinstance(told, str | int | float | None):
        vision.wrong("wrong_type", name)
        return {}
    text = vision.clean("" if told is None else str(told), name, most=40)
    if not text:
        return {}
    try:
        found = read_acuity(text, notation)
    except ValueError:
        vision.wrong("bad_acuity", name)
        return {}
    return {"acuity": text, "notation": found.notation, "correction": correction}


def _pressure(pressures: Fields, name: str) -> dict[str, Any]:
    """Read an intraocular pressure: a number, a text, or an object that names method and time."""
    told = pressures.value(name)
    more: dict[str, Any] = {}
    if isinstance(told, dict):
        inner = pressures.part(name)
        more = {
            "pressure_method": inner.word("method", _METHODS, otherwise="other"),
            "pressure_time": inner.time("time"),
        }
        told, pressures, name = inner.value("value"), inner, "value"
    if isinstance(told, bool) or not isinstance(told, str | int | float | None):
        pressures.wrong("wrong_type", name)
        return {}
    if told is None or told == "":
        return {}
    if isinstance(told, str):
        told = pressures.clean(told, name, most=40)
    try:
        return {"pressure_mmhg": read_pressure(told), **more}
    except ValueError:
        pressures.wrong("out_of_range", name)
        return {}


def _results(record: Fields) -> dict[str, str]:
    """Read what was found at an earlier visit: words by name, a list of words, or a text."""
    told = record.value("results")
    if told is None:
        return {}
    if isinstance(told, str):
        text = record.text("results", most=_NOTES, lines=True)
        return {"results": text} if text else {}
    if isinstance(told, list):
        told = {str(place + 1): each for place, each in enumerate(told)}
    if not isinstance(told, dict):
        record.wrong("wrong_type", "results")
        return {}
    results = {}
    for name, each in told.items():
        # The names are the sender's words, so no refusal may say which one it was.
        kept = record.clean(name, "results", most=100)
        if each is None:
            continue
        if not isinstance(each, str | int | float):
            record.wrong("wrong_type", "results")
            continue
        text = record.clean(str(each).lower() if isinstance(each, bool) else str(each), "results", most=500, lines=True)
        if kept and text:
            results[kept] = text
    return results


def read_age(patient: Fields) -> int | None:
    """Read an age: a whole number of years, or such a text.

    Args:
        patient: The patient's fields; what is wrong is noted there.

    Returns:
        The age; None where it is not told, or wrong. Unit: years.

    Example:
        >>> read_age(Fields({"age": "56岁"}))
        56

    References:
        docs/clinic.md.
    """
    told = patient.value("age")
    if told is None or told == "":
        return None
    if isinstance(told, str):
        found = re.fullmatch(r"0*(\d{1,3})\s*(?:岁|[yY])?", patient.clean(told, "age", most=20), re.ASCII)
        if not found:
            patient.wrong("wrong_type", "age")
            return None
        told = int(found[1])
    elif isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told) or told != int(told):
        patient.wrong("wrong_type", "age")
        return None
    if not 0 <= told <= 150:
        patient.wrong("out_of_range", "age")
        return None
    return int(told)
