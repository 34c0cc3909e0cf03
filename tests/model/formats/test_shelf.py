"""What every format of the shelf offers, and that no two of them want the same file."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from eyeground.model.weights import WeightsRefused
from eyeground.pick import names, pick
from tests.model import hostile_weights as hostile

SHELF = {name: pick("model.formats", name) for name in names("model.formats")}


def torch_file(zipped: bool) -> bytes:
    out = io.BytesIO()
    torch.save({"a": torch.ones(2)}, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


EXAMPLES = {
    "torch_zip": torch_file(True),
    "torch_stream": torch_file(False),
    "paddle": np.ones(2).dumps(),
    "mindspore": hostile.mindspore_file("blocks.0.norm1.gamma"),
    "onnx": hostile.onnx_file(),
    "safetensors": save({"a": np.ones(2)}),
}


def test_each_format_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(SHELF)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_is_claimed_by_its_format_alone(name: str) -> None:
    assert [each for each, module in SHELF.items() if module.claims(EXAMPLES[name][:4096])] == [name]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_stream_is_torch_s_under_every_protocol(protocol: int) -> None:
    out = io.BytesIO()
    torch.save({}, out, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    assert [name for name, module in SHELF.items() if module.claims(out.getvalue()[:4096])] == ["torch_stream"]


@given(st.binary(max_size=60))
def test_any_beginning_is_claimed_or_not_and_never_an_error(head: bytes) -> None:
    assert sum(module.claims(head) for module in SHELF.values()) <= 1


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_a_damaged_file_is_read_or_refused(name: str, data: st.DataObject) -> None:
    whole = bytearray(EXAMPLES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        contents = SHELF[name].read(io.BytesIO(bytes(whole)), name="w.pdparams")
        for tensor in contents.tensors.values():
            if tensor.out_bytes < 2**20:
                assert tensor.array().shape == tensor.shape
    except (WeightsRefused, MemoryError):
        pass
