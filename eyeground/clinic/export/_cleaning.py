"""Images of a case as copies that tell nothing of the patient; what may still tell it waits for a person."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eyeground.clinic.export._means import Held, Means
from eyeground.clinic.exported import Exported, Photo
from eyeground.data.privacy.deidentify import IMAGES, deidentify

_STAGE: Final = ".staged"


@dataclass(frozen=True)
class Copy:
    """A copy of an image.

    Args:
        photo: Of which.
        file: Its name below the export's folder.
        removed: Names of what was taken out of its header.
        why: What a person has confirmed; empty where nothing had to be.

    Example:
        >>> Copy(Photo(0, "fundus", "OD", "0" * 64), "images/i1_OD.png").removed
        ()

    References:
        Our own.
    """

    photo: Photo
    file: str
    removed: tuple[str, ...] = ()
    why: str = ""


def clean_copies(case: Exported, into: Path, means: Means) -> list[Copy]:
    """Copy a case's images without headers under pseudonyms; their pixels stay exactly as they are.

    A copy's name follows from case, place and eye under the service's key, and its ending from its content. An image
    in whose pixels text was found, or whose header says that there is some, is held until its name is confirmed; one
    that cannot be read or cleaned is named. Both stand in ``means.held``, and cost the others nothing.

    Args:
        case: The case.
        into: The export's folder; copies go to its ``images``.
        means: What an export works with.

    Returns:
        Those that were copied, in the order of the request.

    Raises:
        BlobMissing: If an image is gone; then nothing was copied.
        StoreLost: If the store does not answer.
        OSError: If the disk is full.

    Example:
        >>> import io, tempfile
        >>> from PIL import Image
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.blobs.memory import MemoryStore
        >>> from eyeground.clinic.records import Order
        >>> from eyeground.data.privacy.pseudonym import Pseudonyms
        >>> png, store = io.BytesIO(), MemoryStore()
        >>> Image.new("RGB", (64, 64)).save(png, "PNG")
        >>> photo = Photo(0, "fundus", "OD", store.put(png.getvalue()))
        >>> case = Exported(Answered("0a", Order(door="check", id="7"), 1), "a", "A", photos=(photo,))
        >>> means = Means(store, Path("out"), "UTC", lambda site: Pseudonyms(b"k" * 32), lambda case, language: b"")
        >>> [copy] = clean_copies(case, Path(tempfile.mkdtemp()), means)
        >>> copy.file[:8], copy.file[-7:]
        ('images/i', '_OD.png')

    References:
        ``eyeground.data.privacy`` for what is removed and what is found.
    """
    stage = into / _STAGE
    source, out = stage / "in", stage / "out"
    source.mkdir(parents=True, mode=0o700)
    try:
        # What the sender called the files is not used at all.
        names = {f"{case.answered.case_id}-{each.place}{each.eye and f'_{each.eye}'}": each for each in case.photos}
        for name, photo in names.items():
            (source / name).write_bytes(means.store.get(photo.sha256))
        done = deidentify(source, out, means.pseudonyms(case.site), confirmed=means.confirmed, workers=1)
        copies = []
        for name, photo in names.items():
            outcome = done[name]
            file = f"{IMAGES}/{outcome.file}"
            if outcome.status == "written":
                (into / IMAGES).mkdir(exist_ok=True)
                (out / IMAGES / outcome.file).replace(into / file)
                copies.append(Copy(photo, file, outcome.changed, outcome.why))
                means.let_through.extend([file] if outcome.why else [])
            else:
                waits = outcome.status == "held"
                means.held.append(Held(case.answered.case_id, file, outcome.why, outcome.text, waits))
        return copies
    finally:
        shutil.rmtree(stage)
