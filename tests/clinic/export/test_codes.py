"""Public codes: their own check digits, and that each grade and eye has its own."""

import pytest

from eyeground.clinic.export import _codes as codes
from eyeground.clinic.export._codes import LOINC, SCT, Code
from eyeground.clinic.findings import FINDINGS

# Verhoeff's tables, as SNOMED's release format describes them.
_TIMES = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678", "5987604321", "6598710432", "7659821043",
    "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def verhoeff(digits: str) -> bool:
    """Whether a number with its check digit holds."""
    found = 0
    for place, digit in enumerate(reversed(digits)):
        found = int(_TIMES[found][int(_PERMUTED[place % 8][int(digit)])])
    return found == 0


def luhn(digits: str) -> int:
    """The check digit of a LOINC number, which is Luhn's."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return (10 - total % 10) % 10


def public() -> list[Code]:
    """All codes that are not ours."""
    single = [codes.EYE, codes.PRESENT, codes.ABSENT, codes.REPORT, codes.AGE, codes.PRESSURE, codes.GOLDMANN]
    tables = (codes.EYE_STRUCTURE, codes.SIDE, codes.PRESSURE_OF, codes.ACUITY, codes.DISORDERS)
    return [*single, *(each for table in tables for each in table.values()), *codes.GRADES]


@pytest.mark.parametrize("code", public(), ids=lambda code: code.code)
def test_a_code_has_the_check_digit_of_its_terminology(code: Code) -> None:
    number, _, check = code.code.removeprefix("LA").partition("-")
    if code.system == SCT:
        assert verhoeff(number)
    else:
        assert code.system == LOINC
        # Letters before the number count, too: of numbers as long as these "LA" is worth 2.
        assert int(check) == (luhn(number) + 2 * code.code.startswith("LA")) % 10


def test_a_wrong_digit_is_seen() -> None:
    assert not verhoeff("18944009")
    assert luhn("79892") == 6


def test_each_grade_is_the_one_that_it_says() -> None:
    words = ("No apparent", "Mild", "Moderate", "Severe", "Proliferative")
    assert len(codes.GRADES) == FINDINGS["fundus"]["DR"] + 1
    for word, code, grade in zip(
        words, ("18643-9", "18644-7", "18645-4", "18646-2", "18648-8"), codes.GRADES, strict=True
    ):
        assert grade.text.startswith(word)
        assert grade.code == f"LA{code}"


def test_no_eye_has_the_others_code() -> None:
    for table in (codes.EYE_STRUCTURE, codes.SIDE, codes.PRESSURE_OF):
        assert (table["OD"].text.partition(" ")[0], table["OS"].text.partition(" ")[0]) == ("Right", "Left")
    assert codes.EYE_STRUCTURE["OD"].code == "18944008"
    assert codes.SIDE["OD"].code == "24028007"
    assert set(codes.DISORDERS) <= {name for findings in FINDINGS.values() for name in findings}
