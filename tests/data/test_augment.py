"""The recipes' transforms, and randomness that hangs on (seed, epoch, sample id) alone."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.stats import ks_2samp
from timm.data import create_transform
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torchvision import transforms

from eyeground.data.augment import Augmentation, _rand_augment, draws, mix, seed_from, training_transform
from eyeground.data.loader import EvaluationImages, training_batches
from eyeground.data.order import order_of
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.data.sample import Sample

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def test_a_thousand_rand_augment_draws_do_not_crash() -> None:
    # Fault 6: timm 1.0.31 asks Pillow 13 to posterize to 0 bits now and then, which ends a long run at random.
    transform = training_transform(Preprocessing(image_px=32), Augmentation())
    done = 0
    for number in range(1000):
        with draws(0, 0, number):
            tensor = transform(PICTURE)
        assert torch.isfinite(tensor).all()
        done += 1
    assert done == 1000


def test_the_control_timm_alone_does_crash() -> None:
    augment = rand_augment_transform("rand-m9-mstd0.5-inc1", {"img_mean": (124, 116, 104)})
    posterize = next(op for op in augment.ops if op.name == "PosterizeIncreasing")
    assert posterize.level_fn(10.0, {}) == (0,)
    with pytest.raises((ValueError, OSError)):
        ImageOps.posterize(Image.fromarray(PICTURE), 0)


def test_draws_hang_on_the_key_alone_and_leave_no_trace() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with draws(1, 2, "a"):
        first = random.random(), np.random.rand(), torch.rand(1).item()
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    random.random(), np.random.rand(), torch.rand(5)
    with draws(1, 2, "a"):
        assert (random.random(), np.random.rand(), torch.rand(1).item()) == first
    for other in ((1, 3, "a"), (2, 2, "a"), (1, 2, "b"), (12, "a")):
        with draws(*other):
            assert random.random() != first[0]


def test_keys_do_not_run_together() -> None:
    assert seed_from("ab", "c") != seed_from("a", "bc")
    assert 0 <= seed_from("x") < 2**63


def test_evaluation_is_short_side_256_then_center_224() -> None:
    wide = np.zeros((300, 600, 3), np.uint8)
    wide[:, 300 - 20 : 300 + 20] = 255
    out = square(wide, Preprocessing(image_px=224))
    resized = np.asarray(Image.fromarray(wide).resize((512, 256), Image.Resampling.BICUBIC))
    assert np.array_equal(out, resized[16:240, 144:368])
    assert Preprocessing(image_px=384, crop_fraction=1.0).resized_px == 384
    assert square(wide, Preprocessing(image_px=64, fit="squash"))[:, 31:33].min() > 200


def test_normalization_equals_torchvision() -> None:

    pre = Preprocessing(image_px=60)
    expected = transforms.Compose([transforms.ToTensor(), transforms.Normalize(pre.mean, pre.std)])(
        PICTURE[:, :60].copy()
    )
    assert np.allclose(normalize([PICTURE[:, :60]], pre)[0], expected.numpy(), atol=1e-6)


def test_augmentations_that_are_off_change_nothing_but_the_crop() -> None:
    assert np.allclose(drawn(STILL), PICTURE[:, :60], atol=1e-3)


SMOOTH = np.asarray(Image.fromarray(PICTURE).resize((320, 240), Image.Resampling.BICUBIC))


def plainly(preprocessing: Preprocessing, augmentation: Augmentation) -> transforms.Compose:
    """The same transform of torchvision's and timm's parts alone, on Pillow's pictures, as recipes write it."""
    a = augmentation
    bicubic = transforms.InterpolationMode.BICUBIC
    steps = [
        transforms.RandomResizedCrop(preprocessing.image_px, a.crop_scale, a.crop_ratio, bicubic),
        transforms.RandomHorizontalFlip(a.horizontal_flip),
        *([transforms.RandomVerticalFlip(a.vertical_flip)] if a.vertical_flip else []),
        *([_rand_augment(a.rand_augment, preprocessing)] if a.rand_augment else []),
        *([transforms.ColorJitter(*a.color_jitter)] if any(a.color_jitter) else []),
        transforms.ToTensor(),
        transforms.Normalize(preprocessing.mean, preprocessing.std),
        RandomErasing(a.random_erasing, mode="pixel", max_count=1, device="cpu"),
    ]
    return transforms.Compose(steps)


