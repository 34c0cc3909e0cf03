"""Very many cases: what people wait for reads no big table from end to end, and what fills the tables is sound."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from eyeground.clinic.db.audit import audit_key, verify
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.db.tables import METADATA
from eyeground.clinic.intake import Arrived
from eyeground.clinic.jobs import Jobs
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.reading import Reader
from eyeground.clinic.retention import purge
from eyeground.clinic.seals import broken_seals
from eyeground.clinic.service import signing_key

from .many_cases import SITES, fill
from .opened import SECRET, open_service_in, patient_message
from .plans import listened, read_whole
from .servers import postgres_url
from .web.office import HERE, Office

COUNT = 6_000
_WAITING = "ix_cases_waiting, ix_cases_waiting_at_site"
BIG = {"cases", "images", "findings", "reviews", "outgoing", "audit"}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A service with thousands of cases; a doctor of all sites, and one of a small one."""
    with postgres_url() as url:
        service = open_service_in(tmp_path_factory.mktemp("many"), database_url=url, site=SITES[0])
        made = Office(service)
        fill(service.database, COUNT, secret=SECRET, sites=(*SITES[:5], HERE))
        yield made
        service.close()


def one(office: Office, told: str) -> str:
    """The first word of the first row."""
    with office.service.database.read() as session:
        return str(session.execute(text(told)).scalars().first())


def pages(office: Office) -> dict[str, Callable[[], None]]:
    """What people wait for, or a worker or a site does all day."""
    service = office.service
    # Of a site that has many: what is read of it without an index is seen.
    case = one(office, f"select id from cases where state = 'released' and site = '{SITES[0]}' limit 1")  # noqa: S608
    open_case = one(office, "select id from cases where state = 'in_review' order by received_at desc limit 1")
    name = one(office, "select patient_name from cases where state = 'in_review' limit 1")

    def get(path: str, who: str = "doctor", **asked: str | int) -> Callable[[], None]:
        def ask() -> None:
            reply = office.ask("GET", path, who, params=asked, headers={"Accept": "*/*"})
            assert reply.status_code == 200, reply.text

        return ask

    def admit() -> None:
        bodies = [Arrived("screening", patient_message(f"m{number}"), SITES[0]) for number in (1, 2)]
        service.intake.admit([*bodies, Arrived("screening", b"no", SITES[0])])

    def claim() -> None:
        jobs = Jobs(service.database, Reader(service.database, service.store, graders=(), rules=service.rules),
                    lease_s=30, tries=5)  # fmt: skip
        taken = jobs.take()
        assert taken is not None
        jobs.give_back(taken)

    found = {
        f"work list: {filter}, {who}": get("/work", who, filter=filter)
        for filter in ("all", "urgent", "ungradable", "disagreement", "mine")
        for who in ("doctor", "doctor_here")
    }
    return found | {
        "work list, a search": get("/work", search=name),
        "work list, a later page": get("/work", skip=10),
        "signed": get("/signed"),
        "signed, of a site": get("/signed", "doctor_here"),
        "counts": get("/api/v1/counts", "operator"),
        "case": get(f"/cases/{case}"),
        "case that waits": get(f"/cases/{open_case}"),
        "listing": get("/api/v1/cases", state="released", skip=300),
        "listing, of a site": get("/api/v1/cases", "doctor_here", state="released"),
        "intake": admit,
        "claim": claim,
        "answers to be sent": lambda: Outbox(service.database, site=SITES[0], lease_s=30)._take() and None,
        "purge, counted": lambda: purge(service.database, service.store, years=15) and None,
    }


def scanned(office: Office, act: Callable[[], None]) -> dict[str, str]:
    """Big tables that an act reads from end to end."""
    with listened(office.service.database.engine) as asked:
        act()
    assert asked
    with office.service.database.read() as session:
        found = read_whole(session.connection(), asked, most=COUNT // 4)
    return {table: statement for table, statement in found.items() if table in BIG}


def test_nobody_waits_for_a_big_table_to_be_read_from_end_to_end(office: Office) -> None:
    found = {what: scanned(office, act) for what, act in pages(office).items()}
    # A command, once in a while, looks for messages that came back among all cases.
    assert "FROM redelivered" in found["purge, counted"].pop("cases")
    assert {what: told for what, told in found.items() if told} == {}


@pytest.mark.parametrize(
    ("index", "what"),
    [
        (f"{_WAITING}, ix_cases_state_urgency_rank_received_at_id", "work list: all, doctor"),
        ("ix_cases_site_patient_id_received_at", "case"),
        ("ix_reviews_signed_at", "signed"),
        ("ix_audit_case_id_seq", "case"),
    ],
)  # fmt: skip
def test_the_negative_control_an_index_that_is_gone_is_found(office: Office, index: str, what: str) -> None:
    act = pages(office)[what]
    with listened(office.service.database.engine) as asked:
        act()
    with office.service.database.engine.connect() as connection:
        assert not BIG & read_whole(connection, asked, most=COUNT // 4).keys()
        connection.execute(text(f"drop index {index}"))
        assert BIG & read_whole(connection, asked, most=COUNT // 4).keys()
        connection.rollback()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_indexes_are_those_that_the_code_speaks_of(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/clinic.db"
    if kind == "postgresql":
        server = postgres_url()
        url = server.__enter__()
        request.addfinalizer(lambda: server.__exit__(None, None, None))
    database = Database(url, key=b"")
    migrate(database.engine)
    look = inspect(database.engine)
    for table in METADATA.sorted_tables:
        wanted = {str(each.name): [column.name for column in each.columns] for each in table.indexes}
        unique = {each["name"] for each in look.get_unique_constraints(table.name)}
        found = {each["name"]: each["column_names"] for each in look.get_indexes(table.name)}
        assert {name: columns for name, columns in found.items() if name not in unique} == wanted
    database.close()


def test_what_fills_the_tables_is_sound(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/clinic.db", key=audit_key(SECRET))
    migrate(database.engine)
    fill(database, 300, secret=SECRET)
    with database.read() as session:
        verdict = verify(session, key=audit_key(SECRET))
        assert (verdict.broken_at, verdict.reason) == (None, "")
        assert verdict.lines > 2_000
        assert broken_seals(session, key=signing_key(SECRET)) == []
        states = dict(session.execute(text("select state, count(*) from cases group by state")).all())
        assert sum(states.values()) == 300
        assert states["released"] > 250
        answer = session.execute(
            text("select body, request_id, patient_id from outgoing join cases on cases.id = case_id")
        )
        body, request_id, patient_id = answer.first() or (b"", "", "")
        told = json.loads(body)
        assert (told["message_id"], told["patient_id"]) == (request_id, patient_id)
        session.execute(text("update findings set said = '{}' where id = 1"))
        assert len(broken_seals(session, key=signing_key(SECRET))) == 1
    database.close()
