"""What every framework's engine offers: a few verbs, arrays at the door."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyeground.model.spec import ModelSpec

Images = NDArray[np.float32]  # (N, 3, H, W), normalized
Targets = NDArray[np.float32]  # (N, K), rows sum to 1


class LossNotFinite(ArithmeticError):
    """The loss is NaN or infinite; nothing was learned from this step."""


class Engine(Protocol):
    """A network that can learn and answer.

    References:
        Our own; the height of this cut is argued in docs/street.md.
    """

    @property
    def spec(self) -> ModelSpec:
        """What was built."""
        ...

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        ...

    def train_step(self, batches: Sequence[tuple[Images, Targets]], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches.

        Args:
            batches: Micro-batches whose gradients are averaged.
            lr: Peak learning rate of this step; each parameter's scale comes on top.
            seed: Everything random inside the network follows from it.

        Returns:
            Mean loss over the micro-batches.

        Raises:
            LossNotFinite: If the loss is NaN or infinite; weights stay as they were.
        """
        ...

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Probabilities, shape (N, K), rows sum to 1.
        """
        ...

    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what the head sees.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        ...

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out."""
        ...

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it; without ``optimizer`` only the weights change.

        Raises:
            ValueError: If names or shapes differ from the network's.
        """
        ...
