"""The training benchmarks measure two ways of doing the same: the same losses from the same weights."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import gpu, training
from benchmarks.claim import NotHere
from benchmarks.training import (
    CASES,
    CURVES,
    Case,
    Told,
    Way,
    batch_of,
    child,
    curve_difference,
    engine_of,
    forward_flops,
    step_of,
)

TINY = {
    "finetune": Case("vit_demo_patch8", 4, image_px=32, drop_path=0.2, layer_decay=0.65),
    "mae": Case("vit_demo_patch8", 4, "mae", image_px=32),
    "convolutions": Case("mobilenetv2_050", 4, image_px=64),
}


def test_every_case_has_a_small_one_of_its_kind() -> None:
    assert CASES.keys() == CURVES.keys()
    for name, case in CASES.items():
        small = CURVES[name]
        assert (small.method, small.drop_path, small.layer_decay) == (case.method, case.drop_path, case.layer_decay)


@pytest.mark.parametrize("name", TINY)
def test_the_losses_are_the_plain_loops(name: str) -> None:
    bound = 1e-2 if name == "convolutions" else 1e-5  # another memory layout adds up in another order
    assert curve_difference(TINY[name], steps=3, precision="fp32") < bound


def test_the_frugal_ways_losses_are_the_plain_loops() -> None:
    for name in ("finetune", "mae"):
        assert curve_difference(TINY[name], steps=3, frugal=True, precision="fp32") < 1e-5


def test_bf16_stays_near_fp32() -> None:
    assert curve_difference(TINY["finetune"], steps=3, precision="bf16") < 0.02


@pytest.mark.parametrize("way", ["ours", "frugal", "plain", "autocast"])
def test_a_child_answers_every_order_with_times_and_memory(way: Way) -> None:
    said: list[str] = []
    child(way, TINY["finetune"], ["step", "step"], said.append)
    for answer in map(json.loads, said):
        assert answer.keys() == {"seconds", "processor_s", "peak_mb"}
        assert min(answer["seconds"], answer["processor_s"]) > 0
        assert math.isfinite(answer["peak_mb"])
    assert len(said) == 2


def test_a_claim_of_pace_says_for_which_numbers_its_goal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ceiling", lambda name: 10.0)
    found = {"ours": Told([4.0, 2.0], [2.0, 1.0], 1), "plain": Told([2.0, 1.0], [1.0, 1.0], 1)}
    for there in (False, True):
        monkeypatch.setattr(training, "bf16_here", lambda there=there: there)
        claim = training.pace("it", "mobilenet", found, "plain", "theirs", 1e-4)
        assert (claim.gain, claim.gains, claim.ceiling) == (2, (2, 2), 10)
        assert math.isnan(claim.goal) != there
        assert ("no bf16 here" in claim.note) != there
        assert "1.50 by processor time; losses within 0.0001" in claim.note


def test_operations_are_those_one_counts_by_hand() -> None:
    case = TINY["finetune"]
    n, tokens, width, patch = case.batch, 1 + 16, 96, 3 * 8 * 8
    linear = 2 * n * tokens * width * width * 12 * 4  # qkv 3, projection 1, MLP 8; four blocks
    attention = 2 * 2 * n * tokens * tokens * width * 4
    ends = 2 * n * (16 * patch * width + width * 5)
    assert forward_flops(case) == linear + attention + ends


def test_the_gpu_benchmark_runs_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/true" if name == "g++" else None)
    found = gpu.paces(TINY["finetune"], device="cpu", rounds=2, least_s=0)
    assert {name: len(paces) for name, paces in found.items()} == {"ours": 2, "plain": 2, "compiled": 2}
    assert len(compiled) == 1
    claims = gpu.claims_of("ViT", TINY["finetune"], found, rate=1e12)
    assert [claim.what for claim in claims] == ["ViT", "ViT, compiled"]
    assert claims[0].ceiling == pytest.approx(1e12 * 4 / (3 * forward_flops(TINY["finetune"])))
    assert f"{claims[0].ours / claims[0].ceiling:.0%} of the bf16 matrix rate" in claims[0].note


def test_a_small_card_gets_smaller_batches_of_the_same_networks() -> None:
    small, large = gpu.cases(24e9), gpu.cases(85e9)
    for what, case in large.items():
        assert small[what] == replace(case, batch=case.batch // 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(NotHere, match="no CUDA device"):
        gpu.run()


def test_batches_are_the_same_for_all_and_differ_from_step_to_step() -> None:
    case = TINY["finetune"]
    again = np.array(batch_of(case, 1)[0])
    batch_of.cache_clear()
    assert np.array_equal(batch_of(case, 1)[0], again)
    assert not np.array_equal(batch_of(case, 2)[0], again)
    assert math.isfinite(step_of(case, engine_of(case))(0))
