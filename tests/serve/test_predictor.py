"""The model asked: volumes, calibrations, and a network that gives no number."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.data.preprocessing import Pixels
from eyeground.evaluate.calibrate import Calibration
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets
from eyeground.evaluate.temperature import tempered
from eyeground.serve.gate import Gated
from eyeground.serve.predictor import NO_NUMBER, Predictor

from .contracts import CLASSES, PX, SCREENING, ByColor, contract


def _gated(*colors: int, name: str = "a.png") -> Gated:
    squares: tuple[Pixels, ...] = tuple(np.full((PX, PX, 3), (color, 9, 200), np.uint8) for color in colors)
    return Gated(name, "good", "OD", "", "fundus", squares, squares[0] if squares else None)


def _calibration(temperature: float) -> Calibration:
    return Calibration(
        CLASSES, False, Estimate(temperature), (), ConformalSets(0.9, False, tuple(Estimate(0.5) for _ in CLASSES))
    )


def test_a_volume_is_averaged_before_it_is_tempered() -> None:
    # As its calibration was learned: from scores that were averaged over B-scans.
    plain = Predictor(contract(), ByColor(), id="x")
    cooled = Predictor(contract(calibrations={"label": _calibration(2.0)}), ByColor(), id="x")
    single = [plain.answer([_gated(color)])[0].scores for color in (10, 120, 250)]
    expected = tempered(np.mean(single, axis=0)[None], 2.0)[0]
    assert cooled.answer([_gated(10, 120, 250)])[0].scores == pytest.approx(expected, abs=1e-9)
    each = np.mean([tempered(scores[None], 2.0)[0] for scores in single], axis=0)
    assert np.abs(each - expected).max() > 1e-3  # the other order would be seen


def test_many_files_are_asked_in_batches_and_answered_in_order() -> None:
    runtime = ByColor()
    predictor = Predictor(contract(), runtime, id="x", batch_size=3)
    files = [_gated(10, name="a"), _gated(name="b"), _gated(50, 60, 70, name="c"), _gated(250, name="d")]
    found = predictor.answer(files)
    assert [answer.gated.name for answer in found] == ["a", "b", "c", "d"]
    assert runtime.batches == [3, 2]
    assert np.isnan(found[1].scores).all()
    assert set(found[1].columns.values()) == {""}
    assert found[3].scores[0] > found[0].scores[0]


def test_a_network_that_gives_no_number_grades_nothing() -> None:
    class Broken(ByColor):
        def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
            made = super().outputs(images)
            made[0] = np.nan
            return made

    bad, good = Predictor(contract(), Broken(), id="x").answer([_gated(1), _gated(2)])
    assert (bad.gated.quality, bad.gated.graded, bad.columns["prediction"]) == (NO_NUMBER, False, "")
    assert good.gated.graded
    assert bad.to_json(contract())["heads"][0]["prediction"] is None


def test_several_heads_are_told_in_plain_values() -> None:
    made = contract(SCREENING, titles={"DR/2": {"en": "Moderate NPDR", "zh": "中度"}})
    told = Predictor(made, ByColor(SCREENING.outputs), id="x").answer([_gated(40)])[0].to_json(made)
    heads = {head["head"]: head for head in told["heads"]}
    assert set(heads["AMD"]["scores"]) == {"no", "yes"}
    assert sum(heads["DR"]["scores"].values()) == pytest.approx(1)
    assert heads["ratio"]["scores"] == {}
    assert isinstance(heads["ratio"]["prediction"], float)
