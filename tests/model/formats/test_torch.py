"""What torch.save writes comes back number by number, and nothing is read that is not asked for."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.model.formats import torch_stream, torch_zip
from eyeground.model.formats._stored import Contents
from eyeground.model.weights import WeightsRefused

READERS = {True: torch_zip, False: torch_stream}
TYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool
)  # fmt: skip


def saved(whole: object, *, zipped: bool = True, protocol: int = 2) -> bytes:
    out = io.BytesIO()
    torch.save(whole, out, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return out.getvalue()


def opened(data: bytes, *, zipped: bool = True) -> Contents:
    return READERS[zipped].read(io.BytesIO(data), name="w.pth")


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """A tensor of any type here, often a view of a larger one."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    whole = torch.randint(-9, 9, shape, generator=generator).to(draw(st.sampled_from(TYPES)))
    if whole.ndim and draw(st.booleans()):
        whole = whole.permute(draw(st.permutations(range(whole.ndim))))
    for dimension in range(whole.ndim):
        first, step = draw(st.integers(0, 2)), draw(st.integers(1, 2))
        if draw(st.booleans()):
            whole = whole[(slice(None),) * dimension + (slice(first, None, step),)]
    return whole


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=9), tensors(), min_size=1
    ),
    st.booleans(),
    st.sampled_from([2, 3, 4, 5]),
)
def test_any_state_dict_comes_back_equal(state: dict[str, torch.Tensor], zipped: bool, protocol: int) -> None:
    found = opened(saved(state, zipped=zipped, protocol=protocol), zipped=zipped).tensors
    assert list(found) == list(state)
    for name, tensor in state.items():
        wanted = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        array = found[name].array()
        assert (array.shape, array.dtype) == (tuple(tensor.shape), wanted.numpy().dtype)
        assert np.array_equal(array, wanted.numpy())


@pytest.mark.parametrize("value", [1.0, -0.0, 3.3895e38, 1e-40, -65504.0])
def test_bfloat16_is_widened_exactly(value: float) -> None:
    tensor = torch.tensor([value], dtype=torch.bfloat16)
    assert opened(saved({"a": tensor})).tensors["a"].array().tobytes() == tensor.float().numpy().tobytes()


class Watched(io.BytesIO):
    """Counts the bytes that are read."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        self.read_bytes += len(buffer)
        return super().readinto(buffer)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_an_optimizer_twice_the_size_is_not_read(zipped: bool) -> None:
    model = {f"blocks.{n}.weight": torch.full((50, 50), float(n)) for n in range(4)}
    moments = {n: {"exp_avg": torch.ones(50, 50), "exp_avg_sq": torch.ones(50, 50)} for n in range(4)}
    file = Watched(saved({"model": model, "optimizer": {"state": moments}}, zipped=zipped))
    contents = READERS[zipped].read(file, name="w.pth")
    before = file.read_bytes
    assert before < 20_000  # the pickles and the directory
    for tensor in contents.tensors.values():
        tensor.array()
    assert file.read_bytes - before == 4 * 50 * 50 * 4


def test_of_a_shared_storage_only_the_part_is_read() -> None:
    flat = torch.arange(100_000.0)
    file = Watched(saved({"a": flat[10:20], "b": flat[99_990:]}))
    contents = torch_zip.read(file, name="w.pth")
    before = file.read_bytes
    assert contents.tensors["b"].array().tolist() == list(range(99_990, 100_000))
    assert file.read_bytes - before == 40


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_a_file_cut_anywhere_is_refused(zipped: bool) -> None:
    data = saved({"model": {"a": torch.ones(40), "b": torch.ones(40)}, "epoch": 3}, zipped=zipped)
    for length in range(0, len(data), 13):
        with pytest.raises(WeightsRefused):
            opened(data[:length], zipped=zipped)


def test_numpy_numbers_and_arrays_beside_the_tensors() -> None:
    whole = {"a": torch.ones(2), "best": np.float64(0.5), "history": np.arange(3), "table": np.ones((2, 3), order="F")}
    contents = opened(saved({"model": whole, "seen": np.arange(3)}))
    assert contents.tensors["history"].array().tolist() == [0, 1, 2]
    assert contents.tensors["table"].array().flags.c_contiguous
    assert contents.left_out == ("seen (an array of the shape (3,))",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (799, "799"),
        (10**30, "a huge number"),
        ("x" * 300, "'" + "x" * 79),
        (None, "None"),
        ([1, 2], "a list of 2"),
        ({}, "an empty table"),
        (torch.ones(2, 3), "a tensor of the shape (2, 3)"),
        (torch.float32, "torch.float32, thrown away"),
        (torch.Size([2]), "a list of 1"),
    ],
)
def test_what_is_left_out_is_said_in_a_few_words(value: object, words: str) -> None:
    contents = opened(saved({"model": {"a": torch.ones(2)}, "thing": value}))
    assert contents.left_out == (f"thing ({words})",)


def test_a_table_whose_keys_are_numbers_holds_no_network() -> None:
    with pytest.raises(WeightsRefused, match="no table of tensors"):
        opened(saved({0: torch.ones(2)}))


def test_complex_numbers_are_refused_in_words() -> None:
    with pytest.raises(WeightsRefused, match=r"torch\.ComplexFloatStorage, which no tensor needs"):
        opened(saved({"a": torch.ones(2, dtype=torch.complex64)}))
