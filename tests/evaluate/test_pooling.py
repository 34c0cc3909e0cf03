"""Pooling against a plain loop."""

import numpy as np
import pytest

from eyeground.evaluate.pooling import pool


def test_it_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(4), 200)
    volumes = rng.integers(0, 30, 200).tolist()
    scores[[3, 70]] = np.nan
    means, first = pool(scores, volumes)
    order = list(dict.fromkeys(volumes))
    assert [volumes[row] for row in first] == order
    for row, volume in enumerate(order):
        mine = [s for s, v in zip(scores, volumes, strict=True) if v == volume and not np.isnan(s).any()]
        np.testing.assert_allclose(means[row], np.mean(mine, axis=0))


def test_a_volume_without_a_graded_scan_has_no_answer() -> None:
    means, first = pool(np.array([[np.nan, np.nan], [0.5, 0.5]]), ["a", "b"])
    assert np.isnan(means[0]).all()
    assert first == (0, 1)


def test_single_images_pass_unchanged() -> None:
    scores = np.random.default_rng(1).dirichlet(np.ones(3), 50)
    assert (pool(scores, range(50))[0] == scores).all()


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 rows of scores for 1"):
        pool(np.ones((2, 2)), ["a"])
