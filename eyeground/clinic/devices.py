"""What a file's header says of the machine that took it, and of the eye."""

from eyeground.images.contents import Contents
from eyeground.images.decode import contents
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import Eye


def device_of(data: bytes) -> str:
    """Tell the camera or scanner of an image.

    Args:
        data: A whole file; its header is read in a child process.

    Returns:
        Maker and model; empty where the file does not name them, or is no image.

    Example:
        >>> device_of(b"no image")
        ''

    References:
        DICOM PS3.3, C.7.5.1; Exif 3.0, tags 0x010F and 0x0110.
    """
    found = _header(data)
    return found.device if found else ""


def header_eye(data: bytes) -> tuple[Eye, str]:
    """Tell which eye an image shows by its header alone, and what took it.

    Args:
        data: A whole file; its header is read in a child process.

    Returns:
        The eye, and maker and model; each empty where the file does not say it.

    Example:
        >>> header_eye(b"no image")
        ('', '')

    References:
        DICOM PS3.3, C.8.17.1.
    """
    found = _header(data)
    return (found.eye, found.device) if found else ("", "")


def _header(data: bytes) -> Contents | None:
    """The header; None of what is no image."""
    try:
        return contents(data, source="image")
    except ImageRefused:
        return None
