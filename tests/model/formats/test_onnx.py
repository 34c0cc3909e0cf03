"""ONNX initializers get back the names and layouts that an exporter takes from them."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeground.model.architecture import recognize
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import WeightsRefused
from tests.model.hostile_weights import onnx_file

onnx = pytest.importorskip("onnx", reason="needs onnx to write its files: pip install 'eyeground[onnx]'")


@pytest.mark.parametrize("fresh", [True, False], ids=["as drawn", "trained"])
def test_what_torch_exports_comes_back(tmp_path: Path, fresh: bool) -> None:
    network = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32)).eval()
    if not fresh:  # no two tensors are equal any more, so that none is an alias of another
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn_like(parameter) * 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 32, 32),), tmp_path / "w.onnx", dynamo=False)
    foreign = open_foreign(tmp_path / "w.onnx")
    state = network.state_dict()
    assert foreign.framework == "onnx"
    assert set(foreign.tensors) == set(state)
    for name, tensor in state.items():
        assert np.array_equal(foreign.tensors[name], tensor.numpy()), name
    assert recognize({name: array.shape for name, array in foreign.tensors.items()}).spec().classes == 3


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("FLOAT", [1.5, -2.0]), ("DOUBLE", [0.1, -2.0]), ("INT64", [2**40, -1]), ("INT32", [7, -1]),
        ("UINT8", [0, 255]), ("BOOL", [True, False]), ("FLOAT16", [1.5, -2.0]), ("BFLOAT16", [1.5, -2.0]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("raw", [True, False])
def test_numbers_wherever_they_lie(tmp_path: Path, kind: str, values: list[float], raw: bool) -> None:
    number = getattr(onnx.TensorProto, kind)
    tensor = onnx.helper.make_tensor("a", number, [2], values)
    if raw:
        tensor = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), "a")
    assert tensor.HasField("raw_data") == raw
    graph = onnx.helper.make_graph([], "g", [], [], initializer=[tensor])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "w.onnx")
    assert open_foreign(tmp_path / "w.onnx").tensors["a"].tolist() == values


def test_a_matrix_without_a_bias_keeps_the_name_it_has(tmp_path: Path) -> None:
    matrix = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "onnx::MatMul_7")
    node = onnx.helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["y"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [matrix])), tmp_path / "w.onnx")
    foreign = open_foreign(tmp_path / "w.onnx")
    assert foreign.tensors["onnx::MatMul_7"].shape == (2, 3)
    assert foreign.left_out == ("a graph of 1 nodes",)


def test_a_file_cut_anywhere_is_refused() -> None:
    from eyeground.model.formats.onnx import read

    data = onnx_file()
    for length in range(len(data)):
        with pytest.raises(WeightsRefused):
            read(io.BytesIO(data[:length]), name="w.onnx")
