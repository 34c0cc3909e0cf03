"""Which image comes when: permutations, copies counted, and batches that hold an image twice."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyeground.data.augment import Augmentation, draws, mix
from eyeground.data.loader import Batch, training_batches
from eyeground.data.order import copies, in_pairs, order_of, seed_from, share
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample

Order = Callable[[int], NDArray[np.int64]]
SAMPLES = [Sample(f"{number}.png", Path("d"), number % 2, str(number)) for number in range(5)]
# Sample 1 three times, 4 twice, 0 not at all; another order each epoch.
REPEATED = ([1, 4, 1, 3, 1, 4], [2, 2, 3, 1, 4, 2], [1, 2, 3, 4, 2, 1])


def pixels(sample: Sample) -> NDArray[np.uint8]:
    """A picture for each sample."""
    return np.random.default_rng(int(sample.patient)).integers(0, 255, (40, 40, 3), np.uint8)


def stream(order: Order | None = None, **more: int) -> Iterator[Batch]:
    return training_batches(
        SAMPLES,
        pixels=pixels,
        preprocessing=Preprocessing(image_px=16),
        augmentation=Augmentation(),
        epochs=3,
        seed=7,
        order=order,
        **{"batch_size": 2, **more},
    )


def repeated(epoch: int) -> NDArray[np.int64]:
    return np.array(REPEATED[epoch])


def test_an_epoch_is_a_permutation_and_another_each_time() -> None:
    orders = [order_of(samples=50, seed=seed, epoch=epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert orders[1] == order_of(samples=50, seed=0, epoch=1).tolist()


def test_parts_of_a_key_do_not_run_together() -> None:
    keys = [("1", "23"), ("12", "3"), ("123",), (1, 23), ("1", "", "23")]
    assert len({seed_from(*key) for key in keys}) == len(keys) - 1  # numbers count as their words
    assert all(0 <= seed_from(*key) < 2**63 for key in keys)


@given(st.lists(st.integers(0, 6), max_size=30))
def test_copies_are_those_of_a_slow_count(numbers: list[int]) -> None:
    slow = [numbers[:place].count(number) for place, number in enumerate(numbers)]
    assert copies(np.array(numbers, np.int64)).tolist() == slow


def test_two_copies_of_one_image_in_one_epoch_differ() -> None:
    drawn: dict[tuple[int, int], list[bytes]] = {}
    for batch in stream(repeated):
        for place, image in enumerate(batch.images):
            drawn.setdefault((batch.epoch, REPEATED[batch.epoch][2 * batch.index + place]), []).append(image.tobytes())
    assert len(drawn[0, 1]) == 3
    everything = [image for images in drawn.values() for image in images]
    assert len(set(everything)) == len(everything) == 18


def test_the_first_copy_is_what_an_ordinary_epoch_draws() -> None:
    plain: dict[tuple[int, int], NDArray[np.float32]] = {}
    for batch in stream(batch_size=5):
        numbers = order_of(samples=5, seed=7, epoch=batch.epoch)
        plain |= {(batch.epoch, int(number)): image for number, image in zip(numbers, batch.images, strict=True)}
    for batch in stream(repeated):
        for place, image in enumerate(batch.images):
            at = 2 * batch.index + place
            number = REPEATED[batch.epoch][at]
            first = number not in REPEATED[batch.epoch][:at]
            assert np.array_equal(image, plain[batch.epoch, number]) == first


def test_a_stream_taken_up_in_the_middle_gives_the_same_batches() -> None:
    whole = list(stream(repeated))
    assert [(batch.epoch, batch.index) for batch in whole] == [(e, i) for e in range(3) for i in range(3)]
    for skipped in (1, 4, 6, 8):
        rest = list(stream(repeated, first_epoch=skipped // 3, first_batch=skipped % 3))
        assert [(batch.epoch, batch.index) for batch in rest] == [(b.epoch, b.index) for b in whole[skipped:]]
        for one, other in zip(rest, whole[skipped:], strict=True):
            np.testing.assert_array_equal(one.images, other.images)
            np.testing.assert_array_equal(one.truth, other.truth)


def test_workers_give_the_same_batches() -> None:
    for one, other in zip(islice(stream(repeated), 4), islice(stream(repeated, workers=1), 4), strict=True):
        np.testing.assert_array_equal(one.images, other.images)


def test_the_truth_goes_with_its_image() -> None:
    for batch in stream(repeated):
        numbers = REPEATED[batch.epoch][2 * batch.index : 2 * batch.index + 2]
        assert batch.truth.tolist() == [[number % 2] for number in numbers]
        assert batch.truth.dtype == np.float64


def test_the_truth_of_several_heads_keeps_its_holes() -> None:
    samples = [Sample(f"{n}.png", Path("d"), None, str(n), values=(n, float("nan"), n / 3)) for n in range(4)]
    batch = next(
        training_batches(
            samples,
            pixels=pixels,
            preprocessing=Preprocessing(image_px=16),
            augmentation=Augmentation(),
            batch_size=4,
            epochs=1,
            seed=0,
        )
    )
    numbers = order_of(samples=4, seed=0, epoch=0)
    np.testing.assert_array_equal(batch.truth, [[n, np.nan, n / 3] for n in numbers.tolist()])


def test_an_epoch_that_fills_no_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fill one batch of 7"):
        next(stream(repeated, batch_size=7))


@given(st.integers(1, 40), st.integers(1, 8))
def test_every_place_of_a_batch_has_one_process(count: int, world: int) -> None:
    if count < world:
        with pytest.raises(ValueError, match=f"a batch of {count} leaves a process without an image"):
            share(count, rank=0, world=world)
        return
    shares = [share(count, rank=rank, world=world).tolist() for rank in range(world)]
    assert sorted(place for each in shares for place in each) == list(range(count))
    assert all(each and each == sorted(each) for each in shares)
    if in_pairs(count, world=world):
        assert all({count - 1 - place for place in each} == set(each) for each in shares)
    if count % (2 * world) == 0 or not in_pairs(count, world=world):
        assert max(map(len, shares)) - min(map(len, shares)) <= (count % (2 * world) > 0)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
@pytest.mark.parametrize(("count", "world"), [(8, 2), (12, 3), (10, 2), (6, 2)])
def test_an_image_is_mixed_with_the_same_partner_however_many_share_the_batch(
    mixup: float, cutmix: float, count: int, world: int
) -> None:
    rng = np.random.default_rng(count)
    images, targets = rng.random((count, 3, 8, 8), np.float32), np.eye(count, dtype=np.float32)

    def mixed(places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with draws(0, 1, "mix", 2):
            return mix(images[places], targets[places], mixup_alpha=mixup, cutmix_alpha=cutmix)

    whole = mixed(np.arange(count))
    assert np.abs(whole[0] - images).max() > 0.1
    for rank in range(world):
        places = share(count, rank=rank, world=world)
        for made, wanted in zip(mixed(places), whole, strict=True):
            assert np.array_equal(made, wanted[places])


def test_a_process_draws_its_share_and_nothing_else() -> None:
    whole = list(stream(repeated, batch_size=6))
    places = share(6, rank=1, world=2).tolist()
    part = list(stream(repeated, batch_size=6, places=places))  # type: ignore[arg-type]
    assert [(batch.epoch, batch.index) for batch in part] == [(batch.epoch, batch.index) for batch in whole]
    for one, all_ in zip(part, whole, strict=True):
        assert np.array_equal(one.images, all_.images[places])
