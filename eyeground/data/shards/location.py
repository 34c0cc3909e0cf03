"""Where shards lie: a folder, or an address that fsspec reaches, whose shards are brought here once and checked."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeVar

from eyeground.data.shards.index import FOLDER, TABLE, ShardFile

_Answer = TypeVar("_Answer")

ADVICE: Final = "copy it again from where it was made; where that is here, the same 'eyeground data prepare' repairs it"
# An image here and there costs a request each; only who wants more of a shard gets all of it.
_SINGLE_READS: Final = 2
_FREE_SHARE: Final = 0.1  # of the disk, left to others where nobody says how much to keep


class _Told(Exception):
    """An error whose words come through a loader process: torch hands on its traceback, of which the end counts."""

    def __init__(self, words: str) -> None:
        super().__init__(words.rpartition(f"{type(self).__name__}: ")[2].strip())


class ShardBroken(_Told, ValueError):
    """A shard that is not as it was written.

    Args:
        words: Which one, and what to do.

    Example:
        >>> print(ShardBroken("shard-00001-of-00002.parquet: is missing; copy it again"))
        shard-00001-of-00002.parquet: is missing; copy it again

    References:
        Our own.
    """


class ShardsUnreachable(_Told, OSError):
    """An address that does not answer, or that this installation cannot reach.

    Args:
        words: Which one, and what to do.

    Example:
        >>> print(ShardsUnreachable("s3://eyes: does not answer"))
        s3://eyes: does not answer

    References:
        Our own.
    """


class CopiesFull(_Told, OSError):
    """A disk of this machine without room for copies of shards.

    Args:
        words: Which one, and what to do.

    Example:
        >>> print(CopiesFull("/cache: no room for copies of shards"))
        /cache: no room for copies of shards

    References:
        Our own.
    """


class Location(Protocol):
    """Where shards lie.

    References:
        ``LocalFolder`` and ``RemoteFolder``.
    """

    def read_whole(self, name: str) -> bytes | None:
        """Read a small file beside the shards.

        Args:
            name: Its name.

        Returns:
            Its content; None if there is none.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """List the shards.

        Returns:
            Name -> size in bytes.
        """
        ...

    def read(self, shard: ShardFile, start: int, size: int) -> bytes:
        """Read a part of a shard.

        Args:
            shard: Which.
            start: First byte.
            size: How many bytes.

        Returns:
            The bytes; fewer where the shard is cut short.

        Raises:
            ShardBroken: If it is missing, or not as the index says.
        """
        ...

    def local(self, shard: ShardFile) -> Path:
        """Have a whole shard on this machine.

        Args:
            shard: Which.

        Returns:
            Its file.

        Raises:
            ShardBroken: If it is missing, or not as the index says.
        """
        ...

    def forget(self, shard: ShardFile) -> None:
        """Drop a copy that has gone bad here, so that it is brought again.

        Args:
            shard: Which.
        """
        ...


class LocalFolder:
    """A folder.

    Args:
        folder: Holds ``shards.json`` and ``shards/``.

    Example:
        >>> LocalFolder(Path("nowhere")).read_whole("shards.json") is None
        True

    References:
        Our own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read_whole(self, name: str) -> bytes | None:
        """Read a small file beside the shards."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def sizes(self) -> dict[str, int]:
        """List the shards."""
        try:
            with os.scandir(self._folder / FOLDER) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except FileNotFoundError:
            return {}

    def read(self, shard: ShardFile, start: int, size: int) -> bytes:
        """Read a part of a shard."""
        try:
            return _part(self.local(shard), start, size)
        except FileNotFoundError as error:
            raise ShardBroken(_missing(shard.name, self._folder / FOLDER)) from error

    def local(self, shard: ShardFile) -> Path:
        """Say where a shard lies."""
        return self._folder / _inside(shard)

    def forget(self, shard: ShardFile) -> None:
        """Do nothing: what lies here is no copy."""


