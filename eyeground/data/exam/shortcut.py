"""Whether what has nothing to do with the eye predicts the class: a classifier that never sees the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FOLDS: Final = 5
_MOST_IMAGES: Final = 6000  # more would only cost: the interval is narrow enough
_LEAST_PATIENTS: Final = 5  # of a class; with fewer, nothing can be learned in one fold and tested in another
_RESAMPLES: Final = 400
_TREES: Final = 60


@dataclass(frozen=True)
class Predicted:
    """How well some features predict each class.

    Args:
        classes: Numbers of the classes that could be judged.
        auroc: Area under the ROC curve of each of them against all others; 0.5 is guessing.
        low: Lower ends of the 95% intervals, by patient.
        high: Upper ends.
        macro: Mean of ``auroc``.
        macro_low: Lower end of its 95% interval.
        macro_high: Upper end.

    Example:
        >>> Predicted((0, 1), (0.5, 0.5), (0.4, 0.4), (0.6, 0.6), 0.5, 0.4, 0.6).macro
        0.5

    References:
        Our own.
    """

    classes: tuple[int, ...]
    auroc: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    macro: float
    macro_low: float
    macro_high: float


def predict(
    features: NDArray[np.float64],
    labels: NDArray[np.int64],
    patients: Sequence[str],
    *,
    trees: int = _TREES,
    seed: int = 0,
) -> Predicted | None:
    """Learn classes from features and judge on other patients, in five folds.

    Args:
        features: One row for each image, shape (N, F).
        labels: Class of each image, shape (N,).
        patients: Patient of each image, length N.
        trees: Of the forest; for words in columns of 0 and 1 a few do.
        seed: Any whole number.

    Returns:
        How well it goes; None if there are not two classes with five patients each.

    Example:
        >>> labels = np.arange(200) % 2
        >>> found = predict(labels[:, None] * 10.0, labels, [str(i) for i in range(200)])
        >>> round(found.macro, 2), round(found.macro_low, 2)
        (1.0, 1.0)

    References:
        Breiman, "Random forests", Machine Learning 2001;45:5. DeGrave et al., "AI for radiographic COVID-19 detection
        selects shortcuts over signal", Nat Mach Intell 2021;3:610, for why to ask.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    names, people = np.unique(np.asarray(patients), return_inverse=True)
    usable = [k for k in np.unique(labels).tolist() if len(np.unique(people[labels == k])) >= _LEAST_PATIENTS]
    if len(usable) < 2:
        return None
    chosen = np.isin(labels, usable)
    rng = np.random.default_rng(seed)
    if chosen.sum() > _MOST_IMAGES:
        share = _MOST_IMAGES / chosen.sum()
        # Whole patients, but of a rare class all of them: it needs every one.
        rare = [k for k in usable if (labels == k).sum() * share < 200]
        lucky = rng.random(len(names)) < share
        chosen &= lucky[people] | np.isin(labels, rare)
    features, labels, people = features[chosen], labels[chosen], people[chosen]
    if len(np.unique(features, axis=0)) < 2:
        return None  # nothing differs, so nothing can tell
    scores = np.zeros((len(labels), len(usable)))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, labels, people):
        forest = RandomForestClassifier(trees, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1)
        forest.fit(features[train], labels[train])
        for column, label in enumerate(forest.classes_.tolist()):
            scores[test, usable.index(label)] = forest.predict_proba(features[test])[:, column]
    weights = np.ones((_RESAMPLES + 1, len(labels)))  # the first row is the data itself
    for row in weights[1:]:
        row[:] = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[people]
    areas = np.stack([_auroc(labels == k, scores[:, place], weights) for place, k in enumerate(usable)], axis=1)
    drawn = areas[1:][np.isfinite(areas[1:]).all(axis=1)]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0) if len(drawn) else (areas[0], areas[0])
    macro_low, macro_high = np.percentile(drawn.mean(axis=1), (2.5, 97.5)) if len(drawn) else (areas[0].mean(),) * 2
    return Predicted(
        tuple(usable),
        tuple(areas[0].tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        float(areas[0].mean()),
        float(macro_low),
        float(macro_high),
    )


def _auroc(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AUROC under each row of weights, ties counting one half; NaN where a resample lacks either side."""
    order = np.argsort(score, kind="stable")
    ordered, hit = score[order], positive[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    w = weights[:, order]
    positives = np.add.reduceat(w * hit, starts, axis=1)
    negatives = np.add.reduceat(w * ~hit, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    areas: NDArray[np.float64] = np.divide(wins, pairs, out=np.full(len(w), np.nan), where=pairs > 0)
    return areas
