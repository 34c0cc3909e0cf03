"""Visual acuity as it is written, and what it is in the other notations; intraocular pressure in mmHg."""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final, Literal, get_args

Notation = Literal["decimal", "five_mark", "logmar", "snellen", "low_vision"]
LowVision = Literal["CF", "HM", "LP", "NLP"]
NOTATIONS: Final[tuple[Notation, ...]] = get_args(Notation)
# The best first.
LOW_VISION: Final[tuple[LowVision, ...]] = get_args(LowVision)
MOST_PRESSURE_MMHG: Final = 90  # above it no eye was measured, but a slip of the pen made
MMHG_PER_KPA: Final = Decimal("7.50062")

_WORDS: Final[Mapping[str, LowVision]] = {
    "cf": "CF", "fc": "CF", "指数": "CF", "数指": "CF",
    "hm": "HM", "手动": "HM",
    "lp": "LP", "光感": "LP",
    "nlp": "NLP", "无光感": "NLP",
}  # fmt: skip
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_AWAY = r"\d{1,3}(?:\.\d{1,2})?(?:cm|m|厘米|米)"
_LOW = re.compile(rf"(?:眼前)?(?P<before>{_AWAY})?[/@,]?(?P<word>{_WORD})[/@,]?(?:眼前)?(?P<after>{_AWAY})?", re.ASCII)
_NUMBER = r"\d{1,3}(?:\.\d{1,4})?"
_SIZE = r"\d{1,4}(?:\.\d{1,4})?"
# "0.8-2" is the line 0.8 but for two letters: it counts as its line, and the text keeps the letters.
_LINE = re.compile(rf"(?P<number>{_NUMBER})(?:[+-]\d?)?", re.ASCII)
_SNELLEN = re.compile(rf"(?P<distance>{_NUMBER})/(?P<size>{_SIZE})(?:[+-]\d?)?(?:ft|m)?", re.ASCII)
_LOGMAR = re.compile(rf"(?P<number>[+-]?{_NUMBER})", re.ASCII)
_PRESSURE = re.compile(rf"(?P<number>{_NUMBER})(?P<unit>mmhg|kpa)?", re.ASCII)

# Ten lines lie between an acuity and a tenth of it. The names of lines are rounded, by every chart in its own way:
# GB/T 11533 calls 10^-0.1 = 0.794 "0.8"; of Snellen's fractions those for 20 ft (also 10, 5, 4, 2 and 1) follow the
# preferred numbers of ISO 3, those for 6 m (and 3) are rounded to two digits.
_DECIMAL: Final = tuple(map(Decimal, ("1", "1.2", "1.5", "2", "2.5", "3", "4", "5", "6", "8")))
_FEET: Final = tuple(map(Decimal, ("1", "1.25", "1.6", "2", "2.5", "3.2", "4", "5", "6.3", "8")))
_METERS: Final = tuple(map(Decimal, ("3", "3.8", "4.8", "6", "7.5", "9.5", "12", "15", "19", "24")))
_DISTANCES: Final = {**dict.fromkeys((1, 2, 4, 5, 10, 20), _FEET), **dict.fromkeys((3, 6), _METERS)}
_EXACT: Final = Context(prec=40)


@dataclass(frozen=True)
class Acuity:
    """Visual acuity as it was written.

    Args:
        text: As it was written.
        notation: ``"decimal"``, ``"five_mark"``, ``"logmar"``, ``"snellen"`` or ``"low_vision"``.
        value: The number in its own notation, exactly; of a Snellen fraction the fraction; None of low vision.
        distance: Of a Snellen fraction its numerator, such as 20 (ft) or 6 (m); else None.

    Example:
        >>> read_acuity("20/25").value
        Fraction(4, 5)

    References:
        Our own.
    """

    text: str
    notation: Notation
    value: Fraction | None = None
    distance: Fraction | None = None

    @property
    def sign(self) -> LowVision | None:
        """What is still seen where no chart is: CF, HM, LP or NLP; None of a number."""
        found = _LOW.fullmatch(_plain(self.text)) if self.notation == "low_vision" else None
        return _WORDS[found["word"]] if found else None

    @property
    def away(self) -> str:
        """From how far that is still seen, such as ``30cm``; empty where it is not told, and of a number."""
        found = _LOW.fullmatch(_plain(self.text)) if self.notation == "low_vision" else None
        told = (found["after"] or found["before"] or "") if found else ""
        return told.replace("厘米", "cm").replace("米", "m")


