"""Integrated gradients: exact where the network is linear, complete where it is not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from eyeground.explain.methods import integrated_gradients
from eyeground.explain.methods.integrated_gradients import attributions
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build

from .test_occlusion import Weighted


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_of_a_linear_network_they_are_weight_times_pixel() -> None:
    weights, pixels = drawn(2, 3, 8, 8), drawn(3, 3, 8, 8, seed=1)
    wanted = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -2.0]])
    found = attributions(Weighted(weights), pixels, wanted)
    assert torch.allclose(found, torch.einsum("nk,kchw->nchw", wanted, weights) * pixels, atol=1e-5)


def smooth_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Conv2d(8, 8, 3, stride=2), nn.GELU(), nn.Flatten(), nn.LazyLinear(3)
    )


def vit() -> nn.Module:
    network = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
    nn.init.normal_(network.get_classifier().weight, std=0.5)  # type: ignore[operator]
    return network


@pytest.mark.parametrize("make", [smooth_cnn, vit])
def test_they_add_up_to_the_rise_of_the_answer(make: Callable[[], nn.Module]) -> None:
    pixels, wanted = drawn(2, 3, 32, 32, seed=2), torch.eye(3)[:2]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        network = make().eval()
        rise = ((network(pixels) - network(torch.zeros_like(pixels))) * wanted).sum(dim=1)
    assert float(rise.abs().min()) > 0.02
    total = attributions(network, pixels, wanted).sum(dim=(1, 2, 3))
    assert torch.allclose(total, rise, rtol=0.01)


def test_the_map_is_what_speaks_for_the_answer_smoothed_and_none_of_it_is_lost() -> None:
    weights = torch.zeros(1, 3, 64, 64)
    weights[0, 0, 30, 20] = 5
    weights[0, 1, 30, 20] = -2  # colors are added up before anything is cut
    weights[0, :, 50, 50] = -9
    found = integrated_gradients.explain(Weighted(weights), torch.ones(1, 3, 64, 64), torch.ones(1, 1))[0]
    assert float(found.sum()) == pytest.approx(3, rel=1e-4)
    assert divmod(int(found.argmax()), 64) == (30, 20)
    assert float(found[50, 50]) == 0
    # sigma is 1 px at 64: next to the peak it is exp(-1/2) of it.
    assert float(found[30, 21] / found[30, 20]) == pytest.approx(np.exp(-0.5), rel=1e-4)


def test_the_smoothing_leaves_a_border_as_bright_as_it_was() -> None:
    assert torch.allclose(integrated_gradients._smooth(torch.ones(1, 64, 96)), torch.ones(1, 64, 96), atol=1e-6)
