"""The pairs of a comparison: which were planned, their paired tests, and the correction for how many there are."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import resampled
from eyeground.evaluate.delong import Influence, influence_test
from eyeground.evaluate.paired import PairedTest, holm, mcnemar, paired_difference
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.wording import listed, shown


class Side(NamedTuple):
    """What the paired tests need to know of one initialization, its seeds averaged.

    Args:
        tables: Predictions of each seed, on the same labelled rows.
        headline: The headline metric, mean over seeds.
        headline_samples: The same in each resample, shape (T,).
        influence: Macro AUROC and each row's pull on it, mean over seeds.
        said: Class that most seeds say, shape (N,).
        right_samples: Accuracy of ``said`` in each resample, shape (B,).

    Example:
        >>> table = Predictions(("a",), ("p",), ("",), ("",), ("",), np.array([0]), np.array([[0.9, 0.1]]),
        ...                     ("normal", "cataract"), False, True, ("",))
        >>> Side([table], 1.0, np.ones(9), Influence(1.0, np.zeros(1)), table.said, np.ones(9)).headline
        1.0

    References:
        Our own.
    """

    tables: Sequence[Predictions]
    headline: float
    headline_samples: NDArray[np.float64]
    influence: Influence
    said: NDArray[np.int64]
    right_samples: NDArray[np.float64]


def reference_problems(inits: Sequence[str], references: Mapping[str, str]) -> list[str]:
    """Say what is wrong with the references.

    Args:
        inits: The initializations.
        references: Initialization -> the one it is compared with.

    Returns:
        A sentence for each unknown name, each initialization that is its own reference, and each circle.

    Example:
        >>> reference_problems(["a", "b"], {"a": "b", "b": "a"})
        ["references run in a circle: 'a' -> 'b' -> 'a'; take one of them out"]
        >>> reference_problems(["a", "b"], {"b": "a"})
        []

    References:
        Our own.
    """
    known, problems = listed(inits, most=20), []
    for init, reference in references.items():
        if init not in inits:
            problems.append(f"{listed([init])}, which has a reference, is none of {known}")
        if reference not in inits:
            problems.append(f"reference {listed([reference])} of {listed([init])} is none of {known}")
        if reference == init:
            problems.append(f"{listed([init])} is its own reference; name another or none")
    done: set[str] = set()
    for start in references:
        walk, at = [], start
        while at in references and at not in done:
            done.add(at)
            walk.append(at)
            at = references[at]
        if at in walk and references[at] != at:
            circle = [*walk[walk.index(at) :], at]
            names = " -> ".join(f"'{shown(name, 40)}'" for name in circle)
            problems.append(f"references run in a circle: {names}; take one of them out")
    return problems


def pairs_of(inits: Sequence[str], references: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """List all pairs: first every initialization with its reference, in the order given, then the others.

    Args:
        inits: The initializations that there are.
        references: Initialization -> the one it is compared with, without circles; names that are not there do not
            matter.

    Returns:
        First, second, and whether the pair was planned. The second is the reference, else the one given earlier.

    Example:
        >>> pairs_of(["random", "mae", "imagenet"], {"mae": "random", "random": "imagenet"})
        [('random', 'imagenet', True), ('mae', 'random', True), ('imagenet', 'mae', False)]

    References:
        Our own.
    """
    planned = [(init, references[init]) for init in inits if references.get(init) in inits]
    others = [(a, b) for b, a in combinations(inits, 2) if (a, b) not in planned and (b, a) not in planned]
    return [(*pair, True) for pair in planned] + [(*pair, False) for pair in others]


def paired_tests(sides: Mapping[str, Side], references: Mapping[str, str], headline: str) -> list[dict[str, Any]]:
    """Test all pairs of one way and label fraction, and correct for how many there are, each method by itself.

    Planned pairs, those of an initialization and its reference, are corrected among themselves: how many other pairs
    the same grid happens to hold says nothing about them. Every other pair is corrected over all pairs, planned ones
    included. So each of the two families holds its 5% for any false finding by itself, not both together.

    Args:
        sides: Initialization -> what is known of it; all are about the same rows and the same resamples.
        references: Initialization -> the one it is compared with, without circles.
        headline: Metric of the paired bootstrap.

    Returns:
        Lines of ``Comparison.tests`` without way and fraction: method by method, pairs in the order of ``pairs_of``.

    Example:
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> side = Side([table], 1.0, np.ones(9), Influence(1.0, np.zeros(2)), table.said, np.ones(9))
        >>> lines = paired_tests({"random": side, "mae": side}, {"mae": "random"}, "auroc_macro")
        >>> [(line["a"], line["b"], line["planned"], line["p_holm"]) for line in lines][0]
        ('mae', 'random', True, 1.0)

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat 1979;6:65; Bender & Lange,
        "Adjusting for multiple testing - when and how?", J Clin Epidemiol 2001;54:343 (which tests are one family).
        Rothman, "No adjustments are needed for multiple comparisons", Epidemiology 1990;1:43, goes further than we do.
    """
    pairs = pairs_of(tuple(sides), references)
    found: dict[tuple[str, str], list[PairedTest]] = {
        ("bootstrap", headline): [], ("delong", "auroc_macro"): [], ("mcnemar", "accuracy"): []
    }  # fmt: skip
    for a, b, _ in pairs:
        for answers, test in zip(found.values(), _tested(sides[a], sides[b], headline), strict=True):
            answers.append(test)
    lines = []
    for (name, metric), answers in found.items():
        values = [test.p for test in answers]
        among_all = holm(values)
        count = sum(planned for *_, planned in pairs)  # the planned stand first
        adjusted = [*holm(values[:count]), *among_all[count:]]
        for (a, b, planned), test, p_holm in zip(pairs, answers, adjusted, strict=True):
            lines.append(
                {"a": a, "b": b, "planned": planned, "test": name, "metric": metric, "difference": test.difference,
                 "low": test.low, "high": test.high, "p": test.p, "p_holm": p_holm, "n_patients": test.patients,
                 "reason": test.reason}
            )  # fmt: skip
    return lines


def _tested(one: Side, two: Side, headline: str) -> tuple[PairedTest, PairedTest, PairedTest]:
    """Paired bootstrap, DeLong's and McNemar's test of one pair."""
    table = one.tables[0]
    patients = len(set(table.patients))
    reasons = [resampled.reason(headline, each) for each in (*one.tables, *two.tables)]
    drawn = paired_difference(
        one.headline - two.headline,
        one.headline_samples - two.headline_samples,
        patients=patients,
        reason=next(filter(None, reasons), ""),
    )
    areas = influence_test(table.truth, one.influence, two.influence, patients=table.patients, classes=table.classes)
    votes = mcnemar(table.truth, one.said, two.said)
    right = paired_difference(votes.difference, one.right_samples - two.right_samples, patients=patients)
    return drawn, areas.test, right if math.isnan(right.p) else right._replace(p=votes.p)
