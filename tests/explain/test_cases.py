"""The most similar training cases."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from eyeground.explain.cases import Cases, read_cases, write_cases


def _cases(count: int = 40) -> Cases:
    features = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    return Cases(features, tuple(f"c{n % 3}" for n in range(count)), tuple(f"{n}.png" for n in range(count)), "ab")


def test_they_are_those_that_scikit_learn_finds() -> None:
    cases, asked = _cases(), np.random.default_rng(1).normal(size=8)
    reference = NearestNeighbors(n_neighbors=5, metric="cosine").fit(cases.features)
    far, rows = reference.kneighbors(asked[None])
    found = cases.nearest(asked, count=5)
    assert [case.file for case in found] == [f"{row}.png" for row in rows[0]]
    assert [case.similarity for case in found] == pytest.approx((1 - far[0]).tolist(), abs=1e-5)
    assert [case.label for case in found] == [f"c{row % 3}" for row in rows[0]]


def test_nothing_is_like_a_feature_of_zeros_and_fewer_cases_are_fewer_answers() -> None:
    assert _cases().nearest(np.zeros(8)) == []
    assert len(_cases(3).nearest(np.ones(8), count=5)) == 3


def test_another_networks_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        _cases().nearest(np.ones(9))


def test_their_directions_are_kept_in_half_precision(tmp_path: Path) -> None:
    # Features beyond what half precision holds: only their direction counts.
    cases = Cases(_cases().features * 1e6, _cases().labels, _cases().files, "ab")
    write_cases(tmp_path / "c.safetensors", cases)
    again = read_cases(tmp_path / "c.safetensors")
    assert (again.labels, again.files, again.weights_sha256) == (cases.labels, cases.files, "ab")
    lengths = np.linalg.norm(cases.features, axis=1, keepdims=True)
    assert again.features == pytest.approx(cases.features / lengths, abs=1e-3)
    asked = np.random.default_rng(1).normal(size=8)
    assert [case.file for case in again.nearest(asked)] == [case.file for case in cases.nearest(asked)]


def test_a_feature_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Cases(np.full((1, 2), np.nan, np.float32), ("a",), (), "")


def test_what_holds_no_cases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no cases"):
        read_cases(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="files"):
        Cases(np.ones((2, 2), np.float32), ("a",), (), "")
