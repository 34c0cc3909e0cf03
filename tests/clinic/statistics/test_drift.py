"""Drift: found where there is some, hardly ever where there is none, and not told of a handful of patients."""

import numpy as np
import pytest
from scipy.stats import chi2

from eyeground.clinic.statistics.drift import LEAST_PATIENTS, SHIFT, Answered, Drift, _by_chance, drift
from eyeground.clinic.statistics.number import Number


def drawn(
    chance: np.random.Generator, patients: int, *, shift: float = 0.0, eyes: int = 2, person: str = "P"
) -> list[Answered]:
    """Probabilities of two eyes a patient, which resemble each other."""
    answers = []
    for patient in range(patients):
        usual = chance.normal(-1.0 + shift, 1.0)
        for _ in range(eyes):
            score = 1 / (1 + np.exp(-(usual + chance.normal(0, 0.5))))
            answers.append(Answered(f"{person}{patient}", int(score > 0.5), float(score)))
    return answers


def held(reference: list[Answered], now: list[Answered], finding: str = "AMD") -> Drift:
    """The drift."""
    return drift(reference, now, model="m", part="fundus", finding=finding)


def test_a_shift_is_seen_and_chance_is_not() -> None:
    chance = np.random.default_rng(1)
    still = [held(drawn(chance, 250), drawn(chance, 120, person="Q")).verdict for _ in range(200)]
    assert still.count("look") <= 2
    moved = [held(drawn(chance, 250), drawn(chance, 120, person="Q", shift=1.0)).verdict for _ in range(50)]
    assert moved.count("look") >= 49


def test_grades_are_held_against_grades() -> None:
    reference = [Answered(f"P{each}", each % 5, 0.9) for each in range(500)]
    assert held(reference, reference, "DR").psi.value == 0.0
    found = held(reference, [Answered(f"Q{each}", 4 if each % 2 else 0, None) for each in range(100)], "DR")
    assert (found.verdict, found.bins) == ("look", ("0", "1", "2", "3", "4"))
    assert found.shares == (0.5, 0.0, 0.0, 0.0, 0.5)
    assert found.reference_shares == pytest.approx((0.2,) * 5)


def test_psi_is_the_sum_that_the_book_has() -> None:
    reference = [Answered(f"P{each}", int(each < 40), None) for each in range(100)]
    now = [Answered(f"Q{each}", int(each < 60), None) for each in range(100)]
    before, after = np.array([60.5, 40.5]) / 101, np.array([40.5, 60.5]) / 101
    assert held(reference, now).psi.value == pytest.approx(float(((after - before) * np.log(after / before)).sum()))


def test_one_score_for_all_is_no_reason_to_fail() -> None:
    flat = [Answered(f"P{each}", 0, 0.0) for each in range(200)]
    assert held(flat, flat).verdict == "no_drift"
    assert held(flat, [Answered(f"Q{each}", 1, 1.0) for each in range(200)]).verdict == "look"


def test_few_patients_say_nothing_however_many_images() -> None:
    chance = np.random.default_rng(2)
    many = drawn(chance, LEAST_PATIENTS)
    few = drawn(chance, LEAST_PATIENTS - 1, eyes=20, shift=3.0)
    found = held(many, few)
    assert (found.verdict, found.psi, found.limit) == ("too_few", Number(None, why="too_few"), None)
    assert held(many, []).psi == Number(None, why="nothing")
    assert held(many, []).shares == ()


def test_an_answer_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="AMD is 0 to 1"):
        held([Answered("P", 2, 0.5)], [])


@pytest.mark.parametrize("bins", [2, 5, 10])
def test_the_limit_is_what_chance_gives(bins: int) -> None:
    assert _by_chance(bins, 100, 300) == pytest.approx(chi2.isf(0.001, bins - 1) * (1 / 100 + 1 / 300), rel=0.035)
    assert SHIFT > 0
