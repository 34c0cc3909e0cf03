"""What an image file holds, before any pixel is decoded."""

from dataclasses import dataclass

from eyeground.images.retinal_image import Eye, Line, Modality


@dataclass(frozen=True)
class Contents:
    """The header of an image file in words: one photograph, or a volume of B-scans.

    Args:
        format: ``"JPEG"``, ``"PNG"``, ``"TIFF"``, ``"BMP"``, ``"DICOM"``, ``"Heidelberg vol"``, ``"HEYEX XML"`` or
            ``"folder of slices"``.
        slices: Number of B-scans; 1 for a photograph.
        width: Of one slice. Unit: px.
        height: Of one slice. Unit: px.
        modality: As the file says; ``""`` when it does not.
        eye: As the file says; ``""`` when it does not.
        mm_per_px: Size of a pixel (vertical, horizontal). Unit: mm. None when not known.
        lines_mm: Each B-scan's line on the fundus, in the order of the slices; empty when not known.
        device: Maker and model as the file names them, ``""`` when it does not.
        personal: Names (never values) of header fields that hold personal data, such as ``"PatientName"``.
        files: For a format that keeps its slices in files of their own: each slice's file name; otherwise empty.

    Example:
        >>> Contents("PNG", 1, 640, 480).slices
        1

    References:
        Our own.
    """

    format: str
    slices: int
    width: int
    height: int
    modality: Modality = ""
    eye: Eye = ""
    mm_per_px: tuple[float, float] | None = None
    lines_mm: tuple[Line, ...] = ()
    device: str = ""
    personal: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
