"""One pass over a data set: decoded, cropped and shrunk once, stored without loss, read by every later epoch."""

import csv
import hashlib
import json
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from eyeground.atomic_file import atomic_file, write_whole
from eyeground.data.listing import is_image
from eyeground.data.manifest import Manifest
from eyeground.data.pixels import PixelStore
from eyeground.data.prepared import FORMAT, MANIFEST, SETTINGS
from eyeground.data.problem import Problem
from eyeground.data.resumption import claimed, in_turn, place, read_journal, write_journal
from eyeground.data.sample import Sample
from eyeground.data.spread import Spread
from eyeground.data.stored_image import encoded, stored_name
from eyeground.data.verify import digest_of
from eyeground.images.refusal import ImageRefused

OWN_COLUMNS = (
    "file", "label", "patient", "eye", "site", "camera", "split", "modality", "source_file", "source_slice",
    "source_sha256", "sha256", "width", "height", "source_width", "source_height",
)  # fmt: skip
JOURNAL, LEFT_OUT = "journal.jsonl", "left_out.csv"
_SHARE = 8  # images that travel together to another worker: some seconds of its time


@dataclass(frozen=True)
class Preparation:
    """What a preparation did.

    Args:
        images: Images that are ready now.
        kept: How many of them an earlier, interrupted pass had made.
        removed: Images of an earlier pass that the data set no longer names; they were deleted.
        left_out: What could not be read, with reasons.

    Example:
        >>> Preparation(10, 4, 0, ()).images
        10

    References:
        Our own.
    """

    images: int
    kept: int
    removed: int
    left_out: tuple[Problem, ...]


@dataclass(frozen=True)
class _Done:
    """A line of the journal: one stored image."""

    file: str
    slice: int | None
    stored: str
    size: int
    mtime_ns: int
    source_sha256: str
    sha256: str
    stored_bytes: int
    width: int
    height: int
    source_width: int
    source_height: int
    eye: str
    modality: str


def prepare(
    manifest: Manifest,
    out: Path,
    *,
    crop_field: bool,
    store_px: int,
    slices: str = "center",
    workers: int = 0,
    spread: Spread | None = None,
    progress: Callable[[int, int], None] | None = None,
    more: Mapping[str, Mapping[str, str]] | None = None,
) -> Preparation:
    """Store every image of a data set as training and prediction see it, so that nobody decodes it again.

    The pixels are those of ``PixelStore.open``, kept as TIFF without loss. The pass may be killed at any moment; run
    again it goes on where it stopped, and the manifest becomes the same. A source file that has changed is made anew;
    one that cannot be read is left out and named, and costs the others nothing.

    Args:
        manifest: The data set.
        out: Folder to make, or that an interrupted pass left. Holds images/, manifest.csv, prepared.json, left_out.csv.
        crop_field: Crop photographs to their field of view.
        store_px: Shrink the short side to at most this, 0 = keep. Unit: px.
        slices: Which B-scans of a volume the manifest holds, as ``expand`` took them; only written down.
        workers: Threads; 0 takes one per core.
        spread: Who makes the images, seeing data and ``out`` as this process does; None = those threads.
        progress: Called with (images done, images in all) after each image.
        more: File to further cells of its row, by column, written as they are: the truth of several heads.

    Returns:
        What was done.

    Raises:
        ValueError: If the folder lies inside the data, holds something else, was prepared with other settings, or
            another process is working in it.
        OSError: If the disk is full. What was done is kept.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from eyeground.data.manifest import Source, read_manifest
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "photos", "normal").mkdir(parents=True)
        ...     Image.new("RGB", (64, 48)).save(Path(folder, "photos", "normal", "1.bmp"))
        ...     found = read_manifest([Source(Path(folder, "photos"))])
        ...     prepare(found, Path(folder, "ready"), crop_field=True, store_px=32).images
        1

    References:
        Our own.
    """
    settings = {"format": FORMAT, "crop_field": crop_field, "store_px": store_px}
    for folder in {sample.folder.resolve() for sample in manifest.samples}:
        if out.resolve().is_relative_to(folder):
            raise ValueError(f"{out} lies inside the data folder {folder}; choose a place outside it")
    store = PixelStore(crop_field=crop_field, store_px=store_px, limit_bytes=0)
    journal = out / JOURNAL
    with claimed(journal, settings):
        earlier = _read_done(journal)
        (out / SETTINGS).unlink(missing_ok=True)  # from here to the end the folder is not whole
        found = in_turn(
            manifest.samples,
            lambda sample: _one(sample, out, store, earlier.get((sample.file, sample.slice))),
            journal=journal,
            line=lambda each: asdict(each) if isinstance(each, _Done) else None,
            workers=workers,
            progress=progress,
            spread=partial(spread, share=_SHARE) if spread else None,
        )
        done = [each for each in found if isinstance(each, _Done)]
        problems = tuple(each for each in found if isinstance(each, Problem))
        wanted = {each.stored for each in done}
        gone = [each.stored for each in earlier.values() if each.stored not in wanted]
        for stored in gone:
            (out / "images" / stored).unlink(missing_ok=True)
        _write_manifest(out / MANIFEST, manifest, {(each.file, each.slice): each for each in done}, more or {})
        write_left_out(out / LEFT_OUT, problems)
        write_journal(journal, settings, map(asdict, done))
        told = {
            **settings,
            "slices": slices,
            "images": len(done),
            "left_out": len(problems),
            "classes": list(manifest.classes),
            "ordered": manifest.ordered,
            "patients_known": manifest.patients_known,
            "eyeground": version("eyeground"),
            "pillow": version("pillow"),  # another one may shrink to other pixels
        }
        write_whole(out / SETTINGS, (json.dumps(told, indent=1) + "\n").encode())
    kept = sum(earlier.get((each.file, each.slice)) == each for each in done)
    return Preparation(len(done), kept, len(gone), problems)


