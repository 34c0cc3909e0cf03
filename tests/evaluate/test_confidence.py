"""The bootstrap by patient."""

import numpy as np
import pytest

from eyeground.evaluate import confidence
from eyeground.evaluate.confusion import confusion
from eyeground.evaluate.metrics import accuracy

from .drawn import scored


def test_images_of_a_patient_are_drawn_together_and_patients_with_replacement() -> None:
    patients = ["a", "b", "a", "c", "b", "b"]
    drawn = confidence.weights(patients, 500, seed=3)
    assert drawn.shape == (500, 6)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many patients as there are
    assert drawn[:, 0].max() > 1


def test_chunks_give_the_same_draws_as_one_piece() -> None:
    patients = [str(row // 3) for row in range(4000)]  # many rows, hence many small chunks
    sizes = [len(chunk) for chunk in confidence.chunks(patients, 200, seed=5)]
    assert len(sizes) > 1
    groups = len(set(patients))
    draws = np.random.default_rng(5).integers(0, groups, size=(200, groups))
    _, place = np.unique(np.asarray(patients, dtype=object), return_inverse=True)
    whole = np.stack([np.bincount(line, minlength=groups)[place] for line in draws])
    assert (confidence.weights(patients, 200, seed=5) == whole).all()


def test_interval_equals_numpy_and_leaves_undefined_resamples_out() -> None:
    samples = np.random.default_rng(0).normal(size=(400, 3))
    samples[:150, 1] = np.nan
    samples[:250, 2] = np.nan
    low, high = confidence.interval(samples)
    for column in (0, 1):
        known = samples[np.isfinite(samples[:, column]), column]
        assert low[column] == pytest.approx(np.percentile(known, 2.5))
        assert high[column] == pytest.approx(np.percentile(known, 97.5))
    assert np.isnan([low[2], high[2]]).all()


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        right = rng.random(80) < 0.7
        samples = confidence.bootstrap(
            lambda w, right=right: (w @ right.astype(float) / w.sum(axis=1))[:, None],
            [str(row) for row in range(80)],
            resamples=300,
            seed=trial,
        )
        low, high = confidence.interval(samples)
        hits += bool(low[0] <= 0.7 <= high[0])
    assert 0.89 <= hits / 200 <= 0.985


def test_patients_with_many_images_widen_the_interval() -> None:
    truth, scores = scored(40, 2, seed=2, skill=0.8)
    truth, scores = np.repeat(truth, 5), np.repeat(scores, 5, axis=0)  # five equal images of each patient

    def width(patients: list[str]) -> float:
        samples = confidence.bootstrap(
            lambda w: accuracy.value(truth, scores, w)[:, None], patients, resamples=1000, seed=0
        )
        low, high = confidence.interval(samples)
        return float(high[0] - low[0])

    by_patient, by_image = width([str(row // 5) for row in range(200)]), width([str(row) for row in range(200)])
    assert by_patient / by_image == pytest.approx(np.sqrt(5), rel=0.2)


def test_one_patient_has_a_value_but_no_interval() -> None:
    found = confidence.estimates(np.array([0.7, np.nan]), np.full((9, 2), 0.7), ["", "class 'x' is absent"], 1)
    assert found[0].value == 0.7
    assert found[0].to_json() == {"value": 0.7, "low": None, "high": None, "reason": "no interval: only 1 patient"}
    assert found[1].to_json() == {"value": None, "reason": "class 'x' is absent"}


def test_partial_counts_only_classes_that_the_data_has() -> None:
    truth = np.array([0, 1, 1])
    drawn = np.array([[1.0, 1, 1], [0, 2, 1], [3, 0, 0]])
    matrices = confusion(truth, np.eye(3)[truth], drawn)
    assert confidence.partial(truth, matrices).tolist() == [False, True, True]


def test_nothing_to_resample_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        confidence.bootstrap(lambda w: w, [], resamples=10)
    with pytest.raises(ValueError, match="0 resamples"):
        confidence.bootstrap(lambda w: w, ["a"], resamples=0)
