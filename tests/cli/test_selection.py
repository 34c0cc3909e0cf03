"""What chooses the best epoch: each kind of head by hand, means over heads, and reasons where a score is undefined."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, f1_score, r2_score, roc_auc_score

from eyeground.cli.config import ConfigError
from eyeground.cli.prediction import by_volume
from eyeground.cli.selection import selection_score
from eyeground.data.sample import Sample
from eyeground.data.task import Head, Task, classification
from eyeground.evaluate.profiles import retfound2025
from eyeground.train.loop import Verdict

Array = NDArray[np.float64]
NAN = math.nan
DR = Head("DR", "grades", ("0", "1", "2"))
IOP = Head("IOP", "quantity", center=15.0, spread=4.0)
SEVERAL = Task("heads", (Head("AMD"), DR, IOP))

GRADES = np.array([0.0, 0, 1, 1, 2, 2])
SAID = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.3, 0.6, 0.1], [0.1, 0.3, 0.6], [0.1, 0.1, 0.8], [0.3, 0.5, 0.2]])
YES = np.array([1.0, 0, 1, 0, 0, 0])
YES_SAID = np.array([0.9, 0.2, 0.4, 0.45, 0.1, 0.6])
MMHG = np.array([12.0, 15, 18, 21, 14, 16])
MMHG_SAID = np.array([13.0, 15, 16, 20, 15, 17])


def mean_of(truth: Array, scores: Array, *, weights: str | None) -> float:
    """RETFound's rule by scikit-learn."""
    said = scores.argmax(axis=1)
    areas = [roc_auc_score(truth == k, scores[:, k]) for k in range(scores.shape[1])]
    return float(
        np.mean(
            [f1_score(truth, said, average="macro"), np.mean(areas), cohen_kappa_score(truth, said, weights=weights)]
        )
    )


def both(yes: Array) -> Array:
    return np.stack([1 - yes, yes], axis=1)


def judged(task: Task, select_by: str, scores: Array, *truth: Array) -> Verdict:
    return selection_score(select_by, task)(scores, np.stack(truth, axis=1), 0.5)


def several(*, amd: Array = YES, dr: Array = GRADES, iop: Array = MMHG, select_by: str = "mean") -> Verdict:
    scores = np.concatenate([YES_SAID[:, None], SAID, MMHG_SAID[:, None]], axis=1)
    return judged(SEVERAL, select_by, scores, amd, dr, iop)


def test_classes_are_chosen_by_retfounds_mean() -> None:
    verdict = judged(classification(("a", "b", "c")), "mean", SAID, GRADES)
    assert verdict.selection == pytest.approx(mean_of(GRADES, SAID, weights=None))
    assert set(retfound2025.COLUMNS) <= set(verdict.columns)
    assert (verdict.loss, verdict.notes) == (0.5, ())


def concordance(truth: np.ndarray, said: np.ndarray) -> float:
    """Lin's, from its definition."""
    apart = (truth.mean() - said.mean()) ** 2
    together = ((truth - truth.mean()) * (said - said.mean())).mean()
    return float(2 * together / (truth.var() + said.var() + apart))


def test_grades_count_how_far_off_an_answer_is() -> None:
    verdict = judged(Task("ordinal", (DR,)), "mean", SAID, GRADES)
    quadratic, plain = (mean_of(GRADES, SAID, weights=weights) for weights in ("quadratic", None))
    assert verdict.selection == pytest.approx(quadratic)
    assert abs(quadratic - plain) > 0.01
    assert set(retfound2025.COLUMNS) <= set(verdict.columns)


def test_a_quantity_is_chosen_by_its_concordance() -> None:
    task = Task("regression", (IOP,))
    verdict = judged(task, "mean", MMHG_SAID[:, None], MMHG)
    assert verdict.selection == pytest.approx(concordance(MMHG, MMHG_SAID))
    assert verdict.scores["r2"] == pytest.approx(r2_score(MMHG, MMHG_SAID))
    assert verdict.scores["mae"] == pytest.approx(1)
    assert verdict.scores["rmse"] == pytest.approx(math.sqrt(8 / 6))
    assert set(verdict.columns) == {"val_loss", "selection", "concordance", "r2", "mae", "rmse"}
    # Of an error the smaller is the better.
    assert judged(task, "mae", MMHG_SAID[:, None], MMHG).selection == pytest.approx(-1)
    worse = judged(task, "rmse", MMHG_SAID[:, None] + 3, MMHG)
    assert worse.selection < judged(task, "rmse", MMHG_SAID[:, None], MMHG).selection < 0


