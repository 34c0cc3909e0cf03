"""How unequal the classes of a set are, and what answers it: weights in the loss, shifted logits, other draws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eyeground.data.exam.finding import counted
from eyeground.data.order import order_of, seed_from

Strategy = Literal["none", "weighted", "focal", "logit_adjust", "balanced_sampling", "oversample"]
Weighting = Literal["balanced", "inverse", "sqrt_inverse", "effective"]
WEIGHTINGS: Final[tuple[Weighting, ...]] = get_args(Weighting)

# The largest class over the smallest; rules of thumb of our own, the same as the doctor's (data/faults/classes.py).
# Below 3 to 1 the noise of a few hundred images weighs more than the imbalance; from 10 to 1 on a plain loss learns the
# small classes late; from 50 to 1 on an image of the smallest would have to weigh as much as 50 others, so that the
# few batches that hold one would steer the training.
MILD: Final = 3.0
MODERATE: Final = 10.0
SEVERE: Final = 50.0
# A split of 60:20:20 leaves a class of fewer than 15 patients fewer than 3 for the test: no number about it means much.
FEW_PATIENTS: Final = 15


def class_weights(
    counts: Sequence[int],
    *,
    how: Weighting | Mapping[str, float] | Sequence[float] = "balanced",
    beta: float = 0.999,
    classes: Sequence[str] = (),
) -> tuple[float, ...]:
    """Weigh the classes of a loss so that small ones count more.

    Whatever the way, the mean weight over all images is 1: the loss keeps its size, and so a learning rate keeps its
    meaning. Then ``"inverse"`` (1 / n) and ``"balanced"`` (N / (K n)) are the same.

    Args:
        counts: Training images of each class (K), each at least 1.
        how: ``"balanced"``, ``"inverse"``, ``"sqrt_inverse"`` (1 / sqrt(n)), ``"effective"``
            ((1 - beta) / (1 - beta^n)), or weights of one's own above 0: one per class, or by the classes' names.
        beta: For ``"effective"``: from 0 (all alike) toward 1 (as ``"inverse"``), [0, 1).
        classes: Names of the classes (K), for messages and for weights by name.

    Returns:
        Weights w (K), with the sum of n w equal to N.

    Raises:
        ValueError: If there is no class or one without images, beta is out of range, or one's own weights are not one
            number above 0 for each class; all faults are listed together.

    Example:
        >>> [round(weight, 3) for weight in class_weights([6, 2])]
        [0.667, 2.0]
        >>> [round(weight, 3) for weight in class_weights([6, 2], how={"a": 1, "b": 5}, classes=("a", "b"))]
        [0.5, 2.5]

    References:
        King & Zeng, "Logistic regression in rare events data", Political Analysis 2001;9:137 (balanced);
        Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019.
    """
    own, faults = ([], []) if isinstance(how, str) else _own_weights(how, len(counts), classes)
    faults = _faults(counts, classes) + faults
    if isinstance(how, str) and how not in WEIGHTINGS:
        faults.append(f"{how!r} is none of {', '.join(WEIGHTINGS)}")
    if not 0 <= beta < 1:
        faults.append(f"beta must be at least 0 and below 1, not {beta}")
    if faults:
        raise ValueError("class weights: " + "; ".join(faults))
    if not isinstance(how, str):
        raw = own
    elif how == "sqrt_inverse":
        raw = [1 / math.sqrt(count) for count in counts]
    elif how == "effective":
        raw = [(1 - beta) / (1 - beta**count) for count in counts]
    else:
        raw = [1 / count for count in counts]
    mean = math.fsum(count * weight for count, weight in zip(counts, raw, strict=True)) / sum(counts)
    return tuple(weight / mean for weight in raw)


def log_priors(counts: Sequence[int], *, classes: Sequence[str] = ()) -> tuple[float, ...]:
    """Give the logarithm of each class's share, which logit adjustment adds to the logits while it trains.

    Args:
        counts: Training images of each class (K), each at least 1.
        classes: Names of the classes (K), for messages.

    Returns:
        log(n / N) of each class (K), each at most 0.

    Raises:
        ValueError: If there is no class, or one without images: the logarithm of 0 has no value.

    Example:
        >>> [round(prior, 3) for prior in log_priors([3, 1])]
        [-0.288, -1.386]

    References:
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equation 10.
    """
    if faults := _faults(counts, classes):
        raise ValueError("log priors: " + "; ".join(faults))
    return tuple(math.log(count / sum(counts)) for count in counts)


def check_strategies(strategies: Sequence[Strategy], *, double: bool) -> None:
    """Refuse to correct imbalance twice unless that is asked for by name.

    Args:
        strategies: What the configuration names.
        double: Whether correcting twice is meant.

    Raises:
        ValueError: If one is named twice, ``"none"`` is named beside another, or two corrections are named and
            ``double`` is False; the message says what correcting twice does and how to ask for it.

    Example:
        >>> check_strategies(["weighted"], double=False)
        >>> check_strategies(["focal", "balanced_sampling"], double=True)

    References:
        Our own.
    """
    twice = sorted({name for name in strategies if strategies.count(name) > 1})
    if twice:
        raise ValueError(f"imbalance names {', '.join(twice)} more than once; name it once")
    if "none" in strategies and len(strategies) > 1:
        others = [name for name in strategies if name != "none"]
        raise ValueError(f"imbalance names none beside {', '.join(others)}; leave one or the other out")
    if len(strategies) > 1 and not double:
        raise ValueError(
            f"imbalance would be corrected {len(strategies)} times ({', '.join(strategies)}): one correction makes a "
            "class 20 times smaller than another count as much, a second makes it count 20 times more. It is then "
            "called too often, and its probabilities are too high. Name one, or write double_correction=true if you "
            "mean it"
        )


def epoch_numbers(
    labels: NDArray[np.int64], *, strategy: Strategy, seed: int, epoch: int, up_to: float = 1.0
) -> NDArray[np.int64]:
    """Choose which samples an epoch holds, and in which order.

    ``"balanced_sampling"`` draws N times with replacement, a class first and then one of its images, so each class
    comes equally often in expectation. ``"oversample"`` takes every image once and those of smaller classes again,
    each as evenly often as possible, until each class has ``up_to`` times the images of the largest; which images come
    once more than others changes with the epoch. All other strategies are a plain shuffle.

    Args:
        labels: Class of each sample, shape (N,), each at least 0.
        strategy: What answers imbalance.
        seed: The run's seed.
        epoch: Which epoch, from 0.
        up_to: For ``"oversample"``: least size of a class as a share of the largest, (0, 1].

    Returns:
        Sample numbers, shape (M,) with M as ``epoch_length`` says; a function of the arguments alone.

    Raises:
        ValueError: If the strategy draws by class and a sample is not labelled (-1) or there is none, or ``up_to`` is
            out of range.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1])
        >>> numbers = epoch_numbers(labels, strategy="oversample", seed=0, epoch=0)
        >>> np.bincount(labels[numbers]).tolist(), np.bincount(numbers).tolist()
        ([4, 4], [1, 1, 1, 1, 4])

    References:
        Our own; Buda et al., "A systematic study of the class imbalance problem in convolutional neural networks",
        Neural Networks 2018;106:249.
    """
    if strategy not in ("balanced_sampling", "oversample"):
        return order_of(samples=len(labels), seed=seed, epoch=epoch)
    wanted = _wanted(labels, up_to)
    members = {label: np.flatnonzero(labels == label) for label in wanted}
    rng = np.random.default_rng(seed_from(seed, strategy, epoch))
    if strategy == "balanced_sampling":
        by_class = list(members.values())
        drawn = rng.integers(len(by_class), size=len(labels))
        sizes = np.array([len(mine) for mine in by_class])
        places = rng.integers(sizes[drawn])
        return np.array([by_class[k][place] for k, place in zip(drawn, places, strict=True)], np.int64)
    parts = []
    for label, mine in members.items():
        rounds, rest = divmod(wanted[label], len(mine))
        parts += [np.tile(mine, rounds), rng.choice(mine, rest, replace=False)]
    return rng.permutation(np.concatenate(parts))


def epoch_length(labels: NDArray[np.int64], *, strategy: Strategy, up_to: float = 1.0) -> int:
    """Say how many samples an epoch holds.

    Args:
        labels: Class of each sample, shape (N,).
        strategy: What answers imbalance.
        up_to: As for ``epoch_numbers``.

    Returns:
        N, or with ``"oversample"`` the sum over classes of what each is filled up to.

    Raises:
        ValueError: As ``epoch_numbers``.

    Example:
        >>> epoch_length(np.array([0, 0, 0, 0, 1]), strategy="oversample", up_to=0.5)
        6

    References:
        Our own.
    """
    return sum(_wanted(labels, up_to).values()) if strategy == "oversample" else len(labels)


@dataclass(frozen=True)
class Imbalance:
    """How unequal the classes of a set are, and what to do about it.

    Args:
        classes: Names of the classes (K), the largest first.
        counts: Images of each (K).
        patients: Patients of each (K); empty where they are not known.
        shares: Share of all images (K), each in (0, 1].
        ratio: Images of the largest class for one of the smallest, at least 1.
        entropy: Entropy of the shares over that of equal ones, [0, 1]; NaN with one class, where both are 0.
        effective_classes: How many equal classes would be as uneven, [1, K]: exp of the entropy.
        constant_accuracy: Accuracy of always answering the largest class.
        constant_balanced_accuracy: Balanced accuracy of that answer: 1 / K.
        rare: Classes with fewer than ``FEW_PATIENTS`` patients (images, where patients are not known).
        advice: What to read, what to try and what to change in the set: one sentence each.

    Example:
        >>> analyze({"normal": 3, "drusen": 1}).effective_classes < 2
        True

    References:
        Our own.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    patients: tuple[int, ...]
    shares: tuple[float, ...]
    ratio: float
    entropy: float
    effective_classes: float
    constant_accuracy: float
    constant_balanced_accuracy: float
    rare: tuple[str, ...]
    advice: tuple[str, ...]


