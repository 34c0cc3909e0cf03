"""Deletion and insertion by hand, and against an order that says nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.explain.deletion import Curves, blur, deletion_insertion, random_order
from eyeground.explain.mean_curves import mean_curves

SIDE = 28
WHERE = (slice(4, 10), slice(14, 20))  # 36 of 784 pixels


def picture() -> NDArray[np.uint8]:
    made = np.zeros((SIDE, SIDE, 3), np.uint8)
    made[WHERE] = 255
    return made


def light(squares: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The answer of a model that looks at the bright square alone."""
    return squares[:, *WHERE].mean(axis=(1, 2, 3), dtype=np.float64) / 255


def test_by_hand() -> None:
    square = picture()
    heat = square[..., 0].astype(np.float32)
    found = deletion_insertion(light, square, heat, steps=4)
    low = float(light(blur(square)[None])[0])
    assert low < 0.5
    assert found.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.deletion == pytest.approx([1, low, low, low, low])
    assert found.insertion == pytest.approx([low, 1, 1, 1, 1])
    assert found.deletion_auc == pytest.approx((1 + low) / 2 * 0.25 + low * 0.75)
    assert found.insertion_auc == pytest.approx((1 + low) / 2 * 0.25 + 0.75)


def test_the_highest_go_first_and_exactly_as_many_as_said() -> None:
    heat = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    seen: list[NDArray[np.uint8]] = []

    def score(squares: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.append(squares.copy())
        return np.zeros(len(squares))

    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[::2] = 200  # its blur is nowhere the same
    deletion_insertion(score, square, heat, steps=7)
    gone = [(each != square).any(axis=2) for each in seen[0]]
    assert [int(each.sum()) for each in gone] == [SIDE * SIDE * step // 7 for step in range(8)]
    assert all(heat[each].min() > heat[~each].max() for each in gone[1:-1])
    for deleted, inserted in zip(seen[0], reversed(seen[1]), strict=True):
        assert deleted.shape == inserted.shape
    assert np.array_equal(seen[1][0], blur(square))
    assert np.array_equal(seen[1][-1], square)


def test_a_map_that_knows_beats_the_random_order_and_its_opposite_does_not() -> None:
    square = picture()
    heat = square[..., 0].astype(np.float32)
    patients = [str(number) for number in range(12)]
    chance = [deletion_insertion(light, square, random_order(SIDE, seed=number)) for number in range(12)]
    knows = [deletion_insertion(light, square, heat, seed=number) for number in range(12)]
    opposite = [deletion_insertion(light, square, 255 - heat, seed=number) for number in range(12)]
    good = mean_curves(knows, chance, patients, resamples=200)
    bad = mean_curves(opposite, chance, patients, resamples=200)
    assert good.deletion_gain.low > 0
    assert good.insertion_gain.low > 0
    assert bad.deletion_gain.high < 0
    assert bad.insertion_gain.high < 0
    assert good.deletion_gain.value == pytest.approx(good.random.deletion_auc - good.deletion.value)
    assert good.to_json()["method"]["deletion_auc"] == pytest.approx(good.deletion.value)


def test_equals_come_in_random_order_by_the_seed() -> None:
    flat = np.ones((SIDE, SIDE), np.float32)
    one, again, other = (deletion_insertion(light, picture(), flat, seed=seed).deletion for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_random_order_goes_cell_by_cell() -> None:
    order = random_order(42, seed=0)
    assert order.shape == (42, 42)
    cells = order.reshape(14, 3, 14, 3)
    assert np.ptp(cells, axis=(1, 3)).max() == 0
    assert sorted(cells[:, 0, :, 0].ravel().tolist()) == list(range(196))
    assert random_order(32, seed=0).shape == (32, 32)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="as large as its picture"):
        deletion_insertion(light, picture(), np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match="as large as its picture"):
        deletion_insertion(light, picture(), np.ones((SIDE, SIDE), np.float32), steps=0)
    flat = Curves(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="needs its curves"):
        mean_curves([flat], [flat], [])
