"""An epoch over many shards is a fair shuffle that needs few of them at a time, and can be gone on with anywhere."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.data.augment import Augmentation
from eyeground.data.loader import Batch, training_batches
from eyeground.data.manifest import read_manifest
from eyeground.data.order import order_of
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.sample import Sample
from eyeground.data.shards.opened import Shards
from eyeground.data.shards.order import WINDOW, order_for, order_within, shard_numbers
from eyeground.data.shards.rows import Joined, ShardRows

from .small import pack, photographs

COUNT = 40


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("set")
    return pack(photographs(folder / "data", COUNT), folder / "packed")


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=20),
    loose=st.integers(0, 20),
    window=st.integers(1, 25),
    seed=st.integers(0, 5),
)
def test_every_image_comes_once_and_few_shards_are_open(counts: list[int], loose: int, window: int, seed: int) -> None:
    numbers = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(loose, -1)])
    order = order_within(numbers, window=window, seed=seed, epoch=1)
    assert sorted(order) == list(range(len(numbers)))
    seen = numbers[order]
    stretches = [np.flatnonzero(seen == shard) for shard in range(len(counts))]
    open_at = sum((np.arange(len(seen)) >= s[0]) & (np.arange(len(seen)) <= s[-1]) for s in stretches)
    assert np.max(open_at) <= window
    assert np.array_equal(order, order_within(numbers, window=window, seed=seed, epoch=1))


def test_the_shuffle_is_fair_within_the_window() -> None:
    # Against chance: neighbors in the order come from one shard as often as draws from the window would.
    numbers = np.repeat(np.arange(200), 50)
    order = order_within(numbers, window=20, seed=0, epoch=0)
    middle = numbers[order][2_000:-2_000]
    same = float((middle[1:] == middle[:-1]).mean())
    assert abs(same - 1 / 20) < 0.012
    # In rows of one shard nothing of their order is left.
    own = order[numbers[order] == 7] - 7 * 50
    assert abs(np.corrcoef(own, np.arange(50))[0, 1]) < 0.4
    first, second = (order_within(numbers, window=20, seed=0, epoch=epoch) for epoch in (0, 1))
    assert (first == second).mean() < 0.01


def test_images_in_files_of_their_own_come_all_over_the_epoch() -> None:
    numbers = np.concatenate([np.repeat(np.arange(50), 20), np.full(1000, -1)])
    places = np.flatnonzero(numbers[order_within(numbers, window=5, seed=0, epoch=0)] == -1)
    assert np.abs(np.quantile(places / len(numbers), [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.05


def test_a_small_set_is_shuffled_like_files(shards: Shards) -> None:
    order = order_for(ShardRows(shards, "eyes"), seed=3)
    assert np.array_equal(order(2), order_of(samples=COUNT, seed=3, epoch=2))


def test_rows_and_samples_have_one_order(shards: Shards) -> None:
    rows = ShardRows(shards, "eyes")
    samples = read_manifest([shards.source("eyes")], classes=shards.classes).samples
    assert np.array_equal(shard_numbers(rows), shard_numbers(samples))
    plain = Sample("a", Path("d"), None, "p")
    joined = shard_numbers(Joined([[plain], rows, rows]))
    assert joined[0] == -1
    assert np.array_equal(joined[1:], np.tile(shard_numbers(rows), 2))
    for window in (1, 3):
        one, other = (order_for(each, seed=0, window=window)(1) for each in (rows, samples))
        assert np.array_equal(one, other)
        assert not np.array_equal(one, order_of(samples=COUNT, seed=0, epoch=1))


def test_shards_of_two_sets_are_two(shards: Shards, tmp_path: Path) -> None:
    other = pack(photographs(tmp_path / "data", 9), tmp_path / "packed")
    numbers = shard_numbers(Joined([ShardRows(shards, "a"), ShardRows(other, "b")]))
    assert len(np.unique(numbers)) == shards.shards + other.shards


def _batches(shards: Shards, *, first: tuple[int, int] = (0, 0), workers: int = 0) -> list[Batch]:
    samples = ShardRows(shards, "eyes", split="train", labels=False)
    return list(
        training_batches(
            samples,
            pixels=PixelStore(crop_field=False, store_px=20, limit_bytes=0),
            preprocessing=Preprocessing(image_px=16, store_px=20, crop_field=False),
            augmentation=Augmentation(),
            batch_size=6,
            epochs=2,
            seed=5,
            first_epoch=first[0],
            first_batch=first[1],
            workers=workers,
            order=order_for(samples, seed=5, window=3),
        )
    )


def test_an_epoch_goes_on_in_its_middle_with_any_number_of_workers(shards: Shards) -> None:
    whole = _batches(shards)
    assert len(whole) == 12
    for first, workers in (((0, 4), 0), ((1, 2), 2)):
        rest = _batches(shards, first=first, workers=workers)
        skipped = first[0] * 6 + first[1]
        assert [(b.epoch, b.index) for b in rest] == [(b.epoch, b.index) for b in whole[skipped:]]
        assert all(np.array_equal(a.images, b.images) for a, b in zip(rest, whole[skipped:], strict=True))


def test_a_training_of_many_shards_takes_the_window_by_itself(tmp_path: Path) -> None:
    opened = pack(photographs(tmp_path / "data", WINDOW + 6), tmp_path / "packed", shard_bytes=1)
    assert opened.shards == WINDOW + 6
    rows = ShardRows(opened, "eyes", split="train", labels=False)
    batches = training_batches(
        rows,
        pixels=lambda sample: np.full((20, 20, 3), rows.shards.row_of(sample.file), np.uint8),
        preprocessing=Preprocessing(image_px=16, store_px=20, mean=(0, 0, 0), std=(1, 1, 1)),
        augmentation=Augmentation(rand_augment="", random_erasing=0, horizontal_flip=0),
        batch_size=10,
        epochs=1,
        seed=1,
    )
    seen = [round(float(image[0, 0, 0]) * 255) for batch in batches for image in batch.images]
    assert seen == order_for(rows, seed=1)(0).tolist()
    assert seen != order_of(samples=len(rows), seed=1, epoch=0).tolist()
