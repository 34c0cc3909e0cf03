"""Copies of public sets, laid out from nothing but their descriptions, with images a few pixels large."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from eyeground.data.public import ClassFolders, Images, Layout, PublicDataset, PublishedSplit, Tables, Volumes

# How many images each class gets in each split.
FEW = {"train": 3, "val": 1, "test": 2}
ALONE = 4
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".bmp": "BMP"}


@dataclass(frozen=True)
class LaidOut:
    """A copy, and the description with the copy's counts in place of the real ones."""

    dataset: PublicDataset
    layout: Layout
    counts: dict[str, dict[str, int]]


def picture(number: int, suffix: str = ".png") -> bytes:
    """An image that no other number has."""
    pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format=_FORMATS[suffix.lower()])
    return content.getvalue()


def lay_out(dataset: PublicDataset, layout: Layout, root: Path) -> LaidOut:
    """Write a whole copy that has as many images as ``FEW`` and ``ALONE`` say."""
    numbers = count(1)
    labels = [each.label for each in dataset.classes]
    if isinstance(layout, ClassFolders):
        splits = [split.name for split in layout.splits]
        counts = {split: dict.fromkeys(labels, FEW[split] if split else ALONE) for split in splits or [""]}
        for split, classes in counts.items():
            for label, images in classes.items():
                for _ in range(images):
                    _write(root / split / label, layout.names, numbers)
        layout = replace(layout, splits=tuple(_published(name, counts[name]) for name in splits))
    elif isinstance(layout, Tables):
        counts = {}
        for part in layout.parts:
            counts[part.split] = dict.fromkeys(labels, FEW[part.split] if part.split else ALONE)
            rows = list(_rows(root / part.images, layout.names, counts[part.split], numbers))
            columns = [part.file, part.label, *filter(None, (part.patient,))]
            (root / part.table).parent.mkdir(parents=True, exist_ok=True)
            with (root / part.table).open("w", newline="") as file:
                csv.writer(file).writerows([columns, *(row[: len(columns)] for row in rows)])
        layout = replace(
            layout, splits=tuple(_published(part.split, counts[part.split]) for part in layout.parts if part.split)
        )
    elif isinstance(layout, Volumes):
        told = labels if "{c}" in layout.names else [""]
        counts = {"": dict.fromkeys(told, ALONE)}
        for folder in layout.folders:
            for label in told:
                for _ in range(ALONE // len(layout.folders)):
                    name = layout.names.format(n=next(numbers), c=label, p=0)
                    for slice in range(3):
                        _put(root / folder / name / layout.slices / f"{slice + 1}.tif", next(numbers))
    else:
        counts = {"": {"": ALONE * len(layout.folders)}}
        for folder in layout.folders:
            for _ in range(ALONE):
                _write(root / folder, layout.names, numbers)
    images = sum(sum(classes.values()) for classes in counts.values())
    totals = {label: sum(classes.get(label, 0) for classes in counts.values()) for label in labels}
    classes = tuple(replace(each, images=totals[each.label] or None) for each in dataset.classes)
    known = replace(dataset, classes=classes, images=images, layouts=(layout,))
    return LaidOut(known, layout, counts)


def _published(name: str, counts: dict[str, int]) -> PublishedSplit:
    """What a split of the copy holds."""
    return PublishedSplit(name, sum(counts.values()), tuple(counts.values()))  # type: ignore[arg-type]


def _write(folder: Path, names: str, numbers: Iterator[int]) -> Path:
    """Write one image under the next name."""
    number = next(numbers)
    path = folder / names.format(n=number, p=1000 + number, c="")
    _put(path, number)
    return path


def _put(path: Path, number: int) -> None:
    """Write one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number, path.suffix))


def _rows(folder: Path, names: str, counts: dict[str, int], numbers: Iterator[int]) -> Iterator[tuple[str, str, str]]:
    """Write the images of a table, and give its rows: the name without its ending, the label, the patient."""
    for label, images in counts.items():
        for _ in range(images):
            path = _write(folder, names, numbers)
            yield path.stem, label, f"p{path.stem}"


def is_labelled(layout: Layout) -> bool:
    """Whether a layout tells the classes."""
    return not isinstance(layout, Images) and not (isinstance(layout, Volumes) and "label" not in layout.pattern)
