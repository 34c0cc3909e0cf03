"""What a network is asked: targets and scores of every kind by hand, a missing label never zero."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyeground.data.task import Head, Task, classification, read_task

Array = NDArray[np.float64]
NAN = math.nan
DR = Head("DR", "grades", ("0", "1", "2", "3"))
IOP = Head("IOP", "quantity", low=0, high=80, unit="mmHg", center=16.0, spread=4.0)
OCT = Head("OCT", "classes", ("normal", "AMD", "DME"))
AMD = Head("AMD")
ALL = Task("heads", (AMD, DR, OCT, IOP))


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def slow_grade_scores(outputs: list[float]) -> list[float]:
    """P(grade = k) = P(above each level below k) * P(not above k), a level at a time."""
    found = []
    for grade in range(len(outputs) + 1):
        chance = 1.0
        for level in range(grade):
            chance *= logistic(outputs[level])
        found.append(chance * (1 - logistic(outputs[grade])) if grade < len(outputs) else chance)
    return found


def slow_loss(task: Task, scores: Array, truth: Array) -> float:
    """Image by image; what is not known is skipped, and a head of which nothing is known too."""
    of_heads = []
    column = 0
    for number, head in enumerate(task.heads):
        terms = []
        for said, known in zip(scores[:, column : column + head.columns], truth[:, number], strict=True):
            if math.isnan(known):
                continue
            if head.kind == "quantity":
                terms.append(((said[0] - known) / head.spread) ** 2)
            elif head.kind == "yes_no":
                terms.append(-math.log(said[0] if known == 1 else 1 - said[0]))
            else:
                terms.append(-math.log(said[int(known)]))
        column += head.columns
        if terms:
            of_heads.append(sum(terms) / len(terms))
    return sum(of_heads) / len(of_heads) if of_heads else NAN


def drawn(images: int, *, seed: int, missing: float = 0.3) -> tuple[Array, Array]:
    """Scores of all heads, and their truth with holes."""
    rng = np.random.default_rng(seed)
    scores = ALL.scores(rng.normal(size=(images, ALL.outputs)))
    truth = np.stack(
        [rng.integers(0, 2, images), rng.integers(0, 4, images), rng.integers(0, 3, images), rng.normal(16, 4, images)],
        axis=1,
    ).astype(np.float64)
    truth[rng.random(truth.shape) < missing] = NAN
    return scores, truth


def test_how_many_numbers_each_kind_has() -> None:
    assert [(head.outputs, head.columns) for head in ALL.heads] == [(1, 1), (3, 4), (3, 3), (1, 1)]
    assert (ALL.outputs, ALL.columns) == (8, 9)
    places = [(head.name, out.start, out.stop, col.start, col.stop) for head, out, col in ALL.parts()]
    assert places == [("AMD", 0, 1, 0, 1), ("DR", 1, 4, 1, 5), ("OCT", 4, 7, 5, 8), ("IOP", 7, 8, 8, 9)]


def test_only_a_task_of_one_question_has_a_single_head() -> None:
    assert classification(("a", "b")).single == Head("label", "classes", ("a", "b"))
    assert Task("ordinal", (DR,)).single == DR
    assert Task("regression", (IOP,)).single == IOP
    assert Task("multilabel", (AMD,)).single is None
    assert Task("heads", (DR,)).single is None


def test_targets_of_every_kind_by_hand() -> None:
    truth = np.array([0.0, 1.0, 2.0, 3.0, NAN])
    # CORN: grade k says "above" at the levels below k and "not above" at k; the levels over it learn nothing.
    grades = [[0, NAN, NAN], [1, 0, NAN], [1, 1, 0], [1, 1, 1], [NAN, NAN, NAN]]
    np.testing.assert_array_equal(DR.targets(truth), np.array(grades, np.float64))
    classes = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [NAN, NAN, NAN]]
    np.testing.assert_array_equal(OCT.targets(np.array([0.0, 1.0, 2.0, NAN])), np.array(classes, np.float64))
    np.testing.assert_array_equal(AMD.targets(np.array([1.0, 0.0, NAN])), [[1], [0], [NAN]])
    np.testing.assert_array_equal(IOP.targets(np.array([16.0, 24.0, NAN])), [[0], [2], [NAN]])
    together = ALL.targets(np.array([[1, 2, NAN, 24], [NAN, NAN, 1, NAN]]))
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, [[1, 1, 1, 0, NAN, NAN, NAN, 2], [NAN] * 4 + [0, 1, 0, NAN]])


def test_targets_are_copies() -> None:
    truth = np.array([1.0, 0.0])
    AMD.targets(truth)[:] = NAN
    assert truth.tolist() == [1, 0]


@given(st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=8))
def test_scores_of_grades_are_the_products_of_a_slow_loop(outputs: list[list[float]]) -> None:
    scores = DR.scores(np.array(outputs))
    np.testing.assert_allclose(scores, [slow_grade_scores(row) for row in outputs], atol=1e-12)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-12)
    assert (scores >= 0).all()


def test_scores_of_the_other_kinds_by_hand() -> None:
    np.testing.assert_allclose(AMD.scores(np.array([[0.0], [math.log(3)]])), [[0.5], [0.75]])
    np.testing.assert_allclose(OCT.scores(np.log([[1.0, 2.0, 5.0]])), [[0.125, 0.25, 0.625]])
    np.testing.assert_allclose(IOP.scores(np.array([[0.0], [-1.5]])), [[16], [10]])


@pytest.mark.parametrize("head", [AMD, DR, OCT], ids=lambda head: head.kind)
@pytest.mark.parametrize("size", [1e3, 1e30, float(np.finfo(np.float32).max)])
def test_extreme_logits_do_not_overflow(head: Head, size: float) -> None:
    outputs = size * np.array([[1.0] * head.outputs, [-1.0] * head.outputs, [(-1.0) ** k for k in range(head.outputs)]])
    scores = head.scores(outputs)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    if head.columns > 1:
        np.testing.assert_allclose(scores.sum(axis=1), 1)
    for truth in range(len(head.classes)):
        assert math.isfinite(head.loss(scores, np.full(3, float(truth))))


@pytest.mark.parametrize(
    ("head", "word", "value"),
    [
        *[(AMD, word, 1.0) for word in ("1", "1.0", "yes", "Yes", " Y ", "TRUE")],
        *[(AMD, word, 0.0) for word in ("0", "0.0", "no", "N", "false")],
        (DR, "3", 3.0),
        (DR, "3.0", 3.0),
        (DR, " 0 ", 0.0),
        (Head("stage", "grades", ("early", "late")), "late", 1.0),
        (OCT, "DME", 2.0),
        (Head("v", "classes", ("1.0", "2.0")), "2.0", 1.0),
        (IOP, "21.5", 21.5),
        (IOP, "0", 0.0),
        (IOP, "80", 80.0),
        (Head("x", "quantity"), "-1e3", -1000.0),
    ],
)
def test_cells_are_read(head: Head, word: str, value: float) -> None:
    assert head.read(word) == value


@pytest.mark.parametrize("head", ALL.heads, ids=lambda head: head.kind)
@pytest.mark.parametrize("word", ["", "  ", "\t"])
def test_an_empty_cell_is_not_known(head: Head, word: str) -> None:
    assert math.isnan(head.read(word))


@pytest.mark.parametrize(
    ("head", "word", "told"),
    [
        (AMD, "2", "AMD is '2': it is 0 or 1 (no or yes), or empty where not known"),
        (AMD, "maybe", "AMD is 'maybe': it is 0 or 1"),
        (AMD, "0.5", "AMD is '0.5': it is 0 or 1"),
        (DR, "4", "DR is '4': outside its scale 0, 1, 2, 3"),
        (DR, "-1", "DR is '-1': outside its scale"),
        (DR, "1.5", "DR is '1.5': outside its scale"),
        (OCT, "AND", "OCT is 'AND': outside its classes normal, AMD, DME; did you mean 'AMD'?"),
        (IOP, "high", "IOP is 'high': it is a number, or empty where not known"),
        (IOP, "inf", "IOP is 'inf': it is a number"),
        (IOP, "nan", "IOP is 'nan': it is a number"),
        (IOP, "81", "IOP is 81: outside its scale, 0 to 80"),
        (IOP, "-0.5", "IOP is -0.5: outside its scale, 0 to 80"),
        (Head("x", "quantity", low=0), "-1", "x is -1: outside its scale, 0 to any"),
    ],
)
def test_a_bad_cell_is_told_in_a_sentence(head: Head, word: str, told: str) -> None:
    with pytest.raises(ValueError, match="is") as caught:
        head.read(word)
    assert told in str(caught.value)


@given(st.sampled_from(ALL.heads), st.data())
def test_what_is_read_has_targets_and_scores_of_the_right_shape(head: Head, data: st.DataObject) -> None:
    words = {"yes_no": ["0", "1", "yes", ""], "quantity": ["0", "12.25", "80", ""]}.get(head.kind, [*head.classes, ""])
    cells = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=6))
    truth = np.array([head.read(cell) for cell in cells])
    targets = head.targets(truth)
    assert targets.shape == (len(cells), head.outputs)
    assert (np.isfinite(targets).any(axis=1) == [bool(cell) for cell in cells]).all()
    scores = head.scores(np.where(np.isfinite(targets), targets, 0.0))
    assert scores.shape == (len(cells), head.columns)
    loss = head.loss(scores, truth)
    assert math.isnan(loss) == (not any(cells))


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_that_of_a_slow_loop(seed: int) -> None:
    scores, truth = drawn(9, seed=seed)
    assert ALL.loss(scores, truth) == pytest.approx(slow_loss(ALL, scores, truth), rel=1e-9)


def test_a_head_without_any_label_takes_no_part() -> None:
    scores, truth = drawn(6, seed=1, missing=0)
    truth[:, 1] = NAN
    assert ALL.loss(scores, truth) == pytest.approx(slow_loss(ALL, scores, truth), rel=1e-9)
    assert math.isnan(ALL.loss(scores, np.full_like(truth, NAN)))


@pytest.mark.parametrize("number", range(len(ALL.heads)))
def test_a_missing_label_is_never_zero(number: int) -> None:
    scores, truth = drawn(12, seed=3)
    truth[0, number] = NAN  # so that there is a hole
    filled = truth.copy()
    filled[np.isnan(truth[:, number]), number] = 0.0  # the planted fault
    honest = ALL.loss(scores, truth)
    assert honest == pytest.approx(slow_loss(ALL, scores, truth), rel=1e-9)
    assert abs(ALL.loss(scores, filled) - honest) > 1e-3
    assert not np.array_equal(ALL.targets(filled), ALL.targets(truth), equal_nan=True)


def test_an_answer_that_is_surely_wrong_costs_much_but_not_infinity() -> None:
    assert 80 < OCT.loss(np.array([[1.0, 0.0, 0.0]]), np.array([1.0])) < 100
    assert 80 < AMD.loss(np.array([[1.0]]), np.array([0.0])) < 100


def test_a_task_comes_back_from_json_with_every_digit() -> None:
    head = Head("IOP", "quantity", column="pressure", low=0, unit="mmHg", center=1 / 3, spread=0.1)
    task = Task("heads", (AMD, DR, OCT, head))
    assert read_task(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Head(""), "a head needs a name"),
        (lambda: Head("x", "nonsense"), "kind is 'nonsense': it is one of classes, yes_no, grades, quantity"),  # type: ignore[arg-type]
        (lambda: Head("x", "grades"), "grades needs at least two different classes"),
        (lambda: Head("x", "classes", ("a", "a")), "classes needs at least two different classes"),
        (lambda: Head("x", "quantity", ("a", "b")), "a quantity has no classes, but low and high"),
        (lambda: Head("x", "quantity", low=2, high=2), "low 2 must be below high 2"),
        (lambda: Head("x", "quantity", spread=0.0), "spread is 0.0: it is above 0"),
        (lambda: Head("x", "quantity", spread=NAN), "spread is nan: it is above 0"),
        (lambda: Task("heads", ()), "a task needs a head"),
        (lambda: Task("heads", (AMD, DR, AMD)), "two heads are called 'AMD'"),
        (lambda: Task("heads", (Head("a/b"),)), "a head cannot be called 'a/b'"),
        (lambda: Task("multilabel", (Head(".."),)), r"a head cannot be called '\.\.'"),
    ],
)
def test_a_question_that_cannot_be_is_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_all_faults_of_a_head_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="name") as caught:
        Head("", "quantity", ("a",), low=3, high=1, spread=-1.0)
    for told in ("needs a name", "no classes", "low 3 must be below high 1", "spread is -1.0"):
        assert told in str(caught.value)


def test_a_single_heads_name_may_be_anything() -> None:
    # It names no folder, and comes from a column: cup/disc is what clinics call it.
    assert Task("regression", (Head("cup/disc", "quantity"),)).single is not None


def test_heads_whose_columns_would_have_one_name_are_refused() -> None:
    # In the table of all heads, score_DR_1 would be both the grade 1 of DR and the yes of DR_1.
    with pytest.raises(ValueError, match="DR_1"):
        Task("heads", (DR, Head("DR_1")))
