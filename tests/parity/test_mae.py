"""Our masked autoencoder against facebookresearch's: loss, prediction, mask, every gradient, keys and positions."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eyeground.model import spec as spec_module
from eyeground.model.positions import sincos_positions
from eyeground.model.spec import VIT_SHAPES, MaeSpec, VitShape
from eyeground.model.torch import mae as mae_module
from eyeground.model.torch.mae import MaskedAutoencoder

CASES = pytest.mark.parametrize(("case", "norm_pix"), [("pixels", False), ("norm_pix", True)])


@pytest.fixture
def small_spec(monkeypatch: pytest.MonkeyPatch) -> MaeSpec:
    shapes = MappingProxyType({**VIT_SHAPES, "case": VitShape(16, 64, 2, 4)})
    monkeypatch.setattr(spec_module, "VIT_SHAPES", shapes)
    monkeypatch.setattr(mae_module, "VIT_SHAPES", shapes)
    return MaeSpec("case", image_px=64, decoder_width=32, decoder_depth=2, decoder_heads=4)


def numbers_of(parity: Path, case: str) -> dict[str, torch.Tensor]:
    numbers = load_file(parity / "mae_small_case.safetensors")
    return {name.removeprefix(f"{case}."): tensor for name, tensor in numbers.items() if name.startswith(f"{case}.")}


def with_weights(spec: MaeSpec, numbers: dict[str, torch.Tensor]) -> MaskedAutoencoder:
    mae = MaskedAutoencoder(spec)
    weights = {name.removeprefix("weights."): t for name, t in numbers.items() if name.startswith("weights.")}
    for name in ("pos_embed", "decoder_pos_embed"):  # ours before theirs replaces them
        assert (mae.state_dict()[name] - weights[name]).abs().max() <= 1e-6
    mae.load_state_dict(weights, strict=True)
    return mae


@CASES
def test_loss_prediction_mask_and_every_gradient(parity: Path, small_spec: MaeSpec, case: str, norm_pix: bool) -> None:
    numbers = numbers_of(parity, case)
    mae = with_weights(replace(small_spec, norm_pix=norm_pix), numbers)
    loss, prediction, mask = mae(numbers["images"], numbers["noise"])
    loss.backward()
    assert abs(loss.item() - numbers["loss"].item()) <= 1e-5
    assert (prediction - numbers["pred"]).abs().max() <= 1e-5
    assert torch.equal(mask, numbers["mask"])
    gradients = {name: p.grad for name, p in mae.named_parameters() if p.grad is not None}
    expected = {name.removeprefix("grad."): t for name, t in numbers.items() if name.startswith("grad.")}
    assert gradients.keys() == expected.keys()
    assert len(expected) == 60
    for name, gradient in expected.items():
        # Most gradients are small themselves, so that 1e-5 alone would say little.
        assert (gradients[name] - gradient).abs().max() <= min(1e-5, 1e-4 * gradient.abs().max()), name


@CASES
def test_the_other_target_is_another_loss(parity: Path, small_spec: MaeSpec, case: str, norm_pix: bool) -> None:
    """The control: with norm_pix turned round, the numbers differ."""
    numbers = numbers_of(parity, case)
    mae = with_weights(replace(small_spec, norm_pix=not norm_pix), numbers)
    assert abs(mae(numbers["images"], numbers["noise"])[0].item() - numbers["loss"].item()) > 1e-3


def test_vit_large_has_the_reference_keys_and_shapes(parity: Path) -> None:
    expected = json.loads((parity / "mae_vit_large_keys.json").read_text())
    with torch.device("meta"):
        mae = MaskedAutoencoder(MaeSpec("vit_large_patch16"))
    shapes = {name: list(tensor.shape) for name, tensor in mae.state_dict().items()}
    assert shapes == expected
    assert len(shapes) == 398


def test_fixed_positions(parity: Path) -> None:
    expected = load_file(parity / "position_embedding.safetensors")["sincos_14_dim64"].numpy()
    ours = sincos_positions(64, grid=14)
    assert np.abs(ours - expected[0]).max() <= 1e-6
    # The control: rows and columns exchanged are other positions.
    exchanged = np.concatenate([ours[:, 32:], ours[:, :32]], axis=1)
    assert np.abs(exchanged - expected[0]).max() > 0.5
