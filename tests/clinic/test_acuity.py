"""Visual acuity: every notation against the chart, there and back, and nothing that is none; pressure in mmHg."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeground.clinic.acuity import (
    Acuity,
    read_acuity,
    read_pressure,
    sharpness,
    to_decimal,
    to_five_mark,
    to_logmar,
    to_snellen,
)

# Written down by hand from GB/T 11533 (five-mark, decimal, logMAR) and an ETDRS chart (20 ft, 6 m).
CHART = [
    ("3.0", "0.01", "2.0", "20/2000", "6/600"),
    ("3.3", "0.02", "1.7", "20/1000", "6/300"),
    ("3.5", "0.03", "1.5", "20/630", "6/190"),
    ("3.7", "0.05", "1.3", "20/400", "6/120"),
    ("4.0", "0.1", "1.0", "20/200", "6/60"),
    ("4.1", "0.12", "0.9", "20/160", "6/48"),
    ("4.2", "0.15", "0.8", "20/125", "6/38"),
    ("4.3", "0.2", "0.7", "20/100", "6/30"),
    ("4.4", "0.25", "0.6", "20/80", "6/24"),
    ("4.5", "0.3", "0.5", "20/63", "6/19"),
    ("4.6", "0.4", "0.4", "20/50", "6/15"),
    ("4.7", "0.5", "0.3", "20/40", "6/12"),
    ("4.8", "0.6", "0.2", "20/32", "6/9.5"),
    ("4.9", "0.8", "0.1", "20/25", "6/7.5"),
    ("5.0", "1.0", "0.0", "20/20", "6/6"),
    ("5.1", "1.2", "-0.1", "20/16", "6/4.8"),
    ("5.2", "1.5", "-0.2", "20/12.5", "6/3.8"),
    ("5.3", "2.0", "-0.3", "20/10", "6/3"),
]
NOTATIONS = ("five_mark", "decimal", "logmar", "snellen", "snellen")


@pytest.mark.parametrize("line", CHART, ids=[line[0] for line in CHART])
def test_every_line_is_the_same_line_in_every_notation(line: tuple[str, ...]) -> None:
    mark, decimal, logmar, feet, meters = line
    for text, notation in zip(line, NOTATIONS, strict=True):
        found = read_acuity(text, notation)
        assert to_five_mark(found) == Decimal(mark), text
        assert to_decimal(found) == Decimal(decimal), text
        assert to_logmar(found) == Decimal(logmar), text
        assert to_snellen(found) == feet, text
        assert to_snellen(found, distance=6) == meters, text


def test_the_formula_alone_fails_the_chart() -> None:
    """Negative control: decimal = 10^-logMAR is right for four lines only."""
    right = [line for line in CHART if math.isclose(10 ** -float(line[2]), float(line[1]), rel_tol=1e-9)]
    assert [line[0] for line in right] == ["3.0", "4.0", "5.0"]


@pytest.mark.parametrize(
    ("text", "notation", "value"),
    [
        ("0.8", "decimal", Fraction(4, 5)), ("1", "decimal", Fraction(1)), ("2.0", "decimal", Fraction(2)),
        ("0.05", "decimal", Fraction(1, 20)), ("3.0", "five_mark", Fraction(3)), ("5.3", "five_mark", Fraction(53, 10)),
        ("5", "five_mark", Fraction(5)), ("4.85", "five_mark", Fraction(97, 20)),
        (" ０．６ ", "decimal", Fraction(3, 5)),
        ("20/25", "snellen", Fraction(4, 5)), ("6/7.5", "snellen", Fraction(4, 5)), ("5/10", "snellen", Fraction(1, 2)),
        ("20/40-2", "snellen", Fraction(1, 2)), ("0.8+", "decimal", Fraction(4, 5)),
        ("logMAR 0.3", "logmar", Fraction(3, 10)),
        ("-0.1 LogMAR", "logmar", Fraction(-1, 10)), ("logMAR:\u22120.1", "logmar", Fraction(-1, 10)),
    ],
)  # fmt: skip
def test_what_a_text_means(text: str, notation: str, value: Fraction) -> None:
    assert read_acuity(text) == read_acuity(text, notation)
    found = read_acuity(text)
    assert (found.text, found.notation, found.value, found.sign) == (text, notation, value, None)


def test_a_bare_number_is_logmar_only_by_name() -> None:
    assert read_acuity("0.3").notation == "decimal"
    assert to_five_mark(read_acuity("0.3", "logmar")) == Decimal("4.7")


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("CF", "CF"), ("CF/30cm", "CF"), ("fc @ 1m", "CF"), ("指数/30cm", "CF"), ("数指30cm", "CF"), ("30cm指数", "CF"),
        ("指数/眼前", "CF"), ("HM", "HM"), ("手动/20cm", "HM"), ("手动/眼前", "HM"), ("眼前手动", "HM"),
        ("LP", "LP"), ("光感", "LP"), ("光感/5m", "LP"),
        ("NLP", "NLP"), ("无光感", "NLP"),
    ],
)  # fmt: skip
def test_low_vision_stays_as_it_is_written(text: str, sign: str) -> None:
    found = read_acuity(text)
    assert (found.text, found.notation, found.value, found.sign) == (text, "low_vision", None, sign)
    for convert in (to_logmar, to_decimal, to_five_mark, to_snellen):
        with pytest.raises(ValueError, match="no number"):
            convert(found)


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("", ""), ("2.1", ""), ("2.9", ""), ("2.5", ""), ("0", ""), ("0.0", ""), ("-0.3", ""), ("5.4", ""), ("6", ""),
        ("20/0", ""), ("20/5", ""), ("7/14", ""), ("nan", ""), ("inf", ""), ("1e-1", ""), ("0.8", "five_mark"),
        ("4.9", "decimal"), ("0.8", "snellen"), ("20/20", "decimal"), ("CF", "decimal"), ("0.8", "low_vision"),
        ("logMAR 4", ""), ("logMAR -0.4", ""), ("logMAR", ""), ("logMAR 0.3", "decimal"), ("0.8", "somehow"),
        ("٠.٨", ""),
        ("0.8 " * 500, ""), ("CF/", "logmar"), ("王小明", ""), ("0.8 20/25", ""),
    ],
)  # fmt: skip
def test_what_is_no_acuity_is_refused_and_not_repeated(text: str, notation: str) -> None:
    with pytest.raises(ValueError, match=r"acuity|Snellen") as refused:
        read_acuity(text, notation)
    assert text.strip() not in str(refused.value) or text in ("", "0", "0.0", "6", "20/20", "CF", "logMAR", "20/0")


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_decimal_acuities_come_back_and_keep_their_order(one: int, two: int) -> None:
    first, second = (read_acuity(f"{number / 10000:.4f}", "decimal") for number in sorted((one, two)))
    assert to_logmar(first) >= to_logmar(second)
    assert (to_logmar(first) == to_logmar(second)) == (one == two)
    for acuity in (first, second):
        assert acuity.value is not None
        # By way of logMAR and back to thirty digits; the formula is never further away than half a letter and a bit.
        log = to_logmar(acuity)
        back = to_decimal(Acuity("", "logmar", Fraction(log)))
        assert abs(back / to_decimal(acuity) - 1) < Decimal("1e-25")
        assert abs(float(log) + math.log10(acuity.value)) < 0.025


@given(st.integers(-30, 300))
def test_logmar_and_five_mark_add_up_to_five(hundredths: int) -> None:
    acuity = read_acuity(f"{hundredths / 100:.2f}", "logmar")
    assert to_five_mark(acuity) + to_logmar(acuity) == 5
    assert to_logmar(acuity) == Decimal(hundredths) / 100
    mark = Acuity("", "five_mark", Fraction(to_five_mark(acuity)))
    assert to_decimal(mark) == to_decimal(acuity)
    if hundredths % 10 == 0:  # a line: exactly the same by way of every other notation
        assert to_logmar(Acuity("", "decimal", Fraction(to_decimal(acuity)))) == to_logmar(acuity)
        if hundredths <= 200:
            assert to_logmar(read_acuity(to_snellen(acuity))) == to_logmar(acuity)


@given(st.sampled_from([20, 10, 6, 5, 4, 3, 2, 1]), st.integers(5, 4000), st.integers(5, 4000))
def test_snellen_fractions_keep_their_order(distance: int, one: int, two: int) -> None:
    small, large = sorted((one, two))
    if distance * 10 > small * 2:
        with pytest.raises(ValueError, match="Snellen"):
            read_acuity(f"{distance}/{small / 10}")
        return
    first, second = (read_acuity(f"{distance}/{size / 10}") for size in (small, large))
    assert (to_logmar(first) < to_logmar(second)) == (small < large)
    assert first.value is not None
    assert abs(float(to_logmar(first)) + math.log10(first.value)) < 0.015


def test_who_sees_better_whatever_is_written() -> None:
    rising = ["NLP", "光感", "手动/20cm", "CF/30cm", "0.02", "20/400", "4.0", "0.3", "20/50", "5.0", "1.5"]
    assert sorted(sorted(rising), key=lambda text: sharpness(read_acuity(text))) == rising


@pytest.mark.parametrize(
    ("told", "mmhg"),
    [
        (18, 18.0), (21.5, 21.5), ("18", 18.0), ("18 mmHg", 18.0), ("2 kPa", 15.00124), ("2.4kPa", 18.001488),
        (0, 0.0), ("90", 90.0),
    ],
)  # fmt: skip
def test_pressures(told: object, mmhg: float) -> None:
    assert read_pressure(told) == mmhg


@pytest.mark.parametrize(
    "told",
    [True, None, [], "", "-1", -1, 91, "90.5", "12 kPa", "18 cm", float("nan"), float("inf"), "NaN", "1e1", "王"],
)
def test_what_is_no_pressure(told: object) -> None:
    with pytest.raises(ValueError, match="0 to 90 mmHg") as refused:
        read_pressure(told)
    assert str(told) not in ("王", "NaN") or str(told) not in str(refused.value)
