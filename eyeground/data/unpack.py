"""An archive from elsewhere unpacked: nothing outside its folder, no links, no bombs, whole or not there."""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from eyeground.data.problem import DataProblems, Problem

_CHUNK_BYTES = 1 << 20
_MOST_FILES = 2_000_000
# Photographs and scans hardly shrink in an archive; raw TIFF and BMP do, some tenfold.
_MOST_TIMES = 25
_LEAST_BYTES = 1 << 28
_SPARE_BYTES = 1 << 27
_SHOWN = 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    Args:
        folder: Where it lies.
        files: How many files.
        size_bytes: How much they hold.

    Example:
        >>> Unpacked(Path("a"), 1, 3).files
        1

    References:
        Our own.
    """

    folder: Path
    files: int
    size_bytes: int


def unpack(archive: Path, into: Path, *, progress: Progress | None = None, most_bytes: int | None = None) -> Unpacked:
    """Unpack a zip or tar into a folder that appears when all of it is there.

    Until then it gathers in a hidden folder beside, which a later try clears. What macOS adds (``__MACOSX``, ``._*``)
    is left out.

    Args:
        archive: The zip or tar (plain, gz, bz2, xz), told by its content.
        into: Folder to make; it must not exist, its parent must.
        progress: Told (bytes of the archive read, its size).
        most_bytes: How much may come out; None = 25 times the archive, at least 256 MiB.

    Returns:
        What came out.

    Raises:
        DataProblems: If it is no archive, damaged, encrypted, holds a name that leads out of the folder, a link, a
            device or the same name twice, or more than may come out. Nothing of it stays.
        OSError: If the disk is full; nothing of it stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with zipfile.ZipFile(Path(folder, "a.zip"), "w") as file:
        ...         file.writestr("normal/1.png", b"xyz")
        ...     done = unpack(Path(folder, "a.zip"), Path(folder, "a"))
        ...     done.files, Path(folder, "a", "normal", "1.png").read_bytes()
        (1, b'xyz')

    References:
        CWE-22 (paths that lead out), CWE-59 (links), CWE-409 (bombs).
    """
    size = archive.stat().st_size
    limit = max(_LEAST_BYTES, _MOST_TIMES * size) if most_bytes is None else most_bytes
    gathering = into.with_name(f".{into.name}.unpacking")
    shutil.rmtree(gathering, ignore_errors=True)
    gathering.mkdir()
    try:
        sink = _Sink(gathering, archive.name, limit)
        try:
            with archive.open("rb") as raw:
                for member, place in _members(archive, raw):
                    sink.take(member)
                    if progress is not None:
                        progress(min(place, size - 1), size)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
            if isinstance(error, DataProblems):
                raise
            what = f"is a damaged archive ({error}); fetch it again"
            raise DataProblems([Problem(what, archive.name)]) from error
        except OSError as error:  # gzip and bz2 report damage so
            if error.errno is not None:
                raise
            what = f"is a damaged archive ({error}); fetch it again"
            raise DataProblems([Problem(what, archive.name)]) from error
        if sink.problems:
            raise DataProblems(sink.problems)
        if not sink.files:
            raise DataProblems([Problem("is an archive without files", archive.name)])
        gathering.rename(into)
        if progress is not None:
            progress(size, size)
    except BaseException:
        shutil.rmtree(gathering, ignore_errors=True)
        raise
    return Unpacked(into, sink.files, sink.size_bytes)


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, whatever its kind."""

    name: str
    size_bytes: int
    is_folder: bool
    refusal: str
    open: Callable[[], IO[bytes] | None]


def _members(archive: Path, raw: IO[bytes]) -> Iterator[tuple[_Member, int]]:
    """Entries of a zip or a tar, in the order in which they lie there; each with how far in the archive it is."""
    if zipfile.is_zipfile(archive):
        place = 0
        with zipfile.ZipFile(raw) as file:
            for entry in file.infolist():
                place += entry.compress_size
                yield _zip_member(file, entry), place
    elif tarfile.is_tarfile(archive):
        with _plain(raw) as content, tarfile.open(fileobj=content, mode="r|") as stream:
            for info in stream:
                yield _tar_member(stream, info), raw.tell()
            # tarfile takes a cut archive for one that ends here; reading on to the end finds the cut.
            while content.read(_CHUNK_BYTES):
                pass
    else:
        what = "is neither zip nor tar; what the server sent may be a page that asks for a login"
        raise DataProblems([Problem(what, archive.name)])


