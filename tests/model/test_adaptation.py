"""Ways to adapt a network: exactly what should learns, the rest stays to the byte, and little is written down."""

import copy
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.adaptation import WAYS, delta_bytes, parameter_table
from eyeground.model.adaptation import Adaptation, Way, adapted_shapes, learning_names
from eyeground.model.architecture import parameter_shapes
from eyeground.model.frameworks import build_engine
from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec
from eyeground.model.torch import adapters, vit
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build
from eyeground.model.weights import WeightsRefused

VIT = ModelSpec("vit_demo_patch8", classes=3, image_px=32)
CONVNET = ModelSpec("mobilenetv2_050", classes=3, image_px=32)
# Batch norm after an expansion, and a convolution of one pixel each.
CONVNET_LORA = Adaptation("lora", lora_rank=2, lora_targets=("conv_pw", "conv_pwl"))
BLOCK = [
    f"{layer}.{kind}"
    for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for kind in ("weight", "bias")
]
EMBEDDINGS = ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
LAST = ["fc_norm.weight", "fc_norm.bias"]
HEAD = ["head.weight", "head.bias"]


def blocks(*numbers: int, parts: Collection[str] = BLOCK) -> list[str]:
    return [f"blocks.{number}.{part}" for number in numbers for part in parts]


# Written by hand, for the four blocks of the demo ViT.
EXPECTED: dict[Way, list[str]] = {
    "full": [*EMBEDDINGS, *blocks(0, 1, 2, 3), *LAST, *HEAD],
    "head": HEAD,
    "last_n": [*blocks(2, 3), *LAST, *HEAD],
    "gradual": [*LAST, *HEAD],
    "bitfit": [
        "patch_embed.proj.bias",
        *blocks(0, 1, 2, 3, parts=[part for part in BLOCK if part.endswith("bias")]),
        "fc_norm.bias",
        *HEAD,
    ],
    "lora": [
        *blocks(
            0, 1, 2, 3,
            parts=["attn.qkv.lora_A.weight", "attn.qkv.lora_B.weight", "attn.proj.lora_A.weight",
                   "attn.proj.lora_B.weight"],
        ),
        *HEAD,
    ],
    "adapter": [
        *blocks(
            0, 1, 2, 3,
            parts=[f"adapter_{branch}.{layer}.{kind}" for branch in ("attn", "mlp") for layer in ("norm", "down", "up")
                   for kind in ("weight", "bias")],
        ),
        *HEAD,
    ],
}  # fmt: skip
ADAPTATIONS = [Adaptation(way) for way in EXPECTED]
CASES = [
    *((VIT, adaptation) for adaptation in ADAPTATIONS),
    *((CONVNET, Adaptation(way)) for way in ("head", "last_n", "gradual", "bitfit")),  # type: ignore[arg-type]
    (CONVNET, CONVNET_LORA),
]
IDS = [f"{spec.name}-{adaptation.way}" for spec, adaptation in CASES]


def engine_of(spec: ModelSpec, adaptation: Adaptation, **changes: object) -> TorchEngine:
    settings: dict[str, Any] = {"optimization": Optimization(), "device": "cpu", "precision": "fp32"} | changes
    return TorchEngine(spec, adaptation=adaptation, **settings)


def batch(seed: int = 0, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 3, 32, 32)).astype(np.float32), np.eye(3, dtype=np.float32)[
        rng.integers(0, 3, count)
    ]


def train(engine: TorchEngine, steps: range) -> list[float]:
    return [engine.train_step([batch(step)], lr=1e-2, seed=step) for step in steps]


def learning(engine: TorchEngine) -> set[str]:
    return {name for name, p in engine._learner.adapted.parameters.items() if p.requires_grad}


def everything(engine: TorchEngine) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in engine._learner.adapted.tensors.items()}


