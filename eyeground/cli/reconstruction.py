"""A masked autoencoder's run and images -> a picture of what it makes of them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError
from eyeground.cli.console import answer, counting, tell
from eyeground.data.pixels import PixelStore
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.images.read import read
from eyeground.images.refusal import ImageRefused
from eyeground.model.optimization import Device
from eyeground.model.spec import MaeSpec
from eyeground.model.torch.pretraining import MaeEngine
from eyeground.train.checkpoint import CheckpointError, Checkpoints
from eyeground.train.reconstruction import reconstruct, sheet


def reconstruct_images(
    run: Path,
    images: Sequence[Path],
    *,
    out: Path,
    mask_ratio: float | None,
    seed: int,
    device: Device,
    as_json: bool,
) -> None:
    """Draw images as they are, as the encoder sees them, as they are predicted, and pasted together.

    Args:
        run: Folder of a MAE run.
        images: Files; those that cannot be read are named at the end.
        out: PNG file to write.
        mask_ratio: Share of the patches to hide; None = as in the run.
        seed: Draws the masks.
        device: Where to compute.
        as_json: End with one JSON line.

    Raises:
        ConfigError: If the run is no masked autoencoder's, no image can be read, or the picture cannot be written.
        CheckpointError: If the folder holds no sound checkpoint.

    References:
        He et al., CVPR 2022, figure 2.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"--out {out}: no file can be written there")
    engine, preprocessing = _open(run, mask_ratio, device)
    store = PixelStore(crop_field=preprocessing.crop_field, store_px=preprocessing.store_px)
    squares, names, unread = [], [], []
    with counting("reading", len(images)) as done:
        for number, path in enumerate(images, 1):
            try:
                squares.append(square(store.ready(read(path)), preprocessing))
                names.append(path.name)
            except ImageRefused as error:
                unread.append(f"{path}: {error.sentence}")
            done(number, len(images))
    if not squares:
        raise ConfigError("no image could be read: " + "; ".join(unread))
    batch = normalize(squares, preprocessing)
    prediction, mask = engine.reconstruct(batch, seed=seed)
    vit = engine.spec.encoder.vit
    pictures = reconstruct(
        batch,
        prediction,
        mask,
        patch_px=vit.patch_px if vit else 0,
        norm_pix=engine.spec.norm_pix,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    content = io.BytesIO()
    title = f"{run.name}: {mask.mean():.0%} of the patches hidden"
    if engine.spec.norm_pix:
        title += "; each hidden patch's brightness and contrast are the original's"
    sheet(pictures, names, title=title).save(content, "PNG")
    write_whole(out, content.getvalue())
    if unread:
        tell(f"{len(unread)} of {len(images)} could not be read:", *(f"  {line}" for line in unread))
    errors = [float(((image - drawn) ** 2).mean()) for image, drawn in zip(*_gray(pictures), strict=True)]
    answer(
        {"out": str(out), "images": len(squares), "hidden": round(float(mask.mean()), 4), "unread": unread,
         "pasted_mse": [round(error, 6) for error in errors]},
        as_json=as_json,
        last_line=f"picture: {out}",
    )  # fmt: skip


def _gray(pictures: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Originals and pasted pictures with values in [0, 1]."""
    return [p.original / 255.0 for p in pictures], [p.pasted / 255.0 for p in pictures]


def _open(run: Path, mask_ratio: float | None, device: Device) -> tuple[MaeEngine, Preprocessing]:
    """Open a run's newest checkpoint."""
    if not (run / "checkpoints").is_dir():
        raise CheckpointError(f"{run}: not a run (no checkpoints folder); give a folder that 'eyeground pretrain' made")
    checkpoint = Checkpoints(run / "checkpoints").newest(parts=("weights",))
    if checkpoint is None:
        raise CheckpointError(f"{run}: no checkpoint yet; did the run reach its first one?")
    model = checkpoint.model
    if model.get("method") != "mae":
        raise ConfigError(f"{run}: only a masked autoencoder (method: mae) can reconstruct images")
    try:
        spec = MaeSpec(**{**model["spec"], **({} if mask_ratio is None else {"mask_ratio": mask_ratio})})
    except ValueError as error:
        raise ConfigError(f"--mask-ratio: {error}") from error
    engine = MaeEngine(spec, device=device, precision="fp32")
    engine.load_state({"weights": checkpoint.state["weights"]})
    kept: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model["preprocessing"].items()
    }
    return engine, Preprocessing(**kept)
