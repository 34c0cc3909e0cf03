"""A weights file running in the framework that wrote it, so that what its layers make can be seen."""

from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Images
from eyeground.model.environment import EngineMissing
from eyeground.model.frameworks import build_engine
from eyeground.model.optimization import Framework
from eyeground.model.spec import ModelSpec
from eyeground.model.weights import Tensors, WeightsRefused


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


def run_file(path: Path, framework: str, spec: ModelSpec, tensors: Tensors, *, threads: int = 0) -> Showing:
    """Run a file in the framework that wrote it.

    Args:
        path: The file.
        framework: Who wrote it; ``"onnx"`` runs the file's own graph, all others their own network with its weights.
        spec: The network.
        tensors: What was found in the file, by canonical name.
        threads: Processor threads; 0 leaves the framework's choice.

    Returns:
        The network.

    Raises:
        WeightsRefused: If an ONNX graph does not show its layers.
        EngineMissing: If the framework is not installed.

    References:
        Our own.
    """
    if framework == "onnx":
        return run_onnx(path.read_bytes(), spec, tensors, threads=threads)
    if framework in ("paddle", "mindspore"):
        return build_engine(
            cast(Framework, framework), spec, tensors=tensors, device="cpu", precision="fp32", threads=threads
        )
    return reference(spec, tensors, threads=threads)


def run_onnx(content: bytes, spec: ModelSpec, tensors: Tensors, *, threads: int = 0) -> Showing:
    """Run an ONNX graph.

    Args:
        content: The file's bytes.
        spec: The network that it should be.
        tensors: Weights of that network; they only tell which layers it has.
        threads: Processor threads; 0 leaves ONNX Runtime's choice.

    Returns:
        The graph.

    Raises:
        WeightsRefused: If it lacks one of the reference's layers.
        EngineMissing: If the extra ``onnx`` is not installed.

    References:
        Our own.
    """
    blank = np.zeros((1, 3, spec.image_px, spec.image_px), np.float32)
    layers = list(reference(spec, tensors, threads=threads).activations(blank))
    try:
        from eyeground.model.onnx.engine import OnnxEngine

        return OnnxEngine(content, layers=layers, threads=threads)
    except ModuleNotFoundError as error:
        raise onnx_missing() from error
    except ValueError as error:
        raise WeightsRefused(str(error)) from error


def onnx_missing() -> EngineMissing:
    """Say that the extra is not installed.

    Returns:
        To be raised.

    Example:
        >>> str(onnx_missing())
        "onnx is not installed: pip install 'eyeground[onnx]'"

    References:
        Our own.
    """
    return EngineMissing("onnx is not installed: pip install 'eyeground[onnx]'")
