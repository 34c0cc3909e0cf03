"""Copies of public sets: small ones, drawn, and OCTID in its full size, of files that nobody opens."""

import csv
from pathlib import Path

from PIL import Image

from eyeground.data.phantom import OCT_DISEASES, draw_fundus, draw_oct

OCTID_CLASSES = ("ANormal", "ARMD", "CSR", "Diabetic_retinopathy", "Macular_Hole")
# Images of each class.
OCTID_SPLITS = {"train": 4, "val": 2, "test": 3}
# What RETFound's split of OCTID holds: dataset card of OCTID in pth1993/Ophthalmology-Data.
OCTID_PUBLISHED = {"train": (115, 30, 56, 59, 56), "val": (29, 8, 15, 15, 15), "test": (62, 17, 31, 33, 31)}
APTOS_GRADES = ("normal", "dr1", "dr2", "dr3", "dr4")
APTOS_IMAGES = 8


def draw_octid(folder: Path) -> Path:
    """Write OCTID: train, val and test with a folder per class."""
    seed = 0
    for split, images in OCTID_SPLITS.items():
        for name, disease in zip(OCTID_CLASSES, OCT_DISEASES, strict=True):
            place = folder / split / name
            place.mkdir(parents=True)
            for _ in range(images):
                seed += 1
                scan = draw_oct(disease, seed=seed, width_px=64, height_px=64)
                Image.fromarray(scan.image.pixels).save(place / f"{seed}.jpeg")
    return folder


def list_octid(folder: Path) -> list[dict[str, str]]:
    """Write all 572 files of OCTID without a picture in them; return the table that says the same as its folders."""
    rows = []
    for split, counts in OCTID_PUBLISHED.items():
        for name, images in zip(OCTID_CLASSES, counts, strict=True):
            place = folder / split / name
            place.mkdir(parents=True)
            for _ in range(images):
                file = place / f"{len(rows)}.jpeg"
                file.touch()
                rows.append({"file": file.relative_to(folder).as_posix(), "label": name, "split": split})
    return rows


def draw_aptos(folder: Path) -> Path:
    """Write APTOS 2019: one folder of images and a table."""
    (folder / "train_images").mkdir(parents=True)
    rows = [("id_code", "diagnosis")]
    for grade, disease in enumerate(APTOS_GRADES):
        for number in range(APTOS_IMAGES):
            seed = 100 * grade + number
            photograph = draw_fundus(disease, seed=seed, size_px=64)
            Image.fromarray(photograph.image.pixels).save(folder / "train_images" / f"a{seed:03d}.png")
            rows.append((f"a{seed:03d}", str(grade)))
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder
