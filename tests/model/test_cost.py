"""What a step costs, from lines by hand, and GPUs by name."""

import math

import pytest

from eyeground.model.cost import Line, Operation, StepCost, shared
from eyeground.model.devices import GpuUnknown, gpus, read_gpus

ADAM = Operation("_fused_adamw_", "float32", Line(0, 0), Line(28e9, 0), Line(2.0, 0))
MATRIX = Operation("mm", "bfloat16", Line(0, 1e12), Line(1e6, 1e6), Line(0, 0.5))
VIEW = Operation("view", "bfloat16", Line(0, 0), Line(0, 0), Line(1e-6, 0))


def test_a_line_goes_through_both_batches() -> None:
    line = Line.through(4, 100.0, 8, 140.0)
    assert (line.at(4), line.at(8), line.at(0), line.at(20)) == (100, 140, 60, 260)


def test_memory_is_the_highest_line_and_the_largest_batch_stays_below_the_limit() -> None:
    step = StepCost((), 1, (Line(100, 1), Line(40, 10), Line(0, 0)), state_bytes=30)
    assert [step.memory_bytes(n) for n in (1, 6, 7, 20)] == [101, 106, 110, 240]
    for limit in (101, 139, 140, 1000):
        most = step.most_images(limit)
        assert step.memory_bytes(most) <= limit < step.memory_bytes(most + 1)
    assert step.most_images(100) == 0  # one image needs 101
    assert step.most_images(50) == 0  # the weights alone do not fit


def test_what_does_not_grow_may_be_too_large_by_itself() -> None:
    assert StepCost((), 1, (Line(100, 0), Line(0, 1)), state_bytes=0).most_images(99) == 0
    assert StepCost((), 1, (Line(100, 0), Line(0, 1)), state_bytes=0).most_images(100) == 100


def test_the_optimizer_counts_once_a_step_and_the_rest_for_every_micro_batch() -> None:
    step = StepCost((MATRIX, ADAM, VIEW), 2, (), state_bytes=0)  # two passes were counted: MATRIX is both of them
    assert step.seconds_here(8, accumulation=2) == pytest.approx(4 + 2 + 1e-6)
    assert step.seconds_here(8, accumulation=6) == pytest.approx(3 * (4 + 1e-6) + 2)
    assert step.flops(8, accumulation=6) == pytest.approx(3 * 8e12)


def test_what_was_not_rehearsed_has_no_time_here() -> None:
    assert math.isnan(StepCost((Operation("mm", "float32", Line(0, 1), Line(0, 1)),), 1, (), 0).seconds_here(1))


def test_a_roofline_takes_the_longer_of_computing_and_moving() -> None:
    gpu = gpus()["A100-40"]
    assert MATRIX.seconds_on(gpu, 10) == pytest.approx(10e12 / (312e12 * 0.6))
    assert ADAM.seconds_on(gpu, 10) == pytest.approx(28e9 / (1555e9 * 0.8))
    assert VIEW.seconds_on(gpu, 10) == 0
    tiny = Operation("add", "float32", Line(0, 0), Line(8, 0))
    assert tiny.seconds_on(gpu, 10) == gpu.launch_s
    whole = Operation("mm", "float32", Line(0, 1e12), Line(1, 0))
    assert whole.seconds_on(gpu, 1) == pytest.approx(1e12 / (19.5e12 * 0.6))


def test_gradients_are_added_up_in_a_ring() -> None:
    gpu = gpus()["H100"]
    assert shared(8e9, 8, gpu) == pytest.approx(2 * 7 / 8 * 8e9 / (450e9 * 0.7))
    assert shared(8e9, 1, gpu) == 0


@pytest.mark.parametrize(
    ("words", "count", "name"), [("8xH200", 8, "H200"), ("l4", 1, "L4"), ("2 x a100-80", 2, "A100-80")]
)
def test_gpus_are_read(words: str, count: int, name: str) -> None:
    assert (read_gpus(words)[0], read_gpus(words)[1].name) == (count, name)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("8xH20O", "did you mean H200"),
        ("4xA100", "A100-80, A100-40"),
        ("0xL4", "is not understood"),
        ("-3xL4", "is not understood"),
        ("", "is not understood"),
        ("8 GPUs", "is not understood"),
        ("2xTPU", "no GPU called 'TPU'"),
    ],
)
def test_other_words_are_refused_with_what_there_is(words: str, told: str) -> None:
    with pytest.raises(GpuUnknown, match=told):
        read_gpus(words)


def test_a_gpu_s_memory_is_less_than_its_data_sheet_says() -> None:
    sheet = {"H200": 141, "H100": 80, "A100-80": 80, "A100-40": 40, "L40S": 48, "L4": 24, "RTX4090": 24, "V100": 32}
    assert {name: each for name, each in sheet.items() if gpus()[name].memory_bytes >= each * 2**30} == {}
    assert sheet.keys() == gpus().keys()
