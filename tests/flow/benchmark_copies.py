"""Small copies of public sets, drawn: OCTID in RETFound's split, APTOS 2019 as Kaggle has it."""

import csv
from pathlib import Path

from PIL import Image

from eyeground.data.phantom import OCT_DISEASES, draw_fundus, draw_oct

OCTID_CLASSES = ("ANormal", "ARMD", "CSR", "Diabetic_retinopathy", "Macular_Hole")
# Images of each class.
OCTID_SPLITS = {"train": 4, "val": 2, "test": 3}
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
