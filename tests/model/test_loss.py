"""Every head's loss against slow loops, torch's own and hand-computed numbers; missing labels teach nothing."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.data.task import Head, Task, classification
from eyeground.model.objective import Objective
from eyeground.model.torch.loss import loss_of

SCREENING = Task(
    "heads",
    (
        Head("AMD"),
        Head("GLA"),
        Head("DR", "grades", ("0", "1", "2", "3", "4")),
        Head("CDR", "quantity", low=0, high=1, center=0.4, spread=0.1),
        Head("kind", "classes", ("a", "b", "c")),
    ),
)


def outputs_of(task: Task, rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, task.outputs, generator=torch.Generator().manual_seed(seed))


def truth_of(task: Task, rows: int, seed: int = 0, missing: float = 0.4) -> np.ndarray:
    draw = np.random.default_rng(seed)
    columns = [
        draw.integers(0, len(head.classes), rows).astype(float) if head.classes else draw.uniform(0, 1, rows)
        for head in task.heads
    ]
    truth = np.stack(columns, axis=1)
    truth[draw.random(truth.shape) < missing] = np.nan
    return truth


def by_hand(outputs: np.ndarray, truth: np.ndarray, task: Task) -> float:
    """The definition, one label at a time, in plain Python."""
    heads = []
    place = 0
    for number, head in enumerate(task.heads):
        terms = []
        for row in range(len(truth)):
            value, z = truth[row, number], outputs[row, place : place + head.outputs]
            if math.isnan(value):
                continue
            if head.kind == "yes_no":
                p = 1 / (1 + math.exp(-z[0]))
                terms.append(-math.log(p if value else 1 - p))
            elif head.kind == "classes":
                terms.append(-(z[int(value)] - math.log(sum(math.exp(each) for each in z))))
            elif head.kind == "grades":
                for level in range(head.outputs):
                    if value >= level:
                        p = 1 / (1 + math.exp(-z[level]))
                        terms.append(-math.log(p if value > level else 1 - p))
            else:
                error = abs(z[0] - (value - head.center) / head.spread)
                terms.append(error**2 / 2 if error < 1 else error - 0.5)
        if terms:
            heads.append(sum(terms) / len(terms))
        place += head.outputs
    return sum(heads) / len(heads)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 12), seed=st.integers(0, 10_000), missing=st.floats(0, 0.9))
def test_all_heads_at_once_are_as_defined(rows: int, seed: int, missing: float) -> None:
    outputs, truth = outputs_of(SCREENING, rows, seed), truth_of(SCREENING, rows, seed, missing)
    found = loss_of(outputs, torch.from_numpy(SCREENING.targets(truth)), Objective(SCREENING)).item()
    if np.isnan(truth).all():
        assert found == 0
    else:
        assert found == pytest.approx(by_hand(outputs.numpy(), truth, SCREENING), rel=1e-4)


def test_a_missing_label_teaches_nothing_and_is_not_zero() -> None:
    outputs = outputs_of(SCREENING, 16).requires_grad_()
    truth = truth_of(SCREENING, 16)
    loss_of(outputs, torch.from_numpy(SCREENING.targets(truth)), Objective(SCREENING)).backward()
    for number, (_, place, _) in enumerate(SCREENING.parts()):
        unknown = np.isnan(truth[:, number])
        assert unknown.any()
        assert outputs.grad is not None
        assert (outputs.grad[torch.from_numpy(unknown)][:, place] == 0).all()
        assert (outputs.grad[torch.from_numpy(~unknown)][:, place] != 0).any()
    planted = torch.from_numpy(SCREENING.targets(np.nan_to_num(truth)))
    right = loss_of(outputs, torch.from_numpy(SCREENING.targets(truth)), Objective(SCREENING))
    assert abs(right.item() - loss_of(outputs, planted, Objective(SCREENING)).item()) > 1e-3


def test_a_batch_without_any_label_leaves_the_weights_alone() -> None:
    outputs = outputs_of(SCREENING, 4).requires_grad_()
    loss = loss_of(outputs, torch.full((4, SCREENING.outputs), torch.nan), Objective(SCREENING))
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None
    assert (outputs.grad == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_are_torchs_cross_entropy(smoothing: float) -> None:
    task = classification(("a", "b", "c"))
    outputs, labels = outputs_of(task, 9), torch.arange(9) % 3
    targets = torch.from_numpy(task.targets(labels[:, None].double().numpy()))
    found = loss_of(outputs, targets, Objective(task), label_smoothing=smoothing)
    assert torch.equal(found, F.cross_entropy(outputs, targets, label_smoothing=smoothing))
    assert found.item() == pytest.approx(F.cross_entropy(outputs, labels, label_smoothing=smoothing).item(), rel=1e-5)


def test_class_weights_are_torchs_sum_over_the_number_of_images() -> None:
    task, weights = classification(("a", "b", "c")), (0.2, 1.0, 4.0)
    outputs, labels = outputs_of(task, 9), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2])
    targets = torch.from_numpy(task.targets(labels[:, None].double().numpy()))
    found = loss_of(outputs, targets, Objective(task, class_weights=(weights,)))
    wanted = F.cross_entropy(outputs, labels, weight=torch.tensor(weights), reduction="sum") / 9
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    # Torch's own mean divides by the weights of the batch: a batch of one class would not be weighted at all.
    assert abs(found.item() - F.cross_entropy(outputs, labels, weight=torch.tensor(weights)).item()) > 1e-3


def test_weights_of_yes_and_no() -> None:
    task = Task("multilabel", (Head("A"),))
    outputs, yes = outputs_of(task, 6), torch.tensor([1.0, 0, 0, 1, 0, 0])
    targets = yes[:, None]
    found = loss_of(outputs, targets, Objective(task, class_weights=((0.5, 2.0),)))
    wanted = F.binary_cross_entropy_with_logits(outputs, targets, weight=torch.where(targets > 0, 2.0, 0.5))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_the_weight_of_a_grade_counts_at_each_of_its_levels() -> None:
    task = Task("ordinal", (Head("label", "grades", ("0", "1", "2")),))
    outputs = torch.tensor([[0.3, -0.2], [0.1, 0.4]])
    targets = torch.from_numpy(task.targets(np.array([[0.0], [2.0]])))
    found = loss_of(outputs, targets, Objective(task, class_weights=((0.5, 1.0, 4.0),))).item()
    p = outputs.sigmoid().numpy()
    wanted = (0.5 * -math.log(1 - p[0, 0]) + 4 * -math.log(p[1, 0]) + 4 * -math.log(p[1, 1])) / 3
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", ["classes", "yes_no", "grades"])
@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_focal_is_the_plain_loss_with_what_is_known_counting_less(kind: str, gamma: float) -> None:
    head = {"classes": Head("h", "classes", ("a", "b", "c")), "yes_no": Head("h"),
            "grades": Head("h", "grades", ("0", "1", "2"))}[kind]  # fmt: skip
    task = Task("heads", (head,))
    outputs, truth = outputs_of(task, 20), truth_of(task, 20, missing=0.2)
    targets = task.targets(truth).astype(np.float64)
    found = loss_of(outputs, torch.from_numpy(task.targets(truth)), Objective(task, focal_gamma=gamma)).item()
    z = outputs.double().numpy()
    terms = []
    for row in range(len(z)):
        if kind == "classes":
            p = np.exp(z[row]) / np.exp(z[row]).sum()
            if np.isfinite(targets[row]).all():
                terms.append(-(targets[row] * (1 - p) ** gamma * np.log(p)).sum())
            continue
        for level in range(z.shape[1]):
            p = 1 / (1 + math.exp(-z[row, level]))
            if np.isfinite(targets[row, level]):
                p = p if targets[row, level] else 1 - p
                terms.append(-((1 - p) ** gamma) * math.log(p))
    assert found == pytest.approx(np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("task", [classification(("a", "b")), Task("multilabel", (Head("A"),))])
def test_a_certain_answer_has_a_finite_gradient_under_focal(task: Task) -> None:
    outputs = torch.full((2, task.outputs), 40.0)
    outputs[:, 0] = -40.0 if task.outputs > 1 else 40.0
    outputs.requires_grad_()
    targets = torch.from_numpy(task.targets(np.array([[1.0], [0.0]])))
    loss_of(outputs, targets, Objective(task, focal_gamma=1.0)).backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    with pytest.raises(ValueError, match="at least 1"):
        Objective(task, focal_gamma=0.5)


def test_focal_as_in_the_paper() -> None:
    task = Task("multilabel", (Head("A"),))
    p = 0.9
    outputs = torch.tensor([[math.log(p / (1 - p))], [math.log(p / (1 - p))]])
    found = loss_of(outputs, torch.tensor([[1.0], [0.0]]), Objective(task, focal_gamma=2.0)).item()
    assert found == pytest.approx((-((1 - p) ** 2) * math.log(p) - p**2 * math.log(1 - p)) / 2, rel=1e-5)
    softmax = classification(("a", "b"))
    two = torch.tensor([[0.0, math.log(p / (1 - p))]])
    found = loss_of(two, torch.tensor([[0.0, 1.0]]), Objective(softmax, focal_gamma=2.0)).item()
    assert found == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-5)


def test_logit_adjustment_shifts_in_the_loss_only() -> None:
    task, priors = classification(("a", "b")), (math.log(0.9), math.log(0.1))
    outputs = torch.tensor([[0.5, 0.2]])
    found = loss_of(outputs, torch.tensor([[0.0, 1.0]]), Objective(task, shifts=(priors,))).item()
    a, b = 0.9 * math.exp(0.5), 0.1 * math.exp(0.2)
    assert found == pytest.approx(-math.log(b / (a + b)), rel=1e-5)


def test_head_weights_share_the_loss() -> None:
    task = Task("heads", (Head("A"), Head("B")))
    outputs, targets = torch.tensor([[0.3, -0.7]]), torch.tensor([[1.0, 1.0]])
    one, two = (F.softplus(-outputs[0, k]).item() for k in range(2))
    found = loss_of(outputs, targets, Objective(task, head_weights=(3.0, 1.0))).item()
    assert found == pytest.approx((3 * one + two) / 4, rel=1e-6)
    # A head without a label in the batch has no share in it.
    targets = torch.tensor([[torch.nan, 1.0]])
    assert loss_of(outputs, targets, Objective(task, head_weights=(3.0, 1.0))).item() == pytest.approx(two, rel=1e-6)


def test_an_objective_that_does_not_fit_its_task_names_every_fault() -> None:
    with pytest.raises(ValueError, match=r"class_weights of 'AMD'.*focal_gamma is -1.*head_weights: 5 numbers"):
        Objective(SCREENING, class_weights=((1.0,), (), (), (), ()), focal_gamma=-1, head_weights=(1.0,))
    with pytest.raises(ValueError, match=r"shifts of 'DR' \(grades\)"):
        Objective(SCREENING, shifts=((), (), (1.0, 1.0, 1.0, 1.0), (), ()))
