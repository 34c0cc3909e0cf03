"""Linear layers laid out beforehand, and what a bundle's torch answers with in bf16."""

import numpy as np
import pytest
import torch
from torch import nn

from eyeground.model.spec import ModelSpec
from eyeground.model.torch import packed
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.packed import PackedLinear, PackedNetwork, can_pack, pack
from eyeground.serve.runtimes import torch as torch_runtime
from tests.serve.graphs import VIT, noise, weights_of

needs_bf16 = pytest.mark.skipif(not can_pack(), reason="this processor does not multiply bf16, or torch has no oneDNN")


@needs_bf16
@pytest.mark.parametrize("rows", [1, 3, 197, 1576, 2500])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_what_the_layer_gives_in_bf16(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    layer, x = nn.Linear(96, 40, bias=bias), torch.randn(rows, 96)
    made = PackedLinear(layer)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            wanted, found = layer(x), made(x)
        exact = layer(x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    assert (found.float() - exact).abs().max() < 0.02 * exact.abs().max()
    # One rounding of the result may fall the other way, as sums are added up in another order.
    assert (found.float() - wanted.float()).abs().max() <= 2**-7 * exact.abs().max()
    assert made(x.view(1, rows, 96)).shape == (1, rows, 40)


@needs_bf16
@pytest.mark.parametrize("spec", [VIT, ModelSpec("vit_demo_patch8", 3, image_px=32, pool="cls", adapter_width=4)])
def test_a_packed_network_answers_as_the_engine_in_bf16(spec: ModelSpec) -> None:
    images = noise(spec, 5)
    engine = TorchEngine(spec, tensors=weights_of(spec), device="cpu", precision="bf16")
    exact = TorchEngine(spec, tensors=weights_of(spec), device="cpu", precision="fp32").outputs(images)
    wanted, found = engine.outputs(images), PackedNetwork(spec, weights_of(spec)).outputs(images)
    assert found.dtype == np.float32
    rounding = np.abs(wanted - exact).max()
    assert 0 < rounding < 0.1 * np.abs(exact).max()
    assert np.abs(found - exact).max() < 3 * rounding  # no further off than the other is


@needs_bf16
def test_all_linear_layers_are_packed_and_their_weights_let_go() -> None:
    network = packed.start(VIT, tensors=None, seed=0)[0]
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    assert pack(network) == len(linear) > 8
    left = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    assert left == []
    assert not any(name.rsplit(".", 1)[0] in linear for name, _ in network.named_parameters())


def test_a_processor_without_bf16_gets_the_plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "can_pack", lambda: False)
    plain = torch_runtime.TorchRuntime(VIT, weights_of(VIT), precision="bf16")
    assert "laid out" not in plain.description
    monkeypatch.setattr(packed, "can_pack", lambda: True)
    monkeypatch.setattr(packed, "pack", lambda network: 0)  # which this processor may not be able to
    assert "laid out" in torch_runtime.TorchRuntime(VIT, weights_of(VIT), precision="bf16").description
    assert "laid out" not in torch_runtime.TorchRuntime(VIT, weights_of(VIT), precision="fp32").description
