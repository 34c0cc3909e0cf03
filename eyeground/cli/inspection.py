"""Counts, imbalance and pictures of a data set."""

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from eyeground.atomic_file import write_whole
from eyeground.cli.config import ConfigError, DataSource
from eyeground.cli.console import answer, counting, table, tell
from eyeground.cli.dataset import open_manifest
from eyeground.data.balance import WEIGHTINGS, Imbalance, analyze, class_weights
from eyeground.data.classes import looks_like_quantity
from eyeground.data.preprocessing import Preprocessing, square
from eyeground.data.sample import Sample
from eyeground.data.verify import verify
from eyeground.images.field import crop_photograph
from eyeground.images.read import Parcel

_CELL_PX = 128
_PER_CLASS = 8


def inspect(source: DataSource, *, picture: Path | None, balance_picture: Path | None, as_json: bool) -> None:
    """Count a data set, say how unequal its classes are, decode every image, and draw pictures.

    Args:
        source: The data.
        picture: Where to write a contact sheet; None = no sheet.
        balance_picture: Where to draw the classes by size, ``.svg`` or ``.png``; None = not.
        as_json: End with one JSON line.

    Raises:
        DataProblems: If anything is wrong; all of it at once.
        ConfigError: If the ending of ``balance_picture`` is neither.

    References:
        Our own.
    """
    kind = balance_picture.suffix.lower() if balance_picture is not None else ".svg"
    if kind not in (".svg", ".png"):
        raise ConfigError(f"--balance-picture {balance_picture}: its ending says what to draw, .svg or .png")
    manifest = open_manifest((source,), classes=None, ordered=None, labels_required=False)
    if looks_like_quantity(manifest.classes, len(manifest.samples)):
        raise ConfigError(
            f"the {len(manifest.classes)} labels are numbers, most of a few images: a quantity has no classes; "
            "name another column with --label-column"
        )
    sizes: Counter[str] = Counter()

    def note_size(sample: Sample, parcel: Parcel) -> None:
        height, width = parcel.decode(least_px=1).size
        sizes[f"{width}x{height}"] += 1

    with counting("reading images", len(manifest.samples)) as done:
        sha256 = verify(manifest.samples, progress=done, keep=note_size)
    rows: list[list[Any]] = []
    for number, name in enumerate(manifest.classes):
        mine = [sample for sample in manifest.samples if sample.label == number]
        eyes = Counter(sample.eye for sample in mine)
        patients = len({sample.patient for sample in mine}) if manifest.patients_known else "not known"
        rows.append(
            [name, len(mine), patients, eyes["OD"], eyes["OS"], f"{100 * len(mine) / len(manifest.samples):.1f}%"]
        )
    bare = sum(sample.label is None for sample in manifest.samples)
    table(f"{len(manifest.samples)} images", ["class", "images", "patients", "OD", "OS", "share"], rows)
    imbalance = analyze(
        {row[0]: row[1] for row in rows},
        patients={row[0]: row[2] for row in rows} if manifest.patients_known else None,
    )
    table("imbalance", ["measure", "value"], _measures(imbalance))
    tell(*(f"- {line}" for line in imbalance.advice))
    tell(*([f"{bare} images have no label"] if bare else []))
    common = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(5))
    tell(f"{len(sizes)} sizes, most often {common}", f"{len(sha256) - len(set(sha256.values()))} byte-identical copies")
    tell(*(f"note: {line}" for line in manifest.notes))
    if picture is not None:
        sheet(
            [[s for s in manifest.samples if s.label == k] for k in range(len(manifest.classes))], manifest.classes
        ).save(picture, format="PNG")
    if balance_picture is not None:
        from eyeground.evaluate.balance_plots import class_balance  # matplotlib takes a second to load

        write_whole(balance_picture, class_balance(imbalance, kind="png" if kind == ".png" else "svg"))
    drawn = [str(path) for path in (picture, balance_picture) if path is not None]
    answer(
        {
            "images": len(manifest.samples),
            "unlabelled": bare,
            "classes": {name: row[1] for name, row in zip(manifest.classes, rows, strict=True)},
            "patients": len({s.patient for s in manifest.samples}) if manifest.patients_known else None,
            "sizes": dict(sizes.most_common()),
            "identical_copies": len(sha256) - len(set(sha256.values())),
            "notes": list(manifest.notes),
            "imbalance": _plain(imbalance),
        },
        as_json=as_json,
        last_line=f"picture: {', '.join(drawn)}" if drawn else "no fault found",
    )


def _measures(found: Imbalance) -> list[list[str]]:
    """What the analysis says, a line a measure."""
    most, count = found.classes[0], len(found.classes)
    entropy = "undefined: one class" if math.isnan(found.entropy) else f"{found.entropy:.2f} of 1"
    return [
        ["largest to smallest class", f"{found.ratio:.1f} to 1 ({most}, {found.classes[-1]})"],
        ["entropy of the classes", entropy],
        ["as uneven as", f"{found.effective_classes:.1f} of {count} equal classes"],
        [f"accuracy of always answering {most}", f"{found.constant_accuracy:.3f}"],
        ["balanced accuracy of that answer", f"{found.constant_balanced_accuracy:.3f}"],
    ]


def _plain(found: Imbalance) -> dict[str, Any]:
    """The analysis as plain values, with the weights each way would give the classes."""
    return {
        **asdict(found),
        "patients": found.patients or None,
        "entropy": None if math.isnan(found.entropy) else found.entropy,
        "weights": {how: class_weights(found.counts, how=how) for how in WEIGHTINGS},
    }


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
            image = crop_photograph(samples[number].parcel().decode())
            canvas.paste(
                Image.fromarray(square(image.pixels, cell)), (left + column * _CELL_PX + 2, row * _CELL_PX + 2)
            )
    return canvas
