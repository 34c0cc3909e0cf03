"""RETFound's profiles where the published code stops, and the table they write."""

import math
from pathlib import Path

import numpy as np
import pytest

from eyeground.evaluate.profiles import retfound2023, retfound2025, standard
from eyeground.pick import names

from .drawn import scored


def test_an_absent_class_is_nan_and_nothing_crashes() -> None:
    truth, scores = scored(60, 4)
    truth[truth == 3] = 0
    found = retfound2025.values(truth, scores, val_loss=0.7)
    assert {name for name, value in found.items() if math.isnan(value)} == {"roc_auc", "average_precision", "score"}
    assert found["val_loss"] == 0.7
    older = retfound2023.values(truth, scores)
    assert math.isnan(older["auc_roc"])
    assert math.isnan(older["sensitivity"])
    assert 0 < older["acc"] < 1


def test_a_class_never_predicted_counts_zero_in_2025_and_nan_in_2023() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    scores = np.tile([0.8, 0.15, 0.05], (6, 1))
    scores[2] = [0.1, 0.8, 0.1]
    assert retfound2025.values(truth, scores)["precision"] == pytest.approx((2 / 5 + 1 + 0) / 3)
    assert math.isnan(retfound2023.values(truth, scores)["precision"])


def test_no_skill_reaches_four_fifths_in_2023_with_five_classes() -> None:
    truth = np.repeat(np.arange(5), 4)
    scores = np.tile([0.4, 0.2, 0.2, 0.1, 0.1], (20, 1))
    assert retfound2023.values(truth, scores)["acc"] == pytest.approx(0.8)


@pytest.mark.parametrize("profile", [retfound2023, retfound2025, standard])
def test_every_profile_refuses_an_empty_table(profile: object) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        profile.values(np.zeros(0, np.int64), np.zeros((0, 2)))  # type: ignore[attr-defined]


def test_the_standard_profile_names_metrics_of_the_shelf() -> None:
    assert set(standard.COLUMNS) <= set(names("evaluate.metrics"))
    assert set(standard.PER_CLASS) <= set(standard.COLUMNS)


def test_rows_are_appended_and_a_resumed_epoch_replaces_its_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics_val.csv"
    for epoch in (1, 2, 3):
        retfound2025.append_row(path, dict.fromkeys(retfound2025.COLUMNS, epoch / 10), row=epoch)
    straight = path.read_text()
    retfound2025.append_row(path, dict.fromkeys(retfound2025.COLUMNS, 0.2), row=2)  # killed, resumed before epoch 2
    assert len(path.read_text().splitlines()) == 3
    retfound2025.append_row(path, dict.fromkeys(retfound2025.COLUMNS, 0.3))
    assert path.read_text() == straight
    assert straight.splitlines()[0] == (
        "val_loss,accuracy,f1,roc_auc,hamming,jaccard,precision,recall,average_precision,kappa"
    )
    retfound2025.append_row(path, {**dict.fromkeys(retfound2025.COLUMNS, 0.4), "roc_auc": math.nan, "score": 1.0})
    assert path.read_text().splitlines()[-1] == "0.4,0.4,0.4,nan,0.4,0.4,0.4,0.4,0.4,0.4"


def test_a_table_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics_val.csv"
    path.write_text("other\n1\n")
    row = dict.fromkeys(retfound2025.COLUMNS, 0.5)
    with pytest.raises(ValueError, match="header"):
        retfound2025.append_row(path, row)
    assert path.read_text() == "other\n1\n"
    path.unlink()
    with pytest.raises(ValueError, match="row 3 was to follow 2 rows, but there are 0"):
        retfound2025.append_row(path, row, row=3)
    with pytest.raises(ValueError, match="no value for kappa"):
        retfound2025.append_row(path, {name: 0.5 for name in retfound2025.COLUMNS if name != "kappa"})
    assert not path.exists()
