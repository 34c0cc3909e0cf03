"""The facts of every image of a data set, taken in one pass."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyeground.data.exam.fingerprints import CELLS, CUTS, Fingerprint, fingerprint, is_gray
from eyeground.data.exam.ledger import Ledger, ledger_path
from eyeground.data.sample import Sample
from eyeground.data.spread import Spread, in_threads
from eyeground.images.decode import contents
from eyeground.images.laterality import eye_from_name, side_from_disc
from eyeground.images.quality import assess
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import Eye, Modality

# Raised whenever the facts of an unchanged file would come out differently; what was kept is then taken anew.
VERSION: Final = 4
_SHARE: Final = 8  # files that travel together to another worker: some seconds of its time
_SMALL_PX: Final = 64
_NOWHERE: Final = (-1, -1)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured on one file.

    Args:
        refusal: Why it was not let in, one of ``REASONS``; ``""`` if it was.
        sentence: The refusal in words.
        format: By its content, such as ``"JPEG"``; ``""`` when not known.
        size_bytes: Of the file. Unit: bytes.
        quantization: Mean step of a JPEG's first quantization table: how strongly it was compressed, whatever it shows;
            0 for other formats.
        sha256: Of the file's bytes, hexadecimal; ``""`` if they cannot be read.
        width: As decoded. Unit: px.
        height: As decoded. Unit: px.
        color: Mean red, green and blue of the whole picture, [0, 255].
        gray: Whether the picture has no color.
        modality: ``"fundus"``, ``"oct"``, ``"anterior"``, or ``""`` when nobody can say.
        quality: ``"good"``, ``"fair"``, ``"cannot grade"``, or ``""`` when not judged.
        reasons: Why it is not good, in words.
        file_eye: Eye as the file's header says.
        disc_eye: Eye as the optic disc tells; ``""`` too where nobody says an eye that it could contradict.
        disc_confidence: How likely that is right, [0, 1].
        device: Maker and model as the header says.
        personal: Names of header fields that hold personal data, never what they say.

    Example:
        >>> Facts(refusal="empty", sentence="the file is empty; copy it again").width
        0

    References:
        Our own.
    """

    refusal: str = ""
    sentence: str = ""
    format: str = ""
    size_bytes: int = 0
    quantization: float = 0.0
    sha256: str = ""
    width: int = 0
    height: int = 0
    color: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gray: bool = False
    modality: Modality = ""
    quality: str = ""
    reasons: tuple[str, ...] = ()
    file_eye: Eye = ""
    disc_eye: Eye = ""
    disc_confidence: float = 0.0
    device: str = ""
    personal: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether the image could be decoded."""
        return not self.refusal


@dataclass(frozen=True, eq=False)
class Prints:
    """The fingerprints of the images that could be decoded.

    Args:
        detail: Shape (N, V, 16, 16), int8; zeros where there is none.
        shade: Shape (N, V, 16, 16), uint8.
        round: Whether a field of view was found, shape (N,).
        there: Whether there is a fingerprint, shape (N,).
        small: Gives a sample's gray picture, (64, 64) uint8, from the disk.

    Example:
        >>> none = np.zeros((0, 1, 16, 16))
        >>> len(Prints(none.astype(np.int8), none.astype(np.uint8), np.zeros(0, bool), np.zeros(0, bool), {}.get).round)
        0

    References:
        Our own.
    """

    detail: NDArray[np.int8]
    shade: NDArray[np.uint8]
    round: NDArray[np.bool_]
    there: NDArray[np.bool_]
    small: Callable[[int], NDArray[np.uint8]]


def examine(sample: Sample) -> tuple[Facts, Fingerprint | None]:
    """Take the facts of one image.

    Args:
        sample: Which.

    Returns:
        Its facts, and its fingerprint unless it was refused.

    Example:
        >>> examine(Sample("nowhere.png", Path("."), None, "p"))[0].refusal
        'unreadable'

    References:
        Our own.
    """
    told = Facts()
    with suppress(OSError):  # the refusal below says what is wrong
        told = replace(told, size_bytes=sample.path.stat().st_size)
    try:
        parcel = sample.parcel()
        told = replace(
            told,
            size_bytes=len(parcel.data),
            sha256=hashlib.sha256(parcel.data).hexdigest(),
            quantization=_quantization(parcel.data),
        )
        header = parcel.volume or contents(parcel.data, source=parcel.source)
        told = replace(told, format=header.format, file_eye=header.eye, device=header.device, personal=header.personal)
        image = parcel.decode()
    except ImageRefused as error:
        return replace(told, refusal=error.reason, sentence=error.sentence), None
    height, width = image.pixels.shape[:2]
    # Rows first: 18 times as fast as a mean over all pixels of three, and exact.
    sums = image.pixels.sum(axis=0, dtype=np.uint32).sum(axis=0, dtype=np.uint64)
    red, green, blue = (sums / (height * width)).round(3).tolist()
    judged = assess(image)
    shows = image.modality or judged.modality
    side = side_from_disc(image) if shows == "fundus" and _eye_is_told(sample, told) else None
    told = replace(
        told,
        width=width,
        height=height,
        color=(red, green, blue),
        gray=is_gray(image.pixels),
        modality=shows,
        quality=judged.grade,
        reasons=tuple(judged.reasons),
        disc_eye=side.eye if side else "",
        disc_confidence=round(side.confidence, 4) if side else 0.0,
    )
    return told, fingerprint(image.pixels)


@contextmanager
def examine_all(
    samples: Sequence[Sample],
    *,
    keep: bool = True,
    workers: int = 0,
    spread: Spread | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[tuple[Facts, ...], Prints]]:
    """Take the facts of all images; what an earlier run found on an unchanged file is not found again.

    Args:
        samples: The samples.
        keep: Whether to keep the facts for later runs, and to use kept ones.
        workers: Threads; 0 takes one per core.
        spread: Who does the work; None = those threads.
        progress: Called with (images done, images in all).

    Yields:
        The facts in the order of the samples, and the fingerprints, which can be used inside the context only.

    Raises:
        OSError: If the kept facts cannot be written.

    Example:
        >>> with examine_all([], keep=False) as (facts, prints):
        ...     len(facts)
        0

    References:
        Our own.
    """
    folders = {folder: ledger_path(folder) if keep else None for folder in {sample.folder for sample in samples}}
    with ExitStack() as stack:
        ledgers = {folder: stack.enter_context(Ledger(path)) for folder, path in folders.items()}
        known = {folder: ledger.known(VERSION) for folder, ledger in ledgers.items()}
        todo = []
        for number, sample in enumerate(samples):
            stamp = _stamp(sample.path)
            if stamp == _NOWHERE or known[sample.folder].get(_name(sample)) != stamp:
                todo.append((number, stamp))
        done = len(samples) - len(todo)
        if progress is not None:
            progress(done, len(samples))
        facts_of = (spread or in_threads(workers))((samples[number] for number, _ in todo), examine, share=_SHARE)
        for (number, stamp), (told, found) in zip(todo, facts_of, strict=True):
            text = json.dumps(asdict(told), ensure_ascii=False)
            sample = samples[number]
            ledgers[sample.folder].put(_name(sample), stamp, VERSION, text, _packed(found))
            done += 1
            if progress is not None:
                progress(done, len(samples))
        facts = tuple(_facts(ledgers[sample.folder].told(_name(sample))) for sample in samples)
        yield facts, _prints(samples, ledgers)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; of a folder of slices, all its files' sizes and their newest time."""
    try:
        if path.is_dir():
            found = [each.stat() for each in path.iterdir()]
            return sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)
        found_one = path.stat()
    except OSError:
        return _NOWHERE
    return found_one.st_size, found_one.st_mtime_ns


