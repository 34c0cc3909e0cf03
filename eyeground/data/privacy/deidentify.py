"""A folder of images copied without anything that tells whose they are; what may still tell it waits for a person."""

import csv
import fnmatch
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.atomic_file import atomic_file
from eyeground.data.layout import SPLIT_WORDS
from eyeground.data.listing import Listing
from eyeground.data.privacy.burned_in import find_text
from eyeground.data.privacy.dicom_profile import clean_dicom, patient_of, says_burned_in
from eyeground.data.privacy.pseudonym import Pseudonyms
from eyeground.data.privacy.strip import Stripped, strip_jpeg, strip_png
from eyeground.data.privacy.strip_tiff import strip_tiff
from eyeground.data.resumption import claimed, in_turn, place, read_journal, write_journal
from eyeground.images.decode import decode, read_bytes
from eyeground.images.laterality import eye_from_name
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

LOG, IMAGES = "changes.csv", "images"
_JOURNAL = ".journal.jsonl"
_FORMAT = 1
# What an image is by its first bytes -> endings it may keep, the first if it has another.
_STARTS = (
    (0, b"\xff\xd8\xff", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")), (0, b"\x89PNG\r\n\x1a\n", "PNG", (".png",)),
    (0, b"II*\0", "TIFF", (".tif", ".tiff")), (0, b"MM\0*", "TIFF", (".tif", ".tiff")),
    (0, b"II+\0", "TIFF", (".tif", ".tiff")), (0, b"MM\0+", "TIFF", (".tif", ".tiff")),
    (0, b"BM", "BMP", (".bmp", ".dib")), (128, b"DICM", "DICOM", (".dcm", ".dicom")),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one file. Nothing in it is a name or a value of the original.

    Args:
        file: Name of the copy below ``images``; of a file that was not copied, the name it would have.
        status: ``"written"``, ``"held"`` until a person confirms it, or ``"refused"``.
        changed: Names of the fields and parts that were removed or replaced.
        text: Where text was found in the pixels.
        why: Why it was held or refused; ``"confirmed"`` if a person let it pass.
        patient: Pseudonym of the patient in its DICOM header, ``""`` if there is none.

    Example:
        >>> Outcome("p1/i2.png", "written", ("EXIF",)).status
        'written'

    References:
        Our own.
    """

    file: str
    status: Literal["written", "held", "refused"]
    changed: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    why: str = ""
    patient: str = ""


@dataclass(frozen=True)
class _Known:
    """A line of the journal."""

    mark: str
    size_bytes: int
    outcome: Outcome


def deidentify(
    source: Path,
    out: Path,
    pseudonyms: Pseudonyms,
    *,
    confirmed: Sequence[str] = (),
    keep_folders: Sequence[str] = (),
    leave: Sequence[Path] = (),
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Outcome]:
    """Copy the images of a folder under pseudonyms, without headers, and with text in their pixels only if confirmed.

    A copy's pixels are exactly the original's; that is checked for each file. A file that cannot be read, is no image
    or cannot be cleaned is not copied, and neither is one in whose pixels text was found, until it is confirmed. May be
    killed at any moment; run again it goes on. The originals are only read.

    Args:
        source: Folder of the originals.
        out: Folder to make or to go on with: images/ and changes.csv, the log.
        pseudonyms: Stand for patients, folders, files and UIDs.
        confirmed: Files in whose pixels text may stand: paths or patterns (``*``) of originals, or names of copies.
        keep_folders: Names of folders that stay as they are, such as those of classes. Names of splits always stay.
        leave: Files of the source that are no images to copy, such as the table.
        workers: Threads; 0 takes one per core.
        progress: Called with (files done, files in all).

    Returns:
        Original's path below the source -> what became of it.

    Raises:
        ValueError: If a folder lies in the other, the target holds something else or was made with another key, or
            nothing is there to copy.
        OSError: If the disk is full. What was done is kept.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "smith").mkdir()
        ...     Image.new("RGB", (64, 64)).save(Path(folder, "smith", "smith_OD.png"))
        ...     done = deidentify(Path(folder, "smith"), Path(folder, "out"), Pseudonyms(b"k" * 32))
        >>> done["smith_OD.png"].file[-7:], done["smith_OD.png"].status
        ('_OD.png', 'written')

    References:
        DICOM PS3.15 annex E for what is removed. The rest our own.
    """
    if out.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{out}: one of the two folders lies in the other; choose a place apart from {source}")
    left = {path.resolve() for path in leave}
    files = {file: why for file, why in _walk(Listing(source), "") if (source / file).resolve() not in left}
    if not files:
        raise ValueError(f"{source}: holds no files")
    settings = {"format": _FORMAT, "key": pseudonyms.mark("the key itself"),
                "folders": sorted(pseudonyms.mark(name) for name in keep_folders)}  # fmt: skip
    journal = out / _JOURNAL
    with claimed(journal, settings, settings_are_secret=True):
        known = _read_known(journal)
        worker = _Worker(source, out / IMAGES, pseudonyms, confirmed, known, files)
        names = [(file, pseudonym_path(file, pseudonyms, keep_folders)) for file in files]
        done = in_turn(names, worker, journal=journal, line=asdict, workers=workers, progress=progress)
        written = {each.outcome.file for each in done if each.outcome.status == "written"}
        for name in {each.outcome.file for each in known.values() if each.outcome.status == "written"} - written:
            (out / IMAGES / name).unlink(missing_ok=True)  # its original is gone, or is held now
        write_journal(journal, settings, map(asdict, done))
        _write_log(out / LOG, [each.outcome for each in done])
    return {file: each.outcome for file, each in zip(files, done, strict=True)}


def pseudonym_path(file: str, pseudonyms: Pseudonyms, keep_folders: Sequence[str] = ()) -> str:
    """Give a file another path: its folders and its name under pseudonyms, the eye and the ending kept.

    Args:
        file: Path below the source.
        pseudonyms: Stand for the names. A folder gets the pseudonym that its name has as a patient's id.
        keep_folders: Names of folders that stay; names of splits always do.

    Returns:
        The new path; its ending is kept only if it is one of an image.

    Example:
        >>> pseudonym_path("train/SMITH/7_left.jpg", Pseudonyms(b"k" * 32))[:7]
        'train/p'

    References:
        Our own.
    """
    *folders, last = file.split("/")
    kept = {*SPLIT_WORDS, *keep_folders}
    parts = [name if name in kept or name.lower() in SPLIT_WORDS else pseudonyms.of(name) for name in folders]
    eye = eye_from_name(last)
    ending = PurePosixPath(last).suffix.lower()
    known = any(ending in endings for *_, endings in _STARTS)
    name = pseudonyms.of(file, kind="i") + (f"_{eye}" if eye else "") + (ending if known else "")
    return "/".join((*parts, name))


class _Worker:
    """What each thread does with a file."""

    def __init__(
        self,
        source: Path,
        images: Path,
        pseudonyms: Pseudonyms,
        confirmed: Sequence[str],
        known: Mapping[str, _Known],
        barred: Mapping[str, str],
    ) -> None:
        self._source, self._images, self._pseudonyms = source, images, pseudonyms
        self._confirmed, self._known, self._barred = confirmed, known, barred

    def __call__(self, file_and_name: tuple[str, str]) -> _Known:
        """Copy one file, unless it is copied already."""
        file, name = file_and_name
        if self._barred[file]:
            return _Known("", 0, Outcome(name, "refused", why=self._barred[file]))
        path = self._source / file
        try:
            status = path.stat()
            mark = self._pseudonyms.mark(f"{file} {status.st_size} {status.st_mtime_ns}")
        except (OSError, ValueError):
            mark = ""
        before = self._known.get(mark)
        passed = _named(file, name, self._confirmed)
        if before is not None and self._holds(before, passed):
            return before
        try:
            data = read_bytes(path, source="the file")
            kind, name = _kind(data, name)
            outcome, content = self._copy(data, kind, name, passed)
        except ImageRefused as error:
            return _Known(mark, 0, Outcome(name, "refused", why=error.sentence))
        if content is not None:
            place(self._images / name, content)
        return _Known(mark, len(content or b""), outcome)

    def _holds(self, before: _Known, passed: bool) -> bool:
        """Tell whether an earlier answer still counts."""
        if before.outcome.status == "held":
            return not passed
        try:
            there = (self._images / before.outcome.file).stat().st_size
        except OSError:
            return False
        return before.outcome.status == "written" and there == before.size_bytes

    def _copy(self, data: bytes, kind: str, name: str, passed: bool) -> tuple[Outcome, bytes | None]:
        """Clean one file, compare its pixels with the original's, and look for text in them."""
        first = _decoded(data, None)
        stripped = _strip(data, kind, first.pixels, self._pseudonyms)
        text: list[str] = []
        for slice in [None] if first.slices == 1 else range(first.slices):
            pixels = first.pixels if slice is None else _decoded(data, slice).pixels
            if not np.array_equal(pixels, _decoded(stripped.data, slice).pixels):
                what = "its pixels would change; export it again as PNG or DICOM"
                raise ImageRefused("broken", "the file", what)
            text += [str(box) if slice is None else f"slice {slice}: {box}" for box in find_text(pixels)]
        why = []
        if kind == "DICOM" and says_burned_in(data):
            why.append("its header says that text is burned in")
        if text:
            why.append("text was found in its pixels")
        patient = patient_of(stripped.data) if kind == "DICOM" else ""
        if why and not passed:
            return Outcome(name, "held", stripped.removed, tuple(text), "; ".join(why), patient), None
        said = f"confirmed by a person: {'; '.join(why)}" if why else ""
        return Outcome(name, "written", stripped.removed, tuple(text), said, patient), stripped.data


def _strip(data: bytes, kind: str, pixels: NDArray[np.uint8], pseudonyms: Pseudonyms) -> Stripped:
    """Clean a file of a known kind."""
    if kind == "JPEG":
        return strip_jpeg(data, source="the file")
    if kind == "PNG":
        return strip_png(data, source="the file")
    if kind == "TIFF":
        return strip_tiff(data, source="the file")
    if kind == "DICOM":
        return clean_dicom(data, pseudonyms, source="the file")
    # A bitmap has no compression to keep: its pixels are simply written into a new one.
    gray = bool((pixels == pixels[:, :, :1]).all())
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]) if gray else pixels).save(out, "BMP")
    return Stripped(out.getvalue(), ("all but the pixels",))


