"""An ONNX graph in 8-bit integers, with scales measured on images."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.model.engine import Images

# What takes nearly all the time; everything between computes in fp32 on what these give.
_QUANTIZED = ("Conv", "MatMul", "Gemm")
_BATCH = 8


class _Batches:
    """Images as ONNX Runtime's calibration asks for them."""

    def __init__(self, images: Images) -> None:
        self._left: Iterator[Images] = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))

    def get_next(self) -> dict[str, Images] | None:
        """Give the next batch, None after the last."""
        batch = next(self._left, None)
        return None if batch is None else {"images": batch}


def quantized(model: Any, images: Images) -> bytes:
    """Bring the products of a graph to 8-bit integers: weights by channel, what flows between by tensor.

    What another image brings outside the ranges measured here is cut off. So the head stays as it is, products of two
    things that are both computed, as in attention, too, and what a matrix gives is not rounded again. Weights use 7 of
    their 8 bits: without VNNI, processors add two products in 16 bits, where 8 bits overflow, so that an older machine
    would give other numbers than the one on which the parity gate was passed.

    Args:
        model: An ONNX model with folded constants.
        images: Normalized, shape (N, 3, H, W): like those it will see. Only ranges are kept of them.

    Returns:
        The file's bytes.

    Raises:
        ValueError: If there are no images, or a number of them is not finite.

    Example:
        >>> quantized(None, np.zeros((0, 3, 8, 8), np.float32))
        Traceback (most recent call last):
        ValueError: int8 needs images to measure the ranges on: give some from training

    References:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
        CVPR 2018; ONNX Runtime's documentation on reduce_range.
    """
    if not len(images):
        raise ValueError("int8 needs images to measure the ranges on: give some from training")
    if not np.isfinite(images).all():
        raise ValueError("an image for int8 holds a number that is not finite")
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    weights = {each.name for each in model.graph.initializer}
    answers = {each.name for each in model.graph.output}
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"  # or it could not be left out
    kept = [
        node.name
        for node in model.graph.node
        if node.op_type in _QUANTIZED and (node.input[1] not in weights or answers & set(node.output))
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            model,
            path,
            _Batches(np.asarray(images, np.float32)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
        )
        return path.read_bytes()
