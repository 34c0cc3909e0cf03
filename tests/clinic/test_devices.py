"""What a header says of the machine and the eye."""

from io import BytesIO

import pytest
from PIL import Image

from eyeground.clinic.devices import device_of, header_eye

from .pictures import dicom, encoded, photograph


def jpeg(**tags: str | int) -> bytes:
    """A photograph with EXIF: ``make`` and ``model``."""
    exif = Image.Exif()
    for name, tag in (("make", 0x010F), ("model", 0x0110)):
        if name in tags:
            exif[tag] = tags[name]
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"make": "Canon", "model": "CR-2 AF"}, "Canon CR-2 AF"),
        ({"model": "TRC-NW400 \0\0"}, "TRC-NW400"),
        ({"make": "  NIDEK   CO.,LTD. "}, "NIDEK CO.,LTD."),
        ({"make": "a\x1b[31mb"}, ""),
        ({"make": "x" * 500}, "x" * 64),
        ({}, ""),
    ],
)
def test_the_camera_of_a_photograph(tags: dict[str, str], told: str) -> None:
    assert device_of(jpeg(**tags)) == told


def test_a_file_that_says_nothing_has_no_camera() -> None:
    assert device_of(encoded(photograph())) == device_of(b"nothing") == device_of(jpeg(make="Canon")[:30]) == ""


def test_the_eye_of_a_header() -> None:
    assert header_eye(dicom(photograph(), laterality="L")) == ("OS", "")
    assert header_eye(jpeg(make="Canon")) == ("", "Canon")
    assert header_eye(b"nothing") == ("", "")
