"""Sums by place against a table of zeros and ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.evaluate.adding import sums


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(0, 30), places=st.integers(1, 6), draws=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_sums_are_those_of_a_table(rows: int, places: int, draws: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, place = rng.integers(0, 4, (draws, rows)).astype(float), rng.integers(0, places, rows)
    table = (place[:, None] == np.arange(places)).astype(float)
    assert sums(weights, place, places=places).tolist() == (weights @ table).tolist()
    values = rng.standard_normal(rows)
    found = sums(weights, place, places=places, values=values)
    np.testing.assert_allclose(found, weights @ (table * values[:, None]), atol=1e-12)
    assert found.flags.c_contiguous
