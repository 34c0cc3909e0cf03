"""Tables of what stands beside findings and opinions: heat maps, reads without the AI, drafts of a report."""

from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from eyeground.clinic.db.table import Table


class HeatMap(Table):
    """Where a model looked when it answered of one image; beside the finding, which is read far more often.

    Args:
        id: Number.
        case_id: Of which case.
        image_sha256: Of which image.
        model_id: Which model, exactly.
        target: The finding that is explained, by the contract's name.
        png: 8-bit gray, 0 = nothing; it covers the whole image as it is shown, whatever its own size.

    References:
        Our own.
    """

    __tablename__ = "heat_maps"
    __table_args__ = (UniqueConstraint("case_id", "image_sha256", "model_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    image_sha256: Mapped[str]
    model_id: Mapped[str]
    target: Mapped[str] = mapped_column(default="")
    png: Mapped[bytes]


class FirstRead(Table):
    """What a doctor thought before seeing what the models say; kept as it was.

    Args:
        id: Number.
        case_id: Of which case.
        revision: Of which opinion.
        doctor: Account that wrote it.
        opinion: A ``records.Opinion``.
        made_at: UTC, ISO.

    References:
        Our own.
    """

    __tablename__ = "first_reads"
    __table_args__ = (UniqueConstraint("case_id", "revision", "doctor"), Index(None, "made_at"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    revision: Mapped[int]
    doctor: Mapped[str]
    opinion: Mapped[dict[str, Any]]
    made_at: Mapped[str]


class Draft(Table):
    """A text that was drafted for a doctor to change; kept as it was, so that the difference can be seen.

    Args:
        id: Number.
        case_id: Of which case.
        revision: For which opinion.
        language: A code of the shelf ``report/lang``.
        by: ``"template"`` or ``"llm"``.
        model: Provider and model; empty of a template.
        texts: ``{"narrative": ...}``; of a report request the contract's four texts.
        told: By the fact's name, such as ``OD_FUNDUS_GRADE``, what is said before it and the fact; empty of a report
            request.
        rejected: Why what the model wrote was thrown away; empty when it was not, or there was none.
        facts_sha256: Hash of the facts it was drafted from; with others it is stale.
        seconds: How long the drafting took. Unit: s.
        asked_by: Account that asked for it.
        made_at: UTC, ISO.

    References:
        Our own.
    """

    __tablename__ = "drafts"
    __table_args__ = (UniqueConstraint("case_id", "revision", "language", "facts_sha256", "by"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    revision: Mapped[int]
    language: Mapped[str]
    by: Mapped[str]
    model: Mapped[str] = mapped_column(default="")
    texts: Mapped[dict[str, Any]]
    told: Mapped[dict[str, Any]] = mapped_column(default=dict)
    rejected: Mapped[list[Any]] = mapped_column(default=list)
    facts_sha256: Mapped[str]
    seconds: Mapped[float] = mapped_column(default=0.0)
    asked_by: Mapped[str] = mapped_column(default="")
    made_at: Mapped[str]
