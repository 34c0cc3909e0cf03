"""What is explained: by hand for each kind of head, and against the scores that it should raise."""

import numpy as np
import pytest

from eyeground.data.task import Head, Task
from eyeground.explain.target import direction, direction_in, in_words

GRADES = Head("DR", "grades", ("0", "1", "2", "3"))
CLASSES = Head("label", "classes", ("normal", "drusen", "csc"))
AGE = Head("age", "quantity")


@pytest.mark.parametrize(
    ("head", "answer", "expected"),
    [
        (CLASSES, 0, [1, 0, 0]), (CLASSES, 2, [0, 0, 1]),
        (Head("AMD"), 1, [1]), (Head("AMD"), 0, [-1]),
        (GRADES, 0, [-1, 0, 0]), (GRADES, 1, [1, 0, 0]), (GRADES, 3, [1, 1, 1]),
        (AGE, 0, [1]), (AGE, 77, [1]),
    ],
)  # fmt: skip
def test_by_hand(head: Head, answer: int, expected: list[float]) -> None:
    made = direction(head, answer)
    assert made.tolist() == expected
    assert made.dtype == np.float32


@pytest.mark.parametrize("head", [CLASSES, Head("AMD"), GRADES])
def test_a_step_along_it_makes_the_answer_or_one_beyond_it_likelier(head: Head) -> None:
    outputs = np.random.default_rng(0).normal(size=(50, head.outputs))
    for answer in range(len(head.classes)):
        before, after = head.scores(outputs), head.scores(outputs + 0.5 * direction(head, answer))
        if head.kind == "yes_no":
            before, after = (np.concatenate([1 - s, s], axis=1) for s in (before, after))
        if head.kind == "grades" and answer:  # at least this grade
            assert (after[:, answer:].sum(axis=1) > before[:, answer:].sum(axis=1)).all()
        else:
            assert (after[:, answer] > before[:, answer]).all()


def test_among_several_heads_only_its_own_outputs_count() -> None:
    task = Task("heads", (Head("AMD"), GRADES, AGE))
    assert direction_in(task, GRADES, 2).tolist() == [0, 1, 1, 0, 0]
    assert direction_in(task, AGE).tolist() == [0, 0, 0, 0, 1]
    assert direction_in(task, task.heads[0], 0).tolist() == [-1, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="no head 'label'; it has: AMD, DR, age"):
        direction_in(task, CLASSES)


@pytest.mark.parametrize("answer", [-1, 4])
def test_an_answer_that_is_none_is_refused(answer: int) -> None:
    with pytest.raises(ValueError, match=r"DR has no answer -?\d: it is 0 to 3 \(0, 1, 2, 3\)"):
        direction(GRADES, answer)
    with pytest.raises(ValueError, match="has no answer"):
        in_words(GRADES, answer)


def test_words() -> None:
    assert [in_words(GRADES, 2), in_words(CLASSES, 1), in_words(AGE, 9)] == ["DR: 2", "label: drusen", "age"]
