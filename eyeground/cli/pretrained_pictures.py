"""The pictures of a pre-training: how it went, what it sees, where it puts images."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.atomic_file import write_whole
from eyeground.data.loader import EvaluationImages
from eyeground.data.preprocessing import Preprocessing
from eyeground.evaluate.embedding import embedding_map
from eyeground.evaluate.embedding_plots import embedding_panels
from eyeground.evaluate.pretraining_plots import pretraining_curves
from eyeground.model.torch.pretraining import MaeEngine
from eyeground.train.journal import read_journal
from eyeground.train.reconstruction import reconstruct, sheet


def draw_learning(folder: Path) -> None:
    """Draw ``learning.svg``, when a step has been taken.

    Args:
        folder: The run's folder.

    Example:
        >>> import tempfile
        >>> draw_learning(Path(tempfile.mkdtemp()))

    References:
        Our own.
    """
    journal = list(read_journal(folder / "journal.jsonl"))
    if any(line.get("event") == "step" for line in journal):
        write_whole(folder / "learning.svg", pretraining_curves(journal).encode())


def draw_map(folder: Path, engine: Any, images: EvaluationImages, classes: tuple[str, ...], *, batch_size: int) -> None:
    """Draw ``embedding.svg``: where the features put images, by label, eye and source.

    Args:
        folder: The run's folder.
        engine: Gives features.
        images: What is drawn; fewer than 10 are not worth a map.
        classes: Names of the labels.
        batch_size: Images per batch.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> none = EvaluationImages([], pixels=lambda s: np.zeros((8, 8, 3), np.uint8), preprocessing=Preprocessing())
        >>> draw_map(Path("."), None, none, (), batch_size=8)

    References:
        Our own.
    """
    samples = images.samples
    if len(samples) < 10:
        return
    features = np.concatenate([engine.features(batch.images) for batch in images.batches(batch_size)])
    page = embedding_panels(
        embedding_map(features, "tsne"),
        labels=np.array([-1 if sample.label is None else sample.label for sample in samples]),
        classes=classes,
        eyes=[sample.eye for sample in samples],
        sources=[sample.source for sample in samples],
        caption=f"t-SNE of {len(samples)} images' features; distances between groups mean little",
    )
    write_whole(folder / "embedding.svg", page.encode())


def draw_reconstructions(
    path: Path, engine: MaeEngine, images: EvaluationImages, preprocessing: Preprocessing, *, seed: int = 0
) -> None:
    """Draw images as they are, as the encoder sees them, as they are predicted, and pasted together.

    Args:
        path: PNG file to write.
        engine: A masked autoencoder.
        images: What is drawn, a row each.
        preprocessing: How pixels reach the network.
        seed: Draws the masks.

    Example:
        >>> import tempfile
        >>> from eyeground.data.sample import Sample
        >>> from eyeground.model.spec import MaeSpec
        >>> engine = MaeEngine(MaeSpec("vit_demo_patch8", image_px=16, mask_ratio=0.5), device="cpu", precision="fp32")
        >>> small = Preprocessing(image_px=16)
        >>> images = EvaluationImages([Sample("a.png", Path("."), None, "p")],
        ...     pixels=lambda s: np.zeros((16, 16, 3), np.uint8), preprocessing=small)
        >>> draw_reconstructions(Path(tempfile.mkdtemp()) / "a.png", engine, images, small)

    References:
        He et al., CVPR 2022, figure 2.
    """
    [batch] = images.batches(max(1, len(images.samples)))
    prediction, mask = engine.reconstruct(batch.images, seed=seed)
    pictures = reconstruct(
        batch.images,
        prediction,
        mask,
        patch_px=engine.spec.encoder.vit.patch_px if engine.spec.encoder.vit else 0,
        norm_pix=engine.spec.norm_pix,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    content = io.BytesIO()
    sheet(pictures, [sample.file for sample in images.samples]).save(content, "PNG")
    write_whole(path, content.getvalue())
