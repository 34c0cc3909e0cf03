"""The audit trail: whatever is changed in it is found, by line; and the database itself refuses the plain ways."""

import hashlib
import hmac
import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from eyeground.clinic.db.audit import START, Line, Note, Verdict, append, audit_key, holds, verify
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.tables import AuditHead, AuditRecord, Case

from .conftest import KEY

LINES = 10_000
EVENTS = ("received", "gated", "inferred", "signed", "sent")


def write(database: Database, count: int) -> None:
    """Lines of every kind, some with the same words."""
    chance = random.Random(count)
    for start in range(0, count, 500):
        with database.write() as work:
            for number in range(start, min(start + 500, count)):
                detail = {"n": number % 7, "部位": "眼底"} if number % 3 else {}
                work.notes.append(
                    Note(chance.choice(["service", "eve"]), chance.choice(EVENTS), f"{number:032x}", detail)
                )


def let_changes_through(session: Session) -> None:
    """What somebody does who may change tables."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("drop trigger audit_no_update"))
        session.execute(text("drop trigger audit_no_delete"))
    else:
        session.execute(text("drop trigger audit_kept on audit"))


def checked(session: Session) -> Verdict:
    session.flush()
    return verify(session, key=KEY)


def by_hand(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Digest and seal of each line, worked out a second time, from the description alone."""
    found, before = [], START
    for line in lines:
        words = [before, str(line.seq), line.at, line.actor, line.case_id, line.event, line.detail]
        digest = hmac.new(KEY, "".join(f"{len(word)}:{word}" for word in words).encode(), hashlib.sha256).hexdigest()
        words = ["head", str(line.seq), digest]
        before = hmac.new(KEY, "".join(f"{len(word)}:{word}" for word in words).encode(), hashlib.sha256).hexdigest()
        found.append((digest, before))
    return found


def lines_of(database: Database) -> list[Line]:
    with database.read() as session:
        columns = [getattr(AuditRecord, name) for name in Line._fields]
        return [Line._make(row) for row in session.execute(select(*columns).order_by(AuditRecord.seq))]


def spoil(line: Line, chance: random.Random) -> tuple[str, Any]:
    """Another value for one column of a line: one character more, less or changed."""
    column = chance.choice(Line._fields)
    if column == "seq":
        return column, line.seq + chance.choice([-1, 1, 10**6])
    value = str(getattr(line, column))
    place = chance.randrange(len(value) + 1)
    kinds = [value[:place] + "x" + value[place:], value[:place] + "~" + value[place + 1 :]]
    return column, chance.choice([*kinds, value[:-1] if value else "x"])


def test_changing_any_of_ten_thousand_lines_is_found_at_that_line(database: Database) -> None:
    write(database, LINES)
    lines = lines_of(database)
    with database.read() as session:
        assert verify(session, key=KEY) == Verdict(LINES, None, "")
        head = session.execute(select(AuditHead.seq, AuditHead.digest)).one()
    hashes = by_hand(lines)
    assert [line.digest for line in lines] == [digest for digest, _ in hashes]
    assert tuple(head) == (LINES, hashes[-1][1])
    chance, seals = random.Random(11), [START, *(seal for _, seal in hashes)]
    missed = []
    for number, line in enumerate(lines):
        assert holds(line, before=seals[number], key=KEY)
        for _ in range(3):
            column, value = spoil(line, chance)
            if holds(line._replace(**{column: value}), before=seals[number], key=KEY):
                missed.append((number, column))
    assert missed == []


def test_two_hundred_real_changes_are_each_found_at_their_line(database: Database) -> None:
    count = 2000
    write(database, count)
    lines, chance = lines_of(database), random.Random(5)
    with database.write() as work:
        let_changes_through(work.session)
    found = {}
    for seq in chance.sample(range(1, count + 1), 200):
        column, value = spoil(lines[seq - 1], chance)
        if column == "seq":
            value = seq + 10**6
        with database.write() as work:
            work.session.execute(update(AuditRecord).where(AuditRecord.seq == seq).values(**{column: value}))
            found[seq] = checked(work.session).broken_at
            work.session.rollback()
    assert found == {seq: seq for seq in found}
    assert len(found) == 200
    with database.read() as session:
        assert verify(session, key=KEY) == Verdict(count, None, "")


@pytest.fixture
def opened(database: Database) -> Database:
    """A trail of ten lines that may be changed."""
    write(database, 10)
    with database.write() as work:
        let_changes_through(work.session)
    return database


@pytest.mark.parametrize("seq", [1, 5, 10])
def test_a_line_that_is_taken_out_is_found(opened: Database, seq: int) -> None:
    with opened.write() as work:
        work.session.execute(delete(AuditRecord).where(AuditRecord.seq == seq))
        assert checked(work.session).broken_at == (seq if seq < 10 else 10)


def test_two_lines_that_change_places_are_found(opened: Database) -> None:
    with opened.write() as work:
        for old, new in ((4, -1), (7, 4), (-1, 7)):
            work.session.execute(update(AuditRecord).where(AuditRecord.seq == old).values(seq=new))
        assert checked(work.session).broken_at == 4


