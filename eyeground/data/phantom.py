"""Synthetic retinal images with known disease and known lesion masks: no patient, no license, no excuse."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from eyeground.data.drawing.camera import CAMERAS
from eyeground.data.drawing.folder import is_finished, write_whole
from eyeground.data.drawing.fundus import paint
from eyeground.data.drawing.oct import SCANNERS, scan
from eyeground.data.drawing.screening import COLUMNS, screened
from eyeground.images.retinal_image import Eye, RetinalImage

FUNDUS_DISEASES: tuple[str, ...] = (
    "normal",
    "dr1",
    "dr2",
    "dr3",
    "dr4",
    "glaucoma",
    "drusen",
    "cataract",
    "rvo",
    "rp",
    "csc",
    "disc_swelling",
)
OCT_DISEASES: tuple[str, ...] = ("normal", "drusen", "fluid_dome", "cystoid_edema", "macular_hole")

_COLUMNS = (
    "file", "label", "patient", "eye", "site", "camera",
    "disc_x_px", "disc_y_px", "fovea_x_px", "fovea_y_px", "mask",
)  # fmt: skip
_FUNDUS_COLUMNS = (*_COLUMNS, "cup_disc_ratio", *COLUMNS)
# Raise it whenever the drawing changes, so that an old set is never mistaken for what this version would draw.
# Columns do not count: a set that lacks some is unfinished, see ``is_finished``.
_DRAWING = 1


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic image and the truth about it.

    Args:
        image: The picture; modality and eye are always set.
        lesions: Where disease is drawn, shape (H, W). All False for ``normal``, and for ``cataract``, whose haze lies
            over the whole picture and so has no place to point at. It marks the lesions themselves: the enlarged cup
            of a glaucoma, the raised margin of a swollen disc, but not the winding of a vein or a waxy disc.
        disease: A name of ``FUNDUS_DISEASES`` or ``OCT_DISEASES``.
        disc: Center of the optic disc (x, y). Unit: pixels. None on B-scans, which do not reach it.
        fovea: Center of the fovea (x, y), on B-scans at the inner surface of the retina before any disease.
            Unit: pixels.
        camera: Name of the virtual camera or scanner.
        cup_disc_ratio: Height of the cup over that of the disc as they were drawn, whatever the disease, (0, 1). None
            on B-scans.

    Example:
        >>> draw_fundus("normal", seed=1, size_px=64).disease
        'normal'

    References:
        Our own.
    """

    image: RetinalImage
    lesions: NDArray[np.bool_]
    disease: str
    disc: tuple[float, float] | None
    fovea: tuple[float, float] | None
    camera: str
    cup_disc_ratio: float | None


def draw_fundus(
    disease: str, *, seed: int, eye: Eye = "", size_px: int = 512, patient_seed: int | None = None
) -> Phantom:
    """Draw a fundus photograph with a known disease.

    The same seed shows the same eye through the same camera whatever the disease, so the healthy twin of any phantom
    is ``draw_fundus("normal", seed=...)`` with otherwise the same arguments.

    Args:
        disease: A name of ``FUNDUS_DISEASES``.
        seed: Seed of everything random, >= 0.
        eye: ``"OD"``, ``"OS"``, or ``""`` to let the seed choose.
        size_px: Width and height. Unit: pixels, >= 64.
        patient_seed: Seed of the person, who lends both eyes their pigment, disc and camera; None: the seed itself.

    Returns:
        The phantom.

    Raises:
        ValueError: If the disease is unknown (the message lists the names), a seed is negative, the eye is not one of
            the three, or the size is below 64.

    Example:
        >>> phantom = draw_fundus("dr2", seed=7, eye="OD", size_px=96)
        >>> phantom.image.pixels.shape, bool(phantom.lesions.any())
        ((96, 96, 3), True)

    References:
        Our own.
    """
    person = seed if patient_seed is None else patient_seed
    _check("fundus", [disease], seeds=(seed, person), eye=eye, sizes=(size_px,))
    side = _side(eye, seed)
    pixels, mask, disc, fovea, camera, ratio = paint(disease, seed=seed, patient_seed=person, eye=side, size_px=size_px)
    image = RetinalImage(pixels, f"phantom/{disease}-{seed}-{side}", side, "fundus")
    return Phantom(image, mask, disease, disc, fovea, camera, ratio)


