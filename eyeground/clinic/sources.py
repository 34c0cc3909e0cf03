"""Where images come from: the bytes that came along, or a file below the one image folder. Nothing else, ever."""

import errno
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from eyeground.clinic.records import Picture
from eyeground.clinic.refusal import Problem, Refused

_LONGEST: Final = 1024  # characters of a path
# Control characters, halves of characters, and signs that turn the direction of what follows them on a page.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")
# Whatever has a colon in its first part would be an address to somebody: http:, data:, C:, host:port, user@host:path.
_ADDRESS = re.compile(r"\s*(?:[^/\\]*:|[/\\]{2})")
# Decoded, only what cannot be a name: 检查：1.jpg, with a colon in full width, is one.
_DECODED_ADDRESS = re.compile(
    r"\s*(?:[a-z][a-z0-9+.-]+:[/\\]|[/\\]{2}|(?:https?|ftp|file|data|blob|javascript|about|urn):)", re.IGNORECASE
)
_GONE = (errno.ENOENT, errno.ENOTDIR)


def fault_of(path: str) -> str:
    """Say what is wrong with a path, before anybody looks for the file.

    An address stays one when its signs are written as ``%3A`` or in full width. Otherwise such signs are just parts of
    a name, and there will be no file of that name.

    Args:
        path: As it was sent.

    Returns:
        ``"url_refused"``, ``"bad_path"``, or ``""`` where nothing is.

    Example:
        >>> fault_of("2026/11/1.jpg"), fault_of("../1.jpg"), fault_of("http://a/1.jpg"), fault_of("C:/1.jpg")
        ('', 'bad_path', 'url_refused', 'bad_path')

    References:
        CWE-22 (path traversal), CWE-918 (server-side request forgery).
    """
    if len(path) > _LONGEST:
        return "bad_path"
    plain = _CONTROL.sub("", path)
    if _ADDRESS.match(plain) and not _is_local(plain):
        return "url_refused"
    if any(_DECODED_ADDRESS.match(_CONTROL.sub("", each)) for each in _decoded(plain)):
        return "url_refused"
    if _CONTROL.search(path) or "\\" in path or _DRIVE.match(path.lstrip()):
        return "bad_path"
    parts = path.split("/")
    # The last one has to be a name; an empty one before it is a slash too many, which harms nobody.
    return "bad_path" if ".." in parts or parts[-1] in ("", ".") else ""


def fetch(picture: Picture, *, root: Path | None, max_bytes: int, where: str = "") -> bytes:
    """Get an image's bytes.

    A path is walked folder by folder from the image root, and no symbolic link is followed on the way, so that nothing
    outside is ever opened, whatever is swapped meanwhile. An absolute path is taken when it begins with the root.

    Args:
        picture: The image.
        root: The one folder that paths may lead into; None = no paths are taken. It may itself be a link.
        max_bytes: Largest image let in. Unit: bytes.
        where: Our own name of its field, for the refusal.

    Returns:
        The whole file.

    Raises:
        Refused: With ``image_missing``, ``bad_path``, ``url_refused``, ``image_unreadable``, ``image_empty``,
            ``image_too_large`` or ``no_image_root``.

    Example:
        >>> fetch(Picture(part="fundus", path="a/../../b.jpg"), root=Path("images"), max_bytes=9)
        Traceback (most recent call last):
        eyeground.clinic.refusal.Refused: the path leads out of the image folder or is no path; send one below it

    References:
        openat(2), "Rationale for openat() and other directory file descriptor APIs".
    """
    if not picture.path:
        return _sized(picture.data, max_bytes, where)
    fault = fault_of(picture.path)
    if fault:
        raise _refused(fault, where)
    if root is None:
        raise _refused("no_image_root", where)
    parts = _below(picture.path, root)
    if not parts:
        raise _refused("bad_path", where)
    handle = _open(root, parts, where)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _refused("image_unreadable", where)
        if status.st_size > max_bytes:
            raise _refused("image_too_large", where)
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)  # it may grow while it is read
    except OSError:
        raise _refused("image_unreadable", where) from None
    finally:
        os.close(handle)
    return _sized(data, max_bytes, where)


def _decoded(path: str) -> list[str]:
    """What somebody might make of a path who decodes it before use."""
    once = unquote(path)
    return [unicodedata.normalize("NFKC", each) for each in (path, once, unquote(once))]


def _is_local(path: str) -> bool:
    """Whether it is a drive's letter and not an address."""
    return bool(_DRIVE.match(path.lstrip()))


def _below(path: str, root: Path) -> list[str]:
    """The names that lead from the root to the file; none where it is not below the root."""
    if path.startswith("/"):
        tops = (f"{str(top).rstrip('/')}/" for top in (root, root.absolute()) if str(top).startswith("/"))
        top = next((top for top in tops if path.startswith(top)), None)
        if top is None:
            return []
        path = path[len(top) :]
    return [part for part in path.split("/") if part not in ("", ".")]


def _open(root: Path, parts: list[str], where: str) -> int:
    """Walk down and open the file; only the root's own name may be a link."""
    quiet = os.O_RDONLY | os.O_CLOEXEC
    try:
        folder = os.open(root, quiet | os.O_DIRECTORY)
    except OSError:
        raise _refused("image_unreadable", where) from None
    try:
        for part in parts[:-1]:
            inner = _step(folder, part, quiet | os.O_DIRECTORY | os.O_NOFOLLOW, where)
            os.close(folder)
            folder = inner
        # Without O_NONBLOCK a named pipe put among the images would hang the reader.
        return _step(folder, parts[-1], quiet | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, where)
    finally:
        os.close(folder)


def _step(folder: int, part: str, flags: int, where: str) -> int:
    """Open one name in an open folder."""
    try:
        return os.open(part, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP or _is_link(folder, part) or error.errno == errno.ENAMETOOLONG:
            code = "bad_path"
        else:
            code = "image_missing" if error.errno in _GONE else "image_unreadable"
        raise _refused(code, where) from None


def _is_link(folder: int, part: str) -> bool:
    """Whether a name is a symbolic link; asked only to say why it was not opened."""
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _sized(data: bytes, max_bytes: int, where: str) -> bytes:
    """Refuse no bytes and too many."""
    if not data:
        raise _refused("image_empty", where)
    if len(data) > max_bytes:
        raise _refused("image_too_large", where)
    return data


def _refused(code: str, where: str) -> Refused:
    """Make a refusal; the path is not repeated."""
    return Refused([Problem(code=code, where=where)])
