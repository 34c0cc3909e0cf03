"""The benchmarks of intervals and of the scorecard: both sides run on a tiny table, and give the same numbers."""

import numpy as np
import pytest

from benchmarks import intervals, scorecard
from eyeground.evaluate.confidence import chunks


@pytest.mark.parametrize("digits", [None, 1])
def test_resamples_equal_scikit_learn_s(digits: int | None) -> None:
    table = intervals.made(90, 4)
    if digits is not None:
        table.scores[:] = table.scores.round(digits)  # ties
    drawn = next(chunks(table.patients, 8))
    np.testing.assert_allclose(intervals.resampled(table, 8), intervals.in_a_loop(table, drawn), atol=1e-9)


def test_intervals_are_measured() -> None:
    claim = intervals.compared(80, 3, few=2, resamples=12, rounds=1)
    assert claim.unit == "s"
    assert claim.ours > 0
    assert claim.reference > 0
    assert "extrapolated from 2 resamples" in claim.against


def test_the_scorecard_and_the_paired_tests_are_measured() -> None:
    claims = scorecard.compared(80, 3, few=1, resamples=8, rounds=1)
    assert ["scorecard" in claims[0].what, "paired" in claims[1].what] == [True, True]
    assert all(each.ours > 0 and each.reference > 0 for each in claims)


def test_the_loop_has_every_metric_of_the_headline() -> None:
    table = intervals.made(60, 3, ordered=True)
    drawn = next(chunks(table.patients, 2))
    found = scorecard.in_a_loop(table, drawn)
    assert found.shape == (2, len(scorecard.HEADLINE))
    assert np.isfinite(found).all()