def moved(engine: TorchEngine, steps: int = 3) -> set[str]:
    """Parameters and buffers whose bytes some training steps changed."""
    before = everything(engine)
    train(engine, range(steps))
    return {name for name, value in everything(engine).items() if value != before[name]}


def gradients(engine: TorchEngine, step: int) -> dict[str, float]:
    """Greatest gradient of each parameter in one training step."""
    found: dict[str, float] = {}

    def keep(name: str) -> Callable[[torch.Tensor], None]:
        return lambda gradient: found.__setitem__(name, float(gradient.abs().max()))

    parameters = engine._learner.adapted.parameters
    hooks = [p.register_hook(keep(name)) for name, p in parameters.items() if p.requires_grad]
    train(engine, range(step, step + 1))
    for hook in hooks:
        hook.remove()
    return found


def logits(engine: TorchEngine, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return engine._learner.network.eval()(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]


def test_all_problems_of_the_settings_are_told_together() -> None:
    with pytest.raises(ValueError, match=r"way is 'ia3'.*last_blocks is 0.*lora_rank is 0.*adapter_width.*lora_alpha"):
        Adaptation("ia3", last_blocks=0, lora_rank=0, adapter_width=-1, lora_alpha=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"lora_dropout is 1.*lora_targets is \(\)"):
        Adaptation(lora_dropout=1, lora_targets=())
    with pytest.raises(ValueError, match="lora_targets is 'qkv'"):
        Adaptation(lora_targets="qkv")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="adapter_width is -1"):
        replace(VIT, adapter_width=-1)


def test_settings_come_back_from_json() -> None:
    adaptation = Adaptation("lora", lora_targets=("mlp.fc1",))
    assert Adaptation(**adaptation.to_json() | {"lora_targets": ["mlp.fc1"]}) == adaptation
    assert [a.way for a in ADAPTATIONS if a.delta] == ["head", "last_n", "bitfit", "lora", "adapter"]
    spec = replace(VIT, adapter_width=8)
    assert ModelSpec(**spec.to_json()) == spec


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=lambda a: a.way)
def test_exactly_the_expected_parameters_of_a_vit_learn(adaptation: Adaptation) -> None:
    engine = engine_of(VIT, adaptation)
    expected = set(EXPECTED[adaptation.way])
    assert learning(engine) == expected
    held = set(EXPECTED["full"]) if adaptation.way == "gradual" else expected
    assert set(engine._learner._order) == held  # what does not learn has no place in the optimizer
    report = engine.learning
    shapes = {name: p.numel() for name, p in engine._learner.adapted.parameters.items()}
    assert (report.tensors, report.parameters) == (len(expected), sum(shapes[name] for name in expected))
    assert report.parameters + report.frozen.parameters == sum(shapes.values())


@pytest.mark.parametrize(
    ("adaptation", "learns"),
    [
        (Adaptation("head"), r"classifier\."),
        (Adaptation("last_n"), r"(blocks\.[56]|conv_head|bn2|classifier)\."),
        (Adaptation("gradual"), r"(conv_head|bn2|classifier)\."),
        (Adaptation("bitfit"), r"(.*\.bias|classifier\.weight)$"),
        (CONVNET_LORA, r"(.*conv_pwl?\.lora_[AB]\.weight|classifier\..*)$"),
    ],
    ids=lambda value: getattr(value, "way", ""),
)
def test_exactly_the_expected_parameters_of_a_convnet_learn(adaptation: Adaptation, learns: str) -> None:
    engine = engine_of(CONVNET, adaptation)
    names = list(engine._learner.adapted.parameters)
    expected = {name for name in names if re.match(learns, name)}
    assert learning(engine) == expected
    assert len(expected) > 1


