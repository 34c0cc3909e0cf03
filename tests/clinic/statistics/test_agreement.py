"""Kappa of doctors and models, held against scikit-learn and a bootstrap that draws patients one by one."""

import random

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from eyeground.clinic.statistics.agreement import GRADABLE, Pair, agreements
from eyeground.clinic.statistics.number import Number
from eyeground.evaluate.confidence import bootstrap, interval
from eyeground.evaluate.metrics import kappa_quadratic


def grades(patients: int, *, seed: int = 1) -> list[Pair]:
    """Two eyes a patient, alike, and a model that is off by one now and then."""
    chance = random.Random(seed)
    pairs = []
    for patient in range(patients):
        usual = chance.choice([0, 0, 0, 1, 2, 3, 4])
        for _ in range(2):
            doctor = min(4, usual + chance.choice([0, 0, 0, 1]))
            models = max(0, min(4, doctor + chance.choice([0, 0, 0, 0, 1, -1])))
            pairs.append(Pair(f"P{patient}", "fundus", "DR", doctor, models))
    return pairs


def test_kappas_are_scikit_learns() -> None:
    pairs = grades(80)
    [found] = agreements(pairs, source="signed")
    doctor, models = [each.doctor for each in pairs], [each.models for each in pairs]
    assert found.weighted
    assert found.kappa.value == pytest.approx(cohen_kappa_score(doctor, models, weights="quadratic"))
    assert found.same.value == pytest.approx(np.mean(np.array(doctor) == np.array(models)))
    assert sum(map(sum, found.matrix)) == found.eyes == 160
    assert found.matrix[2][1] == sum((each.doctor, each.models) == (2, 1) for each in pairs)
    yes = [Pair(each.patient, "fundus", "AMD", int(each.doctor > 1), int(each.models > 1)) for each in pairs]
    [found] = agreements(yes, source="first_read")
    assert not found.weighted
    assert found.kappa.value == pytest.approx(
        cohen_kappa_score([each.doctor for each in yes], [each.models for each in yes])
    )


def test_intervals_are_those_of_drawing_patients_one_by_one() -> None:
    pairs = grades(60)
    [found] = agreements(pairs, source="signed")
    truth, said = np.array([each.doctor for each in pairs]), np.eye(5)[[each.models for each in pairs]]
    slow = bootstrap(
        lambda weights: kappa_quadratic.value(truth, said, weights)[:, None], [each.patient for each in pairs]
    )
    low, high = interval(slow)
    assert found.kappa.low == pytest.approx(low[0], abs=0.01)
    assert found.kappa.high == pytest.approx(high[0], abs=0.01)
    alone = interval(
        bootstrap(
            lambda weights: kappa_quadratic.value(truth, said, weights)[:, None], [str(each) for each in range(120)]
        )
    )
    assert found.kappa.high is not None
    assert found.kappa.low is not None
    assert found.kappa.high - found.kappa.low > (alone[1] - alone[0])[0]  # eyes of one patient are no two witnesses


def test_what_cannot_be_said_is_not_said() -> None:
    same = [Pair(f"P{each}", "fundus", "RP", 0, 0) for each in range(5)]
    [found] = agreements(same, source="signed")
    assert found.kappa == Number(None, why="one_value")
    assert found.same.value == 1.0
    one = [Pair("P", "fundus", "RP", value, value) for value in (0, 1)]
    [found] = agreements(one, source="signed")
    assert (found.kappa.value, found.kappa.low, found.kappa.why) == (1.0, None, "one_patient")
    assert agreements([], source="signed") == ()


def test_findings_come_in_the_contracts_order_with_gradability_first() -> None:
    pairs = [Pair("P", "fundus", name, 0, 1) for name in ("DR", "AMD", GRADABLE)]
    pairs += [Pair("P", "anterior", "cataract", 1, 1)]
    found = agreements(pairs, source="signed")
    assert [(each.part, each.finding) for each in found] == [
        ("fundus", GRADABLE), ("fundus", "AMD"), ("fundus", "DR"), ("anterior", "cataract"),
    ]  # fmt: skip
