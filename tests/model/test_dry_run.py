"""Steps without numbers, against counts by hand, timm's own, and torch's flop counter on real tensors."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eyeground.model.adaptation import Adaptation
from eyeground.model.optimization import Optimization
from eyeground.model.spec import MaeSpec, ModelSpec, SimclrSpec
from eyeground.model.torch import costing
from eyeground.model.torch.costing import Costs, Work, costs_of
from eyeground.model.torch.dry_run import DryRun, dry_run
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.learner import Learner
from eyeground.model.torch.network import build
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine
from eyeground.model.torch.rehearsal import operand_bytes, rehearse

VIT = ModelSpec("vit_demo_patch8", classes=3, image_px=32)
PLAIN = Optimization(layer_decay=1.0)


def images(count: int, px: int = 32) -> Any:
    return np.empty((count, 3, px, px), np.float32)


def classifier(spec: ModelSpec = VIT, *, optimization: Optimization = PLAIN, **settings: Any) -> Work:
    def step(engine: TorchEngine, count: int, passes: int) -> float:
        targets = np.zeros((count, spec.classes), np.float32)
        return engine.train_step([(images(count, spec.image_px), targets)] * passes, lr=1e-4, seed=0)

    words = {"device": "cpu", "precision": "fp32", **settings}
    return Work(
        lambda: TorchEngine(spec, optimization=optimization, **words),
        step,
        lambda engine, count: engine.outputs(images(count, spec.image_px)),
    )


def mae(spec: MaeSpec, **settings: Any) -> Work:
    return Work(
        lambda: MaeEngine(spec, optimization=PLAIN, device="cpu", precision="fp32", **settings),
        lambda engine, count, passes: engine.train_step([(images(count, spec.image_px),)] * passes, lr=1e-4, seed=0),
        lambda engine, count: engine.features(images(count, spec.image_px)),
    )


def counted(work: Work, *, count: int = 4, passes: int = 1, **settings: Any) -> Costs:
    return costs_of(work, images=count, passes=passes, here=False, **settings)


@cache
def plain() -> Costs:
    """Those of a ViT of 4 blocks, in fp32."""
    return counted(classifier())


def vit_flops(tokens: int, width: int, depth: int) -> int:
    """docs/scale.md: 24 T D^2 + 4 T^2 D a block."""
    return depth * (24 * tokens * width**2 + 4 * tokens**2 * width)


class Alone:
    """An engine of one layer, so that all that it holds can be told by hand."""

    def __init__(self) -> None:
        self._learner = Learner(nn.Linear(1000, 1000), optimization=PLAIN, device="cpu", precision="fp32")

    def step(self, count: int) -> None:
        self._learner.begin(lr=1e-4, seed=0)
        self._learner.backward(self._learner.module(torch.zeros(count, 1000)).sum())
        self._learner.finish()


def test_one_layer_holds_what_it_holds_by_hand() -> None:
    def run(count: int) -> DryRun:
        return dry_run(Alone, lambda engine: engine.step(count), lambda engine: None)

    weights, row = 4 * (1000 * 1000 + 1000), 4 * 1000
    few, many = run(500), run(2000)
    assert few.parameters == few.learning == 1_001_000
    assert few.state_bytes == pytest.approx(3 * weights, rel=1e-3)  # itself and two averages
    # Few rows: most is held on the way back, the gradient beside the input. Many: on the way there, with what it gives.
    assert few.step.peak_bytes == pytest.approx(4 * weights + 500 * row, rel=1e-2)
    assert many.step.peak_bytes == pytest.approx(3 * weights + 2 * 2000 * row, rel=1e-2)
    # There: 2 N D^2. Back: the weights' gradient alone, as the input needs none.
    assert sum(call.flops for call in few.step.calls) == 2 * 2 * 500 * 1000**2


def test_a_vit_costs_what_its_formulas_say() -> None:
    costs, tokens, width, depth = plain(), 17, 96, 4
    assert costs.parameters == costs.learning == sum(p.numel() for p in build(VIT).parameters())
    patches, head = 2 * 16 * 192 * width, 2 * width * 3
    forth = patches + vit_flops(tokens, width, depth) + head
    assert costs.answer.flops(7) == pytest.approx(7 * forth)
    # Back: twice the way forth, but no gradient of the pixels; and fused attention computes its scores again.
    again = depth * 2 * tokens**2 * width
    assert costs.step.flops(7) == pytest.approx(7 * (3 * forth - patches + again))


def test_the_formulas_give_the_known_figures_of_vit_large() -> None:
    forth = 2 * 196 * 768 * 1024 + vit_flops(197, 1024, 24) + 2 * 1024 * 5
    assert forth / 1e9 == pytest.approx(123.1, abs=0.1)  # 61.6 GMAC in timm's table


def test_a_masked_autoencoder_costs_what_its_formulas_say() -> None:
    spec = MaeSpec("vit_demo_patch8", image_px=32, decoder_width=64, decoder_depth=2, decoder_heads=4)
    costs = counted(mae(spec))
    assert (spec.patches, spec.visible) == (16, 4)
    linear = 2 * 16 * 192 * 96 + 2 * 5 * 96 * 64 + 2 * 16 * 64 * 192
    forth = linear + vit_flops(5, 96, 4) + vit_flops(17, 64, 2)
    again = 4 * 2 * 5**2 * 96 + 2 * 2 * 17**2 * 64
    assert costs.step.flops(3) == pytest.approx(3 * (3 * forth - 2 * 16 * 192 * 96 + again))


def test_a_convolutional_network_costs_what_torch_counts_on_real_tensors() -> None:
    spec = ModelSpec("mobilenetv2_050", classes=3, image_px=32)
    costs = counted(classifier(spec), count=2)
    network = build(spec)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(2, 3, 32, 32))
    forth = counter.get_total_flops()
    assert costs.answer.flops(2) == forth
    assert costs.step.flops(2) == pytest.approx(3 * forth, rel=0.2)  # depthwise ones with a stride go back without it
    assert costs.parameters == sum(p.numel() for p in network.parameters())


def test_a_depthwise_convolution_goes_back_at_twice_its_price() -> None:
    class Depthwise(Alone):
        def __init__(self) -> None:
            layer = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            network = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), layer)
            self._learner = Learner(network, optimization=PLAIN, device="cpu", precision="fp32")

        def step(self, count: int) -> None:
            self._learner.begin(lr=1e-4, seed=0)
            self._learner.backward(self._learner.module(torch.zeros(count, 3, 10, 10)).sum())
            self._learner.finish()

    run = dry_run(Depthwise, lambda engine: engine.step(5), lambda engine: None)
    places = 5 * 8 * 10 * 10
    assert sum(call.flops for call in run.step.calls) == 2 * places * (3 * 9 + 2 * 3)


def test_memory_of_any_batch_follows_from_two() -> None:
    work, costs = classifier(), plain()
    for count in (16,):
        run = dry_run(work.build, lambda e, n=count: work.step(e, n, 1), lambda e, n=count: work.answer(e, n))
        assert costs.step.memory_bytes(count) == pytest.approx(run.step.peak_bytes, rel=1e-6)
        assert costs.answer.memory_bytes(count) == pytest.approx(run.answer.peak_bytes, rel=1e-6)


def test_what_is_frozen_has_no_averages_and_no_way_back() -> None:
    full, head = plain(), counted(classifier(adaptation=Adaptation("head")))
    assert head.learning == 96 * 3 + 3
    assert full.step.state_bytes == pytest.approx(12 * full.parameters, rel=0.01)
    assert head.step.state_bytes == pytest.approx(4 * head.parameters + 8 * head.learning, rel=0.01)
    assert head.step.memory_bytes(64) < full.step.memory_bytes(64) / 3
    assert head.step.flops(1) == pytest.approx(head.answer.flops(1), rel=0.01)


def test_micro_batches_are_counted_one_by_one() -> None:
    once, found = plain().step, counted(classifier(), passes=2).step
    assert found.flops(4, accumulation=6) == pytest.approx(6 * once.flops(4))


def test_options_that_save_memory_do() -> None:
    whole = plain().step
    again = counted(classifier(checkpointing=True)).step
    backward = counted(classifier(optimization=replace(PLAIN, step_in_backward=True))).step
    assert again.memory_bytes(256) < whole.memory_bytes(256)
    assert again.flops(4) > whole.flops(4)
    assert backward.memory_bytes(1) <= 1.01 * whole.memory_bytes(1)
    assert sum(each.once for each in backward.operations) >= sum(each.once for each in whole.operations)


def test_bf16_holds_less_for_every_image() -> None:
    whole, half = plain().step, counted(classifier(precision="bf16"), fused_attention=True).step
    assert half.memory_bytes(256) < whole.memory_bytes(256)
    assert {each.dtype for each in half.operations if each.flops.per_image} == {"bfloat16"}


def test_branches_that_drop_path_spares_are_not_counted() -> None:
    whole, spared = plain().step, counted(classifier(), count=16, kept_share=0.75).step
    assert spared.flops(16) / whole.flops(16) == pytest.approx(0.75, abs=0.02)


def test_a_network_with_drop_path_is_rehearsed_with_few_images_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costing, "_MOST_OPERANDS_BYTES", 0)
    monkeypatch.setattr(costing, "rehearse", lambda calls: [1.0] * len(calls))
    settings = {"images": 16, "passes": 1, "here": True}
    counted = costs_of(classifier(precision="bf16"), kept_share=0.9, **settings)  # type: ignore[arg-type]
    assert counted.step.seconds_here(16) > 0


def test_both_views_of_contrast_are_counted() -> None:
    spec = SimclrSpec("vit_demo_patch8", image_px=32, projector=(64, 16))
    work = Work(
        lambda: SimclrEngine(spec, optimization=PLAIN, device="cpu", precision="fp32"),
        lambda engine, count, passes: engine.train_step([(images(count), images(count))] * passes, lr=1e-4, seed=0),
        lambda engine, count: engine.features(images(count)),
    )
    one, seen = counted(work).step, plain().step
    assert one.flops(4) / seen.flops(4) == pytest.approx(2, rel=0.05)
    # In several chunks each goes through twice: once to be compared, once to learn.
    assert counted(work, passes=2).step.flops(4) / one.flops(4) == pytest.approx(4 / 3, rel=0.05)


def test_a_dry_run_leaves_nothing_behind() -> None:
    before = nn.Module._apply
    plain()
    assert nn.Module._apply is before
    assert nn.Linear(2, 2).to(torch.float64).weight.dtype == torch.float64
    with pytest.raises(RuntimeError, match="on purpose"):
        dry_run(Alone, _fail, lambda engine: None)
    assert nn.Module._apply is before


def _fail(engine: object) -> None:
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "work",
    [classifier(), classifier(ModelSpec("mobilenetv2_050", 3, image_px=32), precision="bf16")],
    ids=["vit", "mobilenet-bf16"],
)
def test_every_operation_can_be_rehearsed(work: Work) -> None:
    run = dry_run(work.build, lambda e: work.step(e, 4, 1), lambda e: work.answer(e, 4))
    for trace in (run.step, run.answer):
        took = rehearse(trace.calls)
        assert len(took) == len(trace.calls)
        assert all(0 < each < 60 for each in took)
        assert 0 < operand_bytes(trace.calls) < 2**30


def test_what_is_long_is_cut_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    from eyeground.model.torch import rehearsal

    work = classifier()
    run = dry_run(work.build, lambda e: work.step(e, 2, 1), lambda e: work.answer(e, 2))
    adam = max((call for call in run.step.calls if call.name == "_fused_adamw_"), key=lambda call: call.bytes)
    whole: Callable[[Any], Any] = rehearsal._ready
    assert whole(adam)[3] == 1
    monkeypatch.setattr(rehearsal, "_MOST_BYTES", 2**20)
    _, args, _, share = whole(adam)
    assert 0 < share < 0.5
    assert len({len(each) for each in args[:4]}) == 1  # weights, gradients, two averages
    assert operand_bytes([adam]) <= 2**20