def test_what_learns_is_told_in_words_and_counts() -> None:
    assert engine_of(VIT, Adaptation("last_n")).learning.lines() == [
        "blocks 2-3: 24 tensors, 223,680 parameters",
        "layers after the blocks: 2 tensors, 192 parameters",
        "classifier: 2 tensors, 291 parameters",
        "frozen: 28 tensors, 243,936 parameters",
        "224,163 of 468,099 parameters learn (47.9 %)",
    ]
    words = [engine_of(VIT, Adaptation(way)).learning.groups[0].words for way in ("bitfit", "lora", "adapter")]  # type: ignore[arg-type]
    assert words == ["biases", "LoRA rank 8 on attn.qkv, attn.proj", "adapters of width 64"]
    resnet = learning_names(
        ["conv1.weight", "layer3.0.bn1.bias", "layer4.0.bn1.bias", "fc.bias"],
        adaptation=Adaptation("last_n", last_blocks=1),
        classifier="fc",
    )
    assert resnet == {"layer4.0.bn1.bias", "fc.bias"}


@pytest.mark.parametrize(("spec", "adaptation"), CASES, ids=IDS)
def test_what_is_frozen_stays_to_the_byte_and_what_learns_moves(spec: ModelSpec, adaptation: Adaptation) -> None:
    engine = engine_of(replace(spec, drop_path=0.2), adaptation)
    names, sha256 = learning(engine), engine.frozen_sha256
    changed = moved(engine)
    parameters = set(engine._learner.adapted.parameters)
    assert changed & parameters == names
    # Batch norm's statistics move where its scale learns, and nowhere else.
    statistics = {
        name for name in everything(engine)
        if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
        and name.rpartition(".")[0] + ".weight" in names
    }  # fmt: skip
    assert changed - parameters == statistics
    assert engine.frozen_sha256 == sha256
    assert bool(sha256) == adaptation.delta
    assert set(engine.state()["weights"]) == (names | statistics if adaptation.delta else set(everything(engine)))


def test_statistics_that_move_in_a_frozen_part_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters.Adapted, "rest", lambda self: None)
    engine = engine_of(CONVNET, Adaptation("head"))
    sha256 = engine.frozen_sha256
    assert "bn1.running_mean" in moved(engine)
    assert engine.frozen_sha256 != sha256


def test_nothing_is_random_in_what_is_frozen() -> None:
    spec = replace(VIT, drop_path=0.5, options={"pos_drop_rate": 0.5, "proj_drop_rate": 0.5})
    images = torch.from_numpy(batch()[0])

    def answers(engine: TorchEngine) -> list[np.ndarray]:
        found = []
        for seed in (1, 2):
            engine._learner.begin(lr=0.0, seed=seed)
            found.append(engine._learner.module(images).detach().numpy())
        return found

    fixed, other = answers(engine_of(spec, Adaptation("head")))
    assert np.array_equal(fixed, other)
    fixed, other = answers(engine_of(spec, Adaptation()))
    assert not np.array_equal(fixed, other)
    # Of the blocks, those that learn drop paths; layers by themselves show it.
    engine = engine_of(spec, Adaptation("last_n", last_blocks=1))
    tokens = np.random.default_rng(0).standard_normal((4, 17, 96)).astype(np.float32)
    same = [
        np.array_equal(engine.probe(layer, tokens, seed=1), engine.probe(layer, tokens, seed=2))
        for layer in ("pos_drop", "blocks.0", "blocks.2", "blocks.3")
    ]
    assert same == [True, True, True, False]


def test_dropout_before_the_classifier_is_the_classifiers() -> None:
    engine = engine_of(replace(VIT, options={"drop_rate": 0.5}), Adaptation("head"))
    pooled = np.ones((4, 96), np.float32)
    assert not np.array_equal(engine.probe("head_drop", pooled, seed=1), engine.probe("head_drop", pooled, seed=2))