class RemoteFolder:
    """An address that fsspec reaches. Shards are brought into a folder of this machine, each once, and checked.

    Files there are named after their hashes. When the folder is full, the shards that were read longest ago go.

    Args:
        address: Such as ``s3://bucket/folder``.
        keep: Folder for the copies; it is made.
        limit_bytes: How much may lie there; None = all but a tenth of its disk.

    Example:
        >>> import tempfile, fsspec
        >>> fsspec.filesystem("memory").pipe("/eyes/shards.json", b"{}")
        >>> RemoteFolder("memory://eyes", Path(tempfile.mkdtemp())).read_whole("shards.json")
        b'{}'

    References:
        https://filesystem-spec.readthedocs.io
    """

    def __init__(self, address: str, keep: Path, *, limit_bytes: int | None = None) -> None:
        self._address = address.rstrip("/")
        self._keep = keep
        self._limit_bytes = limit_bytes
        self._asked: Counter[str] = Counter()
        keep.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read_whole(self, name: str) -> bytes | None:
        """Read a small file beside the shards."""
        try:
            return self._ask(lambda system, root: bytes(system.cat_file(f"{root}/{name}")))
        except FileNotFoundError:
            return None

    def sizes(self) -> dict[str, int]:
        """List the shards."""

        def listed(system: Any, root: str) -> dict[str, int]:
            system.invalidate_cache()
            found = system.ls(f"{root}/{FOLDER}", detail=True)
            return {each["name"].rpartition("/")[2]: int(each["size"]) for each in found if each["type"] == "file"}

        try:
            return self._ask(listed)
        except FileNotFoundError:
            return {}

    def read(self, shard: ShardFile, start: int, size: int) -> bytes:
        """Read a part of a shard, from the copy if there is one."""
        try:
            return _part(self._copy(shard), start, size, touch=True)
        except FileNotFoundError:
            self._asked[shard.name] += 1
        if self._asked[shard.name] > _SINGLE_READS:
            with self._bring(shard) as file:
                return os.pread(file.fileno(), size, start)
        try:
            return self._ask(
                lambda system, root: bytes(system.cat_file(f"{root}/{_inside(shard)}", start=start, end=start + size))
            )
        except FileNotFoundError as error:
            raise ShardBroken(_missing(shard.name, self._address)) from error

    def local(self, shard: ShardFile) -> Path:
        """Bring a shard here, unless another process has."""
        self._bring(shard).close()
        return self._copy(shard)

    def forget(self, shard: ShardFile) -> None:
        """Drop the copy."""
        self._copy(shard).unlink(missing_ok=True)

    def _copy(self, shard: ShardFile) -> Path:
        """Where a shard's copy lies."""
        return self._keep / f"{shard.sha256}.parquet"

    def _bring(self, shard: ShardFile) -> BinaryIO:
        """Open a shard's copy, and bring it before if there is none; it is open before others may take it away."""
        copy = self._copy(shard)
        with _alone(copy.with_suffix(".lock")):
            with suppress(FileNotFoundError):
                file = copy.open("rb")
                os.utime(file.fileno())
                return file
            self._make_room(shard.bytes)
            beside = copy.with_suffix(".part")
            try:
                self._ask(lambda system, root: system.get_file(f"{root}/{_inside(shard)}", str(beside)))
                wrong = differs(beside, shard)
                if wrong:
                    raise ShardBroken(f"{shard.name} at {self._address}: {wrong}; {ADVICE}")
                file = beside.open("rb")
                beside.replace(copy)
                return file
            except FileNotFoundError as error:
                raise ShardBroken(_missing(shard.name, self._address)) from error
            finally:
                beside.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """Take away what a kill left half brought, and the copies that were read longest ago."""
        for part in self._keep.glob("*.part"):
            with suppress(BlockingIOError), _alone(part.with_suffix(".lock"), wait=False):
                part.unlink(missing_ok=True)
        copies = []
        for path in self._keep.glob("*.parquet"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process made room too
                continue
            copies.append((status.st_mtime_ns, status.st_size, path))
        held = sum(size for _, size, _ in copies)
        disk = shutil.disk_usage(self._keep)
        limit = self._limit_bytes
        if limit is None:
            limit = held + disk.free - int(_FREE_SHARE * disk.total)
        for _, size, path in sorted(copies):
            if held + needed <= limit:
                return
            path.unlink(missing_ok=True)  # who reads it at this moment can finish
            held -= size

    def _ask(self, question: Callable[[Any, str], _Answer]) -> _Answer:
        """Ask the store, in a process that may have been forked since the last time."""
        try:
            import fsspec  # type: ignore[import-untyped]

            system, root = fsspec.core.url_to_fs(self._address)
            return question(system, root)
        except FileNotFoundError:
            raise
        except ImportError as error:
            what = "is reached through fsspec and a package for its kind of store"
            raise ShardsUnreachable(f"{self._address} {what}: pip install 'eyeground[shards]' ({error})") from error
        except Exception as error:  # every store raises classes of its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = "no room for copies of shards; free some space, or move them with EYEGROUND_CACHE"
                raise CopiesFull(f"{self._keep}: {what}") from error
            words = " ".join(str(error).split()) or type(error).__name__
            raise ShardsUnreachable(f"{self._address}: cannot be read ({words}); check address and rights") from error


def differs(path: Path, entry: ShardFile) -> str:
    """Compare a file with what the index says of it.

    Args:
        path: The file.
        entry: Its line of the index.

    Returns:
        What is wrong, ``""`` if it is the same to the byte.

    Raises:
        FileNotFoundError: If it is not there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a")
        >>> _ = path.write_bytes(b"abc")
        >>> differs(path, ShardFile("a", 0, 4, "00" * 32))
        'has 3 of 4 bytes, so it was cut short'

    References:
        Our own.
    """
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size} of {entry.bytes} bytes" + (", so it was cut short" if size < entry.bytes else "")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if digest == entry.sha256 else f"has changed (sha256 {digest[:12]}, not {entry.sha256[:12]})"


def _inside(entry: ShardFile) -> str:
    """Where a file of the set lies in it."""
    return TABLE if entry.name == TABLE else f"{FOLDER}/{entry.name}"


def _missing(name: str, where: Path | str) -> str:
    """Say that a shard is not there."""
    return f"{name}: is missing in {where}; {ADVICE}"


def _part(path: Path, start: int, size: int, *, touch: bool = False) -> bytes:
    """Read a part of a file, and perhaps note that it was read."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if touch:
            os.utime(handle)
        return os.pread(handle, size, start)
    finally:
        os.close(handle)


@contextmanager
def _alone(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Let one process at a time bring a shard; the others wait and find it."""
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
