"""The tables. A change here is one numbered migration beside it."""

from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from eyeground.clinic.db import opinions, people
from eyeground.clinic.db.table import Leased, Table

# Which cases indexes of their own hold: few of very many wait, as ``states.OPEN`` has it; what is out grows old.
WAITS: Final = "state in ('in_review', 'amended')"
OUT: Final = "state in ('released')"


def _only(rows: str) -> dict[str, Any]:
    """Of which rows an index is made, in either database."""
    return {"postgresql_where": text(rows), "sqlite_where": text(rows)}


class Case(Table):
    """A request, which is also its inbox: (site, queue, request_id) is taken once for good.

    Args:
        id: Random, 32 hex digits; the only name of a case that leaves this service.
        site: Who asked.
        queue: Through which queue or door.
        request_id: The sender's id.
        door: The contract; says what the answer looks like.
        body_sha256: Of what was sent; another body under the same id is a conflict.
        state: A word of ``states.STATES``.
        version: Grows with every change; who writes with an older one is refused.
        revision: Which opinion is being written or was signed last: 1, 2, ...
        order: The ``records.Order`` without its pictures.
        held: Why a person must decide something first; a list of words, empty when nothing holds it.
        unavailable: What could not be answered: ``"<part>/<eye>[.<finding>]"`` -> a word of ``findings.UNAVAILABLE``.
        urgency: A word of the rule set; empty before it is known.
        urgency_rank: 0 is the most urgent; what is not known yet stands at 50.
        reasons: What made it so urgent: ``{"en": [...], "zh": [...]}``.
        rules: Rule set and version that gave the urgency.
        release: Whether its results wait for a signature: as the service was set when the request arrived.
        received_at: UTC, ISO.
        changed_at: UTC, ISO.
        patient_id: The site's number of the patient, as in ``order``, to be searched for.
        patient_name: Likewise.

    References:
        Our own.
    """

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("site", "queue", "request_id"),
        Index(None, "state", "urgency_rank", "received_at", "id"),
        Index(None, "received_at"),
        Index(None, "site", "patient_id", "received_at"),
        Index("ix_cases_waiting", "urgency_rank", "received_at", "id", **_only(WAITS)),
        Index("ix_cases_waiting_at_site", "site", "urgency_rank", "received_at", "id", **_only(WAITS)),
        Index("ix_cases_out", "changed_at", **_only(OUT)),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str]
    queue: Mapped[str]
    request_id: Mapped[str]
    door: Mapped[str]
    body_sha256: Mapped[str]
    state: Mapped[str]
    version: Mapped[int] = mapped_column(default=1)
    revision: Mapped[int] = mapped_column(default=1)
    order: Mapped[dict[str, Any]]
    held: Mapped[list[Any]] = mapped_column(default=list)
    unavailable: Mapped[dict[str, Any]] = mapped_column(default=dict)
    urgency: Mapped[str] = mapped_column(default="")
    urgency_rank: Mapped[int] = mapped_column(default=50)
    reasons: Mapped[dict[str, Any]] = mapped_column(default=dict)
    rules: Mapped[str] = mapped_column(default="")
    release: Mapped[str] = mapped_column(default="signed")
    received_at: Mapped[str]
    changed_at: Mapped[str]
    patient_id: Mapped[str] = mapped_column(default="")
    patient_name: Mapped[str] = mapped_column(default="")