def _decoded(data: bytes, slice: int | None) -> RetinalImage:
    """Decode; a refusal says which kind it is and nothing that a library found in the file."""
    try:
        return decode(data, source="the file", slice=slice)
    except ImageRefused as error:
        raise ImageRefused(error.reason, "the file", f"cannot be read: {error.reason.replace('_', ' ')}") from None


def _kind(data: bytes, name: str) -> tuple[str, str]:
    """Tell the format from the content, and give the copy an ending that fits; refuse what cannot be cleaned."""
    for at, start, kind, endings in _STARTS:
        if data[at : at + len(start)] == start:
            bare = name.removesuffix(PurePosixPath(name).suffix)
            return kind, name if PurePosixPath(name).suffix in endings else bare + endings[0]
    if data.startswith((b"HSF-", b"ep-v")):
        what = "is a Heidelberg .vol, whose header cannot be cleaned without doubt; export it as DICOM or as images"
    elif data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        what = "is XML, which is full of names and dates; export DICOM, or leave it out and keep its images"
    else:
        what = "is no image that can be cleaned (JPEG, PNG, TIFF, BMP, DICOM)"
    raise ImageRefused("format_not_allowed", "the file", what)


def _named(file: str, name: str, confirmed: Sequence[str]) -> bool:
    """Tell whether a person named this file: the original, or the copy with whatever ending."""
    bare = name.removesuffix(PurePosixPath(name).suffix)
    return any(
        pattern == file
        or fnmatch.fnmatchcase(file, pattern)
        or pattern.removesuffix(PurePosixPath(pattern).suffix) == bare
        for pattern in confirmed
    )


def _walk(listing: Listing, folder: str) -> Iterator[tuple[str, str]]:
    """All files below a folder, each with why it must not be read, ``""`` if it may."""
    files, folders = listing.scan(folder)
    place = f"{folder}/" if folder else ""
    yield from ((place + name, refusal) for name, refusal in files.items())
    for name, refusal in folders.items():
        if refusal or listing.is_link(place + name):
            yield place + name, "is a link to a folder; give the folder itself"
        else:
            yield from _walk(listing, place + name)


def _read_known(journal: Path) -> dict[str, _Known]:
    """Read what earlier passes have done, by mark."""
    known: dict[str, _Known] = {}
    for line in read_journal(journal):
        if set(line) == {"mark", "size_bytes", "outcome"}:
            told = line["outcome"]
            outcome = Outcome(**{**told, "changed": tuple(told["changed"]), "text": tuple(told["text"])})
            known[line["mark"]] = _Known(line["mark"], line["size_bytes"], outcome)
    return known


def _write_log(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write what became of each file."""
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "outcome", "changed", "text_at", "why"))
        for each in sorted(outcomes, key=lambda each: each.file):
            writer.writerow((each.file, each.status, "; ".join(each.changed), "; ".join(each.text), each.why))