def analyze(counts: Mapping[str, int], *, patients: Mapping[str, int] | None = None) -> Imbalance:
    """Measure how unequal the classes of a set are, and say what to do about it.

    Args:
        counts: Images of each class, each at least 1.
        patients: Patients of each class; None where they are not known.

    Returns:
        The analysis; classes of one size stay in the order given.

    Raises:
        ValueError: If there is no class, or one without images.

    Example:
        >>> found = analyze({"drusen": 20, "normal": 80}, patients={"drusen": 12, "normal": 60})
        >>> found.classes, found.ratio, found.rare
        (('normal', 'drusen'), 4.0, ('drusen',))

    References:
        Shannon, "A mathematical theory of communication", 1948; Hill, "Diversity and evenness", Ecology 1973;54:427
        (effective number). The advice and its limits are our own.
    """
    names = tuple(sorted(counts, key=lambda name: -counts[name]))
    sizes = tuple(counts[name] for name in names)
    if faults := _faults(sizes, names):
        raise ValueError("imbalance: " + "; ".join(faults))
    shares = tuple(size / sum(sizes) for size in sizes)
    entropy = -math.fsum(share * math.log(share) for share in shares)
    people = tuple(patients[name] for name in names) if patients is not None else ()
    rare = tuple(name for name, number in zip(names, people or sizes, strict=True) if number < FEW_PATIENTS)
    return Imbalance(
        classes=names,
        counts=sizes,
        patients=people,
        shares=shares,
        ratio=sizes[0] / sizes[-1],
        entropy=entropy / math.log(len(names)) if len(names) > 1 else math.nan,
        effective_classes=math.exp(entropy),
        constant_accuracy=shares[0],
        constant_balanced_accuracy=1 / len(names),
        rare=rare,
        advice=_advice(names, sizes, rare, patients_known=patients is not None),
    )