class Image(Table):
    """An image of a case; its bytes lie in the store under their hash.

    Args:
        id: Number.
        case_id: Whose.
        place: Its place in the request, from 0.
        part: ``"fundus"`` or ``"anterior"``.
        claimed_eye: Which eye the request says it is; empty when it does not.
        eye: Which eye it is taken for; empty while that is not known or held.
        sha256: Of its bytes.
        size_bytes: Unit: bytes.
        name: What the sender calls it.
        quality: As ``eyeground.serve.gate`` says it; empty before it was looked at.
        conflict: Who contradicts whom about the eye; empty when nobody does.
        decided_by: Account of the doctor who said which eye it is; empty when nobody had to.
        device: Camera or scanner as the file's header names it; empty when it does not.

    References:
        Our own.
    """

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("case_id", "place"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    place: Mapped[int]
    part: Mapped[str]
    claimed_eye: Mapped[str]
    eye: Mapped[str] = mapped_column(default="")
    sha256: Mapped[str] = mapped_column(index=True)
    size_bytes: Mapped[int]
    name: Mapped[str] = mapped_column(default="")
    quality: Mapped[str] = mapped_column(default="")
    conflict: Mapped[str] = mapped_column(default="")
    decided_by: Mapped[str] = mapped_column(default="")
    device: Mapped[str] = mapped_column(default="")


class Finding(Table):
    """What one model says of one image, once for good.

    Args:
        id: Number.
        case_id: Of which case.
        image_sha256: Of which image.
        model_id: Which model, exactly.
        said: ``{finding: {"value": ..., "score": ...}}``; empty where the model could not answer.
        quality: As the model's gate says it.
        areas: Regions of attention, names of ``eyeground.explain.regions.TITLES``.
        model: Name and version for people.
        found_at: UTC, ISO.

    References:
        Our own.
    """

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("case_id", "image_sha256", "model_id"), Index(None, "model_id", "id"), Index(None, "found_at"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    image_sha256: Mapped[str]
    model_id: Mapped[str]
    said: Mapped[dict[str, Any]]
    quality: Mapped[str]
    areas: Mapped[list[Any]] = mapped_column(default=list)
    model: Mapped[str] = mapped_column(default="")
    found_at: Mapped[str]


class Job(Leased, Table):
    """What a worker has to do for a case; it goes when it is done.

    Args:
        case_id: For which case.
        kind: ``"read"`` (gate, ask the models, present) or ``"release"`` (render the answer and hand it out).
        urgent: Lower goes first.
        added: Order of arrival.

    References:
        Our own.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "patience_s", "urgent", "added"),)

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    kind: Mapped[str]
    urgent: Mapped[int] = mapped_column(default=50)
    added: Mapped[str]


class Review(Table):
    """An opinion of a doctor; once signed it never changes.

    Args:
        id: Number.
        case_id: Of which case.
        revision: 1, 2, ...; an amendment is the next.
        opinion: A ``records.Opinion``.
        doctor: Account that wrote it last.
        doctor_name: As it stands on the report.
        reason: Why the version before was amended.
        saved_at: UTC, ISO.
        signed_at: UTC, ISO; empty while it is a draft.
        signature: Keyed hash of all that was signed; empty while it is a draft.
        drafted_by: ``"llm"`` where what was signed holds words that a language model drafted: then reports carry the
            AI mark. Decided when it is signed.

    References:
        Our own.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("case_id", "revision"),
        CheckConstraint("(signed_at = '') = (signature = '')", name="signed_whole"),
        Index(None, "signed_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    revision: Mapped[int]
    opinion: Mapped[dict[str, Any]]
    doctor: Mapped[str]
    doctor_name: Mapped[str] = mapped_column(default="")
    reason: Mapped[str] = mapped_column(default="")
    saved_at: Mapped[str]
    signed_at: Mapped[str] = mapped_column(default="")
    signature: Mapped[str] = mapped_column(default="")
    drafted_by: Mapped[str] = mapped_column(default="")


class Outgoing(Leased, Table):
    """An answer that is to be sent, or was.

    Args:
        id: Number; of one case the lower goes out first.
        case_id: Whose answer.
        revision: Of which signed opinion; 0 = of none, released unsigned.
        queue: Where to.
        message_id: The same at every try, so that a receiver can tell a repeat.
        body: What is sent, byte for byte.
        made_at: UTC, ISO.
        sent_at: UTC, ISO; empty until the broker has confirmed.

    References:
        Our own.
    """

    __tablename__ = "outgoing"
    __table_args__ = (
        UniqueConstraint("case_id", "revision"), UniqueConstraint("message_id"), Index(None, "sent_at", "id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    revision: Mapped[int]
    queue: Mapped[str]
    message_id: Mapped[str]
    body: Mapped[bytes]
    made_at: Mapped[str]
    sent_at: Mapped[str] = mapped_column(default="")


class DeadLetter(Table):
    """A message that was not taken, or a case that could not be worked on.

    Args:
        id: Number.
        site: Who sent it.
        queue: Through which queue or door.
        code: A key of ``refusals.toml``.
        problems: Everything that is wrong, as ``Refused.to_json``.
        body: What was sent; patients' business.
        body_sha256: Its hash.
        case_id: The case that could not be worked on; empty of a message that was not taken.
        arrived_at: UTC, ISO.
        replayed_at: UTC, ISO; empty until an operator has sent it round again.
        outcome: What became of it: admitted, repeated, refused, requeued, settled or dismissed.

    References:
        Our own.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (Index(None, "replayed_at", "id"), Index(None, "body_sha256"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    site: Mapped[str]
    queue: Mapped[str]
    code: Mapped[str]
    problems: Mapped[list[Any]]
    body: Mapped[bytes]
    body_sha256: Mapped[str]
    case_id: Mapped[str] = mapped_column(default="")
    arrived_at: Mapped[str]
    replayed_at: Mapped[str] = mapped_column(default="")
    outcome: Mapped[str] = mapped_column(default="")


class Redelivered(Table):
    """How often a message came back because who took it died.

    Args:
        queue: Through which queue.
        body_sha256: Of which message.
        times: How often it was begun after the first time.

    References:
        Our own.
    """

    __tablename__ = "redelivered"

    queue: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str] = mapped_column(primary_key=True)
    times: Mapped[int]


class QueuedMessage(Leased, Table):
    """A message in the queue that the database itself is.

    Args:
        id: Number; the lower is received first.
        queue: In which.
        message_id: Unique in its queue; empty ones are not compared.
        body: The message.
        headers: Words that go with it.

    References:
        Our own.
    """

    __tablename__ = "queued_messages"
    __table_args__ = (Index(None, "queue", "patience_s", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    queue: Mapped[str]
    message_id: Mapped[str] = mapped_column(default="")
    body: Mapped[bytes]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)


class PassedMessage(Table):
    """A message id that a queue of this database has carried, so that it carries it once.

    Args:
        queue: Which queue.
        message_id: The id.

    References:
        Our own.
    """

    __tablename__ = "passed_messages"

    queue: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)


class AuditRecord(Table):
    """One line of the audit trail, chained to the one before.

    Args:
        seq: 1, 2, 3, ... without gaps.
        at: UTC, ISO.
        actor: Account, or ``"service"``.
        case_id: Of which case; empty when of none.
        event: What happened.
        detail: JSON text without a word about the patient.
        digest: Keyed hash of the line before and this one.

    References:
        Our own.
    """

    __tablename__ = "audit"
    __table_args__ = (Index(None, "case_id", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[str]
    actor: Mapped[str]
    case_id: Mapped[str]
    event: Mapped[str]
    detail: Mapped[str]
    digest: Mapped[str]


class AuditHead(Table):
    """Where the audit trail ends, so that a cut end is seen.

    Args:
        id: Always 1.
        seq: Number of the last line.
        digest: Its digest.

    References:
        Our own.
    """

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str]


# All of them, for whoever goes through every table: who imports this has imported each file.
METADATA: Final = Table.metadata
ELSEWHERE: Final = (people, opinions)
