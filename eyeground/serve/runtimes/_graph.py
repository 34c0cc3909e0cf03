"""A network as a plain ONNX graph to compute with: the start of what ONNX Runtime and OpenVINO are given."""

import importlib.util
from typing import Any

from eyeground.model.spec import ModelSpec
from eyeground.model.weights import Tensors


def absent(*packages: str, extra: str) -> str:
    """Say which extra has to be installed.

    Args:
        packages: What is needed.
        extra: The extra that brings them.

    Returns:
        What to type; empty when all is there.

    Example:
        >>> absent("numpy", extra="onnx"), absent("no_such_package", extra="onnx")
        ('', "pip install 'eyeground[onnx]'")

    References:
        Our own.
    """
    there = all(importlib.util.find_spec(name) for name in packages)
    return "" if there else f"pip install 'eyeground[{extra}]'"


def on_processor(program: str, device: str) -> None:
    """Refuse a device that a graph is not run on.

    Args:
        program: The runtime.
        device: What was asked for.

    Raises:
        ValueError: If it is anything but ``"cpu"`` or ``"auto"``.

    Example:
        >>> on_processor("onnx", "cuda")
        Traceback (most recent call last):
        ValueError: the runtime onnx computes on the processor only, not on 'cuda': choose device=cpu, or torch

    References:
        Our own.
    """
    if device not in ("cpu", "auto"):
        raise ValueError(
            f"the runtime {program} computes on the processor only, not on {device!r}: choose device=cpu, or torch"
        )


def plain_graph(spec: ModelSpec, tensors: Tensors) -> Any:
    """Write a network down as an ONNX model: images (N, 3, H, W) in, outputs (N, K) out, N free.

    Unlike ``export_onnx``, whose weights keep their names for a proof, constants are folded and batch norms go into
    their convolutions: twice as fast for MobileNetV2, and int8 needs it. What torch notes beside the nodes, among it
    paths of this machine, is left out. The same weights give the same bytes.

    Args:
        spec: The network.
        tensors: All of its weights, by canonical name.

    Returns:
        The model.

    Raises:
        WeightsRefused: If the weights do not belong to the network.
        RuntimeError: If torch cannot export the network.

    Example:
        >>> from eyeground.model.torch.network import build
        >>> spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
        >>> tensors = {name: tensor.numpy() for name, tensor in build(spec).state_dict().items()}
        >>> [each.name for each in plain_graph(spec, tensors).graph.output]
        ['head']

    References:
        ONNX opset 18; onnxscript's optimizer.
    """
    import onnx
    from onnxscript import optimizer

    from eyeground.model.onnx.export import export_onnx

    model = optimizer.optimize(onnx.load_model_from_string(export_onnx(spec, tensors, {})))
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    return model
