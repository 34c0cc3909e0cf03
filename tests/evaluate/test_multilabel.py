"""Labels taken as one answer, against scikit-learn and loops."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from eyeground.evaluate.multilabel import METRICS, reasons_undefined, together, values


def drawn(rows: int, seed: int, ties: bool) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, 5)) < [0.6, 0.4, 0.3, 0.2, 0.15]
    scores = np.clip(0.3 * truth + 0.8 * rng.random((rows, 5)), 0, 1)
    return truth, scores.round(1) if ties else scores


def measured(truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(METRICS, values(truth, scores, weights[None])[0].tolist(), strict=True))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_measure_is_that_of_scikit_learn(seed: int, ties: bool) -> None:
    truth, scores = drawn(70, seed, ties)
    weights = np.random.default_rng(seed).integers(0, 4, 70)
    found = measured(truth, scores, weights.astype(np.float64))
    truth, scores = np.repeat(truth, weights, axis=0), np.repeat(scores, weights, axis=0)
    said, some = scores > 0.5, truth.any(axis=1)
    assert found["exact_match"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert found["hamming_loss"] == pytest.approx(metrics.hamming_loss(truth, said))
    assert found["f1_micro"] == pytest.approx(metrics.f1_score(truth, said, average="micro"))
    assert (
        found["f1_macro"] == found["f1_macro_present"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    )
    assert found["lrap"] == pytest.approx(metrics.label_ranking_average_precision_score(truth[some], scores[some]))
    assert 0 < (~some).sum() < len(some)


def test_rows_without_a_label_do_not_flatter_the_ranking() -> None:
    truth = np.array([[True, False, False], [False, False, False]])
    scores = np.array([[0.2, 0.9, 0.8], [0.1, 0.1, 0.1]])
    assert measured(truth, scores, np.ones(2))["lrap"] == pytest.approx(1 / 3)
    assert metrics.label_ranking_average_precision_score(truth, scores) == pytest.approx(2 / 3)  # 1 for the empty row


def test_a_small_case_by_hand() -> None:
    truth = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    scores = np.array([[0.9, 0.6, 0.2], [0.1, 0.8, 0.3], [0.4, 0.5, 0.1], [0.7, 0.6, 0.9]])
    # Said: 110, 010, 000, 111; the score 0.5 is not above 0.5.
    found = measured(truth, scores, np.ones(4))
    assert found["exact_match"] == 3 / 4
    assert found["hamming_loss"] == pytest.approx(2 / 12)
    assert found["f1_micro"] == pytest.approx(2 * 5 / (6 + 6))
    assert found["f1_macro"] == pytest.approx((1 + 4 / 5 + 2 / 3) / 3)
    assert found["lrap"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)


def test_what_cannot_be_measured_is_undefined_with_its_reason() -> None:
    truth = np.array([[True, False], [False, False]])
    scores = np.array([[0.9, 0.2], [0.3, 0.8]])
    found = measured(truth, scores, np.ones(2))
    assert np.isnan(found["f1_macro"])
    assert found["f1_macro_present"] == 1
    assert "'DR'" in reasons_undefined(truth, ("AMD", "DR"))[METRICS.index("f1_macro")]
    nothing = measured(np.zeros((2, 2), bool), scores, np.ones(2))
    assert [name for name in METRICS if np.isnan(nothing[name])] == [
        "f1_micro", "f1_macro", "f1_macro_present", "lrap",
    ]  # fmt: skip
    assert all(reasons_undefined(np.zeros((2, 2), bool), ("AMD", "DR"))[2:])
    empty = values(np.zeros((0, 2), bool), np.zeros((0, 2)), np.zeros((3, 0)))
    assert empty.shape == (3, len(METRICS))
    assert np.isnan(empty).all()
    assert set(reasons_undefined(np.zeros((0, 2), bool), ("AMD", "DR"))) == {"no image has all labels known"}


def test_labels_seen_together_are_counted_as_a_loop_counts_them() -> None:
    truth = np.random.default_rng(0).integers(-1, 2, (50, 4))
    both, of = together(truth)
    for i in range(4):
        for j in range(4):
            assert both[i, j] == sum(row[i] == 1 and row[j] == 1 for row in truth.tolist())
            assert of[i, j] == sum(row[i] == 1 and row[j] >= 0 for row in truth.tolist())
