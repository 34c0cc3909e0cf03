"""A file brought here from a server: hashed, and gone on with where it was cut."""

import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from eyeground.atomic_file import write_whole

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_AGENT = "eyeground"
_HERE = frozenset(("127.0.0.1", "localhost", "::1"))
_BUSY = frozenset((408, 425, 429, 500, 502, 503, 504))
_WHY = {
    401: "it asks for a login",
    403: "it does not give the file to programs, or asks for a login",
    404: "the file has moved or was removed",
    410: "the file was removed",
}

Progress = Callable[[int, int], None]


class DownloadFailed(OSError):
    """A file that could not be brought here; what was loaded is kept, and a later try goes on."""


class DownloadWrong(DownloadFailed):
    """A file whose bytes are not those expected; nothing of it is kept."""


@dataclass(frozen=True)
class _Seen:
    """What the server said of a file whose beginning lies here."""

    url: str
    etag: str = ""
    modified: str = ""
    total: int = 0


class ResumingDownload:
    """A downloader for pooch that asks only for the bytes that are still missing.

    They are joined to those that are here only if the server says that it is the same file still: by its tag, its date,
    or at least its length.

    Args:
        part: Where the bytes gather until they are complete; stays when the download is cut.
        progress: Told (bytes here, bytes in all, 0 = not known).
        tries: How often to try again without a new byte.
        pause_s: How long to wait before the second try; doubled each time. Unit: s.

    Example:
        >>> ResumingDownload(Path("a.part"), tries=1).part.name
        'a.part'

    References:
        RFC 9110, sections 13.1.5 (If-Range) and 14 (range requests).
    """

    def __init__(self, part: Path, *, progress: Progress | None = None, tries: int = 5, pause_s: float = 2.0) -> None:
        self.part = part
        self._beside = part.with_name(f"{part.name}.json")
        self._progress, self._tries, self._pause_s = progress, tries, pause_s
        self._opener = urllib.request.build_opener(_Redirects())

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Bring the file, and put it where pooch wants it."""
        _check_url(url)
        failed, here = 0, self._here()
        while True:
            try:
                if self._load(url):
                    break
                error: Exception = DownloadFailed("the connection was cut")
            except urllib.error.HTTPError as answer:
                answer.close()
                if answer.code not in _BUSY:
                    why = _WHY.get(answer.code, "see its page")
                    raise DownloadFailed(f"{url}: the server answers {answer.code}: {why}") from answer
                error = answer
            except DownloadFailed:
                raise
            except (
                urllib.error.URLError,
                http.client.HTTPException,
                TimeoutError,
                ConnectionError,
                ssl.SSLError,
            ) as cut:
                error = cut
            except OSError as full:
                if full.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                what = f"{full.strerror}; {self._here()} bytes are here already and are kept"
                raise OSError(full.errno, what, str(self.part.parent)) from full
            failed = failed + 1 if self._here() <= here else 0
            here = self._here()
            if failed >= self._tries:
                reason = getattr(error, "reason", None) or error
                raise DownloadFailed(
                    f"{url}: cannot be reached ({reason}); check the connection, or the proxy in HTTPS_PROXY. {here} "
                    "bytes are here; run the same command again, and it goes on from there"
                ) from error
            time.sleep(self._pause_s * 2**failed)
        # A second name, not a move: if this process dies while the file is hashed, the bytes are still here.
        Path(output_file).unlink(missing_ok=True)
        try:
            os.link(self.part, output_file)
        except OSError:  # a disk that knows no second names
            shutil.copyfile(self.part, output_file)

    def forget(self) -> None:
        """Delete what was loaded."""
        self.part.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)

    def _here(self) -> int:
        """How many bytes lie here."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _load(self, url: str) -> bool:
        """Ask for the missing bytes, and tell whether that were all of them."""
        seen, start = self._seen(), self._here()
        if seen.url != url:
            seen, start = _Seen(url), 0
        headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            # A weak tag says "much the same", which is not enough to join two halves.
            stamp = seen.etag if seen.etag and not seen.etag.startswith("W/") else seen.modified
            headers |= {"If-Range": stamp} if stamp else {}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - checked by _check_url
        try:
            response = self._opener.open(request, timeout=_TIMEOUT_S)
        except urllib.error.HTTPError as answer:
            if answer.code != 416 or not start:
                raise
            answer.close()
            if _total(answer.headers) == start:
                return True
            self.forget()
            return False
        with response:
            total = _total(response.headers)
            if response.status == 206:
                begins = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
                if begins is None or int(begins[1]) != start or (seen.total and total and total != seen.total):
                    self.forget()  # another file than the one that lies here
                    return False
            else:
                start = 0
            fresh = _Seen(url, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""), total)
            self._room(max(0, total - start))
            if not start:  # else, killed here, the next try would join new bytes to those of another file
                self.part.unlink(missing_ok=True)
            write_whole(self._beside, json.dumps(asdict(fresh)).encode())
            with self.part.open("ab" if start else "wb") as file:
                done = self._copy(response, file, start, total)
            return done == total or not total

    def _copy(self, response: Any, file: BinaryIO, done: int, total: int) -> int:
        """Write what comes, and tell how many bytes lie here then."""
        try:
            while chunk := response.read1(_CHUNK_BYTES):  # what has come, not a whole chunk
                file.write(chunk)
                done += len(chunk)
                if self._progress is not None:
                    self._progress(done, total)
        finally:  # after a power cut, the file must not be longer than what was really written
            file.flush()
            os.fsync(file.fileno())
        return done

    def _room(self, wanted: int) -> None:
        """Refuse a file that the disk has no room for before a byte of it is loaded."""
        free = shutil.disk_usage(self.part.parent).free
        if wanted > free:
            what = f"the disk is full: {wanted:,} bytes are still to come, and {free:,} are free"
            raise OSError(errno.ENOSPC, what, str(self.part.parent))

    def _seen(self) -> _Seen:
        """What the server said when the bytes here were loaded."""
        try:
            return _Seen(**json.loads(self._beside.read_bytes()))
        except (OSError, ValueError, TypeError):
            return _Seen("")


