"""Depthwise convolutions with a stride: another way back, the same gradients."""

import pytest
import torch
from torch import nn

from eyeground.model.spec import ModelSpec
from eyeground.model.torch import depthwise
from eyeground.model.torch.convnet import build_timm
from eyeground.model.torch.depthwise import StridedDepthwise, has_slow_way_back, without_slow_way_back


def gradients(layer: nn.Conv2d, x: torch.Tensor) -> list[torch.Tensor]:
    """Of the input and the weight, under a loss that tells all places apart; and the output."""
    x = x.clone().requires_grad_()
    made = layer(x.cos())
    layer.weight.grad = None
    (made * torch.arange(made.numel()).double().reshape(made.shape).sin()).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    return [made.detach(), x.grad, layer.weight.grad]


@pytest.mark.parametrize("side", [7, 8, 9])
@pytest.mark.parametrize(("size", "pad", "far", "stride"), [(3, 1, 1, 2), (5, 2, 1, 2), (3, 0, 1, 3), (3, 2, 2, 2)])
@pytest.mark.parametrize("outputs", [6, 12])
def test_gradients_are_those_of_torchs_own(side: int, size: int, pad: int, far: int, stride: int, outputs: int) -> None:
    plain = nn.Conv2d(6, outputs, size, stride=stride, padding=pad, dilation=far, groups=6, bias=False).double()
    x = torch.linspace(-1, 1, 2 * 6 * side * (side + 1)).double().reshape(2, 6, side, side + 1)
    assert has_slow_way_back(plain)
    for one, other in zip(gradients(plain, x), gradients(without_slow_way_back(plain), x), strict=True):
        torch.testing.assert_close(one, other)


def test_a_wrong_way_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = StridedDepthwise(2, 2, 3, stride=2, padding=1, groups=2, bias=False).double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    monkeypatch.setattr(depthwise, "_like", lambda gradient, of: 1.01 * gradient)
    assert not torch.autograd.gradcheck(layer, (x,), raise_exception=False)


def test_under_autocast_weights_get_their_own_kind_of_gradient() -> None:
    layer = StridedDepthwise(4, 4, 3, stride=2, padding=1, groups=4, bias=False)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(x)
    assert made.dtype == torch.bfloat16
    made.float().sum().backward()
    assert layer.weight.grad is not None
    assert x.grad is not None
    assert (layer.weight.grad.dtype, x.grad.dtype) == (torch.float32, torch.float32)


def test_networks_have_them_by_the_names_they_had() -> None:
    network = build_timm(ModelSpec("mobilenetv2_100", classes=3))
    found = [name for name, layer in network.named_modules() if isinstance(layer, StridedDepthwise)]
    assert len(found) == 4
    assert not any(has_slow_way_back(layer) for layer in network.modules())
    assert all(f"{name}.weight" in network.state_dict() for name in found)
