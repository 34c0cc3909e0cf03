"""What this service asks of whatever looks at images: findings under the contracts' names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from eyeground.clinic.records import Part, Said
from eyeground.images.retinal_image import Eye


@dataclass(frozen=True)
class Reading:
    """What is said of one image.

    Args:
        quality: ``"good"``, ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.
        eye: Which eye header and file name say it is; empty when they do not, or contradict each other.
        conflict: Who contradicts whom about that; empty when nobody does.
        said: Answers under the contracts' names; none where the image cannot be graded.
        areas: Regions of attention, names of ``eyeground.explain.regions.TITLES``; none without evidence.
        heat: Where the model looked: a PNG, 8-bit gray, over the whole image as it is shown; empty where there is none.
        heat_of: The finding that ``heat`` explains, by the contract's name.
        device: Camera or scanner as the file's header names it; empty when it does not.

    Example:
        >>> Reading("cannot grade: too dark").said
        {}

    References:
        Our own.
    """

    quality: str
    eye: Eye = ""
    conflict: str = ""
    said: Mapping[str, Said] = field(default_factory=dict)
    areas: tuple[str, ...] = ()
    heat: bytes = b""
    heat_of: str = ""
    device: str = ""


class Grader(Protocol):
    """Something that looks at images of one part of the eye. It is called from one thread at a time."""

    @property
    def id(self) -> str:
        """Names exactly this model; another answers otherwise."""
        ...

    @property
    def title(self) -> str:
        """Name and version, as reports show it."""
        ...

    @property
    def part(self) -> Part:
        """What of the eye it looks at."""
        ...

    @property
    def offers(self) -> tuple[str, ...]:
        """The findings it can answer, by the contracts' names."""
        ...

    def read(self, data: bytes, *, name: str) -> Reading:
        """Look at an image.

        Args:
            data: A whole file; hostile until it was decoded.
            name: What the sender calls it, to tell the eye from.

        Returns:
            What is to be said; a file that is no image is answered, too, as one that cannot be graded.

        Raises:
            Exception: If the model fails; the image is tried again later, and elsewhere.
        """
        ...

    def close(self) -> None:
        """Let go of processes and memory."""
        ...
