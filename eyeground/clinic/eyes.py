"""What is known of each eye of a case: its images joined with what was said of them."""

from collections.abc import Sequence

from eyeground.clinic.db.tables import Finding, Image
from eyeground.clinic.findings import FINDINGS, Seen
from eyeground.clinic.records import Part, Said
from eyeground.images.retinal_image import Eye


def seen_of(images: Sequence[Image], findings: Sequence[Finding]) -> list[Seen]:
    """Join images and what was said of them.

    Args:
        images: A case's.
        findings: A case's.

    Returns:
        One for each image and model that looked at it; of an image that no model looks at one that says nothing.

    References:
        Our own.
    """
    seen = []
    for image in images:
        part, eye = _part(image), side(image.eye)
        mine = [finding for finding in findings if finding.image_sha256 == image.sha256]
        if not mine:
            quality = image.quality or "cannot grade: nobody has looked at it"
            seen.append(Seen(part, eye, bool(image.conflict), quality))
        for finding in mine:
            said = {name: Said.model_validate(told) for name, told in finding.said.items() if name in FINDINGS[part]}
            seen.append(Seen(part, eye, bool(image.conflict), finding.quality, said, tuple(finding.areas)))
    return seen


def _part(image: Image) -> Part:
    """What of the eye it shows."""
    return "anterior" if image.part == "anterior" else "fundus"


def side(word: str) -> Eye:
    """Read an eye back from the database.

    Args:
        word: ``"OD"``, ``"OS"``; anything else is none.

    Returns:
        The eye.

    Example:
        >>> side("OD"), side("?")
        ('OD', '')

    References:
        Our own.
    """
    return "OD" if word == "OD" else "OS" if word == "OS" else ""
