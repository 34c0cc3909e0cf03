"""What a network is trained to do, as data: its task, and how imbalance is answered in the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

from eyeground.data.task import Task, classification


@dataclass(frozen=True)
class Objective:
    """What the loss asks for.

    The loss is the mean over the heads with a label in the batch of each head's mean over its labelled images, so that
    a head with few labels is not drowned by one with many.

    Args:
        task: The heads.
        class_weights: For each head a weight per class, grade, or (no, yes), each above 0; an empty entry weighs
            nothing; empty = none anywhere.
        focal_gamma: Power of (1 - p) on each term, at least 1 (below it a certain answer has no finite gradient);
            0 = plain.
        shifts: For each head what is added to its outputs in training only: a number per class, or one for yes; empty
            entries and empty = none.
        head_weights: Share of each head in the loss, above 0; empty = all alike.

    Raises:
        ValueError: If the lengths do not fit the task, or a value is out of range; all faults at once.

    Example:
        >>> Objective(classification(("a", "b")), class_weights=((0.5, 1.5),)).plain
        False

    References:
        Lin et al., "Focal loss for dense object detection", ICCV 2017; Menon et al., "Long-tail learning via logit
        adjustment", ICLR 2021.
    """

    task: Task
    class_weights: tuple[tuple[float, ...], ...] = ()
    focal_gamma: float = 0.0
    shifts: tuple[tuple[float, ...], ...] = ()
    head_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        heads = self.task.heads
        wrong = []
        for what, found in (("class_weights", self.class_weights), ("shifts", self.shifts)):
            if found and len(found) != len(heads):
                wrong.append(f"{what} has {len(found)} entries for {len(heads)} heads")
        for head, weights in zip(heads, self.class_weights, strict=False):
            if weights and (len(weights) != len(head.classes) or min(weights) <= 0):
                wrong.append(f"class_weights of {head.name!r}: {len(head.classes)} numbers above 0 are needed")
        for head, shift in zip(heads, self.shifts, strict=False):
            if shift and (head.kind in ("grades", "quantity") or len(shift) != head.outputs):
                wrong.append(f"shifts of {head.name!r} ({head.kind}): one number per class, or one for yes")
        if self.focal_gamma and not self.focal_gamma >= 1:
            wrong.append(f"focal_gamma is {self.focal_gamma}: it is at least 1, or 0 for the plain loss")
        if self.head_weights and (len(self.head_weights) != len(heads) or min(self.head_weights) <= 0):
            wrong.append(f"head_weights: {len(heads)} numbers above 0 are needed")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def plain(self) -> bool:
        """Whether it is one of several classes with the usual cross-entropy: what every framework offers."""
        answered = self.class_weights or self.shifts or self.focal_gamma
        return self.task.name == "multiclass" and not answered

    def of_head(self, number: int) -> tuple[Sequence[float], Sequence[float], float]:
        """Say how one head learns.

        Args:
            number: Which head, from 0.

        Returns:
            Its class weights and its shift, empty where there are none, and its share in the loss.
        """
        weights = self.class_weights[number] if self.class_weights else ()
        shift = self.shifts[number] if self.shifts else ()
        return weights, shift, self.head_weights[number] if self.head_weights else 1.0


def unnamed(classes: int) -> Objective:
    """Ask for one of several classes whose names do not matter.

    Args:
        classes: How many, K; at least 1.

    Returns:
        The plain objective; of a single class a stand-in, for networks that only give features.

    Example:
        >>> unnamed(3).task.outputs
        3

    References:
        Our own.
    """
    return Objective(classification([str(number) for number in range(max(classes, 2))]))