def test_a_line_that_is_put_in_is_found(opened: Database) -> None:
    for seq in (0, 11):
        with opened.write() as work:
            forged = Line(seq, "2026-11-28T00:00:00.000000Z", "eve", "", "signed", "{}", "0" * 64)
            work.session.execute(insert(AuditRecord).values(**forged._asdict()))
            assert checked(work.session).broken_at == (1 if seq == 0 else 11)
            work.session.rollback()


def cut(session: Session, keep: int) -> None:
    """Cut the end off, and have the head say what is left, as well as somebody can who lacks the secret."""
    session.execute(delete(AuditRecord).where(AuditRecord.seq > keep))
    last = session.scalar(select(AuditRecord.digest).where(AuditRecord.seq == keep)) or START
    session.execute(update(AuditHead).values(seq=keep, digest=last))


@pytest.mark.parametrize("keep", [1, 5, 9])
def test_an_end_that_is_cut_off_is_found(opened: Database, keep: int) -> None:
    with opened.write() as work:
        cut(work.session, keep)
        assert checked(work.session) == Verdict(keep, keep + 1, "the end of the trail is gone, or its head was changed")


def test_an_end_that_is_cut_off_is_found_even_when_the_service_has_gone_on(opened: Database) -> None:
    with opened.write() as work:
        cut(work.session, 5)
    write(opened, 10)
    with opened.read() as session:
        assert verify(session, key=KEY).broken_at == 6


def test_a_trail_that_is_emptied_is_found_while_there_are_cases(opened: Database) -> None:
    with opened.write() as work:
        cut(work.session, 0)
        assert checked(work.session) == Verdict(0, None, "")
        work.session.add(
            Case(
                id="0" * 32, site="a", queue="check", request_id="1", door="check", body_sha256="", state="received",
                order={}, received_at="", changed_at="",
            )
        )  # fmt: skip
        assert checked(work.session).broken_at == 1


@pytest.mark.parametrize(
    "values", [{"seq": 9}, {"seq": 11}, {"seq": 0}, {"digest": "0" * 64}, {"digest": ""}, {"id": 2}]
)
def test_a_head_that_was_changed_is_found(opened: Database, values: dict[str, Any]) -> None:
    with opened.write() as work:
        work.session.execute(update(AuditHead).values(**values))
        assert checked(work.session).broken_at == 11


def test_another_secret_does_not_verify(opened: Database) -> None:
    with opened.read() as session:
        other = verify(session, key=audit_key("another secret than the one it was written with"))
    assert other == Verdict(0, 1, "line 1 was changed, or written with another secret")


def test_lines_written_with_another_secret_are_found(opened: Database) -> None:
    with opened.write() as work:
        append(work.session, [Note("eve", "signed")], key=b"another")
        assert checked(work.session).broken_at == 11


def test_a_trail_that_grows_while_it_is_checked_is_whole(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.is_sqlite:
        pytest.skip("who reads in SQLite sees nothing of what is written meanwhile")
    monkeypatch.setattr("eyeground.clinic.db.audit._PAGE", 3)
    write(database, 10)
    grown = []

    def grow(*_: object) -> None:
        if len(grown) < 8:
            grown.append(None)
            with database.write() as work:
                work.note("service", "grown")

    real = Line._make
    monkeypatch.setattr(Line, "_make", lambda row: (grow(), real(row))[1])
    with database.read() as session:
        verdict = verify(session, key=KEY)
    assert (verdict.broken_at, len(grown)) == (None, 8)
    assert verdict.lines > 10


def test_lines_of_many_writers_stand_in_one_row(database: Database) -> None:
    def work_on(number: int) -> None:
        with database.write() as work:
            work.note("service", "first", number=number)
            work.note("service", "second", number=number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work_on, range(60)))
    with database.read() as session:
        assert verify(session, key=KEY) == Verdict(120, None, "")
    told = [json.loads(line.detail)["number"] for line in lines_of(database)]
    assert told[::2] == told[1::2]
    assert sorted(told[::2]) == list(range(60))


@pytest.mark.parametrize("statement", ["update audit set actor = 'eve'", "delete from audit", "truncate audit"])
def test_the_database_refuses_to_change_or_delete_a_line(database: Database, statement: str) -> None:
    if database.is_sqlite and statement.startswith("truncate"):
        pytest.skip("SQLite has no such statement")
    write(database, 3)
    with pytest.raises(DBAPIError, match="only ever added to"), database.write() as work:
        work.session.execute(text(statement))
    with database.read() as session:
        assert verify(session, key=KEY) == Verdict(3, None, "")


def test_a_trail_without_a_head_takes_nothing(database: Database) -> None:
    with database.write() as work:
        work.session.execute(delete(AuditHead))
    with pytest.raises(RuntimeError, match="eyeground clinic init"):
        write(database, 1)


def test_a_letter_that_moves_to_the_next_column_is_found() -> None:
    told = Line(1, "t", "eve", "1", "signed", "{}", "")
    told = told._replace(digest=by_hand([told])[0][0])
    assert holds(told, before=START, key=KEY)
    assert not holds(told._replace(actor="ev", case_id="e1"), before=START, key=KEY)


def test_a_head_without_a_seal_would_hide_a_cut(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # The negative control: what the seal is for.
    monkeypatch.setattr("eyeground.clinic.db.audit._seal", lambda _, __, digest: digest)
    write(database, 10)
    with database.write() as work:
        let_changes_through(work.session)
        cut(work.session, 5)
        assert checked(work.session) == Verdict(5, None, "")
