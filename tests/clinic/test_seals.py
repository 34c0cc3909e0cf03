"""Signatures held against the audit trail: whatever was changed behind the service's back is told with its case."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text, update

from eyeground.clinic.cases import findings_of, images_of
from eyeground.clinic.db.tables import Case, Review
from eyeground.clinic.retention import purge
from eyeground.clinic.seals import BrokenSeal, broken_seals
from eyeground.clinic.service import Service, signing_key

from .opened import SECRET
from .populated import populated_in


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Two released cases, two in review, one received."""
    made = populated_in(tmp_path / "clinic")
    yield made
    made.close()


def faults(service: Service, secret: str = SECRET) -> list[BrokenSeal]:
    with service.database.read() as session:
        return broken_seals(session, key=signing_key(secret))


def signed(service: Service) -> list[str]:
    """Ids of the released cases."""
    with service.database.read() as session:
        return [row for (row,) in session.execute(text("select case_id from reviews order by id"))]


def changed(service: Service, words: str) -> None:
    """Change something as somebody with the database's password would."""
    with service.database.write() as work:
        work.session.execute(text("drop trigger if exists reviews_signed"))
        work.session.execute(text(words))


def test_what_was_signed_holds(service: Service) -> None:
    assert len(signed(service)) == 2
    assert faults(service) == []
    assert {each.case_id for each in faults(service, "another secret of the tests")} == set(signed(service))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("update images set eye = 'OS' where eye = 'OD' and case_id = '{}'", "not what was signed"),
        ("update images set sha256 = 'other' where case_id = '{}'", "not what was signed"),
        ("update findings set said = '{{}}' where case_id = '{}'", "not what was signed"),
        ("update cases set \"order\" = '{{}}' where id = '{}'", "not what was signed"),
        ("update reviews set drafted_by = 'llm' where case_id = '{}'", "not what was signed"),
        ("delete from findings where case_id = '{}'", "not what was signed"),
        ("delete from reviews where case_id = '{}'", "is gone"),
    ],
)
def test_what_was_changed_is_told_with_its_case(words: str, told: str, service: Service) -> None:
    case_id = signed(service)[1]
    changed(service, words.format(case_id))
    [fault] = faults(service)
    assert (fault.case_id, fault.revision) == (case_id, 1)
    assert told in fault.reason


def test_an_opinion_that_was_changed_is_told(service: Service) -> None:
    case_id = signed(service)[0]
    changed(service, f"update reviews set opinion = '{{}}' where case_id = '{case_id}'")  # noqa: S608 - ours
    assert [each.case_id for each in faults(service)] == [case_id]


def test_an_opinion_that_nobody_drafted_is_sealed_as_before_there_were_drafts(service: Service) -> None:
    """What the version before this one signed stays verifiable."""
    case_id = signed(service)[0]
    with service.database.read() as session:
        case, review = session.get(Case, case_id), session.query(Review).filter_by(case_id=case_id).one()
        assert case is not None
        images = [f"{image.part}/{image.eye}:{image.sha256}" for image in images_of(session, case_id)]
        told = [
            case.id, case.site, case.body_sha256, case.order, review.revision, review.opinion, review.doctor,
            review.doctor_name, review.signed_at, images,
            [(each.image_sha256, each.model_id, each.said) for each in findings_of(session, case_id)],
        ]  # fmt: skip
        text_ = json.dumps(told, sort_keys=True, ensure_ascii=False).encode()
        assert review.drafted_by == ""
        assert review.signature == hmac.new(signing_key(SECRET), text_, hashlib.sha256).hexdigest()


def test_an_opinion_that_nobody_signed_is_told(service: Service) -> None:
    with service.database.write() as work:
        case_id = work.session.execute(text("select id from cases where state = 'in_review'")).scalars().first()
        work.session.add(
            Review(
                case_id=case_id, revision=1, opinion={}, doctor="li", saved_at="x", signed_at="x", signature="forged"
            )
        )  # fmt: skip
    [fault] = faults(service)
    assert fault.case_id == case_id
    assert "knows nothing of it" in fault.reason


def test_a_case_that_retention_took_out_is_no_fault_and_one_that_vanished_is(service: Service) -> None:
    old, vanished = signed(service)
    with service.database.write() as work:
        work.session.execute(update(Case).where(Case.id == old).values(changed_at="2005-03-01T08:00:00.000000Z"))
    assert purge(service.database, service.store, years=15, really=True).cases == 1
    assert faults(service) == []
    for table in ("findings", "reviews", "outgoing", "images"):
        changed(service, f"delete from {table} where case_id = '{vanished}'")  # noqa: S608 - ours
    changed(service, f"delete from cases where id = '{vanished}'")  # noqa: S608 - ours
    [fault] = faults(service)
    assert (fault.case_id, "nobody has taken it out" in fault.reason) == (vanished, True)


def test_many_are_checked_a_few_at_a_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from eyeground.clinic import seals

    monkeypatch.setattr(seals, "_PAGE", 1)
    assert faults(service) == []
    changed(service, "update images set sha256 = 'other'")
    assert [each.case_id for each in faults(service)] == signed(service)
