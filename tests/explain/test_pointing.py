"""The pointing game by hand; maps that are worth nothing must fail it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.explain.pointing import TOLERANCE, dilated, hits

SIDE = 56  # the tolerance is 2 px


def spot(*places: tuple[int, int]) -> NDArray[np.bool_]:
    made = np.zeros((SIDE, SIDE), bool)
    for row, column in places:
        made[row, column] = True
    return made


def peak(row: int, column: int) -> NDArray[np.float32]:
    return spot((row, column)).astype(np.float32)


def play(heats: list[Any], lesions: list[Any], patients: str | list[str] = "", **more: Any) -> Any:
    names = list(patients) or [str(number) for number in range(len(heats))]
    visible = more.pop("visible", np.ones((len(heats), SIDE, SIDE), bool))
    return hits(np.stack(heats), np.stack(lesions), visible, names, **({"resamples": 200} | more))


def test_the_tolerance_is_a_circle() -> None:
    wide = dilated(spot((20, 20)))
    reach = round(TOLERANCE * SIDE)
    y, x = np.mgrid[:SIDE, :SIDE]
    assert reach == 2
    assert np.array_equal(wide, np.hypot(x - 20, y - 20) <= reach)
    assert not dilated(spot()).any()


def test_by_hand() -> None:
    lesions = [spot((10, 10)), spot((40, 40)), spot((10, 10)), spot()]
    found = play([peak(10, 12), peak(40, 43), peak(40, 41), peak(0, 0)], lesions, "abca")
    # The first lies 2 px beside its lesion, the second 3 px; the fourth image has none.
    assert found.rate.value == pytest.approx(1 / 3)
    assert found.chance.value == pytest.approx(13 / SIDE**2)
    # On other patients' lesions: the first hits that of c, not b's; the second none; the third b's, not a's.
    assert found.mismatched.value == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
    assert found.above_chance.value == pytest.approx(1 / 3 - 13 / SIDE**2)
    assert found.above_mismatched.value == pytest.approx(0)
    assert (found.images, found.patients, found.empty) == (3, 3, 0)


def test_lesions_of_the_same_patient_are_not_others() -> None:
    found = play([peak(10, 10), peak(10, 10)], [spot((10, 10)), spot((10, 10))], "aa")
    assert found.rate.value == 1
    assert not found.mismatched.defined
    assert found.mismatched.reason == "all images with a lesion are of one patient"
    assert not found.passed


def test_chance_is_within_the_visible_field_and_black_hits_nothing() -> None:
    visible = np.zeros((2, SIDE, SIDE), bool)
    visible[:, :, 28:] = True
    found = play([peak(10, 40), peak(5, 5)], [spot((10, 40)), spot((5, 5), (30, 40))], visible=visible)
    assert found.rate.value == 0.5
    assert found.chance.value == pytest.approx(13 / (SIDE * 28))


def test_ties_share_and_a_flat_map_hits_as_chance_does() -> None:
    flat = np.ones((SIDE, SIDE), np.float32)
    found = play([flat, flat], [spot((10, 10)), spot((40, 40))])
    assert found.rate.value == pytest.approx(found.chance.value)
    assert not found.passed
    both = np.maximum(peak(10, 10), peak(50, 50))
    assert play([both], [spot((10, 10))]).rate.value == 0.5


def test_an_empty_map_hits_nothing_and_is_counted() -> None:
    found = play([np.zeros((SIDE, SIDE), np.float32), peak(5, 5)], [spot((5, 5)), spot((5, 5))])
    assert (found.rate.value, found.empty) == (0.5, 1)


def test_without_a_lesion_nothing_is_said() -> None:
    found = play([peak(1, 1)], [spot()])
    assert not found.rate.defined
    assert found.rate.reason == "no image has a lesion to hit"
    assert not found.passed
    assert found.to_json()["rate"] == {"value": None, "reason": "no image has a lesion to hit"}
    with pytest.raises(ValueError, match="share one shape"):
        play([peak(1, 1)], [spot(), spot()])


def drawn(count: int = 60, *, centered: bool, seed: int = 0) -> tuple[list[Any], list[Any], list[str]]:
    """Maps that know their lesion, and lesions around the middle or anywhere."""
    rng = np.random.default_rng(seed)
    lesions, heats = [], []
    for _ in range(count):
        places = rng.normal(28, 3, 2) if centered else rng.uniform(4, 52, 2)
        row, column = (int(np.clip(place, 0, SIDE - 1)) for place in places)
        lesions.append(spot((row, column)))
        heats.append(ndimage.gaussian_filter(peak(row, column) + 0.001 * rng.random((SIDE, SIDE)), 2))
    return heats, lesions, [f"p{number // 2}" for number in range(count)]


def test_maps_that_know_pass_also_where_lesions_lie_alike() -> None:
    for centered in (False, True):
        heats, lesions, patients = drawn(centered=centered)
        found = play(heats, lesions, patients)
        assert found.passed
        assert found.rate.value > 0.9
        assert found.mismatched.value < 0.7


def test_planted_maps_that_always_point_at_the_middle_beat_chance_and_fail() -> None:
    _, lesions, patients = drawn(centered=True)
    found = play([peak(28, 28)] * len(lesions), lesions, patients)
    assert found.above_chance.low > 0
    assert found.above_mismatched.low <= 0
    assert not found.passed


def test_planted_shuffled_maps_fail() -> None:
    heats, lesions, patients = drawn(centered=False)
    rng = np.random.default_rng(1)
    found = play([rng.permuted(heat.ravel()).reshape(heat.shape) for heat in heats], lesions, patients)
    assert not found.passed
    assert found.rate.value < 0.1


def test_intervals_are_over_patients() -> None:
    heats, lesions, _ = drawn(centered=False)
    heats[30:] = [peak(0, 0)] * 30
    by_image = play(heats, lesions)
    by_two = play(heats, lesions, ["a"] * 30 + ["b"] * 30)
    assert by_two.rate.high - by_two.rate.low > 2 * (by_image.rate.high - by_image.rate.low)
