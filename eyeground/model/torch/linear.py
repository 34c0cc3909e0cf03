"""A linear head on frozen features: learns any objective in seconds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyeground.model.objective import Objective
from eyeground.model.optimization import Optimization
from eyeground.model.torch.learner import Learner
from eyeground.model.torch.loss import loss_of

Features = NDArray[np.float32]  # (N, D)


class LinearHead:
    """One linear layer from features to the outputs of a task.

    Features are standardized by the mean and deviation of those given at the start, so that one learning rate suits any
    network.

    Args:
        features: Training features, shape (N, D): they set the standard.
        objective: What is asked, and how the loss answers imbalance.
        optimization: How it learns; None = prediction only.
        seed: Draws the starting weights.
        threads: Processor threads; 0 leaves torch's choice.

    Example:
        >>> from eyeground.model.objective import unnamed
        >>> head = LinearHead(np.eye(4, dtype=np.float32), objective=unnamed(3))
        >>> head.predict(np.zeros((2, 4), np.float32)).shape
        (2, 3)

    References:
        Alain & Bengio, "Understanding intermediate layers using linear classifier probes", 2016.
    """

    def __init__(
        self,
        features: Features,
        *,
        objective: Objective,
        optimization: Optimization | None = None,
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        self._objective = objective
        self._mean = features.mean(axis=0)
        # A feature that is the same everywhere says nothing, and is left as it is.
        self._deviation = np.where(features.std(axis=0) > 0, features.std(axis=0), 1).astype(np.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layer = nn.Linear(features.shape[1], objective.task.outputs)
        nn.init.zeros_(layer.bias)
        self._label_smoothing = optimization.label_smoothing if optimization else 0.0
        self._learner = Learner(layer, optimization=optimization, device="cpu", precision="fp32", threads=threads)

    def train_step(self, features: Features, targets: NDArray[np.float32], *, lr: float, seed: int) -> float:
        """Take one optimizer step.

        Args:
            features: Shape (N, D).
            targets: Shape (N, outputs) as the task makes them.
            lr: Learning rate.
            seed: Of anything random.

        Returns:
            The loss.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite.
            RuntimeError: If it was built for prediction only.
        """
        learner = self._learner
        learner.begin(lr=lr, seed=seed)
        outputs = learner.module(learner.to_device(self._standard(features)))
        loss = loss_of(outputs, learner.to_device(targets), self._objective, label_smoothing=self._label_smoothing)
        value = learner.check_loss(loss.item())
        learner.fabric.backward(loss)
        learner.finish()
        return value

    @torch.inference_mode()
    def predict(self, features: Features) -> NDArray[np.float64]:
        """Give scores.

        Args:
            features: Shape (N, D).

        Returns:
            As the task has them, shape (N, S).
        """
        outputs = self._learner.module.eval()(self._learner.to_device(self._standard(features)))
        return self._objective.task.scores(outputs.numpy())

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out."""
        return self._learner.state()

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it.
        """
        self._learner.load_state(state)

    def _standard(self, features: Features) -> Features:
        """Features of mean 0 and deviation 1."""
        return np.ascontiguousarray((features - self._mean) / self._deviation, np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, and with as many as before afterwards.

    For a layer as small as this one: two threads that wait for each other take longer than one, and on cores that are
    busy with something else many times so.

    Yields:
        Nothing.

    Example:
        >>> with one_thread():
        ...     print(torch.get_num_threads())
        1

    References:
        Our own.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
