"""A weights file running in the framework that wrote it, so that what its layers make can be seen."""

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images
from eyeground.model.frameworks import build_engine
from eyeground.model.onnx.engine import OnnxEngine
from eyeground.model.optimization import Framework
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import Tensors


class Showing(Protocol):
    """Anything that shows what its layers make of images.

    References:
        Our own.
    """

    @property
    def description(self) -> str:
        """What it is, in words."""
        ...

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Give what every layer makes of some images.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            By canonical name of the layer, in order; the last are the logits.
        """
        ...


def reference(spec: ModelSpec, tensors: Tensors, *, threads: int = 0) -> Showing:
    """Run weights in torch, by which all others are measured.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.
        threads: Processor threads; 0 leaves torch's choice.

    Returns:
        The network.

    Raises:
        WeightsRefused: If they do not belong to it.

    Example:
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
        >>> tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
        >>> list(reference(spec, tensors).activations(np.zeros((1, 3, 16, 16), np.float32)))[-2:]
        ['fc_norm', 'head']

    References:
        Our own.
    """
    return build_engine("torch", spec, tensors=tensors, device="cpu", precision="fp32", threads=threads)


def run_file(
    content: bytes, framework: str, spec: ModelSpec, tensors: Tensors, *, has_head: bool = True, threads: int = 0
) -> Showing:
    """Run a file in the framework that wrote it.

    Args:
        content: The file's bytes; only an ONNX graph is run itself, all others are their own network with its weights.
        framework: Who wrote it.
        spec: The network.
        tensors: What was found in the file, by canonical name.
        has_head: Whether the file has a classifier.
        threads: Processor threads; 0 leaves the framework's choice.

    Returns:
        The network.

    Raises:
        EngineMissing: If the framework is not installed.

    References:
        Our own.
    """
    if framework in ("paddle", "mindspore"):
        return build_engine(
            cast(Framework, framework), spec, tensors=tensors, device="cpu", precision="fp32", threads=threads
        )
    torch = reference(spec, tensors, threads=threads)
    if framework != "onnx":
        return torch
    layers = list(torch.activations(np.zeros((1, 3, spec.image_px, spec.image_px), np.float32)))
    shown = layers if has_head else layers[:-1]
    return OnnxEngine(content, layers=shown, answer=layers[-1] if has_head else "features", threads=threads)
