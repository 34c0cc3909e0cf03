"""Activations that cost no copy: the same numbers as timm's, to the bit."""

import pytest
import timm
import torch
from torch import nn

from eyeground.model.torch.convnet import SparingReLU6, spare_copies


@pytest.mark.parametrize("name", ["mobilenetv2_050", "efficientnet_b0", "mobilenetv3_small_050"])
def test_loss_gradients_and_names_are_timms(name: str) -> None:
    networks = []
    for spared in (True, False):
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=3).train()
        networks.append(spare_copies(network) if spared else network)
    ours, theirs = networks
    assert list(ours.state_dict()) == list(theirs.state_dict())
    images = torch.randn(4, 3, 64, 64)
    for network in networks:
        torch.manual_seed(1)
        network(images).square().sum().backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        # The way back through a stride adds up in another order.
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3, msg=name)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))


def test_the_bounds_pass_no_gradient_and_the_result_is_what_is_remembered() -> None:
    x = torch.tensor([-1.0, 0.0, 3.0, 6.0, 7.0, float("nan")], requires_grad=True)
    before = x * 1
    clamped = SparingReLU6(inplace=True)(before)
    assert clamped.data_ptr() == before.data_ptr()
    assert clamped[:5].tolist() == [0, 0, 3, 6, 6]
    assert clamped[5].isnan()  # a network gone astray must not look sound
    clamped[:5].sum().backward()
    expected = torch.tensor([-1.0, 0.0, 3.0, 6.0, 7.0, float("nan")], requires_grad=True)
    nn.functional.relu6(expected)[:5].sum().backward()
    assert torch.equal(x.grad, expected.grad)


def test_what_is_not_in_place_is_left_alone() -> None:
    network = spare_copies(nn.Sequential(nn.ReLU6(), nn.ReLU(inplace=True), nn.SiLU(inplace=True)))
    assert [type(layer) for layer in network] == [nn.ReLU6, nn.ReLU, nn.SiLU]
    assert network[1].inplace
    assert not network[2].inplace


def test_a_slope_can_be_asked_of_the_slope() -> None:
    x = torch.tensor([1.0, 5.0], requires_grad=True)
    made = SparingReLU6(inplace=True)(x**3)  # 1 and 125
    (slope,) = torch.autograd.grad(made.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), x)
    assert slope.tolist() == [3, 0]
    assert second.tolist() == [6, 0]
