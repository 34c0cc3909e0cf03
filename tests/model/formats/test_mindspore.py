"""What MindSpore itself writes comes in, without its optimizer."""

import io
from pathlib import Path

import numpy as np
import pytest

from eyeground.model.formats import mindspore
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import WeightsRefused
from tests.model.hostile_weights import mindspore_file

from .conftest import Write

CODE = """
import numpy, mindspore
from mindspore import nn, save_checkpoint, Tensor
mindspore.set_seed(0)
net = nn.SequentialCell(nn.Dense(30, 50), nn.LayerNorm((50,)))
numpy.savez("truth.npz", **{p.name: p.asnumpy() for p in net.get_parameters()})
save_checkpoint(net, "net.ckpt")
save_checkpoint(net, "checked.ckpt", crc_check=True)
save_checkpoint(net, "net", format="safetensors")
more = {"epoch_num": 3, "lr": 0.1, "note": "hello"}
save_checkpoint(nn.AdamWeightDecay(net.trainable_params()), "trained.ckpt", append_dict=more)
numbers = numpy.array([1.5, -0.1])
types = (mindspore.bfloat16, mindspore.float16, mindspore.float64, mindspore.int32)
save_checkpoint([{"name": str(kind), "data": Tensor(numbers, kind)} for kind in types], "types.ckpt")
import mindspore.train.serialization as writer
writer.SLICE_SIZE = 1  # KB: so that these 6 KB are cut into pieces, as more than 512 MB are
save_checkpoint(net, "cut.ckpt")
"""


@pytest.fixture(scope="module")
def folder(written: Write) -> Path:
    return written("mindspore", CODE)


@pytest.mark.parametrize("name", ["net.ckpt", "checked.ckpt", "cut.ckpt", "trained.ckpt", "net.safetensors"])
def test_each_form_that_mindspore_writes(folder: Path, name: str) -> None:
    truth = np.load(folder / "truth.npz")
    foreign = open_foreign(folder / name)
    assert (foreign.framework, foreign.nest) == ("mindspore", "")
    assert set(foreign.tensors) == set(truth)
    for key, array in foreign.tensors.items():
        assert np.array_equal(array, truth[key]), key


def test_the_small_tensors_were_really_cut(folder: Path) -> None:
    data = (folder / "cut.ckpt").read_bytes()
    assert data.count(b"\x080.weight") > 2


def test_an_optimizer_and_counters_are_left_out_and_said(folder: Path) -> None:
    assert open_foreign(folder / "trained.ckpt").left_out == (
        "global_step, learning_rate, adam_m.0.weight, adam_m.0.bias and 6 more (optimizer state)",
        "epoch_num, lr (a number)",
        "note (a text)",
    )


def test_number_types(folder: Path) -> None:
    found = open_foreign(folder / "types.ckpt").tensors
    assert {name: array.dtype.str for name, array in found.items()} == {
        "BFloat16": "<f4", "Float16": "<f4", "Float64": "<f8", "Int32": "<i4"
    }  # fmt: skip
    assert found["Float64"].tolist() == [1.5, -0.1]
    assert found["Float16"].tolist() == [1.5, float(np.float16(-0.1))]
    assert found["BFloat16"].tolist() == [1.5, -0.10009765625]
    assert found["Int32"].tolist() == [1, 0]


def test_a_network_s_part_called_like_an_optimizer_s_stays() -> None:
    # Only a copy of another tensor's name is a moment.
    found = mindspore.read(io.BytesIO(mindspore_file("moments.gamma", "accum.beta", "beta")), name="w.ckpt")
    assert list(found.tensors) == ["moments.gamma", "beta"]


def test_a_cut_file_is_refused_or_shorter_by_whole_tensors() -> None:
    # The format tells no length: a file cut between two tensors is sound. Loading then names every missing key.
    names = [f"blocks.{n}.norm1.gamma" for n in range(4)]
    data = mindspore_file(*names)
    shorter = 0
    for length in range(len(data)):
        try:
            found = list(mindspore.read(io.BytesIO(data[:length]), name="w.ckpt").tensors)
        except WeightsRefused:
            continue
        assert found == names[: len(found)]
        assert length % (len(data) // 4) == 0
        shorter += 1
    assert shorter == 3