def _advice(
    names: tuple[str, ...], sizes: tuple[int, ...], rare: tuple[str, ...], *, patients_known: bool
) -> tuple[str, ...]:
    """What to read, what to try, what to change in the set."""
    if len(names) == 1:
        return (f"There is one class, {names[0]!r}: nothing to tell apart and nothing to balance.",)
    ratio, share = sizes[0] / sizes[-1], sizes[0] / sum(sizes)
    always = f"always answering {names[0]!r} is right for {100 * share:.0f}% of the images"
    advice = []
    if ratio == 1:
        advice.append("All classes are equally large: accuracy and balanced accuracy are the same, nothing to correct.")
    elif ratio < MILD:
        advice.append(f"The classes are nearly equal: accuracy can be read ({always}). Train with imbalance=none.")
    else:
        advice.append(
            f"Do not read accuracy: {always}, with a balanced accuracy of 1/{len(names)}. Read balanced accuracy, "
            "macro F1 and the recall of each class."
        )
        if ratio < MODERATE:
            advice.append("Train with imbalance=none first, then with imbalance=weighted, and compare.")
        elif ratio < SEVERE:
            advice.append("Try imbalance=weighted first: a small class then counts in the loss as much as a large one.")
        else:
            advice.append(
                f"Try imbalance=logit_adjust first: at {ratio:.0f} to 1, class weights would let single images of "
                f"{names[-1]!r} steer the training. Or soften them: imbalance=weighted class_weights=sqrt_inverse."
            )
        advice.append(
            "Correct once: two corrections together over-weight the small classes. Any correction raises their "
            "probabilities above how often they occur: calibrate before reading them as risks."
        )
    if rare:
        who = "patients" if patients_known else "images (patients are not known)"
        named = ", ".join(map(repr, rare[:8])) + (f" and {len(rare) - 8} more" if len(rare) > 8 else "")
        advice.append(
            f"Fewer than {FEW_PATIENTS} {who}: {named}. A split of 60:20:20 leaves fewer than 3 of them for the test: "
            "collect more, merge with a related class, or leave out. No weighting replaces images."
        )
    return tuple(advice)


