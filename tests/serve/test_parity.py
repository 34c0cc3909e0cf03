"""The parity gate: by hand, against other implementations, and with faults planted in weights, pixels and scales."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eyeground.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, normalize
from eyeground.data.task import Head, Task, classification
from eyeground.evaluate.confidence import weights
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.predictions import Predictions
from eyeground.model.torch.engine import TorchEngine
from eyeground.pick import pick
from eyeground.serve.parity import Change, agreement_of, change_of

from .graphs import VIT, noise, weights_of

CLASSES = ("normal", "drusen", "cataract")
TASK = classification(CLASSES)
HEAD = TASK.heads[0]


def scored(truth: np.ndarray, scores: np.ndarray, classes: tuple[str, ...] = CLASSES, per: int = 2) -> Predictions:
    """A table with some images per patient."""
    count = len(truth)
    patients = tuple(f"p{row // per}" for row in range(count))
    files, empty = tuple(f"{row}.png" for row in range(count)), ("",) * count
    return Predictions(files, patients, empty, empty, empty, truth, scores, classes, False, True, empty)


def measured(truth: np.ndarray, said: np.ndarray) -> Measurements:
    count = len(truth)
    patients, files = tuple(f"p{row // 2}" for row in range(count)), tuple(f"{row}.png" for row in range(count))
    empty = ("",) * count
    return Measurements(files, patients, empty, empty, empty, truth, said, "IOP", "mmHg", True, empty)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def drawn(rows: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and logits that know something of it."""
    rng = np.random.default_rng(seed)
    truth = np.arange(rows) % 3
    logits = rng.normal(size=(rows, 3))
    logits[np.arange(rows), truth] += 2
    return truth, logits


def test_agreement_by_hand() -> None:
    task = Task("heads", (Head("AMD"), Head("ratio", "quantity", center=0.4, spread=0.1)))
    reference = np.array([[0.5, 0.30], [0.2, 0.60]])
    found = agreement_of(reference, reference + np.array([[0, 0], [1e-5, 5e-6]]), task=task)
    assert found.max_error == pytest.approx(5e-5)  # 5e-6 of a quantity that spreads by 0.1
    assert (found.passed, found.images, found.reason) == (True, 2, "")
    worse = agreement_of(reference, reference + np.array([[0, 0], [0, 2e-5]]), task=task)
    assert worse.max_error == pytest.approx(2e-4)
    assert not worse.passed
    assert worse.sentence == "differs by at most 2.0e-04 on 2 images: fails: at most 1.0e-04 is allowed"
    assert agreement_of(reference, reference + 0.25, task=task, bound=3).passed


def test_agreement_that_is_undefined_does_not_pass() -> None:
    scores = np.full((2, 3), 1 / 3)
    broken = scores.copy()
    broken[1, 0] = np.nan
    for one, two, reason in (
        (scores, broken, "1 of 2 images have a score that is not finite"),
        (broken, broken, "1 of 2 images have a score that is not finite"),
        (scores[:0], scores[:0], "there is no image"),
    ):
        found = agreement_of(one, two, task=TASK)
        assert math.isnan(found.max_error)
        assert (found.passed, found.reason) == (False, reason)
        assert json.loads(json.dumps(found.to_json(), allow_nan=False))["max_error"] is None
    with pytest.raises(ValueError, match=r"reference \(2, 3\), other \(2, 2\), and the task has 3 scores"):
        agreement_of(scores, scores[:, :2], task=TASK)
    with pytest.raises(ValueError, match="shapes differ"):
        agreement_of(scores[:, :2], scores[:, :2], task=TASK)


