"""Which of a network's outputs is explained: an answer in words -> a linear combination of raw outputs (pure)."""

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import Head, Task


def direction(head: Head, answer: int = 0) -> NDArray[np.float32]:
    """Say what of a head's raw outputs speaks for an answer.

    A heat map explains one number. Of classes it is the logit of the class; of yes or no the logit of yes, or its
    negative; of a quantity the quantity. Of grades, output k is the logit of "above k given at least k" (CORN): what
    brought the image up to its grade is the sum of the steps it took, and for the lowest grade the step not taken.

    Args:
        head: What was asked.
        answer: Index of the class or grade, 0 for no and 1 for yes; of a quantity it says nothing.

    Returns:
        Shape (outputs,): the number is this times the outputs, added up.

    Raises:
        ValueError: If the head has no such answer.

    Example:
        >>> direction(Head("DR", "grades", ("0", "1", "2", "3")), 2)
        array([1., 1., 0.], dtype=float32)
        >>> direction(Head("AMD"), 0)
        array([-1.], dtype=float32)

    References:
        Shi, Cao & Raschka, "Deep neural networks for rank-consistent ordinal regression based on conditional
        probabilities", Pattern Anal Appl 2023;26:941, for the outputs. What is explained of them is our own.
    """
    made = np.zeros(head.outputs, np.float32)
    if head.kind == "quantity":
        made[0] = 1
        return made
    if not 0 <= answer < len(head.classes):
        raise ValueError(
            f"{head.name} has no answer {answer}: it is 0 to {len(head.classes) - 1} ({', '.join(head.classes)})"
        )
    if head.kind == "yes_no":
        made[0] = 1 if answer else -1
    elif head.kind == "classes":
        made[answer] = 1
    elif answer:
        made[:answer] = 1
    else:
        made[0] = -1
    return made


def direction_in(task: Task, head: Head, answer: int = 0) -> NDArray[np.float32]:
    """Say the same over all outputs of a network that answers several heads.

    Args:
        task: Everything that is asked.
        head: The one whose answer is explained.
        answer: As in ``direction``.

    Returns:
        Shape (task.outputs,), zero outside the head's place.

    Raises:
        ValueError: If the task has no such head, or the head no such answer.

    Example:
        >>> task = Task("heads", (Head("AMD"), Head("DR", "grades", ("0", "1", "2"))))
        >>> direction_in(task, task.heads[1], 0)
        array([ 0., -1.,  0.], dtype=float32)

    References:
        Our own.
    """
    for each, place, _ in task.parts():
        if each.name == head.name:
            made = np.zeros(task.outputs, np.float32)
            made[place] = direction(head, answer)
            return made
    raise ValueError(f"the task has no head {head.name!r}; it has: {', '.join(each.name for each in task.heads)}")


def in_words(head: Head, answer: int = 0) -> str:
    """Name what is explained.

    Args:
        head: What was asked.
        answer: As in ``direction``.

    Returns:
        Such as ``"DR: 2"``; of a quantity its name.

    Raises:
        ValueError: If the head has no such answer.

    Example:
        >>> in_words(Head("AMD"), 1), in_words(Head("age", "quantity"))
        ('AMD: yes', 'age')

    References:
        Our own.
    """
    direction(head, answer)
    return head.name if head.kind == "quantity" else f"{head.name}: {head.classes[answer]}"