def draw_oct(
    disease: str,
    *,
    seed: int,
    eye: Eye = "",
    width_px: int = 512,
    height_px: int = 400,
    patient_seed: int | None = None,
) -> Phantom:
    """Draw an OCT B-scan through the fovea with a known disease.

    The same seed shows the same retina through the same scanner whatever the disease.

    Args:
        disease: A name of ``OCT_DISEASES``.
        seed: Seed of everything random, >= 0.
        eye: ``"OD"`` (nose at the right), ``"OS"``, or ``""`` to let the seed choose.
        width_px: Width. Unit: pixels, >= 64.
        height_px: Height. Unit: pixels, >= 64.
        patient_seed: Seed of the person; None: the seed itself.

    Returns:
        The phantom: gray, three equal channels.

    Raises:
        ValueError: If the disease is unknown (the message lists the names), a seed is negative, the eye is not one of
            the three, or a size is below 64.

    Example:
        >>> phantom = draw_oct("macular_hole", seed=7, width_px=128, height_px=96)
        >>> phantom.image.pixels.shape, phantom.disc, bool(phantom.lesions.any())
        ((96, 128, 3), None, True)

    References:
        Our own.
    """
    person = seed if patient_seed is None else patient_seed
    _check("oct", [disease], seeds=(seed, person), eye=eye, sizes=(width_px, height_px))
    side = _side(eye, seed)
    pixels, mask, fovea, scanner = scan(
        disease, seed=seed, patient_seed=person, eye=side, width_px=width_px, height_px=height_px
    )
    image = RetinalImage(pixels, f"phantom/{disease}-{seed}-{side}", side, "oct")
    return Phantom(image, mask, disease, None, fovea, scanner, None)


