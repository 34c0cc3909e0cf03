"""Signed cases written into a folder, in one of the forms of the shelf ``export``: all of it or nothing."""

import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final, Literal, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from eyeground.atomic_file import flush_folder
from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.db.tables import Case, Review
from eyeground.clinic.export._means import Held, Means
from eyeground.clinic.exported import Exported, LeftOut, NotSigned, gather
from eyeground.clinic.report.language import languages
from eyeground.clinic.service import Service
from eyeground.data.privacy.pseudonym import Pseudonyms
from eyeground.images.refusal import ImageRefused
from eyeground.pick import pick

Kind = Literal["fhir", "dicom", "labels", "deidentified"]
Progress = Callable[[int, int], None]
_PATTERN_SIGNS: Final = frozenset("*?[")


class ExportRefused(ValueError):
    """An export that cannot be made as it was asked for; the message names all that is wrong."""


@dataclass(frozen=True)
class Left:
    """A case that is not in an export.

    Args:
        case_id: The case.
        why: Why.
        fault: Whether something is broken; False where it is only not signed yet.

    Example:
        >>> Left("0a", "nobody has signed it yet (it is in review)", False).fault
        False

    References:
        Our own.
    """

    case_id: str
    why: str
    fault: bool


@dataclass(frozen=True)
class Summary:
    """What an export has made.

    Args:
        kind: Its form.
        folder: Where it is.
        cases: How many are in it.
        files: How many files they brought.
        left: Those that are not, and why.
        held: Images that are not, and why.
        unchanged: Whether this very version was there already.

    Example:
        >>> Summary("fhir", Path("out"), 3, 6, (), ()).whole
        True

    References:
        Our own.
    """

    kind: Kind
    folder: Path
    cases: int
    files: int
    left: tuple[Left, ...]
    held: tuple[Held, ...]
    unchanged: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is missing but what nobody has signed."""
        return not self.held and not any(each.fault for each in self.left)


class _Writer(Protocol):
    """What a file of the shelf has as ``Writer``."""

    VERSIONED: bool

    def __init__(self, into: Path, means: Means) -> None: ...

    def add(self, case: Exported) -> int: ...

    def close(self) -> str: ...


def export(
    service: Service,
    kind: Kind,
    out: Path,
    *,
    cases: Sequence[str] = (),
    since: str = "",
    languages: Sequence[str] = ("zh",),
    confirmed: Sequence[str] = (),
    actor: str,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Write signed cases into a folder. Killed at any moment it leaves the whole export or none.

    A case that cannot be written, since an image is gone or cannot be read, is named and costs the others nothing. What
    nobody has signed is left out and counted. That it was made stands in the audit trail before it can be seen.

    Args:
        service: The service.
        kind: In which form; a file of the shelf ``export``.
        out: Folder to make; it must not be there yet. Of ``labels``: the folder of all versions.
        cases: Whole ids; none = all.
        since: Only those signed on this day or later, as the site's calendar says; empty = all.
        languages: Of printed reports.
        confirmed: Images in whose pixels a person has found no name; names of copies, as ``Summary.held`` gives them.
        actor: Who does it, for the audit trail.
        progress: Is told how many cases of how many are done.

    Returns:
        What was made.

    Raises:
        ExportRefused: If folder, day, language or a confirmed name cannot be used, or there is nothing to write.
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer.
        OSError: If the disk is full; what was begun is taken away.

    References:
        docs/clinic.md.
    """
    writer_of: type[_Writer] = pick("clinic.export", kind).Writer
    settings = service.settings
    start = _checked(out, since, settings.timezone, languages, confirmed, versioned=writer_of.VERSIONED)
    chosen, left = _chosen(service, cases, start)
    if not chosen:
        reasons = "; ".join(f"{each.case_id}: {each.why}" for each in left[:10]) or "no case is signed"
        raise ExportRefused(f"there is nothing to export: {reasons}")
    with _part(out, versioned=writer_of.VERSIONED) as part:
        means = _means(service, out, languages, confirmed)
        writer, done, files = writer_of(part, means), 0, 0
        for number, case_id in enumerate(chosen, 1):
            try:
                with service.database.read() as session:
                    case = gather(session, case_id, settings=settings)
                files, done = files + writer.add(case), done + 1
            except BlobMissing:
                left.append(Left(case_id, "an image is no longer kept", True))
            except ImageRefused as error:
                left.append(Left(case_id, f"an image cannot be read: {error.reason.replace('_', ' ')}", True))
            except NotSigned as error:
                left.append(Left(case_id, str(error), False))
            except LeftOut as error:
                left.append(Left(case_id, str(error), True))
            progress(number, len(chosen))
        held = tuple(means.held)
        summary = Summary(kind, out, done, files, tuple(left), held)
        if not done:
            raise ExportRefused(nothing_of(summary))
        version = writer.close()
        target = out / version if version else out
        unchanged = bool(version) and target.exists()
        with service.database.write() as work:
            work.note(
                actor, "exported", None, kind=kind, cases=done, files=files, left=len(left), held=len(held),
                version=version, confirmed=sorted(means.let_through),
            )  # fmt: skip
        if not unchanged:
            _settle(part, target)
    return Summary(kind, target, done, files, tuple(left), held, unchanged)


