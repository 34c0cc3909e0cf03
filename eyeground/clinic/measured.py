"""What was measured of both eyes and makes a case urgent: acuity and pressure, with the eye and the value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from eyeground.clinic.acuity import Acuity, read_acuity, sharpness
from eyeground.clinic.records import EyeExam
from eyeground.clinic.rule import AcuityRule, PressureRule

_EYES: Final = {"OD": ("right eye", "右眼"), "OS": ("left eye", "左眼")}


@dataclass(frozen=True)
class Measured:
    """A measurement that makes a case urgent.

    Args:
        urgency: A word of the rule set.
        what: What was measured.
        eye: Of which eye.
        value: As it was written; of a pressure the number. Unit: mmHg.
        en: The reason, for reports.
        zh: The same in Chinese.

    Example:
        >>> Measured("refer_now", "pressure", "OD", "41", "high", "高").eye
        'OD'

    References:
        Our own.
    """

    urgency: str
    what: Literal["acuity", "pressure"]
    eye: Literal["OD", "OS"]
    value: str
    en: str
    zh: str


def measured_of(
    od: EyeExam, os: EyeExam, *, acuity: Sequence[AcuityRule], pressure: Sequence[PressureRule]
) -> Iterator[Measured]:
    """List what was measured and is beyond a limit.

    Args:
        od: What was measured of the right eye.
        os: What was measured of the left eye.
        acuity: Limits of acuity.
        pressure: Limits of pressure.

    Yields:
        Each measurement beyond a limit, once for every limit; where the better eye counts, the better eye's.

    Example:
        >>> rule = PressureRule(above_mmhg=21, urgency="refer", en="pressure above 21 mmHg", zh="眼压高于 21 mmHg")
        >>> [each.en for each in measured_of(EyeExam(pressure_mmhg=41), EyeExam(), acuity=(), pressure=(rule,))]
        ['right eye 41 mmHg: pressure above 21 mmHg']

    References:
        Our own.
    """
    exams: tuple[tuple[Literal["OD", "OS"], EyeExam], ...] = (("OD", od), ("OS", os))
    known = [(eye, exam.acuity, found) for eye, exam in exams if (found := _acuity(exam)) is not None]
    known.sort(key=lambda each: sharpness(each[2]))
    for rule in acuity:
        for eye, text, found in known[-1:] if rule.eye == "better" else known:
            if sharpness(found) < (0, rule.below_five_mark):
                yield _told(rule, "acuity", eye, text, "")
    for limit in pressure:
        for eye, exam in exams:
            if exam.pressure_mmhg is not None and exam.pressure_mmhg > limit.above_mmhg:
                yield _told(limit, "pressure", eye, f"{exam.pressure_mmhg:g}", " mmHg")


def _told(
    rule: AcuityRule | PressureRule,
    what: Literal["acuity", "pressure"],
    eye: Literal["OD", "OS"],
    value: str,
    unit: str,
) -> Measured:
    """A measurement with its reason in words."""
    en, zh = _EYES[eye]
    return Measured(rule.urgency, what, eye, value, f"{en} {value}{unit}: {rule.en}", f"{zh} {value}{unit}：{rule.zh}")


def _acuity(exam: EyeExam) -> Acuity | None:
    """Its acuity, if there is one; what cannot be read was refused at the door."""
    return read_acuity(exam.acuity, exam.notation) if exam.acuity else None
