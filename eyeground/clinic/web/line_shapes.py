"""Shapes of the work list, and of the numbers beside it."""

from pydantic import BaseModel, ConfigDict

from eyeground.clinic.records import Door
from eyeground.clinic.states import State

_SHAPE = ConfigDict(extra="forbid", frozen=True)
_READ = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class LeadShape(BaseModel):
    """An answer about an eye that a list shows.

    Args:
        finding: By the contract's name.
        value: 0 or 1, or a grade.
        score: How sure the model is; null where it does not say.

    Example:
        >>> LeadShape(finding="DR", value=2, score=0.81).value
        2

    References:
        ``eyeground.clinic.leads.Lead``.
    """

    model_config = _READ

    finding: str
    value: int
    score: float | None


class CaseLine(BaseModel):
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
        urgency_rank: 0 is the most urgent; null where it is hidden.
        urgent: Whether the patient is to see an ophthalmologist.
        first: Whether nothing is known until a doctor has decided an eye, or looked himself.
        reasons: Measurements that made it as urgent, by language.
        rules: Rule set and version that said so.
        held: Whether a person has to decide an eye first.
        received_at: UTC, ISO.
        waiting_since: UTC, ISO; of an amendment since it was opened.
        eyes: What the models say, by ``"<part>/<eye>"``: finding -> value.
        leads: What is found in each eye, likewise, the most urgent first; retinopathy alone where nothing is.
        quality: Verdict on the images, likewise.
        unavailable: What has no answer, and why.
        shown_eyes: Of which eyes there are images, likewise.
        draft_doctor: Account that wrote the draft; empty where there is none.
        draft_doctor_name: Title of that account.
        signed_at: When the revision was signed; UTC, ISO, empty until then.
        signed_by: The doctor's name as it stands on the report.
        blind: Whether what the models say is hidden until a first read is written.

    Example:
        >>> CaseLine.model_fields["held"].annotation
        <class 'bool'>

    References:
        ``eyeground.clinic.work_list.Line``.
    """

    model_config = _READ

    id: str
    request_id: str
    site: str
    door: Door
    patient_id: str
    name: str
    age: int | None
    state: State
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
    leads: dict[str, tuple[LeadShape, ...]]
    quality: dict[str, str]
    unavailable: dict[str, str]
    shown_eyes: tuple[str, ...]
    draft_doctor: str
    draft_doctor_name: str
    signed_at: str
    signed_by: str
    blind: bool


class WorkList(BaseModel):
    """A page of the work list.

    Args:
        cases: The most urgent first, then the longest wait.
        skip: How many were left out at the start.
        more: Whether there are more.

    Example:
        >>> WorkList(cases=[], skip=0, more=False).cases
        []

    References:
        Our own.
    """

    model_config = _SHAPE

    cases: list[CaseLine]
    skip: int
    more: bool


class CountsShape(BaseModel):
    """Numbers that stand beside the work list and in the head of every page.

    Args:
        work: Cases that wait for a doctor.
        urgent: Those of them that the rules want an ophthalmologist for, or a doctor first; not those that are hidden.
        signed_today: Cases signed since midnight in the service's zone.
        dead_letters: Dead letters that nobody has dealt with; null for doctors.
        newest: When a waiting case changed last; UTC, ISO, empty where none waits.

    Example:
        >>> CountsShape(work=2, urgent=1, signed_today=0, dead_letters=None, newest="").work
        2

    References:
        ``eyeground.clinic.waiting``.
    """

    model_config = _READ

    work: int
    urgent: int
    signed_today: int
    dead_letters: int | None
    newest: str