def nothing_of(summary: Summary) -> str:
    """Say why nothing at all came out.

    Args:
        summary: What is left out.

    Returns:
        Cases and images with their reasons.

    Example:
        >>> nothing_of(Summary("fhir", Path("out"), 0, 0, (Left("0a", "an image is no longer kept", True),), ()))
        'no case could be exported:\\n  0a: an image is no longer kept'

    References:
        Our own.
    """
    lines = [f"{each.case_id}: {each.why}" for each in summary.left]
    lines += [f"{each.file} of {each.case_id}: {each.why}" for each in summary.held]
    return "\n  ".join(["no case could be exported:", *lines[:50]])


def pseudonyms_of(secret: str, site: str) -> Pseudonyms:
    """Derive a site's pseudonyms from the service's secret: the same patient is the same word in every export.

    Args:
        secret: ``Settings.secret``.
        site: The site: the same number is another patient elsewhere.

    Returns:
        Its pseudonyms.

    Example:
        >>> secret = "a phrase of your own"
        >>> pseudonyms_of(secret, "here").of("P7") == pseudonyms_of(secret, "there").of("P7")
        False

    References:
        RFC 2104.
    """
    return Pseudonyms(hmac.new(secret.encode(), b"eyeground exports\0" + site.encode(), hashlib.sha256).digest())


def _means(service: Service, out: Path, languages: Sequence[str], confirmed: Sequence[str]) -> Means:
    """What the shelf works with."""

    def printed(case: Exported, language: str) -> bytes:
        from eyeground.clinic.reports import signed_pdf

        answered = case.answered
        return signed_pdf(service, answered.case_id, language=language, revision=answered.revision)

    secret = service.settings.secret.get_secret_value()
    return Means(
        service.store,
        out,
        service.settings.timezone,
        lambda site: pseudonyms_of(secret, site),
        printed,
        tuple(dict.fromkeys(languages)),
        tuple(name.rpartition("/")[2] for name in confirmed),
    )


def _checked(
    out: Path, since: str, zone: str, asked: Sequence[str], confirmed: Sequence[str], *, versioned: bool
) -> str:
    """Refuse what cannot be used, all of it together; else the UTC time from which on something must be signed."""
    wrong, start = [], ""
    if not out.parent.is_dir():
        wrong.append(f"{out}: there is no folder {out.parent} to make it in")
    elif os.path.lexists(out) and not versioned:
        wrong.append(f"{out}: already there; choose another name")
    elif os.path.lexists(out) and not out.is_dir():
        wrong.append(f"{out}: is no folder")
    wrong += [f"--lang {each}: there are {', '.join(languages())}" for each in asked if each not in languages()]
    wrong += [
        f"--confirm {name}: names one file, not a pattern: somebody has to look at each"
        for name in confirmed
        if _PATTERN_SIGNS & set(name)
    ]
    if since:
        try:
            day = datetime.combine(datetime.fromisoformat(since).date(), time(), ZoneInfo(zone))
            start = day.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        except ValueError:
            wrong.append(f"--since {since}: write the day as 2026-01-31")
    if wrong:
        raise ExportRefused("\n  ".join(["the export cannot be made:", *wrong]))
    return start


def _chosen(service: Service, cases: Sequence[str], start: str) -> tuple[list[str], list[Left]]:
    """Cases with a signed opinion, the first that came first; and those that were asked for and have none."""
    last = select(Review.case_id, func.max(Review.signed_at).label("at")).where(Review.signed_at != "")
    signed = last.group_by(Review.case_id).subquery()
    wanted = select(Case.id, Case.state, signed.c.at).outerjoin(signed, signed.c.case_id == Case.id)
    with service.database.read() as session:
        found = session.execute(wanted.order_by(Case.received_at, Case.id)).all()
    asked = set(cases)
    mine = [each for each in found if not asked or each.id in asked]
    left = [
        Left(each.id, f"nobody has signed it yet (it is {each.state.replace('_', ' ')})", False)
        for each in mine
        if each.at is None
    ]
    left += [Left(each, "there is no such case", True) for each in sorted(asked - {each.id for each in found})]
    return [each.id for each in mine if each.at is not None and each.at >= start], left


@contextmanager
def _part(out: Path, *, versioned: bool) -> Iterator[Path]:
    """A hidden folder to write into, on the disk of the target; what dead exports have left behind is swept away."""
    if versioned:
        out.mkdir(mode=0o700, exist_ok=True)
    where = out if versioned else out.parent
    for old in where.glob(f".{out.name}.*.part"):
        with suppress(OSError), _held(old):  # one that lives holds its lock
            shutil.rmtree(old, ignore_errors=True)
    part = where / f".{out.name}.{secrets.token_hex(4)}.part"
    part.mkdir(mode=0o700)
    try:
        with _held(part):
            yield part
    finally:
        if part.exists():
            shutil.rmtree(part)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The kernel's lock on a folder; it ends with the process."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _settle(part: Path, target: Path) -> None:
    """Push everything to the disk, then give it its name in one step."""
    folders = [part]
    for path in part.rglob("*"):
        if path.is_dir():
            folders.append(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for folder in reversed(folders):
        flush_folder(folder)
    part.rename(target)
    flush_folder(target.parent)