@pytest.mark.parametrize(
    ("changed", "levels"),
    [
        ({"rand_augment": ""}, 4.0),
        ({"rand_augment": "", "crop_scale": (0.01, 0.1), "vertical_flip": 0.5}, 4.0),
        ({"rand_augment": "", "color_jitter": (0.4, 0.4, 0.4, 0.1)}, 12.0),  # contrast and hue make a level many
    ],
)
def test_the_fast_way_draws_what_the_plain_way_draws(changed: dict[str, Any], levels: float) -> None:
    preprocessing = Preprocessing(image_px=56, mean=(0.4, 0.3, 0.2), std=(1.0, 1.0, 1.0))
    augmentation = replace(Augmentation(), **changed)
    fast, plain = training_transform(preprocessing, augmentation), plainly(preprocessing, augmentation)
    differences = []
    for number in range(60):
        with draws(0, number):
            one, left = fast(SMOOTH), torch.rand(1).item()
        with draws(0, number):
            other, left_plainly = plain(Image.fromarray(SMOOTH)), torch.rand(1).item()
        assert left == left_plainly  # as many draws of each kind
        differences.append((one - other).abs().mul(255).numpy())
    assert np.max(differences) <= levels + 1e-3
    assert np.mean(differences) < 0.1


def test_rand_augment_draws_what_the_plain_way_draws() -> None:
    # Equalizing or solarizing makes a level many, so that it is not the pixels but the draws that are equal.
    preprocessing = Preprocessing(image_px=56, mean=(0.0,) * 3, std=(1.0,) * 3)
    fast, plain = (make(preprocessing, Augmentation()) for make in (training_transform, plainly))
    near = 0
    for number in range(200):
        left = []
        tensors = []
        for transform, picture in ((fast, SMOOTH), (plain, Image.fromarray(SMOOTH))):
            with draws(1, number):
                tensors.append(transform(picture))
                left.append((random.random(), np.random.rand(), torch.rand(1).item()))
        assert left[0] == left[1]
        near += bool((tensors[0] - tensors[1]).abs().mean() < 1 / 255)
    assert near > 190