def download(
    url: str,
    folder: Path,
    *,
    name: str,
    sha256: str | None,
    progress: Progress | None = None,
    tries: int = 5,
    pause_s: float = 2.0,
) -> Path:
    """Bring a file into a folder; a cut download goes on, and a wrong file is never kept.

    Args:
        url: Where it is: https, or http on this machine.
        folder: Where to put it; the bytes gather there in ``<name>.part``.
        name: Name to give it.
        sha256: Hash that it must have; None = any.
        progress: Told (bytes here, bytes in all, 0 = not known).
        tries: How often to try again without a new byte.
        pause_s: How long to wait before the second try; doubled each time. Unit: s.

    Returns:
        The file.

    Raises:
        DownloadFailed: If the server cannot be reached, does not give the file, or cuts it again and again; what was
            loaded is kept.
        DownloadWrong: If it is not the file expected; nothing is kept.
        OSError: If the disk is full; what was loaded is kept.

    Example:
        >>> download("ftp://a.example/b.zip", Path("."), name="b.zip", sha256=None)
        Traceback (most recent call last):
        eyeground.data.download.DownloadFailed: ftp://a.example/b.zip: only https is loaded from

    References:
        Uieda et al., "Pooch: A friend to fetch your data files", JOSS 2020;5:1943.
    """
    import pooch

    _check_url(url)
    pooch.get_logger().setLevel("WARNING")
    folder.mkdir(parents=True, exist_ok=True)
    downloader = ResumingDownload(folder / f"{name}.part", progress=progress, tries=tries, pause_s=pause_s)
    expected = f"sha256:{sha256}" if sha256 else None
    try:
        file = pooch.retrieve(url, known_hash=expected, fname=name, path=folder, downloader=downloader)
    except ValueError as error:
        downloader.forget()
        raise DownloadWrong(
            f"{url}: this is not the file expected ({error}). If it happens again, the file has changed at its source: "
            "read its page before you trust it"
        ) from error
    downloader.forget()
    return Path(file)


def sha256_of(path: Path) -> str:
    """Hash a file.

    Args:
        path: The file.

    Returns:
        Its SHA-256 in hex digits.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a").write_bytes(b"")
        ...     sha256_of(Path(folder, "a"))[:8]
        'e3b0c442'

    References:
        FIPS 180-4.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server elsewhere, but never to where others can read or change what comes."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_url(url: str) -> None:
    """Refuse everything but https; http is for this machine only."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise DownloadFailed(f"{url}: only https is loaded from")


def _total(headers: Any) -> int:
    """How long the whole file is, 0 if the server does not say."""
    ranged = re.search(r"/(\d+)$", headers.get("Content-Range", ""))
    if ranged:
        return int(ranged[1])
    length = headers.get("Content-Length", "")
    return int(length) if length.isdigit() else 0
