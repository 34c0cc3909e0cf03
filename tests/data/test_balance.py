"""Balance: weights that keep the loss's size, draws that hang on seed and epoch alone, imbalance corrected once."""

import math
from collections import Counter
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from eyeground.data.balance import (
    WEIGHTINGS,
    Strategy,
    Weighting,
    analyze,
    check_strategies,
    class_weights,
    epoch_length,
    epoch_numbers,
    log_priors,
)
from eyeground.data.order import copies, order_of

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
COUNTS = st.lists(st.integers(1, 5000), min_size=1, max_size=12)
# Classes need not be numbered without gaps: a split may lack one.
LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(lambda found: np.array(found, np.int64))


def oversampled_slowly(labels: NDArray[np.int64], up_to: float) -> dict[int, int]:
    """How many images of each class an oversampled epoch holds: one image more at a time until there are enough."""
    sizes = Counter(labels.tolist())
    for label in list(sizes):
        while sizes[label] < up_to * max(Counter(labels.tolist()).values()) - 1e-9:
            sizes[label] += 1
    return dict(sizes)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.repeat([0, 1, 2], [50, 7, 3])
    theirs = compute_class_weight("balanced", classes=np.array([0, 1, 2]), y=labels)
    assert class_weights([50, 7, 3], how="balanced") == pytest.approx(theirs)


def test_the_other_weights_are_those_worked_out_by_hand() -> None:
    # 1 / sqrt(n) of 16 and 4 images: 1/4 and 1/2; their sum over the images is 4 + 2 = 6 for 20 images.
    assert class_weights([16, 4], how="sqrt_inverse") == pytest.approx((20 / 24, 20 / 12))
    # 1 / n: each class sums to 1, so 2 for 20 images.
    assert class_weights([16, 4], how="inverse") == pytest.approx((10 / 16, 10 / 4))
    # (1 - 0.5) / (1 - 0.5^n) of 1 and 2 images: 1 and 2/3; 1 + 4/3 = 7/3 for 3 images.
    assert class_weights([1, 2], how="effective", beta=0.5) == pytest.approx((9 / 7, 6 / 7))
    # One's own, 1 and 3: 16 + 12 = 28 for 20 images.
    assert class_weights([16, 4], how=[1, 3]) == pytest.approx((20 / 28, 60 / 28))
    assert class_weights([16, 4], how={"dr": 3, "no": 1}, classes=("no", "dr")) == pytest.approx((20 / 28, 60 / 28))


def test_effective_weights_go_from_equal_to_inverse() -> None:
    assert class_weights([90, 10], how="effective", beta=0.0) == pytest.approx((1.0, 1.0))
    nearly = class_weights([90, 10], how="effective", beta=1 - 1e-9)
    assert nearly == pytest.approx(class_weights([90, 10], how="inverse"), rel=1e-5)
    # Beyond about 1 / (1 - beta) images, more of them change nothing.
    assert class_weights([90_000, 10_000], how="effective", beta=0.999) == pytest.approx((1.0, 1.0), rel=1e-3)


@given(counts=COUNTS, how=st.sampled_from(WEIGHTINGS), beta=st.floats(0, 0.9999))
def test_the_mean_weight_over_the_images_is_one(counts: list[int], how: Weighting, beta: float) -> None:
    weights = class_weights(counts, how=how, beta=beta)
    assert sum(n * w for n, w in zip(counts, weights, strict=True)) == pytest.approx(sum(counts))
    for (n, w), (m, v) in pairwise(zip(counts, weights, strict=True)):
        assert n >= m or w >= v * (1 - 1e-9)  # the smaller class never weighs less


@given(own=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6), size=st.integers(1, 400))
def test_ones_own_weights_keep_their_proportions(own: list[float], size: int) -> None:
    weights = class_weights([size + k for k in range(len(own))], how=own)
    assert np.divide(weights, weights[0]) == pytest.approx(np.divide(own, own[0]))


def test_bad_counts_and_weights_are_refused_together() -> None:
    with pytest.raises(ValueError, match=r"class 1 \('dr4'\) has 0 images.*'rvo' has no weight.*no class 'amd'"):
        class_weights([3, 0, 1], how={"normal": 1, "dr4": 2, "amd": 2}, classes=("normal", "dr4", "rvo"))
    with pytest.raises(ValueError, match=r"2 weights for 3 classes; the weight of class 1 is 0.0: .* beta must be"):
        class_weights([3, 2, 1], how=[1.0, 0.0], beta=1.0)
    with pytest.raises(ValueError, match="weight of class 0 is nan"):
        class_weights([3, 2], how=[math.nan, 1.0])
    with pytest.raises(ValueError, match="'square' is none of balanced, inverse"):
        class_weights([3, 2], how="square")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no class"):
        class_weights([])
    with pytest.raises(ValueError, match="log priors: class 2 has 0 images"):
        log_priors([3, 2, 0])


def test_priors_are_the_logarithms_of_the_shares() -> None:
    assert log_priors([75, 20, 5]) == pytest.approx(np.log([0.75, 0.2, 0.05]))


