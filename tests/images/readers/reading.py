"""Reads drawn DICOM files, and asks why one was refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from eyeground.images.readers import dicom
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

from . import drawn

MAX_PIXELS = 1_000_000
# Files that pydicom brings along, made by other people's writers.
SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
EYE, GRAY = drawn.color_eye(), np.ascontiguousarray(drawn.color_eye()[..., 0])
LAYERS = drawn.layers()


def decode(data: bytes, number: int = 0) -> RetinalImage:
    return dicom.frame(data, source="a.dcm", number=number, max_pixels=MAX_PIXELS)


def refused(act: Callable[[], object]) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        act()
    assert str(caught.value).startswith("a.dcm: ")
    return caught.value


def reason(data: bytes, number: int = 0) -> str:
    """The reason of the refusal, which must be the header's if that is refused already."""
    found = refused(lambda: decode(data, number)).reason
    by_header = outcome(lambda: dicom.contents(data, source="a.dcm"))
    assert by_header in ("read", found)
    return found


def outcome(act: Callable[[], object]) -> str:
    """The reason of a refusal, or that there was none; any other exception fails the test."""
    try:
        act()
    except ImageRefused as error:
        return error.reason
    return "read"


def name(syntax: str) -> str:
    return str(syntax).rpartition(".")[2] if syntax in drawn.PLAIN else str(syntax).removeprefix("1.2.840.10008.1.2.")