@pytest.fixture(scope="module")
def squares() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return list(rng.integers(0, 256, (8, VIT.image_px, VIT.image_px, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def said(squares: list[np.ndarray]) -> np.ndarray:
    """What the reference says of the squares."""
    return scores_of(weights_of(VIT), normalize(squares, Preprocessing(image_px=VIT.image_px)))


def scores_of(tensors: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    engine = TorchEngine(VIT, tensors=tensors, device="cpu", precision="fp32", threads=1)
    return TASK.scores(engine.outputs(images))


def _largest_by_a_hundredth(tensor: np.ndarray) -> np.ndarray:
    changed = tensor.copy()
    changed.flat[np.abs(changed).argmax()] *= 1.01
    return changed


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("head.weight", _largest_by_a_hundredth),
        ("fc_norm.weight", _largest_by_a_hundredth),
        ("blocks.2.mlp.fc1.weight", lambda tensor: tensor * np.float32(1.01)),
        ("patch_embed.proj.weight", lambda tensor: tensor * np.float32(1.01)),
    ],
)
def test_a_weight_that_is_one_percent_off_is_found(
    squares: list[np.ndarray], said: np.ndarray, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    images = normalize(squares, Preprocessing(image_px=VIT.image_px))
    tensors = weights_of(VIT)
    assert agreement_of(said, scores_of(tensors, images), task=TASK).passed
    found = agreement_of(said, scores_of(tensors | {name: change(tensors[name])}, images), task=TASK)
    assert not found.passed
    assert found.max_error > 1e-4


def test_a_graph_with_one_weight_off_is_found(tmp_path: Path, squares: list[np.ndarray], said: np.ndarray) -> None:
    runtime = pick("serve.runtimes", "onnx")
    if hint := runtime.missing():
        pytest.skip(f"needs {hint}")
    import onnx

    images = normalize(squares, Preprocessing(image_px=VIT.image_px))
    runtime.write(VIT, weights_of(VIT), tmp_path, precision="fp32")
    found = []
    for planted in (False, True):
        model = onnx.load(tmp_path / "model.onnx")
        if planted:
            tensor = next(each for each in model.graph.initializer if each.name == "head.weight")
            changed = _largest_by_a_hundredth(onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, "head.weight"))
            onnx.save(model, tmp_path / "model.onnx")
        made = runtime.open_runtime(tmp_path, spec=VIT, precision="fp32", threads=1)
        found.append(agreement_of(said, TASK.scores(made.outputs(images)), task=TASK))
        made.close()
    assert [each.passed for each in found] == [True, False]


@pytest.mark.parametrize(
    "see",
    [
        lambda squares: normalize(squares, Preprocessing(VIT.image_px, mean=IMAGENET_STD, std=IMAGENET_MEAN)),
        lambda squares: normalize([each[..., ::-1] for each in squares], Preprocessing(VIT.image_px)),
        lambda squares: normalize([each.transpose(1, 0, 2) for each in squares], Preprocessing(VIT.image_px)),
    ],
    ids=["mean and std swapped", "BGR for RGB", "rows for columns"],
)
def test_pixels_that_are_brought_in_otherwise_are_found(
    squares: list[np.ndarray], said: np.ndarray, see: Callable[[list[np.ndarray]], np.ndarray]
) -> None:
    found = agreement_of(said, scores_of(weights_of(VIT), see(squares)), task=TASK)
    assert not found.passed
    assert found.max_error > 1e-3


def test_the_change_of_auroc_is_that_of_another_implementation() -> None:
    truth, logits = drawn()
    before = scored(truth, softmax(logits))
    after = scored(truth, softmax(logits + 0.8 * np.random.default_rng(1).normal(size=logits.shape)))
    found = change_of(HEAD, before, after, tolerance=0.5, resamples=200, seed=3)

    def macro(table: Predictions, drawn: np.ndarray) -> float:
        areas = [roc_auc_score(truth == k, table.scores[:, k], sample_weight=drawn) for k in range(3)]
        return float(np.mean(areas))

    ones = np.ones(len(truth))
    assert found.before == pytest.approx(macro(before, ones))
    assert found.after == pytest.approx(macro(after, ones))
    assert found.gain == pytest.approx(found.after - found.before)
    # The same patients for both, drawn again and again.
    draws = weights(before.patients, 200, seed=3)
    gains = [macro(after, each) - macro(before, each) for each in draws]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(gains, [2.5, 97.5])))
    assert found.low < found.gain < 0
    assert (found.metric, found.images, found.patients) == ("auroc_macro", 120, 60)
    assert found.passed  # with a tolerance of 0.5
    assert not change_of(HEAD, before, after, resamples=200, seed=3).passed


@pytest.mark.parametrize(("low", "passed"), [(-0.0099, True), (-0.01, False), (-0.02, False), (math.nan, False)])
def test_what_decides_is_the_lower_end(low: float, passed: bool) -> None:
    change = Change("", "auroc_macro", 0.9, 0.9, 0.0, low, 0.001, 0.01, 100, 50)
    assert change.passed is passed
    assert change.to_json()["passed"] is passed


def test_a_change_that_keeps_the_order_costs_nothing() -> None:
    truth, logits = drawn()
    yes = 1 / (1 + np.exp(-logits[:, 0]))
    tables = [scored((truth == 0).astype(np.int64), np.stack([1 - p, p], axis=1), ("no", "yes")) for p in (yes, yes**2)]
    found = change_of(Head("AMD"), *tables, resamples=100)
    assert (found.metric, found.gain, found.low, found.high, found.passed) == ("auroc", 0, 0, 0, True)
    assert found.before == pytest.approx(roc_auc_score(truth == 0, yes))


