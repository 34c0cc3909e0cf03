"""What Paddle itself writes comes in, in torch's layout."""

import io
from pathlib import Path

import numpy as np
import pytest

from eyeground.model.formats.paddle import read
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import WeightsRefused

from .conftest import Write

CODE = """
import numpy, paddle
paddle.seed(0)
net = paddle.nn.Sequential(paddle.nn.Linear(3, 5), paddle.nn.LayerNorm(5))
state = net.state_dict()
numpy.savez("truth.npz", **{name: tensor.numpy() for name, tensor in state.items()})
for protocol in (2, 3, 4):
    paddle.save(state, f"protocol{protocol}.pdparams", protocol=protocol)
paddle.save({"model": state, "epoch": 3}, "nested.pdparams")
paddle.save({"0.weight": net[0].weight, "lr": 0.1}, "plain.pdparams")
paddle.save(net[0].weight, "single.pdparams")
paddle.save({name: tensor.astype("bfloat16") for name, tensor in state.items()}, "bfloat16.pdparams")
paddle.save({name: tensor.astype("float16") for name, tensor in state.items()}, "float16.pdparams")
"""


@pytest.fixture(scope="module")
def folder(written: Write) -> Path:
    return written("paddle", CODE)


@pytest.mark.parametrize(
    ("name", "nest", "left_out"),
    [
        ("protocol2", "", ()),
        ("protocol3", "", ()),
        ("protocol4", "", ()),
        ("nested", "model", ("epoch (3)",)),
        ("plain", "", ("lr (0.1)",)),
    ],
)
def test_each_form_that_paddle_writes(folder: Path, name: str, nest: str, left_out: tuple[str, ...]) -> None:
    truth = np.load(folder / "truth.npz")
    foreign = open_foreign(folder / f"{name}.pdparams")
    assert (foreign.framework, foreign.nest, foreign.left_out) == ("paddle", nest, left_out)
    assert set(foreign.tensors) == ({"0.weight"} if name == "plain" else set(truth))
    for key, array in foreign.tensors.items():
        wanted = truth[key].T if truth[key].ndim == 2 else truth[key]
        assert array.dtype == np.float32
        assert np.array_equal(array, wanted), key


def test_a_single_tensor_keeps_its_name(folder: Path) -> None:
    (array,) = open_foreign(folder / "single.pdparams").tensors.values()
    assert array.shape == (3, 5)  # called linear_0.w_0, not .weight: nothing says that it is a Linear's


@pytest.mark.parametrize(("name", "error"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_half_precision_comes_as_float32(folder: Path, name: str, error: float) -> None:
    truth = np.load(folder / "truth.npz")
    found = open_foreign(folder / f"{name}.pdparams").tensors
    assert found["0.weight"].dtype == np.float32
    assert np.allclose(found["0.weight"], truth["0.weight"].T, rtol=error, atol=1e-7)
    assert not np.array_equal(found["0.weight"], truth["0.weight"].T)


def test_a_pickle_without_paddle_s_table_is_paddle_s_by_its_name_only(folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.bin"
    plain.write_bytes((folder / "plain.pdparams").read_bytes())
    with pytest.raises(WeightsRefused, match=r"call it \.pdparams"):
        open_foreign(plain)
    marked = tmp_path / "marked.bin"
    marked.write_bytes((folder / "protocol4.pdparams").read_bytes())
    assert open_foreign(marked).framework == "paddle"


def test_a_file_cut_anywhere_is_refused() -> None:
    # numpy pickles arrays as Paddle does; no Paddle is needed for this one.
    data = np.arange(100.0).dumps()
    for length in range(0, len(data), 7):
        with pytest.raises(WeightsRefused):
            read(io.BytesIO(data[:length]), name="w.pdparams")
    with pytest.raises(WeightsRefused, match="holds an array of the shape"):
        read(io.BytesIO(data), name="w.pdparams")
