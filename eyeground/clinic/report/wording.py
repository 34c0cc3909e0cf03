"""How a report says an acuity, a verdict on an image, a part of an eye, a moment."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from eyeground.clinic.acuity import read_acuity
from eyeground.clinic.records import EyeExam
from eyeground.clinic.report.language import words_of

_NOBODY: Final = "no model looks at it"  # as ``eyeground.clinic.reading`` writes it


def quality_words(verdict: str, language: str) -> str:
    """Say a verdict on an image.

    Args:
        verdict: ``"good"``, ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.
        language: A language of the shelf ``report/lang``.

    Returns:
        The verdict in that language; a reason without words of its own is called another reason.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> quality_words("cannot grade: out of focus", "zh")
        '无法分级（对焦不清）'

    References:
        Our own.
    """
    words = words_of(language)
    grade, _, told = verdict.partition(": ")
    if told == _NOBODY:  # it counts as what cannot be graded, but nobody has said so
        grade = "not judged"
    known = words.known("reasons")
    reasons = dict.fromkeys(known.get(reason, words.say("quality.other")) for reason in filter(None, told.split(", ")))
    return words.say(f"quality.{grade.replace(' ', '_')}") + words.braced(words.say("list").join(reasons))


def acuity_words(exam: EyeExam, language: str) -> str:
    """Say an acuity.

    Args:
        exam: What was measured of an eye.
        language: A language of the shelf ``report/lang``.

    Returns:
        The acuity with its notation and correction; that none is given where none is.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> acuity_words(EyeExam(acuity="手动/20cm", correction="corrected"), "en")
        'HM/20cm (corrected)'

    References:
        Our own.
    """
    words = words_of(language)
    if not exam.acuity:
        return words.say("not_told")
    found = read_acuity(exam.acuity, exam.notation)
    remarks = [words.say(f"measured.{exam.correction}")] if exam.correction else []
    if found.sign:
        away = f"/{found.away}" if found.away else ""
        return words.say(f"measured.{found.sign}") + away + words.braced(words.say("comma").join(remarks))
    number = exam.acuity.strip() if found.notation != "logmar" else f"{float(found.value or 0):g}"
    remarks.insert(0, words.say(f"measured.{found.notation}"))
    return number + words.braced(words.say("comma").join(remarks))


def place_words(key: str, language: str) -> str:
    """Say which eye, and what of it.

    Args:
        key: ``"fundus/OD"`` and so on.
        language: A language of the shelf ``report/lang``.

    Returns:
        What it is called.

    Raises:
        LookupError: If there is no such language.

    Example:
        >>> place_words("fundus/OD", "zh")
        '右眼（OD）眼底'

    References:
        Our own.
    """
    words = words_of(language)
    part, _, eye = key.partition("/")
    gap = " " if words.say("open").startswith(" ") else ""
    return f"{words.say(f'eyes.{eye}')}{gap}{words.say(f'parts.{part}')}"


def moment_words(told: str, zone: str) -> str:
    """Say a moment in a zone.

    Args:
        told: UTC, ISO.
        zone: Such as ``Asia/Shanghai``.

    Returns:
        Date, time and offset.

    Example:
        >>> moment_words("2026-11-28T02:00:00.5Z", "Asia/Shanghai"), moment_words("2026-11-28T02:00:00Z", "UTC")
        ('2026-11-28 10:00 +08:00', '2026-11-28 02:00 UTC')

    References:
        ISO 8601.
    """
    at = datetime.fromisoformat(told).astimezone(ZoneInfo(zone))
    offset = at.strftime("%z")
    return at.strftime("%Y-%m-%d %H:%M ") + ("UTC" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}")
