"""The masked autoencoder hides, encodes and predicts what it says, at every image size, and becomes a classifier."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eyeground.model import patches as numpy_patches
from eyeground.model.positions import sincos_positions
from eyeground.model.spec import VIT_SHAPES, MaeSpec, ModelSpec
from eyeground.model.torch.mae import MaskedAutoencoder, patchify, unpatchify
from eyeground.model.torch.network import build, load
from eyeground.model.weights import Tensors, WeightsRefused

SPEC = MaeSpec("vit_demo_patch8", image_px=32, decoder_width=32, decoder_depth=2, decoder_heads=4)


def mae_of(seed: int = 0, **changes: object) -> MaskedAutoencoder:
    torch.manual_seed(seed)
    return MaskedAutoencoder(replace(SPEC, **changes))  # type: ignore[arg-type]


def images_of(count: int = 3, px: int = 32, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(seed))


def slow_patchify(images: np.ndarray, patch_px: int) -> np.ndarray:
    """Pixel by pixel."""
    n, channels, height, width = images.shape
    down, across = height // patch_px, width // patch_px
    rows = np.zeros((n, down * across, patch_px * patch_px * channels), images.dtype)
    for image in range(n):
        for y in range(height):
            for x in range(width):
                for channel in range(channels):
                    patch = y // patch_px * across + x // patch_px
                    place = (y % patch_px * patch_px + x % patch_px) * channels + channel
                    rows[image, patch, place] = images[image, channel, y, x]
    return rows


@given(
    n=st.integers(1, 3), channels=st.integers(1, 4), down=st.integers(1, 4), across=st.integers(1, 4),
    patch_px=st.integers(1, 5),
)  # fmt: skip
def test_patchify_equals_a_loop_over_pixels(n: int, channels: int, down: int, across: int, patch_px: int) -> None:
    images = np.arange(n * channels * down * across * patch_px**2, dtype=np.float32)
    images = images.reshape(n, channels, down * patch_px, across * patch_px)
    expected = slow_patchify(images, patch_px)
    assert (numpy_patches.patchify(images, patch_px) == expected).all()
    assert (patchify(torch.from_numpy(images), patch_px).numpy() == expected).all()


@given(n=st.integers(1, 3), channels=st.integers(1, 4), side=st.integers(1, 6), patch_px=st.integers(1, 6))
def test_unpatchify_undoes_patchify(n: int, channels: int, side: int, patch_px: int) -> None:
    images = np.random.default_rng(0).random((n, channels, side * patch_px, side * patch_px))
    there = numpy_patches.patchify(images, patch_px)
    assert (numpy_patches.unpatchify(there, patch_px, channels) == images).all()
    back = unpatchify(patchify(torch.from_numpy(images), patch_px), patch_px, channels)
    assert (back.numpy() == images).all()


@pytest.mark.parametrize("shape", [(1, 3, 9, 8), (1, 3, 8, 9), (3, 8, 8)])
def test_patchify_refuses_what_patches_do_not_fill(shape: tuple[int, ...]) -> None:
    for cut in (lambda: numpy_patches.patchify(np.zeros(shape), 4), lambda: patchify(torch.zeros(shape), 4)):
        with pytest.raises(ValueError, match="divisible by the patch of 4 px"):
            cut()


@pytest.mark.parametrize("shape", [(1, 3, 48), (1, 4, 47), (4, 48)])
def test_unpatchify_refuses_what_makes_no_square(shape: tuple[int, ...]) -> None:
    for join in (lambda: numpy_patches.unpatchify(np.zeros(shape), 4), lambda: unpatchify(torch.zeros(shape), 4)):
        with pytest.raises(ValueError, match="L a square number"):
            join()


def test_positions_equal_a_loop_over_patches() -> None:
    width, grid = 12, 3
    table = sincos_positions(width, grid)
    assert table.shape == (10, 12)
    assert not table[0].any()
    for row in range(grid):
        for column in range(grid):
            expected = []
            for place in (column, row):
                angles = [place / 10000 ** (i / 3) for i in range(3)]
                expected += [np.sin(a) for a in angles] + [np.cos(a) for a in angles]
            assert table[1 + row * grid + column] == pytest.approx(expected, abs=1e-6)
    assert (sincos_positions(width, grid, class_token=False) == table[1:]).all()


@pytest.mark.parametrize(("width", "grid"), [(6, 2), (0, 2), (8, 0)])
def test_positions_refuse_what_has_none(width: int, grid: int) -> None:
    with pytest.raises(ValueError, match=r"multiple of 4|at least one patch"):
        sincos_positions(width, grid)


def test_the_least_noise_stays_and_only_it_reaches_the_encoder() -> None:
    mae, images = mae_of(), images_of()
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(2))
    seen = mae.encode_visible(images, noise)
    assert seen.latent.shape == (3, 1 + 4, 96)
    for image in range(3):
        kept = {int(i) for i in noise[image].argsort()[:4]}
        assert {i for i in range(16) if seen.mask[image, i] == 0} == kept
    hidden = unpatchify(seen.mask[:, :, None].expand(-1, -1, 192), 8).bool()
    garbled = torch.where(hidden, images_of(seed=9), images)
    assert torch.equal(mae.encode_visible(garbled, noise).latent, seen.latent)
    # The control: a visible pixel does.
    changed = torch.where(hidden, images, images + 0.1)
    assert not torch.allclose(mae.encode_visible(changed, noise).latent, seen.latent, atol=1e-3)


def test_every_visible_patch_is_decoded_in_its_own_place() -> None:
    """Which patches are hidden decides the prediction, and the order in which they were drawn does not."""
    mae, images = mae_of(), images_of(1)
    noise = torch.arange(16.0)[None] / 16
    _, prediction, mask = mae(images, noise)
    reordered = noise.clone()
    reordered[0, :4] = noise[0, :4].flip(0)
    reordered[0, 4:] = noise[0, 4:].flip(0)
    _, again, same = mae(images, reordered)
    assert torch.equal(mask, same)
    assert torch.allclose(prediction, again, atol=1e-5)


@pytest.mark.parametrize("norm_pix", [False, True])
def test_the_loss_equals_a_loop_over_removed_patches(norm_pix: bool) -> None:
    mae, images = mae_of(norm_pix=norm_pix), images_of()
    loss, prediction, mask = mae(images)
    rows, errors = slow_patchify(images.numpy().astype(np.float64), 8), []
    for image, patch in zip(*np.nonzero(mask.numpy()), strict=True):
        target = rows[image, patch]
        if norm_pix:
            target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
        errors.append(np.mean((prediction[image, patch].detach().numpy() - target) ** 2))
    assert len(errors) == 3 * 12
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_visible_patches_cost_nothing() -> None:
    mae, images = mae_of(), images_of()
    _, prediction, mask = mae(images)
    seen = prediction + (1 - mask)[:, :, None]
    assert torch.equal(mae.loss(images, seen, mask), mae.loss(images, prediction, mask))
    assert not torch.equal(mae.loss(images, prediction + mask[:, :, None], mask), mae.loss(images, prediction, mask))


def test_the_loss_is_float32_under_autocast() -> None:
    mae, images = mae_of(norm_pix=True), images_of()
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(2))
    exact, whole, _ = mae(images, noise)
    with torch.autocast("cpu", torch.bfloat16):
        loss, prediction, mask = mae(images, noise)
        assert prediction.dtype == torch.bfloat16
        assert loss.dtype == mask.dtype == torch.float32
    # The arithmetic of the loss lost nothing: outside autocast the same prediction costs the same.
    assert loss.item() == mae.loss(images, prediction.float(), mask).item()
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    assert (prediction.float() - whole).abs().max() < 0.1
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mae.parameters() if p.requires_grad)


def test_flat_patches_give_a_finite_loss_and_gradient() -> None:
    mae = mae_of(norm_pix=True)
    loss, _, _ = mae(torch.zeros(2, 3, 32, 32))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mae.parameters() if p.requires_grad)


def test_no_gradient_reaches_the_fixed_positions() -> None:
    mae = mae_of()
    mae(images_of())[0].backward()
    still = {name for name, parameter in mae.named_parameters() if not parameter.requires_grad}
    assert still == {"pos_embed", "decoder_pos_embed"}
    assert mae.pos_embed.grad is None
    assert mae.decoder_pos_embed.grad is None
    assert {name for name, p in mae.named_parameters() if p.grad is None or not p.grad.any()} == still


def test_noise_is_drawn_from_torch_when_none_is_given() -> None:
    mae, images = mae_of(), images_of()
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(mae(images)[2])
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert (masks[0].sum(1) == 12).all()
    assert not (masks[0][0] == masks[0]).all()  # each image has a mask of its own


@pytest.mark.parametrize(("name", "image_px", "patches"), [("vit_demo_patch8", 72, 81), ("vit_mini_patch16", 48, 9)])
def test_the_image_size_reaches_every_part(name: str, image_px: int, patches: int) -> None:
    mae = mae_of(name=name, image_px=image_px)
    patch_px, width = VIT_SHAPES[name].patch_px, VIT_SHAPES[name].width
    assert mae.patch_embed.grid_size == (image_px // patch_px,) * 2
    assert mae.pos_embed.shape == (1, 1 + patches, width)
    assert mae.decoder_pos_embed.shape == (1, 1 + patches, 32)
    loss, prediction, mask = mae(images_of(2, image_px))
    assert prediction.shape == (2, patches, patch_px**2 * 3)
    assert mask.shape == (2, patches)
    assert mask.sum(1).tolist() == [patches - int(patches * 0.25)] * 2
    assert loss.isfinite()
    assert mae.encode(images_of(2, image_px)).shape == (2, 1 + patches, width)


@pytest.mark.parametrize("shape", [(2, 3, 40, 40), (2, 3, 32, 40), (2, 1, 32, 32), (3, 32, 32)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    mae = mae_of()
    for ask in (mae, mae.encode, mae.predict):
        with pytest.raises(ValueError, match=r"expects \(N, 3, 32, 32\)"):
            ask(torch.zeros(shape))


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"noise has the shape \(2, 9\): these images need \(2, 16\)"):
        mae_of()(images_of(2), torch.rand(2, 9))


@pytest.mark.parametrize("mask_ratio", [0.99, 1.0, 0.0, -0.5, 1.5])
def test_a_mask_ratio_that_leaves_or_hides_nothing_is_refused(mask_ratio: float) -> None:
    with pytest.raises(ValueError, match="at least one patch has to be seen and one hidden"):
        replace(SPEC, mask_ratio=mask_ratio)


@pytest.mark.parametrize(("mask_ratio", "visible"), [(0.9, 1), (0.5, 8), (0.05, 15)])
def test_the_mask_ratio_decides_how_much_is_seen(mask_ratio: float, visible: int) -> None:
    _, _, mask = mae_of(mask_ratio=mask_ratio)(images_of())
    assert (mask == 0).sum(1).tolist() == [visible] * 3


def test_predict_gives_what_forward_does_and_changes_nothing() -> None:
    mae, images = mae_of(), images_of()
    noise = torch.rand(3, 16)
    _, prediction, mask = mae(images, noise)
    shown, shown_mask = mae.predict(images, noise)
    assert torch.equal(shown, prediction)
    assert torch.equal(shown_mask, mask)
    assert not shown.requires_grad


def test_weights_start_as_the_paper_says() -> None:
    mae = mae_of(name="vit_mini_patch16", decoder_width=64)
    for name, parameter in mae.named_parameters():
        if ".norm" in name or name.startswith(("norm.", "decoder_norm.")):
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
        elif name.endswith("bias") and not name.startswith("patch_embed"):
            assert not parameter.any(), name
        elif name.endswith("weight"):
            rows = parameter.detach().reshape(len(parameter), -1)
            bound = (6 / sum(rows.shape)) ** 0.5  # Glorot & Bengio, 2010
            assert 0.9 * bound < rows.abs().max() <= bound * (1 + 1e-6), name
    assert mae.cls_token.std().item() == pytest.approx(0.02, rel=0.4)
    assert mae.mask_token.std().item() == pytest.approx(0.02, rel=0.4)


@pytest.mark.parametrize("pool", ["avg", "cls"])
def test_the_encoder_becomes_a_classifier(pool: str) -> None:
    mae = mae_of()
    tensors: Tensors = {name: tensor.numpy() for name, tensor in mae.state_dict().items()}
    classifier = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32, pool=pool))  # type: ignore[arg-type]
    report = load(classifier, tensors)
    assert report.ok
    encoder = {name for name in tensors if not name.startswith(("decoder_", "mask_token"))}
    if pool == "avg":
        encoder -= {"norm.weight", "norm.bias"}
        assert set(report.new) == {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"}
    assert set(report.loaded) == encoder
    for name in encoder:
        assert (classifier.state_dict()[name].numpy() == tensors[name]).all(), name
    if pool == "cls":  # and computes the same tokens
        with torch.inference_mode():
            tokens = classifier.eval().forward_features(images_of())  # type: ignore[operator]
            assert torch.allclose(tokens, mae.encode(images_of()), atol=1e-5)


@pytest.mark.parametrize("key", ["blocks.2.attn.qkv.weight", "cls_token", "patch_embed.proj.bias", "pos_embed"])
def test_one_renamed_key_refuses_the_weights(key: str) -> None:
    tensors = {name: tensor.numpy() for name, tensor in mae_of().state_dict().items()}
    tensors["another." + key] = tensors.pop(key)
    classifier = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    with pytest.raises(WeightsRefused, match="1 missing") as refused:
        load(classifier, tensors)
    assert f"1 unexpected: another.{key}" in str(refused.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