def test_several_heads_are_chosen_by_the_mean_over_them() -> None:
    verdict = several()
    amd, dr = mean_of(YES, both(YES_SAID), weights=None), mean_of(GRADES, SAID, weights="quadratic")
    assert verdict.selection == pytest.approx((amd + dr + concordance(MMHG, MMHG_SAID)) / 3)
    assert {"AMD f1_macro", "AMD auroc_macro", "AMD kappa", "DR kappa_quadratic", "IOP mae"} <= set(verdict.columns)
    assert verdict.columns["selection"] == verdict.selection
    assert verdict.columns["val_loss"] == 0.5


def test_what_the_terminal_shows_of_several_heads_are_means() -> None:
    verdict = several()
    told = verdict.columns
    assert verdict.scores["auroc_mean"] == pytest.approx((told["AMD auroc_macro"] + told["DR auroc_macro"]) / 2)
    assert verdict.scores["kappa_mean"] == pytest.approx((told["AMD kappa"] + told["DR kappa_quadratic"]) / 2)
    assert verdict.scores["mae"] == told["IOP mae"]
    one = several(amd=np.zeros(6))
    assert one.scores["auroc_mean"] == pytest.approx(one.columns["DR auroc_macro"])


def test_a_metric_chooses_by_the_heads_that_have_it() -> None:
    areas = roc_auc_score(YES, YES_SAID), np.mean([roc_auc_score(k == GRADES, SAID[:, k]) for k in range(3)])
    assert several(select_by="auroc_macro").selection == pytest.approx(np.mean(areas))
    assert several(select_by="r2").selection == pytest.approx(r2_score(MMHG, MMHG_SAID))
    assert several(select_by="brier").selection < 0


def test_a_missing_label_takes_no_part() -> None:
    holes = np.array([True, False, False, True, False, False])
    verdict = several(amd=np.where(holes, NAN, YES))
    amd = mean_of(YES[~holes], both(YES_SAID[~holes]), weights=None)
    dr = mean_of(GRADES, SAID, weights="quadratic")
    honest = (amd + dr + concordance(MMHG, MMHG_SAID)) / 3
    assert verdict.selection == pytest.approx(honest)
    planted = several(amd=np.where(holes, 0.0, YES))  # a missing label taken for no
    assert abs(planted.selection - honest) > 1e-3


def test_a_head_without_labels_is_left_out_and_told() -> None:
    verdict = several(amd=np.full(6, NAN))
    dr = mean_of(GRADES, SAID, weights="quadratic")
    assert verdict.selection == pytest.approx((dr + concordance(MMHG, MMHG_SAID)) / 2)
    assert "validation has no label of AMD: it takes no part in choosing the epoch" in verdict.notes
    assert not any(name.startswith("AMD") for name in verdict.columns)
    nothing = several(amd=np.full(6, NAN), dr=np.full(6, NAN), iop=np.full(6, NAN))
    assert math.isnan(nothing.selection)
    assert len(nothing.notes) == 3


def test_a_head_with_one_answer_in_validation_says_why_it_is_undefined() -> None:
    verdict = several(amd=np.zeros(6))
    assert math.isnan(verdict.columns["AMD auroc_macro"])
    assert any(note.startswith("AMD validation auroc_macro is undefined") for note in verdict.notes)
    assert math.isfinite(verdict.selection)
    verdict = several(iop=np.full(6, 15.0))
    assert "IOP validation r2 is undefined: the truth is the same in all 6 images" in verdict.notes
    assert math.isnan(verdict.columns["IOP r2"])
    assert verdict.columns["IOP mae"] == pytest.approx(10 / 6)


def test_what_judges_no_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="select_by=r2 judges no head of this task"):
        selection_score("r2", classification(("a", "b")))
    with pytest.raises(ConfigError, match=r"select_by=accuracy judges no head of this task \(quantity\)"):
        selection_score("accuracy", Task("regression", (IOP,)))
    with pytest.raises(ConfigError, match="no metric 'auroc'; there are 'mean' and"):
        selection_score("auroc", SEVERAL)


def test_volumes_are_judged_not_their_b_scans() -> None:
    # Two volumes of three B-scans: the means decide, and a quantity is averaged too.
    task = Task("heads", (Head("AMD"), IOP))
    names = ("a", "b", "a", "b", "b", "a")
    samples = [Sample(f"{name}.tif", Path("d"), None, name, slice=k) for k, name in enumerate(names)]
    truth = {"a": (1.0, 12.0), "b": (0.0, 18.0)}
    scores = np.stack([np.array([0.9, 0.1, 0.3, 0.3, 0.2, 0.6]), np.array([11.0, 20, 14, 17, 17, 11])], axis=1)
    judge = by_volume(samples, selection_score("mae", task))
    verdict = judge(scores, np.array([truth[name] for name in names]), 0.1)
    assert verdict.columns["IOP mae"] == pytest.approx(0)
    assert verdict.columns["AMD auroc_macro"] == 1
    alone = selection_score("mae", task)(scores, np.array([truth[name] for name in names]), 0.1)
    assert alone.columns["IOP mae"] > 1
