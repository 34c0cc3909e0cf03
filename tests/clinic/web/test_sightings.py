"""Who has looked at what: once for good, then again after a while."""

import pytest
from sqlalchemy import select

from eyeground.clinic.cases import NoSuchCase
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.web import sightings
from eyeground.clinic.web.sightings import Sightings

from .office import Office


def seen(office: Office) -> list[tuple[str, str, str]]:
    """What the audit trail says."""
    with office.service.database.read() as session:
        wanted = select(AuditRecord).where(AuditRecord.event.like("%_seen")).order_by(AuditRecord.seq)
        return [(line.actor, line.event, line.detail) for line in session.scalars(wanted)]


def test_a_look_is_written_down_again_after_a_while(office: Office) -> None:
    case_id = office.send("m1")
    moment = [0.0]
    noting = Sightings(office.service.database, again_s=10, clock=lambda: moment[0])
    for at in (0.0, 9.9, 10.0, 19.0):
        moment[0] = at
        noting.note("li", "case_seen", case_id)
    noting.note("wang", "case_seen", case_id)
    for place in (0, 1, 0):
        noting.note("li", "image_seen", case_id, place=place)
    assert seen(office) == [
        ("li", "case_seen", "{}"), ("li", "case_seen", "{}"), ("wang", "case_seen", "{}"),
        ("li", "image_seen", '{"place":0}'), ("li", "image_seen", '{"place":1}'),
    ]  # fmt: skip


def test_what_is_not_there_was_not_seen(office: Office) -> None:
    noting = Sightings(office.service.database)
    for _ in range(2):
        with pytest.raises(NoSuchCase):
            noting.note("li", "case_seen", "0" * 32)
    assert seen(office) == []


def test_memory_of_looks_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings, "_MOST", 3)
    case_id = office.send("m1")
    noting = Sightings(office.service.database)
    for place in (0, 1, 2, 3, 0):
        noting.note("li", "image_seen", case_id, place=place)
    assert [detail for _, _, detail in seen(office)] == [f'{{"place":{place}}}' for place in (0, 1, 2, 3, 0)]
