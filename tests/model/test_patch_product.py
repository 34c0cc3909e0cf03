"""Patches by a product of matrices: the convolution's numbers and gradients."""

import pytest
import torch
from torch import nn

from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.patch_product import PatchProduct, multiply_patches


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("patch", [(4, 4), (2, 8), (3, 5)])
def test_numbers_and_gradients_are_the_convolutions(patch: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 10, patch, patch, bias=bias).double()
    images = torch.randn(2, 3, 8, 16, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(2, 10, 8 // patch[0], 16 // patch[1], dtype=torch.float64)
    told = []
    for way in (nn.Conv2d.forward, PatchProduct.forward):
        found = way(layer, images)  # type: ignore[arg-type]
        told.append([found, *torch.autograd.grad(found, [images, *layer.parameters()], slope)])
    for wanted, found in zip(*told, strict=True):
        assert wanted.shape == found.shape
        assert torch.allclose(wanted, found, rtol=1e-12, atol=1e-12)


def test_only_windows_side_by_side_are_changed_and_weights_stay() -> None:
    others = [
        nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 2, 2, padding=1), nn.Conv2d(4, 4, 2, 2, groups=2),
        nn.Conv2d(3, 4, 2, 2, dilation=2), nn.Conv2d(3, 4, (2, 4), 2),
    ]  # fmt: skip
    patches = nn.Conv2d(3, 4, 2, 2)
    network, weight = nn.Sequential(*others, patches), patches.weight
    assert multiply_patches(network) == 1
    assert [type(layer) for layer in network] == [nn.Conv2d] * len(others) + [PatchProduct]
    assert network[-1].weight is weight


@pytest.mark.parametrize(("precision", "changed"), [("bf16", True), ("fp32", False)])
def test_training_in_bf16_on_a_processor_multiplies(precision: str, changed: bool) -> None:
    spec = ModelSpec("vit_demo_patch8", 2, image_px=32)
    learns = TorchEngine(spec, optimization=Optimization(), device="cpu", precision=precision)  # type: ignore[arg-type]
    answers = TorchEngine(spec, device="cpu", precision=precision)  # type: ignore[arg-type]
    assert isinstance(learns.network.patch_embed.proj, PatchProduct) is changed  # type: ignore[union-attr]
    assert not isinstance(answers.network.patch_embed.proj, PatchProduct)  # type: ignore[union-attr]
