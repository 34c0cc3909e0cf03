"""The block that spares what it leaves out, against timm's block."""

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn

from eyeground.model.torch.vit import SparingBlock


def pair(**settings: object) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's with the same weights, in training."""
    torch.manual_seed(0)
    theirs = Block(16, num_heads=2, qkv_bias=True, **settings).train()  # type: ignore[arg-type]
    ours = SparingBlock(16, num_heads=2, qkv_bias=True, **settings).train()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize(
    "settings",
    [{}, {"init_values": 0.1}, {"proj_drop": 0.3}, {"attn_drop": 0.3}],
    ids=["plain", "scale", "proj", "attn"],
)
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("images", [1, 2, 7])
def test_results_gradients_and_draws_are_timms(settings: dict[str, float], rate: float, images: int) -> None:
    ours, theirs = pair(drop_path=rate, **settings)
    for seed in range(5):
        found = []
        for block in (ours, theirs):
            block.zero_grad()
            torch.manual_seed(seed)
            x = torch.randn(images, 5, 16, generator=torch.Generator().manual_seed(seed)).requires_grad_()
            y = block(x)
            y.square().sum().backward()
            gradients = {name: parameter.grad for name, parameter in block.named_parameters()}
            # None would let AdamW pass a weight over, whose averages timm's gradient of 0 shrinks.
            assert all(gradient is not None for gradient in gradients.values())
            found.append({"y": y, "x": x.grad, "next draw": torch.rand(1), **gradients})
        for name, value in found[0].items():
            assert torch.allclose(value, found[1][name], rtol=1e-5, atol=1e-6), (name, seed)


def test_a_branch_sees_only_the_images_that_keep_it() -> None:
    block, _ = pair(drop_path=0.5)
    seen: list[int] = []
    block.get_submodule("mlp").register_forward_hook(lambda module, given, made: seen.append(len(made)))
    torch.manual_seed(0)
    for _ in range(20):
        block(torch.randn(8, 5, 16))
    assert min(seen) < 8
    assert 0.3 < sum(seen) / (20 * 8) < 0.7
    block.eval()
    seen.clear()
    block(torch.randn(8, 5, 16))
    assert seen == [8]


def test_under_autocast_the_sum_stays_in_float32() -> None:
    ours, theirs = pair(drop_path=0.5)
    for seed in range(5):
        made = []
        for block in (ours, theirs):
            torch.manual_seed(seed)
            with torch.autocast("cpu", torch.bfloat16):
                made.append(block(torch.ones(6, 5, 16)))
        assert made[0].dtype == made[1].dtype == torch.float32
        assert torch.allclose(made[0], made[1], atol=0.05)
