"""The watched folder: what is put there and lies still becomes a patient message, and is put aside once it is taken."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eyeground.atomic_file import flush_folder, write_whole
from eyeground.clinic.exchange.contract import dumps, parse
from eyeground.clinic.log import failed
from eyeground.clinic.records import Picture
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.sources import fetch
from eyeground.clinic.uploads import HEAD_BYTES, is_image, may_be_image, message_of, photo_of, sealed

DONE: Final = "done"
REFUSED: Final = "refused"
REQUEST: Final = "request.json"
PROBLEMS: Final = "problems.json"
_MOST_FILES: Final = 2000
_DEEPEST: Final = 4  # folders below a visit's own
_MOST_REQUEST_BYTES: Final = 2**20
# How long a visit is left alone that cannot be read or moved: at first, and at most.
_LEFT_S: Final = 60.0
_LONGEST_LEFT_S: Final = 960.0
_EYES: Final = ("left_eye", "right_eye", "left_anterior", "right_anterior")
# Name, size, time of change and file number: what changes while something is still being copied.
_Look = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Found:
    """Something in the watched folder that lies still: a visit.

    Args:
        name: What it is called there: a folder, or a file.
        files: Its files, by their path below the watched folder, sorted.
        size_bytes: Of those that may be images, together. Unit: bytes.

    Example:
        >>> Found("P1", ("P1/OD.jpg", "P1/OS.jpg"), 9).name
        'P1'

    References:
        Our own.
    """

    name: str
    files: tuple[str, ...]
    size_bytes: int


class Watched:
    """A folder that visits are put into; each folder in it is one, and each loose file.

    Whether something lies still is told from two looks at names, sizes and times of change, apart by a clock that
    nobody sets. The folders ``done`` and ``refused`` and hidden names are not looked at. No symbolic link is followed.

    Args:
        folder: The folder; it is made if it is missing.
        quiet_s: How long a visit must not have changed. Unit: s.
        max_image_bytes: Largest image let in. Unit: bytes.
        max_message_bytes: Longest message that a visit may become. Unit: bytes.
        now: A clock that only goes on. Unit: s.

    Example:
        >>> import tempfile
        >>> watched = Watched(Path(tempfile.mkdtemp()), quiet_s=0)
        >>> _ = (watched.folder / "P1_OD.jpg").write_bytes(b"abc")
        >>> [visit.name for visit in watched.ready()], [visit.name for visit in watched.ready()]
        ([], ['P1_OD.jpg'])

    References:
        Our own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quiet_s: float = 2.0,
        max_image_bytes: int = 32 * 2**20,
        max_message_bytes: int = 48 * 2**20,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._quiet_s, self._now = quiet_s, now
        self._max_image_bytes, self._max_message_bytes = max_image_bytes, max_message_bytes
        self._seen: dict[str, tuple[_Look, float]] = {}
        self._left: dict[str, tuple[float, float]] = {}  # until when, and for how long
        folder.mkdir(parents=True, exist_ok=True)

    def ready(self) -> list[Found]:
        """Look at the folder.

        Returns:
            What has not changed for ``quiet_s``, sorted by name. An empty folder is never ready: somebody is about to
            fill it. Nor is one that cannot be read, or was left alone.

        Raises:
            OSError: If the watched folder itself cannot be read.
        """
        moment, before, self._seen = self._now(), self._seen, {}
        found = []
        names = sorted(os.listdir(self.folder))  # noqa: PTH208
        self._left = {name: self._left[name] for name in names if name in self._left}
        for name in names:
            if name.startswith(".") or name in (DONE, REFUSED) or moment < self._left.get(name, (moment, 0.0))[0]:
                continue
            try:
                look = tuple(sorted(_look(self.folder, name)))
            except OSError as error:  # another user's folder costs the others nothing
                self.leave(name, error)
                continue
            if not look:
                continue
            old, since = before.get(name, ((), moment))
            if look != old:
                self._seen[name] = (look, moment)
                continue
            self._seen[name] = (look, since)
            if moment - since >= self._quiet_s:
                size = sum(each[1] for each in look if may_be_image(each[0]))
                found.append(Found(name, tuple(each[0] for each in look), size))
        return found

    def message(self, visit: Found) -> bytes:
        """Make a patient message of a visit; the same visit gives the same message.

        Without a ``request.json`` the patient's id is the folder's name. A ``request.json`` is a patient message whose
        photos are names of files in the folder; one without photos means all images there.

        Args:
            visit: As ``ready`` gave it.

        Returns:
            The message, for the contract ``screening``.

        Raises:
            Refused: If a file cannot be taken, or the ``request.json`` is none.
        """
        if len(visit.files) > _MOST_FILES:
            raise Refused([Problem(code="too_many_images", where="photos")])
        # Three bytes are four letters of base64. The intake counts the whole message; this spares reading it.
        if visit.size_bytes * 4 // 3 > self._max_message_bytes:
            raise Refused([Problem(code="too_large")])
        place = self.folder / visit.name
        if place.is_symlink():
            raise Refused([Problem(code="bad_path", where="photos")])
        if not place.is_dir():
            return message_of([(visit.name, self._fetch(visit.name, "photos.0"))])
        inside = [file.removeprefix(f"{visit.name}/") for file in visit.files]
        if REQUEST not in inside:
            return message_of(self._images(visit.name, inside), patient={"patient_id": visit.name})
        told = parse(self._fetch(f"{visit.name}/{REQUEST}", REQUEST, _MOST_REQUEST_BYTES))
        name = "patient" if told.get("Patient") is None else "Patient"
        patient = told.get(name)
        if not isinstance(patient, dict):
            raise Refused([Problem(code="missing" if patient is None else "wrong_type", where="Patient")])
        photos = patient.get("photos")
        if photos in (None, [], {}):
            filled: Any = [photo_of(*each) for each in self._images(visit.name, inside)]
        else:
            filled = self._filled(visit.name, photos)
        rest = {key: value for key, value in told.items() if key != name}
        known = patient.get("patient_id") or visit.name
        return sealed({**rest, name: {**patient, "patient_id": known, "photos": filled}})

    def leave(self, name: str, error: OSError) -> None:
        """Leave a visit alone for a while, longer each time; that it cannot be read or moved is logged once.

        Args:
            name: The visit's.
            error: What happened.
        """
        _, before_s = self._left.get(name, (0.0, 0.0))
        pause_s = min(_LONGEST_LEFT_S, 2 * before_s) if before_s else _LEFT_S
        self._left[name] = (self._now() + pause_s, pause_s)
        if not before_s:
            failed("visit_left", error)

    def done(self, visit: Found, case_id: str) -> None:
        """Put a visit aside that is a case now; killed before, it is found again and is the same message.

        Args:
            visit: As ``ready`` gave it.
            case_id: The case it became.

        Raises:
            OSError: If it cannot be moved; then it is found again, too.
        """
        self._put_aside(visit, DONE, "case.json", dumps({"case_id": case_id}))

    def refused(self, visit: Found, problems: Sequence[Problem]) -> None:
        """Put a visit aside that was not taken, with a file that says why.

        Args:
            visit: As ``ready`` gave it.
            problems: What is wrong with it.

        Raises:
            OSError: If it cannot be moved; then it is found again.
        """
        self._put_aside(visit, REFUSED, PROBLEMS, dumps({"problems": Refused(problems).to_json()}))

    def _put_aside(self, visit: Found, where: str, note: str, text: bytes) -> None:
        """Move a visit into a folder of its own, with a note beside its files."""
        target = _free(self.folder / where, visit.name)
        source = self.folder / visit.name
        if source.is_dir() and not source.is_symlink():
            target.parent.mkdir(exist_ok=True)
            write_whole(source / note, text)  # before it moves: what was put aside always says why
            source.rename(target)
        else:
            target.mkdir(parents=True)
            write_whole(target / note, text)
            source.rename(target / visit.name)
        flush_folder(target.parent)
        flush_folder(self.folder)
        self._seen.pop(visit.name, None)
        self._left.pop(visit.name, None)

    def _images(self, name: str, inside: Sequence[str]) -> list[tuple[str, bytes]]:
        """All images of a visit; a file of another kind stays what it is."""
        files = []
        for file in filter(may_be_image, inside):
            data = self._fetch(f"{name}/{file}", "photos")
            if is_image(file, data[:HEAD_BYTES]):
                files.append((file, data))
        if not files:
            raise Refused([Problem(code="no_image", where="photos")])
        return files

    def _filled(self, name: str, photos: Any) -> Any:
        """Put the files that a request names into it; what else is wrong with it is said by the contract."""
        problems: list[Problem] = []

        def one(told: Any, where: str) -> Any:
            path = told.get("path") if isinstance(told, dict) else told
            if not isinstance(path, str) or not path:
                return told
            try:
                data = self._fetch(path, where, below=name)  # only files of this very visit
            except Refused as refused:
                problems.extend(refused.problems)
                return told
            rest = {key: value for key, value in told.items() if key != "path"} if isinstance(told, dict) else {}
            return {"name": path, **rest, **photo_of(str(rest.get("name") or path), data)}

        def several(told: Any, where: str) -> Any:
            if isinstance(told, list):
                return [one(each, f"{where}.{place}") for place, each in enumerate(told)]
            return one(told, where)

        if isinstance(photos, dict):
            filled: Any = {
                key: several(told, f"photos.{key}") if key in _EYES else told for key, told in photos.items()
            }
        else:
            filled = several(photos, "photos") if isinstance(photos, list) else photos
        if problems:
            raise Refused(problems)
        return filled

    def _fetch(self, path: str, where: str, max_bytes: int = 0, *, below: str = "") -> bytes:
        """Read a file of the watched folder as untrusted as any."""
        picture = Picture(part="fundus", path=path)
        return fetch(picture, root=self.folder / below, max_bytes=max_bytes or self._max_image_bytes, where=where)


def _look(folder: Path, name: str, depth: int = 0) -> Iterator[tuple[str, int, int, int]]:
    """Everything below a name that is no folder; what vanishes meanwhile was not there."""
    try:
        status = (folder / name).lstat()
        if stat.S_ISDIR(status.st_mode):
            if depth <= _DEEPEST:
                for inner in os.listdir(folder / name):  # noqa: PTH208
                    yield from _look(folder, f"{name}/{inner}", depth + 1)
            return
    except FileNotFoundError:
        return
    yield name, status.st_size, status.st_mtime_ns, status.st_ino


def _free(folder: Path, name: str) -> Path:
    """A name that nothing has yet: the same visit may have come before."""
    target, number = folder / name, 1
    while os.path.lexists(target):
        number += 1
        target = folder / f"{name}-{number}"
    return target
