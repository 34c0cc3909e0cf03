"""Networks with heads that say something, and graphs written by hand, for the tests of this room."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build, classifier_name
from eyeground.model.weights import Tensors

# Not importorskip: a plain import of OpenVINO tells Google Analytics of it.
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs pip install 'eyeground[openvino]'"
)

VIT = ModelSpec("vit_demo_patch8", classes=3, image_px=32)
CONVNET = ModelSpec("mobilenetv2_100", classes=3, image_px=64)


def weights_of(spec: ModelSpec) -> Tensors:
    """Random weights; a fresh head would answer nearly the same for all images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build(spec)
        torch.nn.init.normal_(network.get_submodule(classifier_name(network)).weight, std=0.2)
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def noise(spec: ModelSpec, count: int, seed: int = 0) -> np.ndarray:
    """Images of noise."""
    shape = (count, 3, spec.image_px, spec.image_px)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_hand(
    *nodes: Any, gives: tuple[Any, ...] = ("N", 3), takes: tuple[Any, ...] = ("N", 3, 8, 8), **more: Any
) -> Any:
    """An ONNX model from nodes that make ``mean`` (N, 3) into ``head``."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("images", takes), ("head", gives))]
    first = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
    ]
    graph = helper.make_graph([*first, *nodes], "by hand", ends[:1], ends[1:], **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def saved(model: Any, folder: Path) -> Path:
    """A model as a file."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path
