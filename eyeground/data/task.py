"""What a network is asked: heads of classes, yes/no, grades, quantities; truth -> targets, outputs -> scores (pure)."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eyeground.data.table import nearest

Kind = Literal["classes", "yes_no", "grades", "quantity"]
TaskName = Literal["multiclass", "multilabel", "ordinal", "regression", "heads"]

YES_NO = ("no", "yes")
_WORDS = {"0": 0.0, "no": 0.0, "n": 0.0, "false": 0.0, "1": 1.0, "yes": 1.0, "y": 1.0, "true": 1.0}
_FOLDER = re.compile(r"(?![. ])[^/\\:\x00-\x1f]*[^/\\:\x00-\x1f. ]")
_TINY = float(np.finfo(np.float32).tiny)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """One question to an image.

    Args:
        name: What it is called, such as ``"AMD"``.
        kind: ``"classes"`` (one of several), ``"yes_no"``, ``"grades"`` (each more than the one before) or
            ``"quantity"``.
        classes: Names of classes or grades in order, K; of ``"yes_no"`` always no, yes; of a quantity none.
        column: Column of a table that tells the truth; empty = the head's name.
        low: Least value of a quantity; None = any.
        high: Greatest value of a quantity; None = any.
        unit: Unit of a quantity, for tables and plots.
        center: Mean of a quantity in training: it is learned in standard units.
        spread: Standard deviation of it in training, above 0.

    Raises:
        ValueError: If classes are missing or stand twice, or the scale of a quantity is empty; all faults at once.

    Example:
        >>> Head("DR", "grades", ("0", "1", "2", "3", "4")).outputs
        4

    References:
        Our own.
    """

    name: str
    kind: Kind = "yes_no"
    classes: tuple[str, ...] = ()
    column: str = ""
    low: float | None = None
    high: float | None = None
    unit: str = ""
    center: float = 0.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        wrong = [] if self.name else ["a head needs a name"]
        if self.kind not in get_args(Kind):
            wrong.append(f"kind is {self.kind!r}: it is one of {', '.join(get_args(Kind))}")
        if self.kind == "yes_no":
            object.__setattr__(self, "classes", YES_NO)
        elif self.kind == "quantity":
            low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
            if self.classes:
                wrong.append("a quantity has no classes, but low and high")
            if not low < high:
                wrong.append(f"low {self.low} must be below high {self.high}")
            if not self.spread > 0:
                wrong.append(f"spread is {self.spread}: it is above 0")
        elif len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            wrong.append(f"{self.kind} needs at least two different classes, got {list(self.classes)}")
        if wrong:
            raise ValueError(f"head {self.name!r}: " + "; ".join(wrong))

    @property
    def outputs(self) -> int:
        """Numbers that the network gives for it: logits, or a quantity in standard units."""
        return {"classes": len(self.classes), "grades": len(self.classes) - 1}.get(self.kind, 1)

    @property
    def columns(self) -> int:
        """Scores it has: a probability per class or grade, that of yes, or the quantity itself."""
        return len(self.classes) if self.kind in ("classes", "grades") else 1

    def read(self, word: str) -> float:
        """Read what a table's cell says.

        Args:
            word: The cell.

        Returns:
            Index of the class or grade, 0 or 1, or the quantity; NaN for an empty cell: not known, never zero.

        Raises:
            ValueError: If it is no answer to this question; the message names the head and what it takes.

        Example:
            >>> Head("AMD").read("yes"), Head("DR", "grades", ("0", "1", "2")).read("2.0")
            (1.0, 2.0)
        """
        word = word.strip()
        if not word:
            return math.nan
        plain = word[:-2] if word.endswith(".0") else word
        if self.kind == "yes_no":
            if plain.lower() not in _WORDS:
                raise ValueError(f"{self.name} is {word!r}: it is 0 or 1 (no or yes), or empty where not known")
            return _WORDS[plain.lower()]
        if self.kind == "quantity":
            try:
                value = float(word)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise ValueError(f"{self.name} is {word!r}: it is a number, or empty where not known")
            if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
                scale = " to ".join("any" if end is None else f"{end:g}" for end in (self.low, self.high))
                raise ValueError(f"{self.name} is {word}: outside its scale, {scale}")
            return value
        for candidate in (word, plain):
            if candidate in self.classes:
                return float(self.classes.index(candidate))
        kind = "scale" if self.kind == "grades" else "classes"
        raise ValueError(
            f"{self.name} is {word!r}: outside its {kind} {', '.join(self.classes)}{nearest(word, self.classes)}"
        )

    def targets(self, truth: Array) -> Array:
        """Turn truth to what each output should say.

        Args:
            truth: Shape (N,), as ``read`` gives it.

        Returns:
            Shape (N, outputs), NaN = teaches nothing. Of grades, output k says whether the grade is above k given that
            it is at least k, so only images of grade k and above teach it (CORN).

        References:
            Shi, Cao & Raschka, "Deep neural networks for rank-consistent ordinal regression based on conditional
            probabilities", Pattern Anal Appl 2023;26:941.
        """
        known = np.isfinite(truth)
        if self.kind == "quantity":
            return ((truth - self.center) / self.spread)[:, None]
        if self.kind == "yes_no":
            return np.array(truth[:, None])
        levels = np.arange(self.outputs)
        if self.kind == "grades":
            above = (truth[:, None] > levels).astype(np.float64)
            return np.where(known[:, None] & (truth[:, None] >= levels), above, np.nan)
        return np.where(known[:, None], (truth[:, None] == levels).astype(np.float64), np.nan)

    def scores(self, outputs: Array) -> Array:
        """Turn the network's outputs to scores.

        Args:
            outputs: Shape (N, outputs).

        Returns:
            Shape (N, columns): probabilities that add up to 1 over classes or grades; that of yes; or the quantity.
        """
        if self.kind == "quantity":
            return outputs * self.spread + self.center
        if self.kind == "classes":
            raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            return np.asarray(raised / raised.sum(axis=1, keepdims=True))
        chance = 0.5 * (1 + np.tanh(0.5 * outputs))  # the logistic function, without overflow
        if self.kind == "yes_no":
            return np.asarray(chance)
        above = np.cumprod(chance, axis=1)  # P(grade > k) = product of P(grade > j | grade >= j) for j up to k
        edges = np.concatenate([np.ones((len(above), 1)), above, np.zeros((len(above), 1))], axis=1)
        return np.asarray(edges[:, :-1] - edges[:, 1:])

    def loss(self, scores: Array, truth: Array) -> float:
        """Say how far scores are from the truth, as validation counts it.

        Args:
            scores: Shape (N, columns).
            truth: Shape (N,), NaN = not known.

        Returns:
            Mean negative log-likelihood, or mean squared error in standard units, over the images with known truth; NaN
            when there is none.
        """
        known = np.isfinite(truth)
        if not known.any():
            return math.nan
        scores, truth = scores[known], truth[known]
        if self.kind == "quantity":
            return float((((scores[:, 0] - truth) / self.spread) ** 2).mean())
        if self.kind == "yes_no":
            scores = np.concatenate([1 - scores, scores], axis=1)
        said = scores[np.arange(len(truth)), truth.astype(np.int64)]
        return float(-np.log(np.maximum(said, _TINY)).mean())


@dataclass(frozen=True)
class Task:
    """Everything that is asked of an image at once.

    Args:
        name: ``"multiclass"``, ``"multilabel"``, ``"ordinal"``, ``"regression"`` or ``"heads"``.
        heads: The questions, H; one in a task of classes, grades or one quantity.

    Raises:
        ValueError: If there is no head, or two have the same name.

    Example:
        >>> task = Task("heads", (Head("AMD"), Head("DR", "grades", ("0", "1", "2"))))
        >>> task.outputs, task.columns
        (3, 4)
        >>> task.targets(np.array([[1.0, np.nan], [np.nan, 1.0]]))
        array([[ 1., nan, nan],
               [nan,  1.,  0.]], dtype=float32)

    References:
        Our own.
    """

    name: TaskName
    heads: tuple[Head, ...]

    def __post_init__(self) -> None:
        names = [head.name for head in self.heads]
        if not names:
            raise ValueError("a task needs a head")
        folded = [name.casefold() for name in names]  # some disks take AMD and amd for the same folder
        if len(set(folded)) < len(names):
            twice = next(name for name in names if folded.count(name.casefold()) > 1)
            raise ValueError(f"two heads are called {twice!r}: give each a name of its own")
        columns = [f"{h.name}_{c}" for h in self.heads if h.columns > 1 for c in h.classes]
        columns += [h.name for h in self.heads if h.columns == 1]
        if self.single is None and len(set(columns)) < len(columns):
            twice = max(columns, key=columns.count)
            raise ValueError(f"two heads would share the column score_{twice} of the table: give one another name")
        # Each of several heads has a folder among the results.
        unfit = [name for name in names if self.single is None and not _FOLDER.fullmatch(name)]
        if unfit:
            raise ValueError(
                f"a head cannot be called {unfit[0]!r}: no slash, colon or line break, no dot or space at either end"
            )

    @property
    def outputs(self) -> int:
        """Numbers that the network gives."""
        return sum(head.outputs for head in self.heads)

    @property
    def columns(self) -> int:
        """Scores of an image (S)."""
        return sum(head.columns for head in self.heads)

    @property
    def single(self) -> Head | None:
        """The one head of a task of classes, grades or one quantity; None where several are asked."""
        return self.heads[0] if self.name in ("multiclass", "ordinal", "regression") else None

    def parts(self) -> Iterator[tuple[Head, slice, slice]]:
        """Say where each head's numbers lie.

        Yields:
            The head, its place among the outputs, and its place among the scores.
        """
        output = column = 0
        for head in self.heads:
            yield head, slice(output, output + head.outputs), slice(column, column + head.columns)
            output, column = output + head.outputs, column + head.columns

    def targets(self, truth: NDArray[Any]) -> NDArray[np.float32]:
        """Turn truth to what each output should say.

        Args:
            truth: Shape (N, H), NaN = not known.

        Returns:
            Shape (N, outputs), NaN = teaches nothing.
        """
        values = truth.astype(np.float64)
        found = [head.targets(values[:, number]) for number, head in enumerate(self.heads)]
        return np.concatenate(found, axis=1).astype(np.float32)

    def scores(self, outputs: NDArray[Any]) -> Array:
        """Turn the network's outputs to scores.

        Args:
            outputs: Shape (N, outputs).

        Returns:
            Shape (N, S).
        """
        values = outputs.astype(np.float64)
        return np.concatenate([head.scores(values[:, place]) for head, place, _ in self.parts()], axis=1)

    def loss(self, scores: Array, truth: NDArray[Any]) -> float:
        """Say how far scores are from the truth, as validation counts it.

        Args:
            scores: Shape (N, S).
            truth: Shape (N, H), NaN = not known.

        Returns:
            Mean over the heads that have a known truth; NaN when none has.
        """
        values = truth.astype(np.float64)
        found = [head.loss(scores[:, place], values[:, number]) for number, (head, _, place) in enumerate(self.parts())]
        known = [value for value in found if math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain values, to be stored with the weights; ``read_task`` gives it back."""
        return asdict(self)


def read_task(told: Mapping[str, Any]) -> Task:
    """Take a task up again.

    Args:
        told: As ``Task.to_json`` gave it.

    Returns:
        The task.

    Example:
        >>> task = classification(("normal", "cataract"))
        >>> read_task(task.to_json()) == task
        True

    References:
        Our own.
    """
    heads = (Head(**{**head, "classes": tuple(head["classes"])}) for head in told["heads"])
    return Task(told["name"], tuple(heads))


def classification(classes: Sequence[str]) -> Task:
    """Ask for one of several classes.

    Args:
        classes: Their names in order, K.

    Returns:
        The task.

    Example:
        >>> classification(("normal", "cataract")).outputs
        2

    References:
        Our own.
    """
    return Task("multiclass", (Head("label", "classes", tuple(classes)),))
