"""A training engine as a runtime: how a run's own network answers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import Task
from eyeground.model.engine import Images

_TINY = float(np.finfo(np.float32).tiny)


class Answering(Protocol):
    """What is needed of an engine of any framework."""

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        ...

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores, shape (N, S)."""
        ...


class EngineRuntime:
    """An engine of any framework as a runtime.

    Args:
        engine: Ready to predict. Torch's gives the head's own outputs; of the others, which know classes only, the
            logarithms of their probabilities are outputs as good.
        task: What it answers.

    Example:
        >>> from eyeground.data.task import classification
        >>> class Sure:
        ...     description = "sure"
        ...     def predict(self, images):
        ...         return np.array([[1.0, 0.0]], np.float32)
        >>> task = classification(("normal", "drusen"))
        >>> task.scores(EngineRuntime(Sure(), task).outputs(np.zeros((1, 3, 8, 8), np.float32))).round(6)
        array([[1., 0.]])

    References:
        Our own.
    """

    def __init__(self, engine: Answering, task: Task) -> None:
        self._engine = engine
        if not hasattr(engine, "outputs") and [head.kind for head in task.heads] != ["classes"]:
            raise ValueError("this framework's engine answers one set of classes only")

    @property
    def description(self) -> str:
        """Framework, device and precision in words."""
        return self._engine.description

    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Give what the head gives.

        Args:
            images: Normalized, shape (N, 3, H, W).

        Returns:
            Shape (N, outputs).
        """
        own = getattr(self._engine, "outputs", None)
        if own is not None:
            found: NDArray[np.float32] = own(images)
            return found
        return np.log(np.maximum(self._engine.predict(images), _TINY)).astype(np.float32)

    def close(self) -> None:
        """Nothing to let go of: the engine belongs to whoever opened it."""