def read_acuity(text: str, notation: str = "") -> Acuity:
    """Read a visual acuity.

    A bare number up to 2.0 is decimal, one from 3.0 to 5.3 is of the five-mark scale, and others are refused. LogMAR
    has to be named, by ``notation`` or in the text (``logMAR 0.3``), for 0.3 is a decimal acuity as well.

    Args:
        text: Such as ``0.8``, ``4.9``, ``20/25``, ``6/7.5``, ``logMAR 0.1``, ``CF/30cm``, ``手动/20cm``, ``无光感``.
        notation: A word of ``NOTATIONS`` where the sender says it; empty where the text itself tells.

    Returns:
        The acuity. Low vision stays as it was written: no number stands for it.

    Raises:
        ValueError: If it is no acuity of a known notation, or not of the one that is named. The text is not repeated.

    Example:
        >>> read_acuity("4.9").notation, read_acuity("0.8").notation, read_acuity("手动/20cm").sign
        ('five_mark', 'decimal', 'HM')

    References:
        GB/T 11533-2011, standard for logarithmic visual acuity charts; Miao, the five-mark record, 1966.
    """
    if notation and notation not in NOTATIONS:
        raise ValueError(f"the notation of a visual acuity is one of {', '.join(NOTATIONS)}")
    plain = _plain(text)
    named = "logmar" in plain
    if named:
        plain = plain.replace("logmar", "", 1).strip(":=")
    if named and notation not in ("", "logmar"):
        raise ValueError("a visual acuity says that it is logMAR, and its notation says otherwise")
    if named or notation == "logmar":
        return Acuity(text, "logmar", _within(_LOGMAR.fullmatch(plain), "number", Fraction(-3, 10), Fraction(3)))
    if _LOW.fullmatch(plain):
        return _of_kind(Acuity(text, "low_vision"), notation)
    if found := _SNELLEN.fullmatch(plain):
        distance, size = Fraction(found["distance"]), Fraction(found["size"])
        if distance not in _DISTANCES or not size or distance / size > 2:
            raise ValueError("no Snellen fraction: write it as 20/25, 6/7.5 or 5/10")
        return _of_kind(Acuity(text, "snellen", distance / size, distance), notation)
    found = _LINE.fullmatch(plain)
    if notation == "five_mark" or (not notation and found and Fraction(found["number"]) > 2):
        return _of_kind(Acuity(text, "five_mark", _within(found, "number", Fraction(3), Fraction(53, 10))), notation)
    least = Fraction(1, 10**4)
    return _of_kind(Acuity(text, "decimal", _within(found, "number", least, Fraction(2))), notation)


def to_logmar(acuity: Acuity) -> Decimal:
    """Say what an acuity is in logMAR.

    The name of a line becomes the name of the same line, exactly: decimal 0.8 is 0.1, though -log10(0.8) is 0.097. What
    lies between two lines is interpolated between them, so that who sees better always has the smaller number.

    Args:
        acuity: The acuity, a number in any notation.

    Returns:
        LogMAR, to 40 digits.

    Raises:
        ValueError: If it is low vision, which is no number.

    Example:
        >>> to_logmar(read_acuity("0.8")), to_logmar(read_acuity("20/200")), to_logmar(read_acuity("4.6"))
        (Decimal('0.1'), Decimal('1.0'), Decimal('0.4'))

    References:
        GB/T 11533-2011; Bailey & Lovie, "New design principles for visual acuity letter charts", 1976.
    """
    value = acuity.value
    if value is None:
        raise ValueError("low vision is no number: keep it as it is written")
    if acuity.notation == "logmar":
        return _tenths(_decimal(value))
    if acuity.notation == "five_mark":
        return _tenths(_decimal(5 - value))
    if acuity.distance is None:
        return _tenths(_EXACT.divide(-_lines(_decimal(value), _DECIMAL), Decimal(10)))
    names = _DISTANCES[int(acuity.distance)]
    lines = _EXACT.subtract(_lines(_decimal(acuity.distance / value), names), _lines(_decimal(acuity.distance), names))
    return _tenths(_EXACT.divide(lines, Decimal(10)))


def to_five_mark(acuity: Acuity) -> Decimal:
    """Say what an acuity is on the five-mark scale: 5 - logMAR.

    Args:
        acuity: The acuity, a number in any notation.

    Returns:
        Its mark, to 40 digits.

    Raises:
        ValueError: If it is low vision, which is no number.

    Example:
        >>> to_five_mark(read_acuity("0.3")), to_five_mark(read_acuity("20/20"))
        (Decimal('4.5'), Decimal('5.0'))

    References:
        GB/T 11533-2011.
    """
    return _tenths(_EXACT.subtract(Decimal(5), to_logmar(acuity)))


def to_decimal(acuity: Acuity) -> Decimal:
    """Say what an acuity is as a decimal, by the names of the lines as ``to_logmar``.

    Args:
        acuity: The acuity, a number in any notation.

    Returns:
        The decimal acuity, to 40 digits.

    Raises:
        ValueError: If it is low vision, which is no number.

    Example:
        >>> to_decimal(read_acuity("4.9")), to_decimal(read_acuity("20/32"))
        (Decimal('0.8'), Decimal('0.6'))

    References:
        GB/T 11533-2011.
    """
    if acuity.notation == "decimal" and acuity.value is not None:
        return _decimal(acuity.value)
    return _named(_EXACT.multiply(to_logmar(acuity), Decimal(-10)), _DECIMAL)


