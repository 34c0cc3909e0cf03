"""What a runtime offers: a network's outputs for a batch, whatever program computes them."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images

RuntimePrecision = Literal["fp32", "bf16", "int8"]


class RuntimeMissing(RuntimeError):
    """A program that should compute is not installed, or the bundle holds no files for it."""


class Runtime(Protocol):
    """Computes a network's outputs.

    References:
        Our own.
    """

    @property
    def description(self) -> str:
        """Program, version, device and precision in words."""
        ...

    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Give what the network's head gives, before any score is made of it.

        Args:
            images: Normalized, shape (N, 3, H, W), N at least 1.

        Returns:
            Shape (N, outputs).
        """
        ...

    def close(self) -> None:
        """Let go of what it holds, such as a process; it answers no more."""
        ...
