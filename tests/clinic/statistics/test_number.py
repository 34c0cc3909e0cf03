"""Numbers with intervals, or with the reason why they are not there."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from eyeground.clinic.statistics.number import Number, number_of, quantile, wilson
from eyeground.evaluate.confidence import Estimate


@given(count=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_is_scipys(count: int, share: float) -> None:
    hits = round(share * count)
    found, expected = wilson(hits, count), binomtest(hits, count).proportion_ci(method="wilson")
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_what_is_undefined_is_none_and_says_why() -> None:
    assert wilson(0, 0) == Number(None, why="nothing")
    assert quantile([], 0.5) == Number(None, why="nothing")
    assert quantile([1.0] * 9, 0.9, least=10) == Number(None, why="too_few")
    assert quantile([1.0] * 10, 0.9, least=10) == Number(1.0)
    assert number_of(Estimate(math.nan, reason="x"), patients=3, rows=5) == Number(None, why="one_value")
    assert number_of(Estimate(0.5, reason="x"), patients=1, rows=5) == Number(0.5, why="one_patient")
    assert number_of(Estimate(0.5, reason="x"), patients=9, rows=9) == Number(0.5, why="unstable")
    assert number_of(Estimate(0.5, 0.4, 0.6), patients=9, rows=9) == Number(0.5, 0.4, 0.6)