def write_set(
    out: Path,
    *,
    modality: Literal["fundus", "oct"],
    diseases: Sequence[str],
    patients: int,
    seed: int,
    size_px: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a labelled set of phantoms: two eyes of each patient, with a mask beside each image.

    Diseases are dealt evenly to the patients in random order. Both eyes mostly share the disease; where ``normal`` is
    among the diseases, the fellow eye of every sixth sick patient or so is healthy. File names tell patient and eye,
    not disease. Patients of different seeds have different names, so sets can be joined.

    ``labels.csv`` is written last: a folder without it is unfinished, and writing it again with the same arguments
    finishes it. A finished set with the same arguments is used as it is.

    Args:
        out: Folder to write: ``images/<file>`` (JPEG), ``masks/<mask>`` (1-bit PNG), ``labels.csv``, ``phantom.json``.
        modality: ``"fundus"`` or ``"oct"``.
        diseases: Names of ``FUNDUS_DISEASES`` or ``OCT_DISEASES``, without repeats.
        patients: Number of patients, >= 1; there are twice as many images.
        seed: Seed of everything random, >= 0.
        size_px: Width and height of a photograph; width of a B-scan, whose height is 25/32 of it. Unit: pixels, >= 64
            (B-scans: >= 82).
        progress: Called after each image with the number done and the number in all.

    Returns:
        Path of ``labels.csv``; its ``file`` column is relative to ``images/``, its ``mask`` column to ``masks/``. For
        photographs it also tells ``cup_disc_ratio`` and what a screening asks (``eyeground.data.drawing.screening``).

    Raises:
        ValueError: If an argument is out of range or a disease unknown; all faults are listed together.
        FileExistsError: If ``out`` holds anything else than this same set.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = write_set(Path(folder), modality="fundus", diseases=["normal", "dr3"], patients=2, seed=1,
        ...                       size_px=64)
        ...     len(table.read_text().splitlines())
        5

    References:
        Our own.
    """
    if modality not in ("fundus", "oct"):
        raise ValueError(f"modality must be 'fundus' or 'oct', not {modality!r}")
    height_px = size_px if modality == "fundus" else size_px * 25 // 32
    _check(modality, diseases, seeds=(seed,), eye="", sizes=(size_px, height_px), patients=patients)
    recipe = {
        "drawing": _DRAWING,
        "modality": modality,
        "diseases": list(diseases),
        "patients": patients,
        "seed": seed,
        "size_px": size_px,
    }
    table = out / "labels.csv"
    columns = _FUNDUS_COLUMNS if modality == "fundus" else _COLUMNS
    if is_finished(out, recipe, columns):
        if progress is not None:
            progress(2 * patients, 2 * patients)
        return table
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(exist_ok=True)
    write_whole(out / "phantom.json", (json.dumps(recipe, indent=2) + "\n").encode())

    plan = _plan(modality, diseases, patients, seed)

    def write(row: tuple[str, Eye, str, int]) -> dict[str, str]:
        return _write_one(out, modality, row, size_px, height_px)

    rows = []
    # Threads, not processes: NumPy and Pillow let go of the interpreter lock, and nothing needs to be started or sent.
    # Each image hangs on its own seed alone, so the number of threads changes nothing.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            for done, row in enumerate(pool.map(write, plan), start=1):
                rows.append(row)
                if progress is not None:
                    progress(done, len(plan))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # a full disk or Ctrl-C must not wait for images nobody will read
            raise
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(table, text.getvalue().encode())
    return table


def sheet(phantoms: Sequence[Phantom], *, columns: int, cell_px: int = 256, mark: bool = False) -> NDArray[np.uint8]:
    """Lay phantoms out on one labelled contact sheet.

    Args:
        phantoms: What to show, row by row.
        columns: Pictures in a row, >= 1.
        cell_px: Width and height of a cell. Unit: pixels, >= 32.
        mark: Whether to outline the lesions in cyan.

    Returns:
        The sheet, shape (H, W, 3), uint8; each picture bears disease, eye and camera.

    Raises:
        ValueError: If there is no phantom, or columns or cell are out of range.

    Example:
        >>> sheet([draw_fundus("normal", seed=1, size_px=64)] * 3, columns=2, cell_px=64).shape
        (128, 128, 3)

    References:
        Our own.
    """
    faults = []
    if not phantoms:
        faults.append("there is no phantom to show")
    if columns < 1:
        faults.append(f"columns must be at least 1, got {columns}")
    if cell_px < 32:
        faults.append(f"cell_px must be at least 32, got {cell_px}")
    if faults:
        raise ValueError("sheet: " + "; ".join(faults))
    rows = -(-len(phantoms) // columns)
    page = Image.new("RGB", (min(columns, len(phantoms)) * cell_px, rows * cell_px))
    pen = ImageDraw.Draw(page)
    for index, phantom in enumerate(phantoms):
        picture = Image.fromarray(phantom.image.pixels)
        height, width = phantom.lesions.shape
        scale = cell_px / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        if mark:
            mask = np.asarray(Image.fromarray(phantom.lesions).convert("L").resize(size)) > 64
            # Drawn one pixel away, so that the smallest spots stay visible inside their outline.
            near = ndimage.binary_dilation(mask, iterations=1)
            outline = ndimage.binary_dilation(near, iterations=1) & ~near
            marked = np.array(picture)
            marked[outline] = (0, 255, 255)
            picture = Image.fromarray(marked)
        left, top = (index % columns) * cell_px, (index // columns) * cell_px
        page.paste(picture, (left + (cell_px - size[0]) // 2, top + (cell_px - size[1]) // 2))
        pen.text((left + 4, top + 2), f"{phantom.disease}  {phantom.image.eye}", fill=(255, 255, 90))
        pen.text((left + 4, top + cell_px - 13), phantom.camera, fill=(170, 170, 170))
    return np.array(page)


def _check(
    modality: str,
    diseases: Sequence[str],
    *,
    seeds: Iterable[int],
    eye: str,
    sizes: Iterable[int],
    patients: int = 1,
) -> None:
    """Report all faulty arguments at once."""
    known = FUNDUS_DISEASES if modality == "fundus" else OCT_DISEASES
    faults = [f"unknown {modality} disease {name!r}" for name in diseases if name not in known]
    if faults:
        faults.append(f"the {modality} diseases are: {', '.join(known)}")
    if not diseases:
        faults.append(f"name at least one disease of: {', '.join(known)}")
    faults.extend(f"disease {name!r} is named twice" for name in sorted({d for d in diseases if diseases.count(d) > 1}))
    faults.extend(f"a seed must not be negative, got {seed}" for seed in sorted(set(seeds)) if seed < 0)
    if eye not in ("OD", "OS", ""):
        faults.append(f"eye must be 'OD', 'OS' or '', got {eye!r}")
    faults.extend(f"width and height must be at least 64 px, got {size}" for size in sorted(set(sizes)) if size < 64)
    if patients < 1:
        faults.append(f"patients must be at least 1, got {patients}")
    if faults:
        raise ValueError("phantom: " + "; ".join(faults))


def _side(eye: Eye, seed: int) -> Literal["OD", "OS"]:
    """Let the seed choose an eye that was left open."""
    if eye:
        return eye
    return "OD" if np.random.default_rng([seed, 1]).random() < 0.5 else "OS"


def _plan(modality: str, diseases: Sequence[str], patients: int, seed: int) -> list[tuple[str, Eye, str, int]]:
    """List patient, eye, disease and patient seed of every image."""
    rng = np.random.default_rng([seed, 2])
    dealt = rng.permutation(np.resize(np.arange(len(diseases)), patients))
    plan: list[tuple[str, Eye, str, int]] = []
    eyes: tuple[Eye, Eye] = ("OD", "OS")
    for number, index in enumerate(dealt):
        own = np.random.default_rng([seed, 3, number])
        person, spared, which = int(own.integers(2**31)), own.random() < 1 / 6, int(own.integers(2))
        for side, eye in enumerate(eyes):
            healthy = spared and side == which and "normal" in diseases
            disease = "normal" if healthy else diseases[index]
            plan.append((f"s{seed}p{number:05d}", eye, disease, person))
    return plan


def _write_one(
    out: Path, modality: str, row: tuple[str, Eye, str, int], size_px: int, height_px: int
) -> dict[str, str]:
    """Draw and save one image with its mask; the answer is its row of the table."""
    patient, eye, disease, person = row
    makers = CAMERAS if modality == "fundus" else SCANNERS
    if modality == "fundus":
        phantom = draw_fundus(disease, seed=person, eye=eye, size_px=size_px, patient_seed=person)
    else:
        phantom = draw_oct(disease, seed=person, eye=eye, width_px=size_px, height_px=height_px, patient_seed=person)
    maker = next(maker for maker in makers if maker.name == phantom.camera)
    site = maker.sites[int(np.random.default_rng([person, 4]).integers(len(maker.sites)))]
    name = f"{patient}_{eye}"
    picture, mask = BytesIO(), BytesIO()
    Image.fromarray(phantom.image.pixels).save(picture, "JPEG", quality=maker.jpeg_quality)
    Image.fromarray(phantom.lesions).save(mask, "PNG")
    write_whole(out / "images" / f"{name}.jpg", picture.getvalue())
    write_whole(out / "masks" / f"{name}.png", mask.getvalue())
    places = [*(phantom.disc or ()), *([] if phantom.disc else ["", ""]), *(phantom.fovea or ("", ""))]
    written = [f"{place:.1f}" if isinstance(place, float) else str(place) for place in places]
    values = [f"{name}.jpg", disease, patient, eye, site, phantom.camera, *written, f"{name}.png"]
    told = dict(zip(_COLUMNS, values, strict=True))
    if phantom.cup_disc_ratio is not None:
        told["cup_disc_ratio"] = f"{phantom.cup_disc_ratio:.3f}"
        told |= {question: str(truth) for question, truth in screened(disease).items()}
    return told