def _plain(raw: IO[bytes]) -> IO[bytes]:
    """The tar inside a compressed file, read once from front to back."""
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(raw))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(raw))
    if start == b"\xfd7zXZ\0":
        return cast(IO[bytes], lzma.open(raw))
    raw.seek(-512, os.SEEK_END)
    if any(raw.read(512)):
        raise EOFError("it is cut short")
    raw.seek(0)
    return raw


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    """An entry of a zip."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    refusal = ""
    if info.flag_bits & 0x1:
        refusal = "is encrypted; unpack it by hand with its password"
    elif kind == stat.S_IFLNK:
        refusal = "is a link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refusal = "is no plain file"
    return _Member(info.filename, info.file_size, info.is_dir(), refusal, lambda: file.open(info))


def _tar_member(stream: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    """An entry of a tar."""
    refusal = ""
    if info.issym() or info.islnk():
        refusal = "is a link"
    elif not (info.isreg() or info.isdir()):
        refusal = "is no plain file"
    return _Member(info.name, info.size, info.isdir(), refusal, lambda: stream.extractfile(info))


class _Sink:
    """Where an archive's files go, as long as nothing is wrong with it."""

    def __init__(self, folder: Path, source: str, most_bytes: int) -> None:
        self.folder, self.source, self.most_bytes = folder, source, most_bytes
        self.files = self.size_bytes = self.seen = 0
        self.problems: list[Problem] = []

    def take(self, member: _Member) -> None:
        """Write one entry; after the first that is wrong, only look at the rest."""
        self.seen += 1
        parts = [part for part in member.name.replace("\\", "/").split("/") if part not in ("", ".")]
        if any(part == "__MACOSX" or part.startswith("._") for part in parts) and not member.refusal:
            return
        what = member.refusal or _leads_out(member.name, parts)
        if not what and self.seen > _MOST_FILES:
            what = f"holds more than {_MOST_FILES:,} entries"
        if not what and self.size_bytes + member.size_bytes > self.most_bytes:
            what = f"would unpack to more than {self.most_bytes:,} bytes, far more than an archive of images does"
        if what:
            self.wrong(what, member.name)
        elif parts and not self.problems:
            self.write(member, self.folder.joinpath(*parts))

    def write(self, member: _Member, target: Path) -> None:
        """Write one entry's bytes."""
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            content, out = member.open(), target.open("xb")
        except FileExistsError:
            self.wrong("stands in it twice, or is a file and a folder", member.name)
            return
        except NotImplementedError as error:  # a compression that zipfile does not know
            self.wrong(f"cannot be read ({error}); unpack it by hand", member.name)
            return
        if content is None:
            out.close()
            self.wrong("is no plain file", member.name)
            return
        with content, out:
            while chunk := content.read(_CHUNK_BYTES):
                self.size_bytes += len(chunk)
                if self.size_bytes > self.most_bytes:  # whatever its header says
                    self.wrong(f"unpacks to more than {self.most_bytes:,} bytes", member.name)
                    return
                out.write(chunk)
        self.files += 1

    def wrong(self, what: str, name: str) -> None:
        """Note what is wrong; the first few are enough."""
        if len(self.problems) < _SHOWN:
            self.problems.append(Problem(f"{what}; nothing of this archive is unpacked", f"{self.source}: {name}"))


def _leads_out(name: str, parts: list[str]) -> str:
    """Say what is wrong with a name, if anything."""
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "is an absolute path"
    if ".." in parts:
        return "leads out of the folder"
    if any(ord(character) < 32 for character in name) or any(len(os.fsencode(part)) > 255 for part in parts):
        return "is no usable file name"
    return ""