def test_an_adapted_network_starts_as_it_was() -> None:
    plain, images = engine_of(VIT, Adaptation()), batch()[0]
    for adaptation in ADAPTATIONS:
        assert np.array_equal(logits(engine_of(VIT, adaptation), images), logits(plain, images)), adaptation.way
    scaled = ModelSpec("vit_small_patch14_dinov2", classes=3, image_px=28, options={"init_values": 0.1})
    images = images[:1, :, :28, :28]
    assert np.array_equal(
        logits(engine_of(scaled, Adaptation("adapter")), images), logits(engine_of(scaled, Adaptation()), images)
    )


def test_only_adapters_start_fresh_under_weights_from_before_them() -> None:
    base = engine_of(VIT, Adaptation(), seed=3).whole()[1]
    engine = engine_of(VIT, Adaptation("adapter", adapter_width=4), tensors=base)
    assert engine.load_report is not None
    assert set(engine.load_report.new) == set(EXPECTED["adapter"]) - set(HEAD)
    assert set(engine.load_report.loaded) == set(EXPECTED["full"])
    spec, whole = engine.whole()
    assert spec.adapter_width == 4
    again = engine_of(spec, Adaptation("adapter", adapter_width=4), tensors=whole)
    assert again.load_report is not None
    assert again.load_report.new == ()
    # A file that has some must have them all, and a network without adapters does not swallow them.
    some = {name: array for name, array in whole.items() if "blocks.1.adapter_mlp" not in name}
    with pytest.raises(WeightsRefused, match=r"6 missing: blocks\.1\.adapter_mlp"):
        TorchEngine(spec, tensors=some, device="cpu")
    with pytest.raises(WeightsRefused, match="48 unexpected"):
        TorchEngine(VIT, tensors=whole, device="cpu")


class ShutAdapter(vit.Adapter):
    """A known fault: a factor of zero on a product that is zero, so that no gradient reaches either."""

    def __init__(self, dim: int, *, width: int) -> None:
        super().__init__(dim, width=width)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.up(self.act(self.down(self.norm(x))))


def idle_adapters(engine: TorchEngine) -> list[str]:
    """Ways up without a gradient in the first step, ways down without one in the second."""
    first, second = gradients(engine, 0), gradients(engine, 1)
    assert all(name in first for name in EXPECTED["adapter"])
    return [name for name in EXPECTED["adapter"] if (".up." in name and not first[name])
            or (".down." in name and not second[name])]  # fmt: skip


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_begin_to_learn_at_once(checkpointing: bool) -> None:
    assert idle_adapters(engine_of(VIT, Adaptation("adapter"), checkpointing=checkpointing)) == []


def test_an_adapter_that_cannot_begin_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit, "Adapter", ShutAdapter)
    idle = idle_adapters(engine_of(VIT, Adaptation("adapter")))
    assert idle == [name for name in EXPECTED["adapter"] if ".up." in name or ".down." in name]


def test_loras_second_matrix_learns_at_once_and_the_first_from_then_on() -> None:
    engine = engine_of(VIT, Adaptation("lora", lora_dropout=0.1))
    first, second = gradients(engine, 0), gradients(engine, 1)
    matrices = [name for name in EXPECTED["lora"] if name not in HEAD]
    assert all(bool(first[name]) == ("lora_B" in name) for name in matrices)
    assert all(second[name] for name in matrices)


def test_the_seed_draws_what_is_new_and_torchs_own_generator_stays() -> None:
    for adaptation in (Adaptation("lora"), Adaptation("adapter")):
        torch.manual_seed(0)
        one, two = (engine_of(VIT, adaptation, seed=5) for _ in range(2))
        assert torch.initial_seed() == 0
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
        assert everything(one) == everything(two)
        assert everything(engine_of(VIT, adaptation, seed=6)) != everything(one)


