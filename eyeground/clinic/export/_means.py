"""What every form of export works with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eyeground.clinic.blobs.store import Store
from eyeground.clinic.exported import Exported
from eyeground.data.privacy.pseudonym import Pseudonyms


@dataclass(frozen=True)
class Held:
    """An image that waits for a person, or cannot be read; by the name that its copy has, or would have.

    Args:
        case_id: Of which case.
        file: Name of the copy.
        why: Why it is not there.
        text: Where text was found in its pixels.
        waits: Whether confirming it lets it through.

    Example:
        >>> Held("0a", "images/i1_OD.png", "text was found in its pixels").waits
        True

    References:
        Our own.
    """

    case_id: str
    file: str
    why: str
    text: tuple[str, ...] = ()
    waits: bool = True


@dataclass(frozen=True)
class Means:
    """What every form of export works with.

    Args:
        store: Where images lie.
        out: Where the export will be; versions of before may lie there.
        zone: The site's zone.
        pseudonyms: Gives those of a site.
        printed: Gives a report as PDF in a language.
        languages: Of printed reports.
        confirmed: Images that a person has looked at and found without a name in their pixels; names of copies.
        held: Where images are written down that wait for that.
        let_through: Where copies are written down that left because a person had confirmed them; names as in ``held``.

    Example:
        >>> from eyeground.clinic.blobs.memory import MemoryStore
        >>> names = Pseudonyms(b"k" * 32)
        >>> Means(MemoryStore(), Path("out"), "UTC", lambda site: names, lambda case, language: b"%PDF").languages
        ('zh',)

    References:
        Our own.
    """

    store: Store
    out: Path
    zone: str
    pseudonyms: Callable[[str], Pseudonyms]
    printed: Callable[[Exported, str], bytes]
    languages: tuple[str, ...] = ("zh",)
    confirmed: tuple[str, ...] = ()
    held: list[Held] = field(default_factory=list)
    let_through: list[str] = field(default_factory=list)


def written(folder: Path, files: Mapping[str, bytes]) -> int:
    """Write files into a folder that is not there yet.

    Args:
        folder: The folder to make.
        files: Name -> content.

    Returns:
        How many files.

    Raises:
        OSError: If the disk is full.

    Example:
        >>> import tempfile
        >>> written(Path(tempfile.mkdtemp()) / "a", {"b.txt": b"c"})
        1

    References:
        Our own.
    """
    folder.mkdir(parents=True, mode=0o700)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return len(files)