CORRECTIONS = tuple(name for name in STRATEGIES if name != "none")
PAIRS = tuple((a, b) for a in CORRECTIONS for b in CORRECTIONS if a != b)


@pytest.mark.parametrize("pair", PAIRS)
def test_two_corrections_are_refused_unless_asked_for_by_name(pair: tuple[Strategy, Strategy]) -> None:
    """The clinic's recipe drew evenly and weighed a focal loss by class as well; nothing said so."""
    with pytest.raises(ValueError, match=rf"{pair[0]}, {pair[1]}.*20 times more.*double_correction=true"):
        check_strategies(pair, double=False)
    check_strategies(pair, double=True)


def test_single_corrections_pass_and_nonsense_does_not() -> None:
    for name in STRATEGIES:
        check_strategies([name], double=False)
    check_strategies([], double=False)
    with pytest.raises(ValueError, match="none beside focal"):
        check_strategies(["none", "focal"], double=True)
    with pytest.raises(ValueError, match="names focal more than once"):
        check_strategies(["focal", "focal"], double=True)


def test_correcting_twice_really_over_weights_the_small_class() -> None:
    """What the refusal says, counted: drawn evenly and then weighed, a class 20 times smaller counts 20 times more."""
    labels = np.repeat([0, 1], [2000, 100])
    weights = np.array(class_weights(np.bincount(labels).tolist()))
    once = np.bincount(labels, weights[labels])
    assert once[1] == pytest.approx(once[0])
    drawn = labels[epoch_numbers(labels, strategy="balanced_sampling", seed=0, epoch=0)]
    twice = np.bincount(drawn, weights[drawn])
    assert 17 < twice[1] / twice[0] < 23


@pytest.mark.parametrize("strategy", ["none", "weighted", "focal", "logit_adjust"])
def test_what_corrects_the_loss_leaves_the_draws_alone(strategy: Strategy) -> None:
    labels = np.array([0, 0, 0, 1, -1])  # and asks for no label
    for epoch in range(3):
        numbers = epoch_numbers(labels, strategy=strategy, seed=7, epoch=epoch)
        assert numbers.tolist() == order_of(samples=5, seed=7, epoch=epoch).tolist()
    assert epoch_length(labels, strategy=strategy) == 5


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(labels=LABELS, seed=st.integers(0, 2**31), epoch=st.integers(0, 300), up_to=st.floats(0.01, 1))
def test_an_epoch_is_as_long_as_told_and_the_same_again(
    strategy: Strategy, labels: NDArray[np.int64], seed: int, epoch: int, up_to: float
) -> None:
    first, again = (epoch_numbers(labels, strategy=strategy, seed=seed, epoch=epoch, up_to=up_to) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first.dtype == np.int64
    assert len(first) == epoch_length(labels, strategy=strategy, up_to=up_to)
    assert set(first.tolist()) <= set(range(len(labels)))


@given(labels=LABELS, epoch=st.integers(0, 300), up_to=st.floats(0.01, 1))
def test_oversampling_keeps_every_image_and_fills_up_evenly(
    labels: NDArray[np.int64], epoch: int, up_to: float
) -> None:
    numbers = epoch_numbers(labels, strategy="oversample", seed=3, epoch=epoch, up_to=up_to)
    times = np.bincount(numbers, minlength=len(labels))
    assert times.min() >= 1
    assert Counter(labels[numbers].tolist()) == oversampled_slowly(labels, up_to)
    for label in set(labels.tolist()):
        mine = times[labels == label]
        assert mine.max() - mine.min() <= 1


def test_oversampling_is_what_is_worked_out_by_hand() -> None:
    labels = np.repeat([0, 1, 2], [30, 4, 1])
    numbers = epoch_numbers(labels, strategy="oversample", seed=0, epoch=0, up_to=0.1)
    assert np.bincount(labels[numbers]).tolist() == [30, 4, 3]
    # 7% of 100 are 7 and not 8, although 0.07 * 100 is 7.000000000000001 in floats.
    assert epoch_length(np.repeat([0, 1], [100, 1]), strategy="oversample", up_to=0.07) == 107
    numbers = epoch_numbers(labels, strategy="oversample", seed=0, epoch=0)
    assert np.bincount(labels[numbers]).tolist() == [30, 30, 30]
    assert sorted(np.bincount(numbers)[30:34].tolist()) == [7, 7, 8, 8]
    assert np.bincount(numbers)[34] == 30
    assert sorted(copies(numbers)[numbers == 34].tolist()) == list(range(30))  # so each can be augmented in its own way
    assert numbers[:30].tolist() != list(range(30))  # shuffled


def test_which_images_come_once_more_changes_with_the_epoch() -> None:
    labels = np.repeat([0, 1], [9, 6])
    extra = set()
    for epoch in range(20):
        times = np.bincount(epoch_numbers(labels, strategy="oversample", seed=0, epoch=epoch))
        extra.add(tuple(np.flatnonzero(times == 2).tolist()))
    assert len(extra) > 5


def test_balanced_sampling_draws_each_class_equally_often() -> None:
    labels = np.repeat([0, 2, 3], [900, 90, 10])  # class 1 is absent
    drawn = np.zeros(4)
    images: Counter[int] = Counter()
    for epoch in range(20):
        numbers = epoch_numbers(labels, strategy="balanced_sampling", seed=1, epoch=epoch)
        drawn += np.bincount(labels[numbers], minlength=4)
        images.update(numbers.tolist())
    shares = drawn / drawn.sum()
    # 20,000 draws: one standard deviation is 0.0033.
    assert shares == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3], abs=0.02)
    rare = [images[number] for number in range(990, 1000)]
    assert min(rare) > 0.8 * np.mean(rare)  # within a class all images alike
    assert sum(images[number] > 0 for number in range(900)) > 890  # of 900, each drawn 7.4 times on average


