"""What the statistics are made of, read in short transactions; everything is put together after they have ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Row, Text, case, cast, func, select, true
from sqlalchemy.orm import Session

from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.tables import Case, Finding, Image, Review
from eyeground.clinic.reading import UNREADABLE, UNSEEN
from eyeground.clinic.states import STATES
from eyeground.clinic.statistics.drift import REFERENCE_IMAGES

# Cases at a time of which images and findings are read: what a statement may hold is limited.
_CHUNK: Final = 500
_BAD: Final = "cannot grade%"
# Nobody has looked at these images: that says nothing about their quality.
_NOT_JUDGED: Final = ("", UNREADABLE, UNSEEN)


@dataclass(frozen=True)
class Written:
    """An opinion that somebody wrote about a case.

    Args:
        case_id: The case.
        patient: Site and number of the patient; of a case without one the case.
        revision: Which opinion.
        opinion: A ``records.Opinion``, as JSON text.
        arrived_at: When the case arrived; UTC, ISO.
        written_at: When it was signed, or the first read was stored; UTC, ISO.

    Example:
        >>> Written("0a", "here/P1", 1, "{}", "", "").revision
        1

    References:
        Our own.
    """

    case_id: str
    patient: str
    revision: int
    opinion: str
    arrived_at: str
    written_at: str


@dataclass(frozen=True)
class Spoken:
    """What a model said of an image, for its drift.

    Args:
        number: Of the row.
        patient: As ``Written.patient``.
        said: JSON text.

    Example:
        >>> Spoken(1, "here/P1", "{}").number
        1

    References:
        ``eyeground.clinic.db.tables.Finding``.
    """

    number: int
    patient: str
    said: str


def states(session: Session, *, site: str, since: str) -> dict[str, tuple[int | None, int]]:
    """Count cases by state.

    Args:
        session: An open transaction.
        site: Only this site's; empty = all.
        since: When the days begin; UTC, ISO.

    Returns:
        State -> how many cases stand there now (None of those that are out: they only grow), and how many of those that
        arrived since then.

    References:
        Our own.
    """
    open_ones = [state for state in STATES if state != "released"]
    counted = select(Case.state, func.count()).group_by(Case.state)
    now, new = (
        {row[0]: row[1] for row in session.execute(counted.where(which, _at(site)))}
        for which in (Case.state.in_(open_ones), Case.received_at >= since)
    )
    return {state: (None if state == "released" else now.get(state, 0), new.get(state, 0)) for state in STATES}


def signed(session: Session, *, site: str, since: str, most: int) -> list[Written]:
    """List opinions that were signed, the last first.

    Args:
        session: An open transaction.
        site: Only this site's; empty = all.
        since: Not those before; UTC, ISO.
        most: How many at most.

    Returns:
        The opinions.

    References:
        Our own.
    """
    wanted = (
        select(
            Review.case_id, Case.site, Case.patient_id, Review.revision, cast(Review.opinion, Text), Case.received_at,
            Review.signed_at,
        )
        .join(Case, Case.id == Review.case_id)
        .where(Review.signed_at >= since, _at(site))
        .order_by(Review.signed_at.desc(), Review.id.desc())
        .limit(most)
    )  # fmt: skip
    return [_written(*row) for row in session.execute(wanted)]


def first_reads(session: Session, *, site: str, since: str, most: int) -> list[Written]:
    """List what doctors wrote before they saw what the models say, the last first.

    Args:
        session: An open transaction.
        site: Only this site's; empty = all.
        since: Not those before; UTC, ISO.
        most: How many at most.

    Returns:
        The first reads.

    References:
        Our own.
    """
    wanted = (
        select(
            FirstRead.case_id, Case.site, Case.patient_id, FirstRead.revision, cast(FirstRead.opinion, Text),
            Case.received_at, FirstRead.made_at,
        )
        .join(Case, Case.id == FirstRead.case_id)
        .where(FirstRead.made_at >= since, _at(site))
        .order_by(FirstRead.made_at.desc(), FirstRead.id.desc())
        .limit(most)
    )  # fmt: skip
    return [_written(*row) for row in session.execute(wanted)]


def images_of_cases(session: Session, case_ids: Sequence[str]) -> Iterator[Row[str, str, str, str, str, str]]:
    """List images of cases.

    Args:
        session: An open transaction.
        case_ids: The cases.

    Yields:
        Case, part, eye, conflict, hash and quality of each.

    References:
        Our own.
    """
    columns = select(Image.case_id, Image.part, Image.eye, Image.conflict, Image.sha256, Image.quality)
    for chunk in _chunks(case_ids):
        wanted = columns.where(Image.case_id.in_(chunk)).order_by(Image.case_id, Image.place)
        yield from session.execute(wanted).all()


def findings_of_cases(session: Session, case_ids: Sequence[str]) -> Iterator[Row[str, str, str, str]]:
    """List what models said of cases.

    Args:
        session: An open transaction.
        case_ids: The cases.

    Yields:
        Case, hash of the image, quality, and what was said as JSON text.

    References:
        Our own.
    """
    columns = select(Finding.case_id, Finding.image_sha256, Finding.quality, cast(Finding.said, Text))
    for chunk in _chunks(case_ids):
        wanted = columns.where(Finding.case_id.in_(chunk)).order_by(Finding.id)
        yield from session.execute(wanted).all()


def qualities(session: Session, *, site: str, since: str) -> list[tuple[str, str, bool, int]]:
    """Count images by what they are worth.

    Args:
        session: An open transaction.
        site: Only this site's; empty = all.
        since: Only those of cases that arrived since then; UTC, ISO.

    Returns:
        Site, device, whether it cannot be graded, and how many images. Those that nobody has looked at are left out.

    References:
        Our own.
    """
    bad = case((Image.quality.like(_BAD), 1), else_=0)
    wanted = (
        select(Case.site, Image.device, bad, func.count())
        .join(Case, Case.id == Image.case_id)
        .where(Case.received_at >= since, Image.quality.not_in(_NOT_JUDGED), _at(site))
        .group_by(Case.site, Image.device, bad)
    )
    return [(place, device, bool(is_bad), count) for place, device, is_bad, count in session.execute(wanted)]


def models(session: Session, *, site: str, since: str) -> list[tuple[str, str]]:
    """List the models that were asked about cases that arrived.

    Args:
        session: An open transaction.
        site: Only this site's; empty = all.
        since: Since when; UTC, ISO.

    Returns:
        Id and title of each, by title.

    References:
        Our own.
    """
    wanted = select(Finding.model_id, func.max(Finding.model)).join(Case, Case.id == Finding.case_id)
    wanted = wanted.where(_found_since(since), Case.received_at >= since, _at(site)).group_by(Finding.model_id)
    return sorted([(model, title) for model, title in session.execute(wanted)], key=lambda each: (each[1], each[0]))


def spoken(session: Session, model_id: str, *, site: str, since: str, most: int) -> tuple[list[Spoken], list[Spoken]]:
    """List what a model said first, and what it has said since.

    Args:
        session: An open transaction.
        model_id: The model.
        site: Only of this site's images; empty = all.
        since: The second list holds those of cases that arrived since then; UTC, ISO.
        most: How many are in the second list at most, the last ones.

    Returns:
        The first ``REFERENCE_IMAGES`` answers, and later ones.

    References:
        Our own.
    """
    columns = (
        select(Finding.id, Case.site, Case.patient_id, Finding.case_id, cast(Finding.said, Text))
        .join(Case, Case.id == Finding.case_id)
        .where(Finding.model_id == model_id, cast(Finding.said, Text) != "{}", _at(site))
    )
    first = session.execute(columns.order_by(Finding.id).limit(REFERENCE_IMAGES)).all()
    last = first[-1][0] if first else 0
    later = columns.where(Finding.id > last, _found_since(since), Case.received_at >= since)
    later = later.order_by(Finding.id.desc()).limit(most)
    sides = (first, session.execute(later).all() if len(first) == REFERENCE_IMAGES else [])
    reference, now = ([Spoken(row[0], _patient(row[1], row[2], row[3]), row[4]) for row in side] for side in sides)
    return reference, now


def _at(site: str) -> ColumnElement[bool]:
    """Only at a site; empty = anywhere."""
    return Case.site == site if site else true()


def _found_since(since: str) -> ColumnElement[bool]:
    """Not before: no model answers of a case that has not arrived. It spares looking for the case of every answer."""
    return Finding.found_at >= since


def _written(
    case_id: str, site: str, patient: str, revision: int, opinion: str, arrived_at: str, written_at: str
) -> Written:
    """An opinion of a row."""
    return Written(case_id, _patient(site, patient, case_id), revision, opinion, arrived_at, written_at)


def _patient(site: str, patient: str, case_id: str) -> str:
    """Whose case it is, for counting: sites number their patients each for itself."""
    return f"{site}/{patient}" if patient else case_id


def _chunks(case_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many cases that a statement can hold them."""
    for start in range(0, len(case_ids), _CHUNK):
        yield case_ids[start : start + _CHUNK]