def test_a_quantity_is_judged_by_its_error_in_standard_deviations() -> None:
    head = Head("IOP", "quantity", center=15, spread=4, unit="mmHg")
    truth = np.array([10.0, 12.0, 15.0, 21.0, np.nan, 14.0])
    before = measured(truth, np.array([11.0, 12.0, 16.0, 19.0, 15.0, 15.0]))  # errors 1 0 1 2 - 1
    after = measured(truth, np.array([11.0, 12.0, 16.0, 18.0, 99.0, 16.0]))  # errors 1 0 1 3 - 2
    found = change_of(head, before, after, resamples=400, seed=1)
    assert (found.before, found.after) == pytest.approx((1.0, 1.4))
    assert found.gain == pytest.approx(-0.1)  # 0.4 mmHg of 4
    draws = weights(("p0", "p0", "p1", "p1", "p2"), 400, seed=1)
    gains = (draws @ np.array([0.0, 0, 0, -1, -1])) / draws.sum(axis=1) / 4
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(gains, [2.5, 97.5])))
    assert (found.metric, found.images, found.patients, found.passed) == ("mae", 5, 3, False)
    assert "standard deviations on 5 images of 3 patients: fails" in found.sentence
    assert change_of(head, before, before, resamples=50).passed


def test_what_is_undefined_says_why_and_does_not_pass() -> None:
    truth, logits = drawn(30)
    two = np.where(truth == 2, 0, truth)
    cases: list[tuple[Any, Any, str]] = [
        (HEAD, scored(two, softmax(logits)), "class 'cataract' is absent"),
        (HEAD, scored(truth, softmax(logits), per=30), "no test: only 1 patient"),
        (HEAD, scored(np.full(30, -1), softmax(logits)), f"no image has a known {HEAD.name}"),
        (Head("IOP", "quantity"), measured(np.full(4, np.nan), np.ones(4)), "no image has a known IOP"),
        (Head("IOP", "quantity"), measured(np.ones(2), np.ones(2)), "no test: only 1 patient"),
    ]
    for head, table, reason in cases:
        found = change_of(head, table, table, resamples=20)
        assert (found.passed, found.reason) == (False, reason)
        assert math.isnan(found.low)
        assert found.sentence.endswith(f"{reason}: fails")
        assert json.loads(json.dumps(found.to_json(), allow_nan=False))["low"] is None


def test_images_without_a_known_truth_do_not_count() -> None:
    truth, logits = drawn(60)
    scores = softmax(logits)
    known = change_of(HEAD, scored(truth, scores), scored(truth, scores), resamples=20)
    table = scored(np.concatenate([truth, [-1, -1]]), np.concatenate([scores, np.eye(3)[:2]]))
    assert change_of(HEAD, table, table, resamples=20) == known


def test_tables_that_do_not_belong_together_are_refused() -> None:
    truth, logits = drawn(12)
    table = scored(truth, softmax(logits))
    for other, name in (
        (replace(table, files=table.files[::-1]), "files"),
        (replace(table, patients=table.files), "patients"),
        (replace(table, truth=table.truth[::-1].copy()), "truth"),
        (replace(table, classes=("a", "b", "c")), "classes"),
    ):
        with pytest.raises(ValueError, match=f"same rows in the same order, but {name} differ"):
            change_of(HEAD, table, other)
    quantity = measured(np.ones(4), np.ones(4))
    for head, one, two in (
        (HEAD, quantity, quantity),
        (HEAD, table, quantity),
        (Head("IOP", "quantity"), table, table),
    ):
        with pytest.raises(ValueError, match="not two tables of"):
            change_of(head, one, two)
    with pytest.raises(ValueError, match="the tolerance is 0"):
        change_of(HEAD, table, table, tolerance=0)


def test_int8_passes_and_scales_measured_on_black_images_do_not(tmp_path: Path) -> None:
    runtime = pick("serve.runtimes", "onnx")
    if hint := runtime.missing():
        pytest.skip(f"needs {hint}")
    images = noise(VIT, 240, seed=7)
    reference = TASK.scores(TorchEngine(VIT, tensors=weights_of(VIT), device="cpu", precision="fp32").outputs(images))
    # Truth as the reference has it, less a share that it gets wrong.
    truth = np.where(np.arange(240) % 6 == 0, np.arange(240) % 3, reference.argmax(axis=1))
    assert set(truth) == {0, 1, 2}
    before, found = scored(truth, reference), {}
    for what, shown in (("like these", noise(VIT, 32)), ("black", np.zeros_like(noise(VIT, 32)))):
        runtime.write(VIT, weights_of(VIT), tmp_path, precision="int8", calibration_images=shown)
        made = runtime.open_runtime(tmp_path, spec=VIT, precision="int8", threads=1)
        found[what] = change_of(HEAD, before, scored(truth, TASK.scores(made.outputs(images))), resamples=300)
        made.close()
    assert found["like these"].passed, found["like these"].sentence
    assert not found["black"].passed, found["black"].sentence