def test_seed_and_epoch_change_the_draws() -> None:
    labels = np.repeat([0, 1], [20, 5])
    for strategy in STRATEGIES:
        drawn = {
            tuple(epoch_numbers(labels, strategy=strategy, seed=seed, epoch=epoch).tolist())
            for seed in range(3)
            for epoch in range(3)
        }
        assert len(drawn) == 9


def test_draws_by_class_need_labels() -> None:
    for strategy in ("balanced_sampling", "oversample"):
        with pytest.raises(ValueError, match="2 of 3 images have no label"):
            epoch_numbers(np.array([0, -1, -1]), strategy=strategy, seed=0, epoch=0)
        with pytest.raises(ValueError, match="there is no image"):
            epoch_numbers(np.array([], np.int64), strategy=strategy, seed=0, epoch=0)
        for up_to in (0.0, 1.2, math.nan):
            with pytest.raises(ValueError, match="up_to must be above 0 and at most 1"):
                epoch_numbers(np.array([0, 1]), strategy=strategy, seed=0, epoch=0, up_to=up_to)


def test_the_analysis_is_what_is_worked_out_by_hand() -> None:
    found = analyze({"mild": 25, "no DR": 50, "severe": 25}, patients={"mild": 20, "no DR": 40, "severe": 9})
    assert found.classes == ("no DR", "mild", "severe")
    assert (found.counts, found.patients, found.shares) == ((50, 25, 25), (40, 20, 9), (0.5, 0.25, 0.25))
    assert found.ratio == 2
    # Entropy of 1/2, 1/4, 1/4: 1.5 bits of the log2(3) there could be; 2^1.5 equal classes.
    assert found.entropy == pytest.approx(1.5 / math.log2(3))
    assert found.effective_classes == pytest.approx(2**1.5)
    assert (found.constant_accuracy, found.constant_balanced_accuracy) == (0.5, pytest.approx(1 / 3))
    assert found.rare == ("severe",)


@given(sizes=st.lists(st.integers(1, 10_000), min_size=2, max_size=30))
def test_the_figures_stay_in_their_ranges(sizes: list[int]) -> None:
    found = analyze({str(k): size for k, size in enumerate(sizes)})
    assert found.counts == tuple(sorted(sizes, reverse=True))
    assert sum(found.shares) == pytest.approx(1)
    assert 0 <= found.entropy <= 1 + 1e-12
    assert 1 - 1e-12 <= found.effective_classes <= len(sizes) * (1 + 1e-12)
    assert found.ratio >= 1
    assert found.constant_accuracy >= found.constant_balanced_accuracy - 1e-12
    assert found.advice


@pytest.mark.parametrize(
    ("small", "said", "unsaid"),
    [
        (100, "nothing to correct", "imbalance="),
        (50, "imbalance=none", "imbalance=weighted"),
        (20, "then with imbalance=weighted", "logit_adjust"),
        (5, "imbalance=weighted first", "logit_adjust"),
        (2, "imbalance=logit_adjust first", "imbalance=none"),
    ],
)
def test_the_advice_goes_with_the_ratio(small: int, said: str, unsaid: str) -> None:
    words = " ".join(analyze({"normal": 100, "drusen": small}).advice)
    assert said in words
    assert unsaid not in words
    assert ("Do not read accuracy" in words) == (small <= 20)
    assert ("Correct once" in words) == (small <= 20)
    assert ("Fewer than 15 images (patients are not known): 'drusen'" in words) == (small < 15)


def test_few_patients_count_and_not_their_images() -> None:
    words = " ".join(analyze({"a": 100, "b": 90}, patients={"a": 50, "b": 14}).advice)
    assert "Fewer than 15 patients: 'b'. A split of 60:20:20 leaves fewer than 3" in words
    assert not analyze({"a": 100, "b": 90}, patients={"a": 50, "b": 15}).rare


def test_one_class_has_no_entropy_to_compare() -> None:
    found = analyze({"normal": 40})
    assert math.isnan(found.entropy)
    assert (found.ratio, found.effective_classes, found.constant_balanced_accuracy) == (1, 1, 1)
    assert found.advice == ("There is one class, 'normal': nothing to tell apart and nothing to balance.",)


def test_an_empty_class_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"class 1 \('drusen'\) has 0 images"):
        analyze({"drusen": 0, "normal": 3})
    with pytest.raises(ValueError, match="there is no class"):
        analyze({})
