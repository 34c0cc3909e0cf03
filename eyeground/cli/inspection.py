"""Counts and pictures of a data set."""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eyeground.cli.config import DataSource
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.dataset import open_manifest
from eyeground.data.preprocessing import Preprocessing, square
from eyeground.data.sample import Sample
from eyeground.data.verify import verify
from eyeground.images.field import crop_photograph
from eyeground.images.read import read
from eyeground.images.retinal_image import RetinalImage

_CELL_PX = 128
_PER_CLASS = 8


def inspect(source: DataSource, *, picture: Path | None, as_json: bool) -> None:
    """Count a data set, decode every image, and draw a contact sheet.

    Args:
        source: The data.
        picture: Where to write the sheet; None = no sheet.
        as_json: End with one JSON line.

    Raises:
        DataProblems: If anything is wrong; all of it at once.

    References:
        Our own.
    """
    manifest = open_manifest((source,), classes=None, ordered=None)
    sizes: Counter[str] = Counter()

    def note_size(sample: Sample, image: RetinalImage) -> None:
        height, width = image.pixels.shape[:2]
        sizes[f"{width}x{height}"] += 1

    with counting("reading images", len(manifest.samples)) as done:
        sha256 = verify(manifest.samples, progress=done, keep=note_size)
    rows = []
    for number, name in enumerate(manifest.classes):
        mine = [sample for sample in manifest.samples if sample.label == number]
        eyes = Counter(sample.eye for sample in mine)
        patients = len({sample.patient for sample in mine}) if manifest.patients_known else "not known"
        rows.append(
            [name, len(mine), patients, eyes["OD"], eyes["OS"], f"{100 * len(mine) / len(manifest.samples):.1f}%"]
        )
    table(f"{len(manifest.samples)} images", ["class", "images", "patients", "OD", "OS", "share"], rows)
    common = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(5))
    tell(f"{len(sizes)} sizes, most often {common}", f"{len(sha256) - len(set(sha256.values()))} byte-identical copies")
    tell(*(f"note: {line}" for line in manifest.notes))
    if picture is not None:
        sheet(
            [[s for s in manifest.samples if s.label == k] for k in range(len(manifest.classes))], manifest.classes
        ).save(picture, format="PNG")
    answer(
        {
            "images": len(manifest.samples),
            "classes": {name: row[1] for name, row in zip(manifest.classes, rows, strict=True)},
            "patients": len({s.patient for s in manifest.samples}) if manifest.patients_known else None,
            "sizes": dict(sizes.most_common()),
            "identical_copies": len(sha256) - len(set(sha256.values())),
            "notes": list(manifest.notes),
        },
        as_json=as_json,
        last_line=f"picture: {picture}" if picture else "no fault found",
    )


def sheet(groups: list[list[Sample]], classes: tuple[str, ...]) -> Image.Image:
    """Draw a row of evenly chosen images per class.

    Args:
        groups: Samples of each class.
        classes: Their names.

    Returns:
        The picture.

    References:
        Our own.
    """
    left = 120
    canvas = Image.new("RGB", (left + _PER_CLASS * _CELL_PX, len(groups) * _CELL_PX), "white")
    pen = ImageDraw.Draw(canvas)
    cell = Preprocessing(image_px=_CELL_PX - 4, fit="crop", crop_fraction=1.0)
    for row, (name, samples) in enumerate(zip(classes, groups, strict=True)):
        pen.text((8, row * _CELL_PX + _CELL_PX // 2 - 12), f"{name[:18]}\n{len(samples)} images", fill="#222222")
        chosen = (
            np.unique(np.linspace(0, len(samples) - 1, min(_PER_CLASS, len(samples))).astype(int)).tolist()
            if samples
            else []
        )
        for column, number in enumerate(chosen):
            image = crop_photograph(read(samples[number].path, source=samples[number].file))
            canvas.paste(
                Image.fromarray(square(image.pixels, cell)), (left + column * _CELL_PX + 2, row * _CELL_PX + 2)
            )
    return canvas
