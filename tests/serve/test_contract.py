"""What decides what a model says: checked when it is made, the same when it is read back."""

import numpy as np
import pytest

from eyeground.data.task import Head, Task, classification
from eyeground.evaluate.calibrate import Calibration
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets
from eyeground.serve.contract import Contract, read_contract

from .contracts import CLASSES, SCREENING, contract


def _calibration(classes: tuple[str, ...], temperature: float) -> Calibration:
    """A temperature, and sets that hold what has half the score."""
    sets = ConformalSets(0.9, False, tuple(Estimate(0.5) for _ in classes))
    return Calibration(classes, False, Estimate(temperature), (), sets)


def test_all_that_does_not_fit_is_told_together() -> None:
    good = contract()
    with pytest.raises(ValueError, match=r"3 numbers.*needs 2.*none of fundus.*slices.*belongs to no head") as caught:
        Contract(
            good.spec, classification(("a", "b")), False, good.preprocessing, "sometimes", "x-ray", "00",  # type: ignore[arg-type]
            calibrations={"other": _calibration(("a", "b"), 1.0)},
        )  # fmt: skip
    assert str(caught.value).count(";") == 3


@pytest.mark.parametrize("task", [classification(CLASSES), SCREENING])
def test_it_is_read_back_as_it_was(task: Task) -> None:
    made = contract(task, titles={"AMD": {"en": "AMD", "zh": "黄斑变性"}})
    again = read_contract(made.to_json(), {})
    assert again.to_json() == made.to_json()
    assert again.task == task
    assert again.preprocessing == made.preprocessing


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("task", 7),
        ("preprocessing", {}),
        ("spec", {"name": "x"}),
        ("titles", []),
        ("modality", None),
        ("slices", "some"),
    ],
)
def test_what_is_no_contract_is_refused(place: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_contract(contract().to_json() | {place: value}, {})


def test_another_interpolation_is_refused() -> None:
    told = contract().to_json()
    told["preprocessing"]["interpolation"] = "nearest"
    with pytest.raises(ValueError, match="bicubic"):
        read_contract(told, {})


def test_scores_are_tempered_by_hand() -> None:
    outputs = np.array([[2.0, 0.0, -1.0]], np.float32)
    plain, cooled = contract(), contract(calibrations={"label": _calibration(CLASSES, 2.0)})
    by_hand = np.exp(outputs[0] / 2)
    assert cooled.tempered(cooled.task.scores(outputs))[0] == pytest.approx(by_hand / by_hand.sum(), abs=1e-7)
    assert plain.tempered(plain.task.scores(outputs))[0, 0] > cooled.tempered(cooled.task.scores(outputs))[0, 0] > 1 / 3


def test_yes_or_no_is_tempered_as_its_logit() -> None:
    task = Task("multilabel", (Head("AMD"), Head("RVO")))
    cooled = contract(task, calibrations={"AMD": _calibration(("no", "yes"), 4.0)})
    found = cooled.tempered(task.scores(np.array([[3.0, 3.0]], np.float32)))[0]
    assert found == pytest.approx([1 / (1 + np.exp(-3 / 4)), 1 / (1 + np.exp(-3))], abs=1e-7)


def test_a_grade_has_the_title_of_its_own_head() -> None:
    made = contract(SCREENING, titles={"DR/2": {"en": "Moderate NPDR"}, "2": {"en": "two"}})
    assert made.title("2", "en", head="DR") == "Moderate NPDR"
    assert made.title("2", "en", head="AMD") == "two"
    assert made.title("4", "zh", head="DR") == "4"


def test_the_key_tells_one_contract_from_another() -> None:
    keys = {
        contract().key,
        contract(modality="oct").key,
        contract(calibrations={"label": _calibration(CLASSES, 2.0)}).key,
        contract(calibrations={"label": _calibration(CLASSES, 2.5)}).key,
    }
    assert len(keys) == 4
    assert contract(calibrations={"label": _calibration(CLASSES, 2.0)}).key in keys