@pytest.mark.parametrize(
    ("spec", "adaptation"),
    [case for case in CASES if case[1].delta],
    ids=[name for name, case in zip(IDS, CASES, strict=True) if case[1].delta],
)
def test_a_delta_on_its_base_is_the_whole_network(spec: ModelSpec, adaptation: Adaptation) -> None:
    base = engine_of(spec, Adaptation(), seed=7).whole()[1]
    engine = engine_of(spec, adaptation, tensors=base)
    train(engine, range(2))
    state = engine.state()
    size, all_of_it = (sum(array.nbytes for array in side.values()) for side in (state["weights"], base))
    assert size < all_of_it * (0.85 if adaptation.way == "last_n" else 0.25)
    # Another seed: nothing of the answer may hang on what the delta brings along itself.
    other = engine_of(spec, adaptation, tensors=base, seed=1)
    assert other.frozen_sha256 == engine.frozen_sha256
    other.load_state(state)
    assert everything(other) == everything(engine)
    assert train(other, range(2, 4)) == train(engine, range(2, 4))
    wrong = engine_of(spec, adaptation, tensors=base | {next(iter(base)): next(iter(base.values())) + 1})
    assert wrong.frozen_sha256 != engine.frozen_sha256


def test_a_delta_of_another_way_is_refused() -> None:
    head, lora = engine_of(VIT, Adaptation("head")), engine_of(VIT, Adaptation("lora"))
    with pytest.raises(ValueError, match=r"another way's than lora: 16 missing: blocks\.0\.attn\.proj\.lora_A\.weight"):
        lora.load_state(head.state())
    with pytest.raises(ValueError, match=r"another way's than head: 16 unknown"):
        head.load_state(lora.state())
    with pytest.raises(ValueError, match="another network's"):
        engine_of(VIT, Adaptation()).load_state(head.state())
    with pytest.raises(ValueError, match="size mismatch"):
        lora.load_state(engine_of(VIT, Adaptation("lora", lora_rank=4)).state())


def test_a_whole_state_is_taken_too() -> None:
    full = engine_of(VIT, Adaptation(), seed=4)
    head = engine_of(VIT, Adaptation("head"))
    head.load_state({"weights": full.state()["weights"]})
    assert everything(head) == everything(full)


@pytest.mark.parametrize(("spec", "adaptation"), [(VIT, Adaptation("lora")), (CONVNET, CONVNET_LORA)])
def test_merged_weights_answer_as_the_matrices_did(spec: ModelSpec, adaptation: Adaptation) -> None:
    engine, images = engine_of(spec, adaptation), batch()[0]
    train(engine, range(4))
    before = everything(engine)
    plain_spec, whole = engine.whole()
    assert everything(engine) == before
    assert set(whole) == set(build(spec).state_dict())
    plain = TorchEngine(plain_spec, tensors=whole, device="cpu", precision="fp32")
    assert np.abs(logits(plain, images) - logits(engine, images)).max() < 1e-5
    # The matrices do matter: without them it is another network.
    base = {name: tensor.numpy() for name, tensor in engine._learner.adapted.tensors.items() if ".lora_" not in name}
    assert base.keys() == whole.keys()
    plain.load_state({"weights": base})
    assert np.abs(logits(plain, images) - logits(engine, images)).max() > 1e-3
    # peft's own merging, in place, gives the same.
    network = copy.deepcopy(engine._learner.network)
    layers = [(name, layer) for name, layer in network.named_modules() if hasattr(layer, "get_delta_weight")]
    for name, layer in layers:
        layer.merge()
        assert np.allclose(layer.get_base_layer().weight.detach().numpy(), whole[f"{name}.weight"], atol=1e-7)
    assert {f"{name}.weight" for name, _ in layers} == {
        name for name in whole if not np.array_equal(whole[name], base[name])
    }


def test_whole_weights_of_every_way_open_in_a_plain_engine() -> None:
    images = batch()[0]
    for adaptation in ADAPTATIONS:
        engine = engine_of(VIT, adaptation)
        train(engine, range(2))
        spec, whole = engine.whole()
        plain = TorchEngine(spec, tensors=whole, device="cpu", precision="fp32")
        assert np.abs(logits(plain, images) - logits(engine, images)).max() < 1e-5, adaptation.way


