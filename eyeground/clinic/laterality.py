"""Which eye an image of a request shows: request, file header and file name together, or nobody."""

from typing import Final

from eyeground.images.laterality import reconcile
from eyeground.images.retinal_image import Eye

NOBODY: Final = "nobody says which eye it is"


def eye_of(claimed: Eye, reading_eye: Eye, reading_conflict: str) -> tuple[Eye, str]:
    """Bring together what a request and its image say about the eye.

    Nothing is settled by majority: one voice against another holds the image, until a doctor decides.

    Args:
        claimed: What the request says; empty where it does not.
        reading_eye: What header and file name say, who agree; empty where they do not say it.
        reading_conflict: Who contradicts whom among these; empty where nobody does.

    Returns:
        The eye and an empty text; or no eye, and a sentence that names who says what, without the file's name.

    Raises:
        ValueError: If an eye is none of ``"OD"``, ``"OS"`` and ``""``.

    Example:
        >>> eye_of("OD", "", ""), eye_of("OD", "OS", "")
        (('OD', ''), ('', 'request says OD, image says OS'))

    References:
        Our own.
    """
    found = reconcile({"request": claimed, "image": reading_eye})
    if reading_conflict:
        return "", ", ".join(filter(None, (f"request says {claimed}" if claimed else "", reading_conflict)))
    if not found.eye and not found.conflict:
        return "", NOBODY
    return found.eye, found.conflict