def test_crops_flips_and_colors_are_spread_as_timms() -> None:
    timms = create_transform(
        224, is_training=True, color_jitter=None, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic",
        re_prob=0.25, re_mode="pixel",
    ).transforms  # fmt: skip
    augmentation = Augmentation()
    # Corners and center of a picture whose colors are its coordinates tell which box was cut out, and whether it is
    # turned around.
    side = 256
    y, x = np.mgrid[:side, :side].astype(np.uint8)
    chart = np.stack([x, y, np.full_like(x, 128)], axis=2)
    still = replace(augmentation, rand_augment="", random_erasing=0.0)
    transform = training_transform(Preprocessing(image_px=32, mean=(0.0,) * 3, std=(1 / 255,) * 3), still)
    boxes, flipped = [], 0
    for number in range(1500):
        with draws(2, number):
            seen = transform(chart)
        wide = float(seen[0, 16, -1] - seen[0, 16, 0]) * 32 / 31
        high = float(seen[1, -1, 16] - seen[1, 0, 16]) * 32 / 31
        flipped += wide < 0
        boxes.append((abs(wide), high, float(seen[0, 16, 15:17].mean()), float(seen[1, 15:17, 16].mean())))
    picture = Image.fromarray(chart)
    theirs = []
    for number in range(1500):
        with draws(3, number):
            top, left, height, width = timms[0].get_params(picture, timms[0].scale, timms[0].ratio)
        theirs.append((width, height, left + width / 2, top + height / 2))
    ours, reference = np.array(boxes), np.array(theirs)
    for column in range(4):
        assert ks_2samp(ours[:, column], reference[:, column]).pvalue > 0.01
    assert ks_2samp(ours[:, 0] * ours[:, 1], reference[:, 0] * reference[:, 1]).pvalue > 0.01
    assert 0.46 < flipped / 1500 < 0.54
    # Colors: mean level and contrast after RandAugment, on the same picture.
    mine = _rand_augment("rand-m9-mstd0.5-inc1", Preprocessing())
    for op in timms[2].ops:
        if op.name.startswith("Posterize"):
            op.level_fn = lambda level, hparams, plain=op.level_fn: (max(1, plain(level, hparams)[0]),)
    small = Image.fromarray(SMOOTH).resize((48, 48))
    levels: list[list[tuple[float, float]]] = [[], []]
    for number in range(600):
        for seed, (way, found) in enumerate(zip((mine, timms[2]), levels, strict=True)):
            with draws(seed, number):
                pixels = np.asarray(way(small))
            found.append((float(pixels.mean()), float(pixels.std())))
    for column in range(2):
        assert ks_2samp([each[column] for each in levels[0]], [each[column] for each in levels[1]]).pvalue > 0.01


STILL = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), horizontal_flip=0, rand_augment="", random_erasing=0)


def drawn(augmentation: Augmentation) -> NDArray[np.float32]:
    """The picture once more, in gray levels, shape (60, 60, 3)."""
    transform = training_transform(Preprocessing(image_px=60, mean=(0,) * 3, std=(1,) * 3), augmentation)
    with draws(0):
        levels: NDArray[np.float32] = transform(PICTURE[:, :60]).numpy().transpose(1, 2, 0) * 255
    return levels


def test_simclr_changes_do_what_they_say() -> None:
    gray = drawn(replace(STILL, grayscale=1.0))
    assert np.array_equal(gray[..., 0], gray[..., 1])
    assert np.array_equal(gray[..., 0], gray[..., 2])
    jitter = replace(STILL, color_jitter=(0.4, 0.4, 0.4, 0.1))
    assert not np.allclose(drawn(jitter), drawn(STILL), atol=1)
    assert np.array_equal(drawn(replace(jitter, color_jitter_probability=0.0)), drawn(STILL))
    assert not np.allclose(drawn(replace(STILL, brightness_contrast=(0.2, 0.2))), drawn(STILL), atol=1)
    # A blur takes fine detail away and leaves the mean.
    blurred, sharp = drawn(replace(STILL, blur=1.0)), drawn(STILL)
    assert np.abs(np.diff(blurred, axis=0)).mean() < 0.95 * np.abs(np.diff(sharp, axis=0)).mean()
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.02)


def test_two_views_differ_and_are_the_same_again() -> None:
    def views() -> NDArray[np.float32]:
        stream = training_batches(
            SAMPLES,
            pixels=lambda sample: PICTURE,
            preprocessing=Preprocessing(image_px=16),
            augmentation=Augmentation(),
            batch_size=4,
            epochs=1,
            seed=0,
            views=2,
        )
        return next(stream).images

    first = views()
    assert first.shape == (4, 2, 3, 16, 16)
    assert not np.allclose(first[:, 0], first[:, 1])
    assert np.array_equal(first, views())


def test_an_unknown_rand_augment_string_is_refused() -> None:
    with pytest.raises(ValueError, match="is not understood by timm"):
        training_transform(Preprocessing(), Augmentation(rand_augment="nonsense-m9"))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 0.2)])