def to_snellen(acuity: Acuity, *, distance: Literal[20, 6, 5] = 20) -> str:
    """Say what an acuity is as a Snellen fraction.

    Args:
        acuity: The acuity, a number in any notation.
        distance: Its numerator: 20 (ft), 6 or 5 (m).

    Returns:
        Such as ``"20/25"``; the denominator to at most one digit after the point.

    Raises:
        ValueError: If it is low vision, which is no number.

    Example:
        >>> to_snellen(read_acuity("4.9")), to_snellen(read_acuity("0.5"), distance=6)
        ('20/25', '6/12')

    References:
        The lines of 20 ft: ISO 3 preferred numbers, as on ETDRS charts.
    """
    names = _DISTANCES[distance]
    if acuity.distance == distance and acuity.value is not None:
        size = _decimal(distance / acuity.value)
    else:
        lines = _EXACT.multiply(to_logmar(acuity), Decimal(10))
        size = _named(_EXACT.add(lines, _lines(Decimal(distance), names)), names)
    shown = f"{size:.1f}".removesuffix(".0")
    return f"{distance}/{shown}"


def sharpness(acuity: Acuity) -> tuple[int, Decimal]:
    """Put acuities in order, whatever their notation.

    Args:
        acuity: The acuity.

    Returns:
        A key that is greater the better the eye sees; low vision comes below every number, NLP last.

    Example:
        >>> better = max(map(read_acuity, ("CF/30cm", "4.1", "20/400")), key=sharpness)
        >>> better.text
        '4.1'

    References:
        Our own.
    """
    sign = acuity.sign
    return (0, to_five_mark(acuity)) if sign is None else (-1 - LOW_VISION.index(sign), Decimal(0))


def read_pressure(value: object) -> float:
    """Read an intraocular pressure.

    Args:
        value: A number in mmHg, or text such as ``"18"``, ``"18 mmHg"`` or ``"2.4 kPa"``; kPa counts only where it is
            named.

    Returns:
        The pressure, 0 to 90. Unit: mmHg.

    Raises:
        ValueError: If it is no such number. The value is not repeated.

    Example:
        >>> read_pressure("18 mmHg"), read_pressure(21.5), read_pressure("2 kPa")
        (18.0, 21.5, 15.00124)

    References:
        1 kPa = 7.50062 mmHg: ISO 80000-4.
    """
    fault = ValueError(f"an intraocular pressure is 0 to {MOST_PRESSURE_MMHG} mmHg: write it as 18, 18 mmHg or 2.4 kPa")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise fault
    found = _PRESSURE.fullmatch(_plain(value)) if isinstance(value, str) else None
    if isinstance(value, str) and not found:
        raise fault
    number = Decimal(found["number"]) if found else Decimal(str(value))
    if found and found["unit"] == "kpa":
        number *= MMHG_PER_KPA
    if not number.is_finite() or not 0 <= number <= MOST_PRESSURE_MMHG:
        raise fault
    return float(number)


def _plain(text: str) -> str:
    """Full-width signs as plain ones, small letters, no blanks."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).replace("\u2212", "-").casefold()


def _within(found: re.Match[str] | None, group: str, least: Fraction, most: Fraction) -> Fraction:
    """The number that was found, if it is one and in its range."""
    value = Fraction(found[group]) if found else None
    if value is None or not least <= value <= most:
        raise ValueError(
            "no visual acuity of a known notation: decimal up to 2.0, five-mark 3.0 to 5.3, Snellen 20/25, logMAR by "
            "name, or CF, HM, LP, NLP"
        )
    return value


def _of_kind(found: Acuity, notation: str) -> Acuity:
    """Refuse what is of another notation than the one named."""
    if notation and found.notation != notation:
        raise ValueError("a visual acuity is not of the notation that is named")
    return found


def _decimal(value: Fraction) -> Decimal:
    """A fraction as a number with 40 digits."""
    return _EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def _lines(value: Decimal, names: tuple[Decimal, ...]) -> Decimal:
    """How many lines above the first name of a chart a value lies; whole for a name, between two by logarithm."""
    decade = 0
    while value < names[0]:
        value, decade = value * 10, decade - 1
    while value >= names[0] * 10:
        value, decade = value / 10, decade + 1
    index = max(k for k, name in enumerate(names) if name <= value)
    whole = Decimal(decade * 10 + index)
    if value == names[index]:
        return whole
    above = (*names, names[0] * 10)[index + 1]
    part = _EXACT.divide(_EXACT.ln(_EXACT.divide(value, names[index])), _EXACT.ln(_EXACT.divide(above, names[index])))
    return _EXACT.add(whole, part)


def _named(lines: Decimal, names: tuple[Decimal, ...]) -> Decimal:
    """The value that lies so many lines above the first name: the inverse of ``_lines``."""
    whole = math.floor(lines)
    part, decade, index = _EXACT.subtract(lines, Decimal(whole)), whole // 10, whole % 10
    value = names[index]
    if part:
        above = (*names, names[0] * 10)[index + 1]
        value = _EXACT.multiply(value, _EXACT.power(_EXACT.divide(above, value), part))
    return Decimal(f"{value.scaleb(decade, _EXACT):f}")


def _tenths(value: Decimal) -> Decimal:
    """The same number, with one digit after the point where that says it all: 5.0, as charts write it."""
    short = value.quantize(Decimal("0.1"))
    return short if short == value else value
