"""The work list: which cases wait, in which order, narrowed by what a doctor looks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sqlalchemy import Select, String, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from eyeground.clinic.answering import merged_of_all, spoken_of
from eyeground.clinic.cases import order_of, stands_in
from eyeground.clinic.db.people import Account
from eyeground.clinic.db.tables import AuditRecord, Case, Review
from eyeground.clinic.findings import Merged
from eyeground.clinic.first_reads import is_shown, open_words
from eyeground.clinic.leads import Lead, leads_of
from eyeground.clinic.levels import first_words, rules_of, urgent_words
from eyeground.clinic.opinion_checks import differing
from eyeground.clinic.records import Opinion, Said
from eyeground.clinic.states import OPEN
from eyeground.clinic.urgency import measured_reasons

Filter = Literal["all", "urgent", "ungradable", "disagreement", "mine"]
FILTERS: Final[tuple[Filter, ...]] = get_args(Filter)
MOST_SEARCHED: Final = 100  # characters
# No name holds control characters, and PostgreSQL takes no text with a NUL.
SEARCHED: Final = r"^[^\x00-\x1f\x7f]*$"
_BATCH: Final = 200
# Filters that repeat what a model said.
_BY_MODELS: Final[tuple[Filter, ...]] = ("urgent", "ungradable", "disagreement")


@dataclass(frozen=True)
class Line:
    """A line of the work list.

    Args:
        id: The case.
        request_id: The sender's id.
        site: Who asked.
        door: The contract.
        patient_id: The site's number of the patient.
        name: The patient's name.
        age: Unit: years.
        state: Where the case is.
        version: What a change has to name.
        urgency: A word of the rule set; empty where it is hidden.
        urgency_rank: 0 is the most urgent; None where it is hidden.
        urgent: Whether the patient is to see an ophthalmologist.
        first: Whether nothing is known until a doctor has decided an eye, or looked himself.
        reasons: Measurements that made it as urgent, by language; what was found stands with the eyes.
        rules: Rule set and version that said so.
        held: Whether a person has to decide an eye first.
        received_at: UTC, ISO.
        waiting_since: UTC, ISO; of an amendment since it was opened.
        eyes: What the models say, by ``"<part>/<eye>"``: finding -> value.
        leads: What is found in each eye, likewise, the most urgent first; retinopathy alone where nothing is. Of a
            signed case the doctor's.
        quality: Verdict on the images, likewise.
        unavailable: What has no answer, and why.
        shown_eyes: Of which eyes there are images, likewise.
        draft_doctor: Account that wrote the draft; empty where there is none.
        draft_doctor_name: Title of that account.
        signed_at: When it was signed; UTC, ISO, empty until then. Where signed cases are listed, the last time.
        signed_by: The doctor's name as it stands on the report.
        blind: Whether what the models say is hidden until a first read is written.

    References:
        pages.md of the design.
    """

    id: str
    request_id: str
    site: str
    door: str
    patient_id: str
    name: str
    age: int | None
    state: str
    version: int
    urgency: str
    urgency_rank: int | None
    urgent: bool
    first: bool
    reasons: dict[str, tuple[str, ...]]
    rules: str
    held: bool
    received_at: str
    waiting_since: str
    eyes: dict[str, dict[str, int]]
    leads: dict[str, tuple[Lead, ...]]
    quality: dict[str, str]
    unavailable: dict[str, str]
    shown_eyes: tuple[str, ...]
    draft_doctor: str
    draft_doctor_name: str
    signed_at: str
    signed_by: str
    blind: bool


def work_list(
    session: Session,
    *,
    site: str = "",
    states: Sequence[str] = OPEN,
    most: int = 100,
    skip: int = 0,
    filter: Filter = "all",
    search: str = "",
    account: str = "",
    blind: bool = False,
    signed_since: str = "",
) -> list[Line]:
    """List cases, the most urgent first, then the longest wait.

    Disagreement is the one filter that the database cannot tell: it lies between an opinion and the answers of several
    images. Cases with an opinion are then gone through in the list's order until the page is full. Of the cases before
    a page only the index is read, and nothing of them is kept.

    Args:
        session: An open transaction.
        site: Only those of this site; empty = all.
        states: Only those in one of these states; none = all.
        most: How many at most.
        skip: How many are left out at the start.
        filter: ``"urgent"``: the rules ask for an ophthalmologist, or for a doctor to decide or look first;
            ``"ungradable"``: an eye cannot be graded;
            ``"disagreement"``: an opinion, draft or signed, differs from the models; ``"mine"``: ``account`` wrote it.
        search: Part of the patient's id or name, large or small letters; empty = everybody.
        account: Who looks.
        blind: Whether what the models say is hidden from whoever looks, until he has written a first read. The order
            still follows urgency; filters that repeat a model leave such cases out.
        signed_since: Only those signed since then, the last first; UTC, ISO, empty = whether signed or not.

    Returns:
        The lines.

    References:
        Our own.
    """
    wanted = select(Case)
    if states:
        wanted = wanted.where(stands_in(*states))
    if site:
        wanted = wanted.where(Case.site == site)
    if search:
        found = (column.icontains(search, autoescape=True) for column in (Case.patient_id, Case.patient_name))
        wanted = wanted.where(or_(*found))
    if blind and filter in _BY_MODELS:
        wanted = wanted.where(is_shown(account))
    wanted = _narrowed(wanted, filter, account)
    if signed_since:
        last = select(Review.case_id, func.max(Review.signed_at).label("at")).where(Review.signed_at >= signed_since)
        signed = last.group_by(Review.case_id).subquery()
        wanted = wanted.join(signed, signed.c.case_id == Case.id).order_by(signed.c.at.desc(), Case.id)
    else:
        wanted = wanted.order_by(Case.urgency_rank, Case.received_at, Case.id)
    if filter == "disagreement":
        ids = _differing(session, wanted, most=most, skip=skip)
    else:
        ids = list(session.scalars(wanted.with_only_columns(Case.id).limit(most).offset(skip)))
    return _lines(session, _cases(session, ids), account=account, blind=blind, signed=bool(signed_since))


def _narrowed(wanted: Select[Case], filter: Filter, account: str) -> Select[Case]:
    """Only what a filter lets through, as far as columns tell it."""
    if filter == "urgent":
        return wanted.where(Case.urgency.in_((*urgent_words(), *first_words())))
    if filter == "ungradable":
        # JSON as text: a key holds no quotation mark, so the quoted word is a value.
        return wanted.where(cast(Case.unavailable, String).contains('"cannot_grade"'))
    if filter == "mine":
        ours = exists().where(Review.case_id == Case.id, Review.revision == Case.revision, Review.doctor == account)
        return wanted.where(ours)
    return wanted


def _differing(session: Session, wanted: Select[Case], *, most: int, skip: int) -> list[str]:
    """Those of them whose opinion differs from what the models said."""
    ours = (Review.case_id == Case.id) & (Review.revision == Case.revision)
    told = wanted.join(Review, ours).with_only_columns(Case.id, Review.signed_at, Review.opinion)
    found: list[str] = []
    with session.execute(told.execution_options(yield_per=_BATCH)) as rows:
        for batch in rows.partitions():
            # Nobody signs what differs without a reason.
            opinions = {
                id: opinion
                for id, signed_at, opinion in batch
                if not signed_at or any(eye.get("reason") for eye in opinion.get("eyes", {}).values())
            }
            merged = merged_of_all(session, list(opinions))
            for case in _cases(session, list(opinions)):
                if not differing(merged[case.id], case.unavailable, Opinion.model_validate(opinions[case.id])):
                    continue
                if skip:
                    skip -= 1
                    continue
                found.append(case.id)
                if len(found) == most:
                    return found
    return found


def _cases(session: Session, ids: Sequence[str]) -> list[Case]:
    """Cases in this order."""
    found = {case.id: case for case in session.scalars(select(Case).where(Case.id.in_(ids)))}
    return [found[id] for id in ids if id in found]


def _lines(session: Session, cases: Sequence[Case], *, account: str, blind: bool, signed: bool) -> list[Line]:
    """What is told of each; of an amendment, where signed ones are listed, what is out."""
    ids = [case.id for case in cases]
    merged, reviews = merged_of_all(session, ids), _reviews(session, cases)
    out = _signed(session, ids) if signed else {}
    since = _amended_at(session, [case.id for case in cases if case.state == "amended"])
    names = {each.doctor for each in reviews.values()}
    wanted = select(Account.name, Account.title).where(Account.name.in_(names))
    titles = {name: title for name, title in session.execute(wanted).all()}  # noqa: C416 - dict() takes a row for keys
    shown = set(session.scalars(select(Case.id).where(Case.id.in_(ids), is_shown(account)))) if blind else set(ids)
    return [
        _line(
            case, merged[case.id], reviews.get(case.id), out.get(case.id), titles,
            since=since.get(case.id, case.received_at), account=account, hidden=case.id not in shown,
        )
        for case in cases
    ]  # fmt: skip


def _line(
    case: Case,
    merged: Merged,
    review: Review | None,
    out: Review | None,
    titles: Mapping[str, str],
    *,
    since: str,
    account: str,
    hidden: bool,
) -> Line:
    """What is told of one."""
    person = order_of(case).person
    # What another doctor wrote may repeat the models.
    draft = "" if review is None or review.signed_at or (hidden and review.doctor != account) else review.doctor
    keys = merged.quality.keys() | merged.said.keys()
    said, unavailable = merged.said, dict(case.unavailable)
    if out := out or (review if review and review.signed_at else None):
        values, unavailable = spoken_of(merged, case, Opinion.model_validate(out.opinion))
        said = {key: {name: Said(value=value) for name, value in each.items()} for key, each in values.items()}
    return Line(
        id=case.id, request_id=case.request_id, site=case.site, door=case.door, patient_id=person.patient_id,
        name=person.name, age=person.age, state=case.state, version=case.version,
        urgency="" if hidden else case.urgency, urgency_rank=None if hidden else case.urgency_rank,
        urgent=not hidden and case.urgency in urgent_words(),
        first=not hidden and case.urgency in first_words(),
        reasons={} if hidden else _reasons(case), rules="" if hidden else case.rules, held=bool(case.held),
        received_at=case.received_at, waiting_since=since,
        eyes={} if hidden else {key: {name: each.value for name, each in answers.items()}
                                for key, answers in merged.said.items() if answers},
        leads={} if hidden else {key: leads_of(each, rules_of(case.rules)) for key, each in said.items() if each},
        quality={} if hidden else dict(merged.quality),
        unavailable=open_words(unavailable) if hidden else unavailable,
        shown_eyes=tuple(sorted(keys)),
        draft_doctor=draft, draft_doctor_name=titles.get(draft, "") if draft else "",
        signed_at=out.signed_at if out else "", signed_by=out.doctor_name if out else "", blind=hidden,
    )  # fmt: skip


def _reasons(case: Case) -> dict[str, tuple[str, ...]]:
    """Measurements that made it as urgent as it is."""
    order = order_of(case)
    found = measured_reasons(case.urgency, case.rules, od=order.od, os=order.os)
    return {"en": tuple(each.en for each in found), "zh": tuple(each.zh for each in found)} if found else {}


def _reviews(session: Session, cases: Sequence[Case]) -> dict[str, Review]:
    """The opinion of each one's revision, where there is one."""
    revisions = {case.id: case.revision for case in cases}
    found = session.scalars(select(Review).where(Review.case_id.in_(revisions)))
    return {each.case_id: each for each in found if each.revision == revisions[each.case_id]}


def _signed(session: Session, ids: Sequence[str]) -> dict[str, Review]:
    """The last opinion of each that was signed."""
    wanted = select(Review).where(Review.case_id.in_(ids), Review.signed_at != "")
    return {each.case_id: each for each in session.scalars(wanted.order_by(Review.revision))}


def _amended_at(session: Session, ids: Sequence[str]) -> dict[str, str]:
    """When each of them was opened again."""
    if not ids:
        return {}
    opened = AuditRecord.case_id.in_(ids), AuditRecord.event == "amend"
    wanted = select(AuditRecord.case_id, func.max(AuditRecord.at)).where(*opened).group_by(AuditRecord.case_id)
    return {id: at for id, at in session.execute(wanted).all()}  # noqa: C416 - dict() takes a row for keys