def test_mixing_keeps_the_truth_in_proportion(mixup: float, cutmix: float) -> None:
    images = np.zeros((4, 3, 8, 8), np.float32) + np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)
    with draws(0, "mix"):
        mixed, targets = mix(images, np.eye(4, dtype=np.float32), mixup_alpha=mixup, cutmix_alpha=cutmix)
    assert np.allclose(targets.sum(1), 1)
    # Each image holds its own number and its partner's; its mean says how much of each.
    for row in range(4):
        assert mixed[row].mean() == pytest.approx((targets[row] * np.arange(4)).sum(), abs=1e-4)
    assert np.array_equal(images[:, 0, 0, 0], np.arange(4))  # the input is not changed


def test_mixing_an_odd_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="must be even, not 3"):
        mix(np.zeros((3, 3, 4, 4), np.float32), np.eye(3, dtype=np.float32), mixup_alpha=0.2, cutmix_alpha=0)


SAMPLES = [Sample(f"{number}.png", Path(), number % 3, str(number)) for number in range(10)]


def pixels(sample: Sample) -> np.ndarray:
    return np.random.default_rng(int(sample.patient)).integers(0, 256, (24, 24, 3), np.uint8)


def batches(**changes: int) -> list[tuple[int, int, bytes, list[int]]]:
    settings = {"batch_size": 3, "epochs": 3, "seed": 0, **changes}
    stream = training_batches(
        SAMPLES, pixels=pixels, preprocessing=Preprocessing(image_px=16), augmentation=Augmentation(), **settings
    )
    return [(b.epoch, b.index, b.images.tobytes(), b.truth.tolist()) for b in stream]


def test_the_stream_is_the_same_from_any_point_with_any_number_of_workers() -> None:
    whole = batches()
    assert [(epoch, index) for epoch, index, *_ in whole] == [(e, i) for e in range(3) for i in range(3)]
    assert batches(workers=2) == whole
    for start in range(9):
        assert batches(first_epoch=start // 3, first_batch=start % 3) == whole[start:]
    assert batches(seed=1) != whole


def test_an_epoch_is_a_permutation_and_epochs_differ() -> None:
    orders = [order_of(samples=50, seed=0, epoch=epoch).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_too_few_samples_for_a_batch() -> None:
    with pytest.raises(ValueError, match="10 training images do not fill one batch of 11"):
        batches(batch_size=11)


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (224, 224), (97, 512), (1023, 683)])
@pytest.mark.parametrize(("px", "fraction"), [(224, 0.875), (96, 1.0), (31, 0.9)])
def test_a_square_is_torchvisions_to_the_pixel(size: tuple[int, int], px: int, fraction: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    preprocessing = Preprocessing(image_px=px, crop_fraction=fraction)
    bicubic = transforms.InterpolationMode.BICUBIC
    reference = transforms.Compose([transforms.Resize(int(px / fraction), bicubic), transforms.CenterCrop(px)])
    np.testing.assert_array_equal(square(pixels, preprocessing), np.asarray(reference(Image.fromarray(pixels))))


def test_evaluation_squares_are_made_once_and_only_while_there_is_room() -> None:
    calls: list[str] = []

    def counted(sample: Sample) -> np.ndarray:
        calls.append(sample.file)
        return pixels(sample)

    images = EvaluationImages(
        SAMPLES, pixels=counted, preprocessing=Preprocessing(image_px=16), limit_bytes=16 * 16 * 3 * 4
    )
    first = [batch.images.tobytes() for batch in images.batches(4)]
    assert [batch.images.tobytes() for batch in images.batches(4)] == first
    assert len(calls) == 10 + 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_px": 4},
        {"image_px": 80000},
        {"store_px": -1},
        {"fit": "evil"},
        {"crop_fraction": 1e-6},
        {"mean": (0.5, math.nan, 0.5)},
        {"mean": (0.5, 0.5)},
        {"std": (0.2, 0.0, 0.2)},
    ],
)
def test_preprocessing_without_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"preprocessing: .*{next(iter(wrong))}"):
        Preprocessing(**wrong)