def _own_weights(
    how: Mapping[str, float] | Sequence[float], count: int, classes: Sequence[str]
) -> tuple[list[float], list[str]]:
    """One's own weights in the order of the classes, and what is wrong with them."""
    if isinstance(how, Mapping):
        faults = [f"class {name!r} has no weight" for name in classes if name not in how]
        faults += [f"there is no class {name!r} to weigh" for name in how if name not in classes]
        own = [how.get(name, 1.0) for name in classes]
    else:
        own = list(how)
        faults = [] if len(own) == count else [f"there are {len(own)} weights for {counted(count, 'class')}"]
    faults += [
        f"the weight of {_named(number, classes)} is {weight}: it must be a number above 0"
        for number, weight in enumerate(own)
        if not (math.isfinite(weight) and weight > 0)
    ]
    return own, faults


def _wanted(labels: NDArray[np.int64], up_to: float) -> dict[int, int]:
    """How many images of each class an oversampled epoch holds."""
    if not 0 < up_to <= 1:
        raise ValueError(f"up_to must be above 0 and at most 1, not {up_to}")
    unlabelled = int((labels < 0).sum())
    if unlabelled or not len(labels):
        found = (
            f"{unlabelled:,} of {counted(len(labels), 'image')} have no label" if unlabelled else "there is no image"
        )
        raise ValueError(f"drawing by class needs labels, and {found}; leave such images out, or use imbalance=none")
    present, sizes = np.unique(labels, return_counts=True)
    # Rounded before it is rounded up: in floats 0.07 * 100 is a little more than 7.
    least = math.ceil(round(up_to * int(sizes.max()), 6))
    return {int(label): max(int(size), least) for label, size in zip(present, sizes, strict=True)}


def _faults(counts: Sequence[int], classes: Sequence[str]) -> list[str]:
    """What is wrong with counts of images."""
    if not counts:
        return ["there is no class"]
    faults = [] if len(classes) in (0, len(counts)) else [f"{len(classes)} names for {counted(len(counts), 'class')}"]
    faults += [
        f"{_named(number, classes)} has {count} images: bring some, or leave the class out"
        for number, count in enumerate(counts)
        if count < 1
    ]
    return faults


def _named(number: int, classes: Sequence[str]) -> str:
    """A class by its number and, where known, its name."""
    return f"class {number}" + (f" ({classes[number]!r})" if number < len(classes) else "")
