"""A public set brought into a folder: downloaded, unpacked, and written down where every file came from."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from eyeground.atomic_file import write_whole
from eyeground.data.download import DownloadWrong, download, sha256_of
from eyeground.data.problem import DataProblems
from eyeground.data.public import Download, PublicDataset
from eyeground.data.unpack import unpack

RECORD = ".eyeground-source.json"
_LOADING = ".eyeground-download"

# Told (what is being done, bytes done, bytes in all).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Arrived:
    """One file of a set that is here.

    Args:
        url: Where it came from.
        file: Its name.
        size_bytes: How large it was.
        sha256: Hash of its bytes.
        known: Whether the hash was known before; if not, it was noted when the file first came.
        place: What it became: the folder it was unpacked into, or its own name.

    Example:
        >>> Arrived("https://a.example/b.zip", "b.zip", 3, "00", False, "b").place
        'b'

    References:
        Our own.
    """

    url: str
    file: str
    size_bytes: int
    sha256: str
    known: bool
    place: str


class FolderInUse(OSError):
    """Another process brings a set into the same folder."""


def arrived(folder: Path) -> tuple[Arrived, ...]:
    """Read which files of a set are in a folder.

    Args:
        folder: A user's folder.

    Returns:
        The files, whose places are still there.

    Example:
        >>> arrived(Path("no/such/folder"))
        ()

    References:
        Our own.
    """
    return tuple(each for each in _record(folder) if (folder / each.place).exists())


def deliver(
    dataset: PublicDataset, folder: Path, *, progress: Progress | None = None, tries: int = 5, pause_s: float = 2.0
) -> tuple[Arrived, ...]:
    """Bring every file of a set that its site gives without a login into a folder.

    Each archive is unpacked into a folder of its own, which appears when it is whole. Killed at any moment, the same
    call goes on where it stopped.

    Args:
        dataset: The set.
        folder: Where to put it; made if it is not there.
        progress: Told (what is being done, bytes done, bytes in all).
        tries: How often to try a server again that gives no new byte.
        pause_s: How long to wait before the second try; doubled each time. Unit: s.

    Returns:
        The files, also those that were there already.

    Raises:
        DownloadFailed: If a file cannot be brought here.
        DownloadWrong: If a file is not the one expected, or not the one that came the first time.
        DataProblems: If an archive is damaged or hostile. One without a published hash is then forgotten, so that the
            same call fetches it anew.
        FolderInUse: If another process is at work in the folder.
        OSError: If the disk is full.

    Example:
        >>> import tempfile
        >>> from eyeground.pick import pick
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     deliver(pick("data.datasets", "octid").DATASET, Path(folder))
        ()

    References:
        Our own.
    """
    if not dataset.downloads:
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for item in dataset.downloads:
            if not any(each.url == item.url for each in arrived(folder)):
                _bring(dataset, item, folder, progress=progress, tries=tries, pause_s=pause_s)
        shutil.rmtree(folder / _LOADING, ignore_errors=True)
    return arrived(folder)


def _bring(
    dataset: PublicDataset, item: Download, folder: Path, *, progress: Progress | None, tries: int, pause_s: float
) -> None:
    """Bring one file, unpack it, and write it down."""

    def told(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(f"{what} {item.file}", done, total)

    before = [each for each in _record(folder) if each.url == item.url]
    expected = item.sha256 or (before[0].sha256 if before else None)
    try:
        file = download(
            item.url,
            folder / _LOADING,
            name=item.file,
            sha256=expected,
            progress=told("loading"),
            tries=tries,
            pause_s=pause_s,
        )
    except DownloadWrong as error:
        if item.sha256 or not before:
            raise
        raise DownloadWrong(
            f"{error}. The hash was noted in {folder / RECORD} when the file first came; remove that file if you trust "
            "the new one"
        ) from error
    digest = expected or sha256_of(file)
    place = before[0].place if before else _stem(item.file) if item.archive else item.file
    if not before and (folder / place).exists():  # a user's own
        place = f"{digest[:8]}-{place}"
    new = Arrived(item.url, item.file, file.stat().st_size, digest, bool(item.sha256), place)
    rest = [each for each in _record(folder) if each.url != item.url]
    # Written down first: what then appears under that name is ours and whole, whenever this process dies.
    _write_record(dataset, folder, (*rest, new))
    if item.archive:
        try:
            unpack(file, folder / place, progress=told("unpacking"))
        except DataProblems:
            if not item.sha256:
                # Nobody vouches for what came; after a page that asks for a login, the right file may come.
                _forget(dataset, folder, file, rest)
            raise
        file.unlink(missing_ok=True)
    else:
        file.replace(folder / place)


def _forget(dataset: PublicDataset, folder: Path, file: Path, rest: list[Arrived]) -> None:
    """Delete a file that is not what it should be, and its hash from the record."""
    if rest:
        _write_record(dataset, folder, tuple(rest))
    else:  # a folder without a record is a user's own, who may now fill it by hand
        (folder / RECORD).unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def _write_record(dataset: PublicDataset, folder: Path, files: tuple[Arrived, ...]) -> None:
    """Write down where the files of a folder came from."""
    record = {
        "dataset": dataset.name,
        "page": dataset.page,
        "licence": dataset.licence,
        "files": [asdict(each) for each in files],
    }
    write_whole(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False).encode())


def _record(folder: Path) -> list[Arrived]:
    """What was written down in a folder."""
    try:
        files = json.loads((folder / RECORD).read_bytes())["files"]
        return [Arrived(**each) for each in files]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _stem(file: str) -> str:
    """Name of an archive without its endings."""
    for ending in (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip", ".tar"):
        if file.lower().endswith(ending):
            return file[: -len(ending)]
    return file


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUse(f"{folder}: another process is bringing files here; wait for it") from error
        yield
    finally:
        os.close(handle)
