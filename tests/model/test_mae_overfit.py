"""A masked autoencoder learns twenty photographs until discs, maculae and light come back where it never saw them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeground.data.phantom import draw_fundus
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.images.field import crop_photograph
from eyeground.images.read import read
from eyeground.images.retinal_image import RetinalImage
from eyeground.model.spec import MaeSpec
from eyeground.model.torch.mae import MaskedAutoencoder
from eyeground.train.reconstruction import reconstruct, sheet
from eyeground.train.schedule import warmup_cosine

COUNT, PX, STEPS = 20, 64, 1500
PREPROCESSING = Preprocessing(image_px=PX, crop_fraction=1.0)


def photographs() -> list[RetinalImage]:
    """Real ones where they are, phantoms elsewhere."""
    folder = Path(os.environ.get("EYEGROUND_REALDATA") or "nowhere") / "fundus-unlabelled"
    if folder.is_dir():
        return [read(path) for path in sorted(folder.glob("*.jp*g"))[:COUNT]]
    return [draw_fundus("dr3", seed=seed, size_px=256).image for seed in range(COUNT)]


@pytest.mark.slow
def test_hidden_patches_of_twenty_photographs_come_back(tmp_path: Path) -> None:
    squares = [square(crop_photograph(image).pixels, PREPROCESSING) for image in photographs()]
    images = torch.from_numpy(normalize(squares, PREPROCESSING))
    assert len(images) == COUNT
    torch.manual_seed(0)
    spec = MaeSpec("vit_demo_patch8", image_px=PX, decoder_width=96, decoder_depth=2, decoder_heads=3)
    mae = MaskedAutoencoder(spec)
    learned = [parameter for parameter in mae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, betas=(0.9, 0.95))
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(step, epochs=STEPS, peak=2e-3, warmup_epochs=50, minimum=0.0)
        loss, _, _ = mae(images)  # another mask at every step
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(mae.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())

    # A mask that was never drawn before.
    noise = torch.rand(COUNT, spec.patches, generator=torch.Generator().manual_seed(1))
    prediction, mask = (each.numpy() for each in mae.predict(images, noise))
    drawn = reconstruct(
        images.numpy(), prediction, mask, patch_px=8, norm_pix=False, mean=PREPROCESSING.mean, std=PREPROCESSING.std
    )
    hidden = [(four.masked != four.original).any(-1) for four in drawn]
    alike = [
        np.corrcoef(four.pasted[where].ravel(), four.original[where].ravel())[0, 1]
        for four, where in zip(drawn, hidden, strict=True)
    ]
    first, last = losses[0], float(np.mean(losses[-20:]))
    title = f"loss {first:.3f} -> {last:.3f}; hidden pixels: r {np.mean(alike):.3f}, at least {min(alike):.3f}"
    sheet(drawn[:6], [f"photograph {i + 1}" for i in range(6)], title=title).save(tmp_path / "sheet.png")
    print(tmp_path / "sheet.png", title)  # noqa: T201
    assert last < first * 0.05
    assert min(alike) > 0.9  # over hidden patches alone: the visible ones would flatter it
    whole = [np.corrcoef(four.pasted.ravel(), four.original.ravel())[0, 1] for four in drawn]
    assert min(whole) > 0.9
