"""The randomized-weights test: against scipy, by hand, and with maps that must fail it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import spearmanr

from eyeground.explain.weights_test import CELLS, STAGES, similarity, weights_test

Maps = NDArray[np.float32]
PATIENTS = [f"p{number // 2}" for number in range(24)]


def clouds(seed: int, count: int = 24) -> Maps:
    rng = np.random.default_rng(seed)
    soft = ndimage.gaussian_filter(rng.random((count, 56, 56)), (0, 4, 4))
    return (soft - soft.min()).astype(np.float32)


def mirrored(maps: Maps) -> Maps:
    return np.ascontiguousarray(maps[:, :, ::-1])


def test_similarity_is_spearmans_on_cells() -> None:
    one, other = clouds(0, 2)
    cells = [each.reshape(CELLS, 4, CELLS, 4).mean(axis=(1, 3)).ravel() for each in (one, other)]
    assert similarity(one, other) == pytest.approx(spearmanr(*cells).statistic, abs=1e-6)
    assert similarity(one, one) == pytest.approx(1)
    assert np.isnan(similarity(one, np.ones_like(one)))
    ties = np.floor(one * 20) / 20
    assert similarity(ties, other) == pytest.approx(
        spearmanr(ties.reshape(CELLS, 4, CELLS, 4).mean(axis=(1, 3)).ravel(), cells[1]).statistic, abs=0.01
    )


def test_maps_that_follow_the_picture_and_the_weights_pass() -> None:
    maps, noise = clouds(1), 0.05 * clouds(2)
    found = weights_test(
        maps, mirrored(maps + noise), {"head": maps + noise, "all": clouds(3)}, PATIENTS, resamples=200
    )
    assert found.passed
    assert found.same.value > 0.9
    assert abs(found.randomized["all"].value) < 0.2
    assert found.difference.value == pytest.approx(found.same.value - found.randomized["all"].value)
    assert found.randomized["head"].value > 0.9
    assert (found.images, found.compared) == (24, 24)


def test_planted_maps_that_ignore_the_weights_fail() -> None:
    edges = clouds(4)
    found = weights_test(edges, mirrored(edges), dict.fromkeys(STAGES, edges), PATIENTS, resamples=200)
    assert found.same.value == pytest.approx(1)
    assert found.difference.value == pytest.approx(0, abs=1e-12)
    assert not found.passed


@pytest.mark.parametrize("seed", range(5))
def test_planted_maps_shuffled_anew_each_time_fail(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = clouds(5)

    def shuffled() -> Maps:
        return rng.permuted(maps.reshape(24, -1), axis=1).reshape(maps.shape)

    found = weights_test(shuffled(), shuffled(), {stage: shuffled() for stage in STAGES}, PATIENTS, resamples=400)
    assert abs(found.same.value) < 0.1
    assert not found.passed


def test_planted_maps_that_forget_to_turn_with_the_picture_fail() -> None:
    # Such as a method that only knows places: its map of the mirrored picture is the same, and not mirrored.
    place = np.repeat(clouds(6, 1), 24, axis=0)
    found = weights_test(place, place, {"all": place}, PATIENTS, resamples=200)
    assert found.difference.value < 0.5
    assert not found.passed


def test_flat_maps_are_left_out_and_counted() -> None:
    maps, anew = clouds(7), clouds(8)
    anew[:3] = 0
    found = weights_test(maps, mirrored(maps), {"all": anew}, PATIENTS, resamples=100)
    assert (found.images, found.compared) == (24, 21)
    assert found.passed
    nothing = np.zeros_like(maps)
    empty = weights_test(nothing, nothing, {"all": nothing}, PATIENTS, resamples=100)
    assert not empty.same.defined
    assert "flat" in empty.same.reason
    assert not empty.passed
    assert empty.to_json()["difference"] == {"value": None, "reason": empty.difference.reason}


def test_what_does_not_fit_is_refused() -> None:
    maps = clouds(9)
    with pytest.raises(ValueError, match="stage 'all'"):
        weights_test(maps, maps, {"head": maps}, PATIENTS)
    with pytest.raises(ValueError, match="share one shape"):
        weights_test(maps, maps[:3], {"all": maps}, PATIENTS)
    with pytest.raises(ValueError, match="23 patients"):
        weights_test(maps, maps, {"all": maps}, PATIENTS[:23])


def test_too_few_images_pass_nothing() -> None:
    maps, anew = clouds(7)[:19], clouds(8)[:19]
    found = weights_test(maps, mirrored(maps), {"all": anew}, PATIENTS[:19], resamples=100)
    assert found.difference.low > 0.5
    assert not found.passed
