"""What every framework's engine offers: a few verbs, arrays at the door."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyeground.model.applied_rate import Slot
from eyeground.model.optimization import Precision
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import LoadReport

Images = NDArray[np.float32]  # (N, 3, H, W), normalized
Targets = NDArray[np.float32]  # (N, outputs) as Task.targets makes them; NaN teaches nothing


class LossNotFinite(ArithmeticError):
    """The loss or its gradient is NaN or infinite: the run cannot go on from here."""


@dataclass(frozen=True, eq=False)
class Vitals:
    """What a step of pre-training lets see of its health.

    Args:
        loss: The step's loss.
        chance_loss: Loss of an answer that knows nothing of the image.
        gradient_norm: Length of the whole gradient.
        encoder_gradient_norm: Length of the encoder's part.
        view_gradients: Length of the loss's gradient by each view's embeddings; empty where there are no views.
        image_spread: Standard deviation of a pixel over the images of the step, in normalized units.
        embeddings: One row per image, shape (N, D); of the first view where there are two.
        partners: Embeddings of the second view, shape (N, D); None where there is one.

    Example:
        >>> Vitals(1.0, 1.0, 0.5, 0.4, (), 1.0, np.zeros((2, 3)), None).loss
        1.0

    References:
        Our own; judged by ``eyeground.train.health``.
    """

    loss: float
    chance_loss: float
    gradient_norm: float
    encoder_gradient_norm: float
    view_gradients: tuple[float, ...]
    image_spread: float
    embeddings: NDArray[np.float32]
    partners: NDArray[np.float32] | None


class Learning(Protocol):
    """A network that can learn, step by step, and be put away and taken up again.

    References:
        Our own; the height of this cut is argued in docs/street.md.
    """

    @property
    def description(self) -> str:
        """Device, precision and size in words."""
        ...

    def train_step(self, batches: Sequence[Any], *, lr: float, seed: int) -> float:
        """Take one optimizer step over one or several micro-batches.

        Args:
            batches: Micro-batches that make up one effective batch, each a tuple of arrays.
            lr: Peak learning rate of this step; each parameter's scale comes on top.
            seed: Everything random inside the network follows from it.

        Returns:
            Loss of the effective batch.

        Raises:
            LossNotFinite: If the loss or the gradient is NaN or infinite; weights stay as they were, unless they step
                in the backward pass and the loss was finite.
        """
        ...

    def features(self, images: Images) -> NDArray[np.float32]:
        """Give what a head sees, or would see.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Features, shape (N, D).
        """
        ...

    def state(self) -> dict[str, Mapping[str, NDArray[Any]]]:
        """Copy ``weights`` and ``optimizer`` out; of several processes in all at once, and to the first alone."""
        ...

    def load_state(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put ``weights``, and ``optimizer`` where given, back.

        Args:
            state: As ``state`` gave it; without ``optimizer`` only the weights change.

        Raises:
            ValueError: If names or shapes differ from the network's.
        """
        ...


class Engine(Learning, Protocol):
    """A classifier that can learn and answer.

    References:
        Our own; the height of this cut is argued in docs/street.md.
    """

    @property
    def spec(self) -> ModelSpec:
        """What was built."""
        ...

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        ...

    @property
    def load_report(self) -> LoadReport | None:
        """What became of every key of the starting weights; None where they were random."""
        ...

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Give scores.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            As the task has them, shape (N, S): of classes probabilities that add up to 1.
        """
        ...


class Provable(Engine, Protocol):
    """A classifier that shows what goes on inside it, so that it can be held against another.

    References:
        Our own; ``eyeground.model.examination`` asks.
    """

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            By canonical name of the layer, in order; the last are the logits.
        """
        ...

    def probe(self, layer: str, inputs: NDArray[np.float32], *, seed: int | None = None) -> NDArray[np.float32]:
        """Run one layer by itself.

        Args:
            layer: Its canonical name, such as ``"blocks.0.norm1"``.
            inputs: What it is given.
            seed: As in training, with what is random drawn from it; None = as in prediction.

        Returns:
            What it makes of it.

        Raises:
            ValueError: If there is no such layer.
        """
        ...

    def slot(self, name: str) -> Slot:
        """Give a parameter with what AdamW keeps about it.

        Args:
            name: Canonical name.

        Returns:
            Copies in torch's layout; zeros before the first step.

        Raises:
            RuntimeError: If the engine was built for prediction only.
        """
        ...


class Pretraining(Learning, Protocol):
    """A network that learns from images without labels.

    References:
        Our own.
    """

    @property
    def vitals(self) -> Vitals:
        """What the last step let see of its health."""
        ...
