"""Rollout and relevance against a slow network in numpy; what has no attention to read is refused."""

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from eyeground.explain.methods import attention_relevance, attention_rollout
from eyeground.explain.methods._transformer import attention_maps
from eyeground.explain.refusal import NoAttention
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build

from .slow import SlowVit, image, small_vit

POOLS = ["token", "avg"]


def rollout(slow: SlowVit, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Abnar & Zuidema, written as they say it."""
    slow(pixels)
    through = np.eye(len(slow.attention[0][0]))
    for maps in slow.attention:
        mixed = 0.5 * maps.mean(axis=0) + 0.5 * np.eye(len(through))
        through = (mixed / mixed.sum(axis=1, keepdims=True)) @ through
    return read(slow, through)


def relevance(slow: SlowVit, pixels: NDArray[np.float32], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chefer, Gur & Wolf, equations 5 and 6, with gradients by differences."""
    slow(pixels)
    maps = list(slow.attention)
    held = np.eye(len(maps[0][0]))
    for block, attention in enumerate(maps):
        slope = slow.slope(pixels, wanted, "attention", block, attention.shape)
        held = held + np.maximum(slope * attention, 0).mean(axis=0) @ held
    return read(slow, held - np.eye(len(held)))


def read(slow: SlowVit, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    row = matrix[0] if slow.pool == "token" else matrix[slow.before :].mean(axis=0)
    return row[slow.before :].reshape(2, 2)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("registers", [0, 2])
def test_the_slow_network_is_the_fast_one(pool: str, registers: int) -> None:
    vit, pixels = small_vit(pool, registers=registers).eval(), image()
    with torch.no_grad(), attention_maps(vit) as maps:
        logits = vit(torch.from_numpy(pixels))[0].numpy()
    slow = SlowVit(vit)
    assert slow(pixels[0]) == pytest.approx(logits, rel=1e-4, abs=1e-4)
    for fast, written in zip(maps, slow.attention, strict=True):
        assert np.allclose(fast[0].numpy(), written, atol=1e-5)
    assert np.ptp(slow.attention[1]) > 0.3  # uneven enough to test anything


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("registers", [0, 2])
def test_rollout_is_that_of_the_paper(pool: str, registers: int) -> None:
    vit, pixels = small_vit(pool, registers=registers), image(1, count=2)
    found = attention_rollout.explain(vit, torch.from_numpy(pixels), torch.eye(3)[:2]).numpy()
    for fast, one in zip(found, pixels, strict=True):
        assert np.allclose(fast, rollout(SlowVit(vit), one), atol=1e-5)


@pytest.mark.parametrize("pool", POOLS)
def test_rollout_rows_add_up_to_one_with_the_other_tokens(pool: str) -> None:
    vit, pixels = small_vit(pool), image(2)
    found = attention_rollout.explain(vit, torch.from_numpy(pixels), torch.eye(3)[:1])
    assert 0.2 < float(found.sum()) < 1


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("registers", [0, 2])
def test_relevance_is_that_of_the_paper(pool: str, registers: int) -> None:
    vit, pixels = small_vit(pool, registers=registers), image(3, count=2)
    wanted = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, -1.0]])
    found = attention_relevance.explain(vit, torch.from_numpy(pixels), torch.from_numpy(wanted).float()).numpy()
    for fast, one, way in zip(found, pixels, wanted, strict=True):
        slow = relevance(SlowVit(vit), one, way)
        assert slow.max() > 1e-3
        assert np.allclose(fast, slow, atol=1e-3 * slow.max())


def test_relevance_knows_the_answer_and_rollout_does_not() -> None:
    vit, pixels = small_vit("token"), torch.from_numpy(image(4))
    one, other = torch.eye(3)[:1], torch.eye(3)[1:2]
    assert torch.equal(attention_rollout.explain(vit, pixels, one), attention_rollout.explain(vit, pixels, other))
    assert not torch.allclose(
        attention_relevance.explain(vit, pixels, one), attention_relevance.explain(vit, pixels, other)
    )


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("vit_demo_patch8", 3, image_px=32, adapter_width=4),
        ModelSpec("vit_demo_patch8", 3, image_px=32, pool="cls"),
        ModelSpec("vit_small_patch14_dinov2", 3, image_px=42, pool="cls"),
        ModelSpec("vit_tiny_patch16_224", 3, image_px=64, options={"img_size": 64}),
    ],
    ids=["adapters", "cls", "dinov2", "timm"],
)
def test_transformers_that_are_served(spec: ModelSpec) -> None:
    network = build(spec)
    images, wanted = torch.randn(2, 3, spec.image_px, spec.image_px), torch.eye(3)[:2]
    for method in (attention_rollout, attention_relevance):
        assert method.obstacle(network) == ""
        found = method.explain(network, images, wanted)
        side = {"vit_demo_patch8": 4, "vit_small_patch14_dinov2": 3}.get(spec.name, 4)
        assert found.shape == (2, side, side)
        assert bool((found >= 0).all())
        assert bool((found.flatten(1).sum(dim=1) > 0).all())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mobilenetv2_100", "mobilenetv2_100 has none"),
        ("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224 attends within windows"),
        ("vit_base_patch16_siglip_224", "pools its tokens"),
        ("samvit_base_patch16_224", "attends within windows"),
        ("eva02_tiny_patch14_224", "another kind"),
        ("resnet18", "resnet18 has none"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(name: str, why: str) -> None:
    with torch.device("meta"):  # shapes are enough, and nothing needs to be drawn
        network = timm.create_model(name, num_classes=3)
    for method in (attention_rollout, attention_relevance):
        with pytest.raises(NoAttention, match="needs a transformer with global attention") as caught:
            method.explain(network, torch.zeros(1, 3, 224, 224), torch.eye(3)[:1])
        assert why in str(caught.value)
        assert str(caught.value).endswith(": use grad_cam, occlusion or integrated_gradients")
        assert method.obstacle(network) == str(caught.value)


def test_tokens_that_are_no_grid_are_refused() -> None:
    vit = small_vit("token")
    vit.patch_embed.patch_size = (4, 4)
    with pytest.raises(NoAttention, match="4 x 4 patches and 1 others"):
        attention_rollout.explain(vit, torch.from_numpy(image()), torch.eye(3)[:1])