def test_stages_of_gradual_thawing() -> None:
    engine = engine_of(VIT, Adaptation("gradual"))
    for stage, expected in enumerate(
        [
            [*LAST, *HEAD],
            [*blocks(3), *LAST, *HEAD],
            [*blocks(2, 3), *LAST, *HEAD],
            [*blocks(1, 2, 3), *LAST, *HEAD],
            EXPECTED["full"],
            EXPECTED["full"],
        ]
    ):
        for _ in range(2):  # asked twice, it is the same
            engine.thaw(stage)
            assert learning(engine) == set(expected)
        # Weight decay alone would move what is in the optimizer and has no gradient.
        assert moved(engine) == set(expected)
    with pytest.raises(ValueError, match="stage is -1"):
        engine.thaw(-1)
    with pytest.raises(ValueError, match="last_n has no stages"):
        engine_of(VIT, Adaptation("last_n")).thaw(1)


@pytest.mark.parametrize("spec", [VIT, CONVNET], ids=lambda spec: spec.name)
def test_gradual_thawing_goes_on_in_the_middle(spec: ModelSpec) -> None:
    spec = replace(spec, drop_path=0.2)

    def go_on(engine: TorchEngine, steps: range) -> None:
        for step in steps:
            engine.thaw(step // 3)
            train(engine, range(step, step + 1))

    straight, first, second = (engine_of(spec, Adaptation("gradual"), seed=seed) for seed in (0, 0, 9))
    go_on(straight, range(12))
    go_on(first, range(7))
    state = first.state()
    learned = {key.rpartition("/")[0] for key in state["optimizer"]}
    assert learned == learning(first)
    second.load_state(state)
    go_on(second, range(7, 12))
    assert everything(second) == everything(straight)
    one, two = second.state()["optimizer"], straight.state()["optimizer"]
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(("spec", "adaptation"), CASES, ids=IDS)
def test_an_adapted_engine_shows_what_goes_on_inside(spec: ModelSpec, adaptation: Adaptation) -> None:
    engine, plain, images = engine_of(spec, adaptation), engine_of(spec, Adaptation()), batch()[0]
    assert np.array_equal(engine.features(images), plain.features(images))
    one, two = engine.activations(images), plain.activations(images)
    assert list(one) == list(two)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    train(engine, range(1))
    weights = engine.whole()[1]
    layer = "blocks.0.attn.qkv.weight" if spec is VIT else "blocks.1.0.conv_pw.weight"
    assert engine.slot(layer).step == (1 if adaptation.way == "full" else 0)
    if adaptation.way != "lora":
        assert np.array_equal(engine.slot(layer).value, weights[layer])
    head = "head.bias" if spec is VIT else "classifier.bias"
    assert engine.slot(head).step == 1
    if adaptation.way == "lora":
        assert engine.slot(layer.replace(".weight", ".lora_B.weight")).step == 1


def test_a_network_without_known_blocks_has_no_last_ones() -> None:
    spec = ModelSpec("regnetx_002", classes=2, image_px=32)
    for way in ("last_n", "gradual"):
        with pytest.raises(ValueError, match=f"{way} counts blocks by their names.*use full, head, bitfit, or lora"):
            engine_of(spec, Adaptation(way), optimization=None)  # type: ignore[arg-type]
    assert len(learning(engine_of(spec, Adaptation("head"), optimization=Optimization(layer_decay=1)))) == 2
    with pytest.raises(ValueError, match="last_blocks is 5, and this network has 4"):
        engine_of(VIT, Adaptation("last_n", last_blocks=5))
    assert learning(engine_of(VIT, Adaptation("last_n", last_blocks=4))) == set(EXPECTED["full"]) - set(EMBEDDINGS)


def test_lora_needs_layers_that_are_there_and_are_called() -> None:
    with pytest.raises(ValueError, match=r"called attn\.qkv, attn\.proj; its layers are conv_head, conv_pw, conv_pwl"):
        engine_of(CONVNET, Adaptation("lora"))
    with pytest.raises(ValueError, match=r"called attn\.kqv; its layers are attn\.proj, attn\.qkv, mlp\.fc1, mlp\.fc2"):
        engine_of(VIT, Adaptation("lora", lora_targets=("attn.qkv", "attn.kqv")))
    with pytest.raises(ValueError, match="called head"):
        engine_of(VIT, Adaptation("lora", lora_targets=("head",)))
    grouped = ModelSpec("regnetx_002", classes=2, image_px=32)
    with pytest.raises(ValueError, match="matrices go beside linear layers and plain convolutions"):
        engine_of(grouped, Adaptation("lora", lora_targets=("conv2.conv",)), optimization=None)
    # BEiT multiplies with the weight of qkv itself, past the layer.
    beit = ModelSpec(
        "beit_base_patch16_224", classes=3, image_px=32, options={"depth": 1, "embed_dim": 48, "num_heads": 3}
    )
    engine = engine_of(beit, Adaptation("lora", lora_targets=("attn.qkv",)))
    with pytest.raises(ValueError, match=r"does not call blocks\.0\.attn\.qkv as a layer"):
        train(engine, range(1))


def test_adapters_need_a_vit_of_ours_of_their_width() -> None:
    with pytest.raises(ValueError, match=r"only our ViT shapes hold adapters.*use lora"):
        engine_of(CONVNET, Adaptation("adapter"))
    with pytest.raises(ValueError, match="has adapters of width 4, not 64: set adapter_width=4"):
        engine_of(replace(VIT, adapter_width=4), Adaptation("adapter"))
    with pytest.raises(ValueError, match="built without adapters"):
        learning_names(EXPECTED["full"], adaptation=Adaptation("adapter"), classifier="head")


def test_other_frameworks_say_who_offers_it() -> None:
    with pytest.raises(ValueError, match=r"engine=paddle trains all weights.*not lora; engine=torch offers all ways"):
        build_engine("paddle", VIT, adaptation=Adaptation("lora"))
    with pytest.raises(ValueError, match="not adapters; engine=torch"):
        build_engine("mindspore", replace(VIT, adapter_width=4))


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=lambda a: a.way)
def test_parameters_are_counted_without_a_network_as_with_one(adaptation: Adaptation) -> None:
    shapes = adapted_shapes(parameter_shapes(adaptation.spec_of(VIT)), adaptation=adaptation, classifier="head")
    parameters = engine_of(VIT, adaptation)._learner.adapted.parameters
    assert shapes == {name: tuple(p.shape) for name, p in parameters.items()}


def test_counts_for_the_large_network() -> None:
    table = {report.way: report for report in parameter_table(ModelSpec("vit_large_patch16", classes=5))}
    assert list(table) == list(WAYS)
    head, width, depth = 5 * 1024 + 5, 1024, 24
    assert table["full"].learning == table["gradual"].learning == 303_306_757
    assert table["head"].learning == head == 5_125
    block = 2 * 2 * width + (3 * width * width + 3 * width) + (width * width + width) + 8 * width * width + 5 * width
    assert table["last_n"].learning == 2 * block + 2 * width + head == 25_199_621
    biases = width + depth * (width + 3 * width + width + width + 4 * width + width) + width
    assert table["bitfit"].learning == biases + head
    lora = depth * (8 * (width + 3 * width) + 8 * (width + width))
    assert table["lora"].learning == lora + head == 1_184_773
    adapter = depth * 2 * (2 * width + 2 * 64 * width + 64 + width)
    assert table["adapter"].learning == adapter + head == 6_447_109
    # A delta's file is four bytes a parameter, and its list of names.
    assert 4 * table["lora"].learning < delta_bytes(ModelSpec("vit_large_patch16", classes=5), Adaptation("lora"))
