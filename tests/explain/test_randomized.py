"""Which layers are drawn anew, and that the rest stays to the bit."""

import numpy as np
import pytest
import torch

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build, start
from eyeground.model.torch.randomized import randomized

VIT = ModelSpec("vit_demo_patch8", classes=3, image_px=32)
CNN = ModelSpec("mobilenetv2_100", classes=3, image_px=64)


def learned(spec: ModelSpec) -> dict[str, np.ndarray]:
    """Weights that no fresh network has, batch norm's statistics included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        state = build(spec).state_dict()
        return {
            name: (tensor + 0.5 if tensor.is_floating_point() else tensor).numpy() for name, tensor in state.items()
        }


def anew(spec: ModelSpec, share: float) -> set[str]:
    tensors = learned(spec)
    made = randomized(spec, tensors, share=share, seed=3).state_dict()
    fresh = start(spec, tensors=None, seed=3)[0].state_dict()
    changed = {name for name, tensor in made.items() if not np.array_equal(tensor.numpy(), tensors[name])}
    assert all(torch.equal(made[name], fresh[name]) for name in changed)
    return changed


def blocks(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("blocks.")}


def test_of_a_transformer_the_last_blocks_go_first() -> None:
    assert anew(VIT, 0.0) == {"head.weight", "head.bias"}
    assert blocks(anew(VIT, 0.25)) == {"3"}
    assert {"head.weight", "fc_norm.weight"} <= anew(VIT, 0.25)
    assert blocks(anew(VIT, 0.5)) == {"2", "3"}
    assert not any(name.startswith(("patch_embed", "pos_embed", "cls_token")) for name in anew(VIT, 0.5))
    assert anew(VIT, 1.0) == set(learned(VIT))


def test_of_a_convolutional_network_as_well() -> None:
    assert anew(CNN, 0.0) == {"classifier.weight", "classifier.bias"}
    half = anew(CNN, 0.5)
    assert max(map(int, blocks(half))) == 6
    assert min(map(int, blocks(half))) in (3, 4)
    assert {"conv_head.weight", "bn2.running_mean"} <= half
    assert "conv_stem.weight" not in half
    floats = {name for name in learned(CNN) if not name.endswith("num_batches_tracked")}
    assert anew(CNN, 1.0) == floats


def test_a_network_whose_names_tell_no_order_goes_from_the_back() -> None:
    spec = ModelSpec("densenet121", classes=3, image_px=64)
    half = {name for name in anew(spec, 0.5) if not name.endswith("num_batches_tracked")}
    assert "classifier.weight" in half
    assert any("denseblock4" in name for name in half)
    assert not any("denseblock1." in name for name in half)


def test_the_seed_decides_and_the_network_comes_in_evaluation_mode() -> None:
    tensors = learned(VIT)
    one, again, other = (randomized(VIT, tensors, share=1.0, seed=seed) for seed in (1, 1, 2))
    assert not any(module.training for module in one.modules())
    weight = "blocks.0.attn.qkv.weight"
    assert torch.equal(one.state_dict()[weight], again.state_dict()[weight])
    assert not torch.equal(one.state_dict()[weight], other.state_dict()[weight])


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"it lies in \[0, 1\]"):
        randomized(VIT, learned(VIT), share=share, seed=0)
