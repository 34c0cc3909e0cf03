"""Occlusion of networks whose answer is known by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from eyeground.explain.methods import occlusion


class Weighted(nn.Module):
    """The answer is the image times weights, added up."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)  # (outputs, 3, H, W)
        self.most = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(images))
        return torch.einsum("nchw,kchw->nk", images, self.weights)


@pytest.mark.parametrize("side", [16, 20, 37])
def test_of_a_linear_network_a_window_takes_exactly_what_it_hides(side: int) -> None:
    rng = np.random.default_rng(side)
    weights, pixels = (rng.integers(-3, 4, size=(1, 3, side, side)).astype(np.float32) for _ in range(2))
    worth = (weights * pixels).sum(axis=(0, 1))
    window = round(side / 8)
    total, covered = np.zeros((side, side)), np.zeros((side, side))
    places = sorted({*range(0, side - window, max(1, window // 2)), side - window})
    for top in places:
        for left in places:
            total[top : top + window, left : left + window] += worth[top : top + window, left : left + window].sum()
            covered[top : top + window, left : left + window] += 1
    assert covered.min() >= 1
    network = Weighted(torch.from_numpy(weights))
    found = occlusion.explain(network, torch.from_numpy(pixels), torch.ones(1, 1))[0].numpy()
    assert np.allclose(found, np.maximum(total / covered, 0), atol=1e-4)
    assert network.most <= 32  # memory stays flat, however many windows


def test_the_peak_is_where_the_answer_hangs_and_what_speaks_against_it_is_cut() -> None:
    weights = torch.zeros(2, 3, 32, 32)
    weights[0, :, 20:24, 8:12] = 1
    weights[0, :, 4:8, 24:28] = -1
    weights[1] = -weights[0]
    network, pixels = Weighted(weights), torch.ones(1, 3, 32, 32)
    found = occlusion.explain(network, pixels, torch.tensor([[1.0, 0.0]]))[0]
    row, column = divmod(int(found.argmax()), 32)
    assert 20 <= row < 24
    assert 8 <= column < 12
    assert float(found[4:8, 24:28].max()) == 0
    other = occlusion.explain(network, pixels, torch.tensor([[0.0, 1.0]]))[0]
    assert float(other[4:8, 24:28].min()) > 0
    assert float(other[20:24, 8:12].max()) == 0
