"""Grad-CAM against hand-made networks and a slow transformer."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from eyeground.explain.methods import grad_cam

from .slow import SlowVit, image, small_vit


class TwoMaps(nn.Module):
    """Two feature maps that are the red and the green of an image; the head adds their means up with weights."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :2]

    def forward_head(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean(dim=(2, 3)) @ self.weights.T

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(images))


def test_by_hand() -> None:
    network = TwoMaps([[4.0, -8.0], [0.0, 4.0]])
    pixels = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 3.0]], [[9.0, 9.0], [9.0, 9.0]]]])
    # Of output 0 the mean gradients are 4/4 = 1 and -8/4 = -2: red - 2 green = [[1, 0], [3, -2]], cut at 0.
    assert grad_cam.explain(network, pixels, torch.tensor([[1.0, 0.0]])).tolist() == [[[1, 0], [3, 0]]]
    # Of output 1: 0 and 1.
    assert grad_cam.explain(network, pixels, torch.tensor([[0.0, 1.0]])).tolist() == [[[0, 1], [0, 3]]]
    # Of "not output 1" nothing is left.
    assert grad_cam.explain(network, pixels, torch.tensor([[0.0, -1.0]])).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_of_a_transformer_the_tokens_that_enter_the_last_block_count(pool: str) -> None:
    vit, pixels = small_vit(pool), image(5, count=2)
    wanted = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, -1.0]])
    found = grad_cam.explain(vit, torch.from_numpy(pixels), torch.from_numpy(wanted).float()).numpy()
    for fast, one, way in zip(found, pixels, wanted, strict=True):
        slow = SlowVit(vit)
        slow(one)
        tokens = slow.entered[1]
        weights = slow.slope(one, way, "token", 1, tokens.shape)[1:].mean(axis=0)
        expected = np.maximum(tokens[1:] @ weights, 0).reshape(2, 2)
        assert np.allclose(fast, expected, atol=1e-3 * np.abs(tokens[1:] @ weights).max())


def test_swin_keeps_channels_last() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        swin = timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=64, embed_dim=12, depths=(1, 1), num_heads=(2, 2), num_classes=3
        ).eval()
        pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = swin.forward_features(pixels)[0]  # (h, w, C)
    # The head is linear in the mean over places, so each channel's mean gradient is its weight over their number.
    weights = swin.get_classifier().weight[1].detach() / (maps.shape[0] * maps.shape[1])
    found = grad_cam.explain(swin, pixels, torch.eye(3)[1:2])[0]
    assert torch.allclose(found, (maps @ weights).clamp(min=0), atol=1e-6)
    assert float(found.max()) > 0


@pytest.mark.parametrize("name", ["mobilenetv2_100", "efficientnet_b0", "resnet18", "convnext_atto"])
def test_convolutional_networks_are_asked_at_what_their_head_pools(name: str) -> None:
    network = timm.create_model(name, num_classes=3)
    pixels = torch.randn(2, 3, 64, 64)
    found = grad_cam.explain(network, pixels, torch.eye(3)[:2])
    assert found.shape == (2, 2, 2)
    network.eval()
    with torch.no_grad():
        assert torch.allclose(network.forward_head(network.forward_features(pixels)), network(pixels), atol=1e-5)


def test_a_network_that_shows_no_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear does not show any: use occlusion or integrated_gradients"):
        grad_cam.explain(nn.Linear(2, 2), torch.zeros(1, 3, 4, 4), torch.eye(2)[:1])

    class Vector(TwoMaps):
        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))

    with pytest.raises(ValueError, match="Vector does not show any"):
        grad_cam.explain(Vector([[1.0, 1.0]]), torch.zeros(1, 3, 4, 4), torch.eye(1))