def _name(sample: Sample) -> str:
    """Name of an image in its folder's ledger; names that are not UTF-8 are written with escapes."""
    name = sample.file if sample.slice is None else f"{sample.file}#{sample.slice}"
    if sample.eye:  # then the disc was looked at, and not otherwise
        name += "|eye"
    return name.encode("utf-8", "backslashreplace").decode()


def _facts(text: str) -> Facts:
    """Read facts back."""
    told = json.loads(text)
    for name in ("color", "reasons", "personal"):
        told[name] = tuple(told[name])
    return Facts(**told)


def _packed(found: Fingerprint | None) -> bytes:
    """Write a fingerprint as bytes: round or not, the small picture, then each variant's detail and shade."""
    if found is None:
        return b""
    variants = b"".join(d.tobytes() + s.tobytes() for d, s in zip(found.detail, found.shade, strict=True))
    return bytes([found.round]) + found.small.tobytes() + variants


def _prints(samples: Sequence[Sample], ledgers: dict[Path, Ledger]) -> Prints:
    """Read the fingerprints back, all but the small pictures."""
    area, picture = CELLS * CELLS, _SMALL_PX * _SMALL_PX

    def packed(number: int) -> bytes:
        return ledgers[samples[number].folder].print_of(_name(samples[number]))

    def small(number: int) -> NDArray[np.uint8]:
        return np.frombuffer(packed(number), np.uint8, picture, 1).reshape(_SMALL_PX, _SMALL_PX)

    count = len(samples)
    detail = np.zeros((count, len(CUTS), CELLS, CELLS), np.int8)
    shade = np.zeros((count, len(CUTS), CELLS, CELLS), np.uint8)
    is_round, there = np.zeros(count, bool), np.zeros(count, bool)
    for number in range(count):
        data = packed(number)
        if not data:
            continue
        there[number], is_round[number] = True, bool(data[0])
        cells = np.frombuffer(data, np.uint8, offset=1 + picture).reshape(-1, 2, area)
        for variant in range(len(CUTS)):
            told = cells[min(variant, len(cells) - 1)]
            detail[number, variant] = told[0].view(np.int8).reshape(CELLS, CELLS)
            shade[number, variant] = told[1].reshape(CELLS, CELLS)
    return Prints(detail, shade, is_round, there, small)


def _eye_is_told(sample: Sample, told: Facts) -> bool:
    """Whether anybody says the eye; without, nobody asks the disc, which takes longer than all else."""
    return bool(sample.eye or told.file_eye or eye_from_name(sample.file))


def _quantization(data: bytes) -> float:
    """Mean step of a JPEG's first quantization table: how strongly it was compressed, whatever it shows; 0 if none."""
    place = 2
    while data.startswith(b"\xff\xd8") and place + 4 <= len(data) and data[place] == 0xFF:
        mark, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if mark == 0xDB and length >= 67 and place + 2 + length <= len(data):
            wide = data[place + 4] >> 4  # 1: steps of two bytes
            steps = np.frombuffer(data[place + 5 : place + 5 + 64 * (1 + (wide > 0))], ">u2" if wide else "u1")
            return float(steps.mean().round(4)) if len(steps) == 64 else 0.0
        if mark == 0xDA or length < 2:
            break
        place += 2 + length
    return 0.0