def _one(sample: Sample, out: Path, store: PixelStore, before: "_Done | None") -> "_Done | Problem":
    """Make one image, unless an earlier pass has made it from the same bytes."""
    try:
        status = sample.path.stat()
        # Only a picture's own size and time tell that its pixels are the same: an export's pixels lie in other files.
        plain = stat.S_ISREG(status.st_mode) and is_image(sample.file)
        size, mtime_ns = (status.st_size, status.st_mtime_ns) if plain else (-1, -1)
    except (OSError, ValueError):
        size, mtime_ns, plain = -1, -1, False  # the reader says what is wrong
    whole = before is not None and _size_of(out / "images" / before.stored) == before.stored_bytes
    if whole and before is not None and plain and (before.size, before.mtime_ns) == (size, mtime_ns):
        return before
    try:
        parcel = sample.parcel()
        digest = digest_of(sample, parcel)
        if whole and before is not None and before.source_sha256 == digest:
            return replace(before, size=size, mtime_ns=mtime_ns)
        image, pixels = store.open(parcel)
    except ImageRefused as error:
        return Problem(error.sentence, sample.file, None, sample.source)
    content = encoded(pixels)
    stored = stored_name(sample)
    place(out / "images" / stored, content)
    return _Done(
        sample.file, sample.slice, stored, size, mtime_ns, digest, hashlib.sha256(content).hexdigest(), len(content),
        pixels.shape[1], pixels.shape[0], image.size[1], image.size[0],
        image.eye, image.modality,
    )  # fmt: skip


def _size_of(path: Path) -> int:
    """Size of a file, -1 if there is none. Unit: bytes."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _read_done(journal: Path) -> dict[tuple[str, int | None], "_Done"]:
    """Read what earlier passes have made; of two lines about one image the later counts."""
    lines = [_Done(**line) for line in read_journal(journal) if set(line) == set(_Done.__dataclass_fields__)]
    return {(done.file, done.slice): done for done in lines}


def _write_manifest(
    path: Path,
    manifest: Manifest,
    done: Mapping[tuple[str, int | None], "_Done"],
    more: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the table that later runs read; a column that nobody fills is left away."""
    rows: list[dict[str, object]] = []
    # Slices of one volume belong together even where nobody knows the patient.
    patients = manifest.patients_known or any(sample.slice is not None for sample in manifest.samples)
    for sample in manifest.samples:
        each = done.get((sample.file, sample.slice))
        if each is None:
            continue
        rows.append({
            "file": each.stored,
            "label": "" if sample.label is None else manifest.classes[sample.label],
            "patient": sample.patient if patients else "",
            "eye": sample.eye or each.eye,
            "site": sample.site,
            "camera": sample.camera,
            "split": sample.split,
            "modality": each.modality,
            "source_file": each.file,
            "source_slice": "" if each.slice is None else each.slice,
            "source_sha256": each.source_sha256,
            "sha256": each.sha256,
            "width": each.width,
            "height": each.height,
            "source_width": each.source_width,
            "source_height": each.source_height,
            **more.get(each.file, {}),
        })  # fmt: skip
    columns = [name for name in rows[0] if any(row[name] != "" for row in rows)] if rows else ["file"]
    with atomic_file(path) as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_left_out(path: Path, problems: Sequence[Problem]) -> None:
    """Write what was left out and why; nothing left out, no file.

    Args:
        path: CSV file to write.
        problems: What was left out.

    Example:
        >>> write_left_out(Path("nowhere.csv"), ())

    References:
        Our own.
    """
    if not problems:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "why"))
        writer.writerows((problem.file, problem.what) for problem in problems)
