"""A draft for a doctor to change: facts from the database, words of the template or of a language model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.cases import Stale, find, order_of
from eyeground.clinic.clock import now
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.db.tables import Case
from eyeground.clinic.draft_facts import narrative_plan
from eyeground.clinic.drafts import LLM, TEMPLATE, opinion_of
from eyeground.clinic.first_reads import FirstReadWanted, is_blind
from eyeground.clinic.llm.providers import provider_of
from eyeground.clinic.llm.reasons import told
from eyeground.clinic.llm.slots import Plan, clauses, fill
from eyeground.clinic.llm.telling import template_of, texts_of
from eyeground.clinic.llm.writing import Writer, Written
from eyeground.clinic.records import Opinion
from eyeground.clinic.report.text import draft_report
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.settings import Settings
from eyeground.clinic.states import OPEN, Forbidden, OutOfTurn


@dataclass(frozen=True)
class Drafted:
    """A draft.

    Args:
        id: Its number; 0 = it was not kept, for the case was changed while it was written.
        revision: For which opinion.
        language: A code of the shelf ``report/lang``.
        by: ``"template"`` or ``"llm"``.
        model: Provider and model that were asked; empty where none was.
        texts: ``{"narrative": ...}``; of a report request the contract's four texts.
        rejected: Why what a model wrote, or did not, was not used: ``code, section, en, zh``.
        facts_sha256: Hash of the facts it was drafted from.
        seconds: How long the drafting took. Unit: s.
        made_at: UTC, ISO.
        template: The texts as the template has them; the same as ``texts`` where the template wrote those.

    Example:
        >>> Drafted(1, 1, "en", "template", "", {"narrative": ""}).rejected
        ()

    References:
        Our own.
    """

    id: int
    revision: int
    language: str
    by: str
    model: str
    texts: Mapping[str, str]
    rejected: tuple[Mapping[str, str], ...] = ()
    facts_sha256: str = ""
    seconds: float = 0.0
    made_at: str = ""
    template: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Facts:
    """What a case is drafted from, as one transaction saw it."""

    plan: Plan
    template: Mapping[str, str]
    revision: int


def draft(
    service: Service, case_id: str, *, language: str, doctor: Doctor, version: int, writer: Writer | None = None
) -> Drafted:
    """Draft the texts of a case, and keep the draft.

    While a language model is waited for no transaction is open: the case can be saved and signed meanwhile. With the
    same facts an accepted draft is not written again. If the case was signed meanwhile nothing is kept; if its facts
    were changed, the template's words for what they are now.

    Args:
        service: The service.
        case_id: The case.
        language: A code of the shelf ``report/lang``.
        doctor: Who asks.
        version: Version of the case that the doctor saw.
        writer: The language model; None = the template alone.

    Returns:
        The draft: a model's where it was accepted, else the template's, and why.

    Raises:
        NoSuchCase: If there is none.
        Stale: If somebody else has changed it.
        Forbidden: If this is no doctor.
        OutOfTurn: If it is not open for writing.
        FirstReadWanted: If the doctor has to say what he sees before he is told what the models say.
        LookupError: If nothing is written in that language.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    if doctor.role != "doctor":
        raise Forbidden(f"a draft is a matter of doctor, not of {doctor.role}")
    with service.database.read() as session:
        case = find(session, case_id)
        if case.version != version:
            raise Stale(case.version)
        if case.state not in OPEN:
            raise OutOfTurn(f"the case is {case.state.replace('_', ' ')}: nothing is drafted now")
        if service.settings.blind_first_read and is_blind(session, case, account=doctor.account):
            raise FirstReadWanted("say what you see first; then a draft may tell what the models say")
        facts = _facts_of(session, case, language)
        known = _kept(session, case_id, facts, LLM if writer else TEMPLATE)
        if known is not None:
            return _drafted(known, facts)
    written = Written() if writer is None else writer.write(facts.plan)
    with service.database.write() as work:
        case = find(work.session, case_id, lock=True)
        if case.state not in OPEN or case.revision != facts.revision:
            # Signed meanwhile, or sent back to the models: nothing that comes now may touch what was signed.
            return _not_kept(facts, written)
        meanwhile = _facts_of(work.session, case, language)
        if meanwhile.plan.sha256 != facts.plan.sha256:  # a doctor has saved, or the models have answered anew
            facts, written = meanwhile, replace(written, texts={}, told={}, rejected=(told("changed"),))
        by = LLM if written.texts else TEMPLATE
        row = _kept(work.session, case_id, facts, by)
        if row is None:  # else another doctor's, asked for at the same time
            row = Draft(
                case_id=case_id, revision=facts.revision, language=language, by=by, facts_sha256=facts.plan.sha256,
                texts=dict(written.texts or facts.template), told=_told(case, written, facts), asked_by=doctor.account,
            )  # fmt: skip
            work.session.add(row)
        if row.id is None or by == TEMPLATE:
            row.model, row.rejected = written.model, [dict(each) for each in written.rejected]
            row.seconds, row.made_at = written.seconds, now()
            work.note(doctor.account, "drafted", case, revision=facts.revision, language=language, by=by)
        work.session.flush()
        return _drafted(row, facts)


def open_writer(settings: Settings) -> Writer | None:
    """Open the language model that the settings name.

    Args:
        settings: As ``read_settings`` gave them.

    Returns:
        What writes narratives; None where no language model is set.

    Raises:
        ProviderRefused: If its settings cannot be used.

    References:
        docs/clinic.md.
    """
    if not settings.llm_base_url:
        return None
    key = settings.llm_key.get_secret_value()
    provider = provider_of(settings.llm_base_url, model=settings.llm_model, key=key)
    return Writer(provider, key=key, deadline_s=settings.llm_timeout_s)


def _facts_of(session: Session, case: Case, language: str) -> _Facts:
    """What is known of a case, and the template's words for it."""
    if case.door == "report":
        texts = order_of(case).texts
        return _Facts(texts_of(texts, language), draft_report(texts, language), case.revision)
    stored = opinion_of(session, case.id, case.revision)
    opinion = Opinion.model_validate(stored) if stored else None
    plan = narrative_plan(session, case, opinion, language)
    return _Facts(plan, fill(plan, template_of(plan)), case.revision)


def _told(case: Case, written: Written, facts: _Facts) -> dict[str, list[str]]:
    """How a narrative tells each fact; of a report request, whose facts no doctor changes, nothing."""
    if case.door == "report":
        return {}
    each_told = written.told if written.texts else clauses(facts.plan, template_of(facts.plan))
    return {name: list(each) for name, each in each_told.items()}


def _not_kept(facts: _Facts, written: Written) -> Drafted:
    """The template's words for who asked, and why no more."""
    return Drafted(
        0, facts.revision, facts.plan.language, TEMPLATE, written.model, dict(facts.template), (told("changed"),),
        facts.plan.sha256, written.seconds, now(), dict(facts.template),
    )  # fmt: skip


def _kept(session: Session, case_id: str, facts: _Facts, by: str) -> Draft | None:
    """A draft of the very same facts."""
    wanted = select(Draft).filter_by(
        case_id=case_id, revision=facts.revision, language=facts.plan.language, facts_sha256=facts.plan.sha256, by=by
    )
    return session.execute(wanted).scalar_one_or_none()


def _drafted(row: Draft, facts: _Facts) -> Drafted:
    """A draft as it is kept."""
    return Drafted(
        row.id, row.revision, row.language, row.by, row.model, dict(row.texts), tuple(row.rejected), row.facts_sha256,
        row.seconds, row.made_at, dict(facts.template),
    )  # fmt: skip
