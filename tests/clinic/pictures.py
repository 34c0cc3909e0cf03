"""Files for the tests of this room: photographs of known eyes, DICOM files of them, and images nobody can grade."""

from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import Head, Task
from eyeground.images.retinal_image import Eye, Modality
from eyeground.model.spec import ModelSpec
from eyeground.serve.contract import Contract

Pixels = NDArray[np.uint8]
SCREENING7 = Task(
    "heads",
    (
        *(Head(name) for name in ("AMD", "CSC", "RP", "ON", "GLA", "RVO")),
        Head("DR", "grades", ("0", "1", "2", "3", "4")),
    ),
)


def contract_of(task: Task = SCREENING7, *, modality: Modality = "fundus", **more: object) -> Contract:
    """A contract of a small ViT."""
    return Contract(
        ModelSpec("vit_demo_patch8", task.outputs, image_px=32), task, False, Preprocessing(image_px=32, store_px=64),
        "center", modality, "0" * 64, **more,
    )  # type: ignore[arg-type]  # fmt: skip


def encoded(pixels: Pixels, kind: str = "PNG") -> bytes:
    """Write a picture."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def photograph(disease: str = "normal", *, seed: int = 1, eye: Eye = "OD", size_px: int = 192) -> Pixels:
    """A photograph that can be graded."""
    return draw_fundus(disease, seed=seed, eye=eye, size_px=size_px).image.pixels


def dicom(pixels: Pixels, *, laterality: str) -> bytes:
    """An ophthalmic photograph with a tag that says which eye it is; without where it is empty."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["picture"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality = "OP"
    file.Rows, file.Columns, file.SamplesPerPixel = pixels.shape[0], pixels.shape[1], 3
    file.PhotometricInterpretation, file.PlanarConfiguration = "RGB", 0
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    if laterality:
        file.ImageLaterality = laterality
    file.PixelData = pixels.tobytes()
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()


def blurred(pixels: Pixels, share: float) -> bytes:
    """Blur by a part of the width."""
    sigma = share * pixels.shape[1]
    return encoded(ndimage.gaussian_filter(pixels, (sigma, sigma, 0)).astype(np.uint8))


def _cut(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """A file that ends in the middle."""
    whole = encoded(pixels)
    return whole[: int(rng.integers(40, len(whole) * 3 // 4))]


def _sliver(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """All but a corner of the field is covered."""
    shown = np.zeros_like(pixels)
    side = int(rng.integers(24, 40))
    shown[:side, :side] = pixels[70 : 70 + side, 70 : 70 + side]
    return encoded(shown)


UNGRADABLE: Mapping[str, Callable[[Pixels, np.random.Generator], bytes]] = {
    "black": lambda pixels, rng: encoded((pixels * rng.uniform(0, 0.04)).astype(np.uint8)),
    "white": lambda pixels, rng: encoded(np.full_like(pixels, int(rng.integers(246, 256)))),
    "out of focus": lambda pixels, rng: blurred(pixels, rng.uniform(0.02, 0.06)),
    "blurred to nothing": lambda pixels, rng: blurred(pixels, rng.uniform(0.35, 0.6)),
    "cut": _cut,
    "covered": _sliver,
    "noise": lambda pixels, rng: encoded(rng.integers(0, 256, pixels.shape, np.uint8)),
    "one color": lambda pixels, rng: encoded(np.full_like(pixels, rng.integers(60, 200, 3).astype(np.uint8))),
    "tiny": lambda pixels, rng: encoded(pixels[::6, ::6]),
    "scan": lambda pixels, rng: encoded(
        draw_oct("normal", seed=int(rng.integers(50)), width_px=256, height_px=200).image.pixels
    ),
    "text": lambda pixels, rng: b"no image " * int(rng.integers(1, 50)),
}
