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
        One for each image; of several models that looked at it, what all of them said.

    References:
        Our own.
    """
    seen = []
    for image in images:
        mine = [finding for finding in findings if finding.image_sha256 == image.sha256]
        said: dict[str, Said] = {}
        areas: dict[str, None] = {}
        for finding in mine:
            said |= {
                name: Said.model_validate(told) for name, told in finding.said.items() if name in FINDINGS[_part(image)]
            }
            areas |= dict.fromkeys(finding.areas)
        quality = image.quality or "cannot grade: nobody has looked at it"
        eye: Eye = "OD" if image.eye == "OD" else "OS" if image.eye == "OS" else ""
        seen.append(Seen(_part(image), eye, bool(image.conflict), quality, said, tuple(areas)))
    return seen


def _part(image: Image) -> Part:
    """What of the eye it shows."""
    return "anterior" if image.part == "anterior" else "fundus"
