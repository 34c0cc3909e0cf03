"""A database filled with made-up cases, straight into the tables, so that thousands take a second."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert

from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.tables import Case, Finding, Image, Review


@dataclass
class Seeded:
    """Rows to be inserted; each case has one image of each eye unless it is told otherwise."""

    engine: Engine
    rows: dict[type[Any], list[dict[str, Any]]] = field(default_factory=dict)

    def case(
        self,
        number: int,
        *,
        site: str = "here",
        patient: str | None = None,
        state: str = "in_review",
        hours_ago: float = 1.0,
        said: dict[str, dict[str, Any]] | None = None,
        quality: str = "good",
        device: str = "Topcon",
        model: str = "model v1",
        eyes: tuple[str, ...] = ("OD", "OS"),
    ) -> str:
        """A case; its id. ``said`` by eye, such as ``{"OD": {"AMD": {"value": 1, "score": 0.9}}}``."""
        case_id, moment = f"{number:032x}", ago(hours_ago)
        who = f"P{number}" if patient is None else patient
        order = {"door": "screening", "id": f"m{number}", "person": {"patient_id": who}}
        self._add(
            Case, id=case_id, site=site, queue="http", request_id=f"m{number}", door="screening", body_sha256="0" * 64,
            state=state, version=1, revision=1, order=order, held=[], unavailable={}, urgency="", urgency_rank=50,
            reasons={}, rules="", release="signed", received_at=moment, changed_at=moment, patient_id=who,
            patient_name="",
        )  # fmt: skip
        for place, eye in enumerate(eyes):
            sha256 = f"{number:032x}{place:032x}"
            self._add(
                Image, case_id=case_id, place=place, part="fundus", claimed_eye=eye, eye=eye, sha256=sha256,
                size_bytes=1, name="", quality=quality, conflict="", decided_by="", device=device,
            )  # fmt: skip
            self._add(
                Finding, case_id=case_id, image_sha256=sha256, model_id=model, model=model, quality=quality, areas=[],
                said=(said or {}).get(eye, {}), found_at=moment,
            )  # fmt: skip
        return case_id

    def signed(
        self, case_id: str, eyes: dict[str, Any], *, hours_ago: float = 0.5, revision: int = 1, first: bool = False
    ) -> None:
        """An opinion that was signed; a first read instead where that is wanted. ``eyes`` as ``Opinion.eyes``."""
        told = {
            key: {"findings": {}, "ungradable": False, "reason": ""} | each for key, each in eyes.items()
        }  # as it is stored
        opinion, moment = {"eyes": told, "conclusion": "Nothing", "recommendation": ""}, ago(hours_ago)
        if first:
            self._add(FirstRead, case_id=case_id, revision=revision, doctor="li", opinion=opinion, made_at=moment)
            return
        self._add(
            Review, case_id=case_id, revision=revision, opinion=opinion, doctor="li", doctor_name="Dr Li", reason="",
            saved_at=moment, signed_at=moment, signature="0" * 64,
        )  # fmt: skip

    def write(self) -> None:
        """Put all of it into the database."""
        with self.engine.begin() as connection:
            for table in (Case, Image, Finding, Review, FirstRead):
                if rows := self.rows.get(table):
                    connection.execute(insert(table), rows)
        self.rows.clear()

    def _add(self, table: type[Any], **row: Any) -> None:
        """One row."""
        self.rows.setdefault(table, []).append(row)


def ago(hours: float) -> str:
    """A time so long ago, as the tables have it."""
    return (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
