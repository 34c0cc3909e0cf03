"""A database filled with very many cases, straight into the tables, as the service would have written them.

Everything that hangs together does: urgency by the rules, answers by the contract, signatures that hold, an audit trail
that verifies. Left out are photographs, heat maps and drafted texts; who looked at a case stands in
the trail once.
"""

import hashlib
import hmac
import itertools
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select, text

from eyeground.clinic.answered import Answered
from eyeground.clinic.db.audit import START, audit_key
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.people import PatientLink
from eyeground.clinic.db.tables import (
    AuditHead,
    AuditRecord,
    Case,
    DeadLetter,
    Finding,
    Image,
    Job,
    Outgoing,
    Review,
)  # fmt: skip
from eyeground.clinic.exchange import screening
from eyeground.clinic.exchange.contract import dumps
from eyeground.clinic.findings import FINDINGS, Seen, merge
from eyeground.clinic.records import Opinion, Order, Said
from eyeground.clinic.service import signing_key
from eyeground.clinic.signature import signature_of
from eyeground.clinic.urgency import read_rules, urgency
from eyeground.images.retinal_image import Eye

SITES: Final = tuple(f"site-{number:02d}" for number in range(12))
DOCTORS: Final = tuple(f"doctor-{number:02d}" for number in range(15))
DAYS: Final = 3 * 365
VISITS: Final = 2.4  # of a patient, on average
_TABLES: Final = (Case, Image, Finding, Review, Outgoing, Job, FirstRead, PatientLink, DeadLetter, AuditRecord)
_BATCH: Final = 2_000  # cases
_NAMES: Final = ("王李张刘陈杨赵黄周吴扎", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平西")
_ASIDE: Final = {"anterior/OD": "no_image", "anterior/OS": "no_image"}
# Stand in an answer for what differs from case to case.
_WORDS: Final = {"id": "<request>", "patient": "<patient>", "doctor": "<doctor>", "at": "2020-01-01T00:00:00.000000Z"}
_OFFERS: Final = {"fundus": set(FINDINGS["fundus"])}
_CAMERAS: Final = ("Topcon", "Canon", "Zeiss")


class _Event(NamedTuple):
    """A line of the audit trail before its turn."""

    at: str
    number: int
    actor: str
    case_id: str
    event: str
    detail: dict[str, Any]


class _Found(NamedTuple):
    """What a pair of eyes leads to."""

    urgency: str
    rank: int
    rules: str
    reasons: str
    unavailable: str
    opinion: dict[str, Any]
    answer: bytes


def fill(
    database: Database,
    count: int,
    *,
    secret: str,
    sites: Sequence[str] = SITES,
    seed: int = 7,
    until: datetime | None = None,
) -> None:
    """Fill an empty database with so many cases of the last three years.

    One in a hundred of the newest waits, some thousands of a million; a few wait since long ago, are amended, not yet
    looked at, signed and not yet out. Most have two photographs and one signed opinion.

    Args:
        database: Migrated, and empty but for accounts.
        count: How many cases.
        secret: The service's, for signatures and the audit trail, which goes on where it ends.
        sites: Who asked; the first most often.
        seed: The same gives the same cases.
        until: When the last one arrived; None = now.
    """
    made = _Cases(count, secret=secret, sites=sites, seed=seed, until=until or datetime.now(UTC))
    with database.engine.execution_options(eyeground_writes=True).begin() as connection:
        made.seq, made.head = connection.execute(select(AuditHead.seq, AuditHead.digest)).one()
        again = _stripped(connection)
        for _ in range(0, count, _BATCH):
            _write(connection, made.batch(_BATCH))
        _write(connection, made.rest())
        head = {"seq": made.seq, "digest": made.head}
        connection.execute(AuditHead.__table__.update().values(**head))  # type: ignore[attr-defined]
        _settle(connection, again)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("vacuum analyze"))
    else:
        with database.engine.connect() as connection:
            connection.execute(text("analyze"))


class _Cases:
    """Makes rows, by table, in the order in which things happened."""

    def __init__(self, count: int, *, secret: str, sites: Sequence[str], seed: int, until: datetime) -> None:
        self.count, self.until, self._draws = count, until, random.Random(seed)
        self._seals, self._trail = signing_key(secret), audit_key(secret)
        self._rules = read_rules("ico")
        self._number = itertools.count()
        self._events: list[_Event] = []
        self._numbers = itertools.count()
        self._found: dict[tuple[int, int], _Found] = {}
        self._eyes = [_eye(number, self._draws) for number in range(_KINDS)]
        weights = [1 / (1 + place) for place in range(len(sites))]
        self._site_of = self._draws.choices(sites, weights, k=4_096)
        self._sites = sites
        self._patients = max(1, round(count / VISITS))
        self.rows: dict[type[Any], list[tuple[Any, ...]]] = {}
        self._ids = {table: itertools.count(1) for table in (Image, Finding, Review, Outgoing, FirstRead, DeadLetter)}
        self.seq, self.head = 0, START

    def batch(self, most: int) -> dict[type[Any], list[tuple[Any, ...]]]:
        """Rows of the next cases."""
        self.rows = {table: [] for table in _TABLES}
        for number in itertools.islice(self._number, most):
            if number < self.count:
                self._case(number)
        return self.rows

    def rest(self) -> dict[type[Any], list[tuple[Any, ...]]]:
        """What is left of the audit trail, and some dead letters."""
        self.rows = {table: [] for table in _TABLES}
        for number in range(max(3, self.count // 2_000)):
            at = self._at(self.until - timedelta(hours=number))
            done_at = "" if number < 3 else at
            self._add(
                DeadLetter, next(self._ids[DeadLetter]), self._draws.choice(self._sites), "screening", "not_json", "[]",
                b"no json", _hash(f"letter {number}"), "", at, done_at, "dismissed" if done_at else "",
            )  # fmt: skip
        self._chain(self._at(self.until + timedelta(days=1)))
        return self.rows

    def _case(self, number: int) -> None:
        """All that there is of one case."""
        draws = self._draws
        span = timedelta(days=DAYS)
        received = self.until - span * (1 - (number + draws.random()) / self.count)
        self._chain(self._at(received))
        left = self.count - number  # 1 is the newest
        case_id, who = f"{draws.getrandbits(128):032x}", draws.randrange(self._patients)
        site, patient = self._site_of[who % 4_096], f"P{who:07d}"
        places = draws.choices(range(_KINDS), _WEIGHTS, k=2)
        state = self._state(left)
        found = self._pair(places[0], places[1])
        name = _NAMES[0][who % 11] + _NAMES[1][who % 21] + _NAMES[1][who // 21 % 21]
        order = _order(number, patient, name, who, received)
        at, body = self._at(received), _hash(f"m{number}")
        model = "2.0" if number > self.count * 0.6 else "1.0"
        images, findings = self._looked(case_id, places, state, received, model, site)
        known = state != "received"
        self._tell(received, "service", case_id, "received", {"body": body, "images": 2, "queue": "screening"})
        version, changed = 1, received
        if known:
            changed = received + timedelta(seconds=20)
            version = 4
            self._tell(changed, "service", case_id, "gate", {"from": "received", "to": "gated", "version": 2})
            told = {"dropped": 0, "from": "gated", "models": [f"model-{model}"], "to": "inferred", "version": 3}
            self._tell(changed, "service", case_id, "infer", told)
            self._tell(changed, "service", case_id, "present", {"from": "inferred", "to": "in_review", "version": 4})
        else:
            self._add(Job, case_id, "read", 50, at, "", 0.0, 0)
        doctor = draws.choice(DOCTORS)
        revision = 1
        if state in ("signed", "released", "amended"):
            changed = self._signed(case_id, site, order, body, found, images, findings, doctor, received, state)
            version = {"signed": 5, "released": 6, "amended": 7}[state]
            revision = 2 if state == "amended" else 1
        elif state == "in_review" and draws.random() < 0.15:
            changed = min(self.until, changed + timedelta(hours=draws.random() * 4))
            version = 5
            self._opinion(case_id, 1, found.opinion, doctor, saved=self._at(changed))
            self._tell(changed, doctor, case_id, "saved", {"revision": 1, "version": 5})
        self._add(
            Case, case_id, site, "screening", f"m{number}", "screening", body, state, version, revision,
            json.dumps(order), "[]", found.unavailable if known else "{}", found.urgency if known else "",
            found.rank if known else 50, found.reasons if known else "{}", found.rules if known else "", "signed", at,
            self._at(changed), patient, name,
        )  # fmt: skip

    def _state(self, left: int) -> str:
        """Where a case stands, by how many came after it."""
        drawn = self._draws.random()
        if left <= max(3, 0.0002 * self.count):
            return "received"
        if left <= max(40, 0.008 * self.count):
            return "in_review" if drawn < 0.45 else "signed" if drawn < 0.46 else "released"
        if drawn < 0.0003:  # waits since long ago
            return "in_review"
        return "amended" if drawn < 0.0004 else "released"

    def _looked(
        self, case_id: str, places: Sequence[int], state: str, received: datetime, model: str, site: str
    ) -> tuple[list[str], list[Finding]]:
        """Photographs, and what a model says of them; as they are signed."""
        images: list[str] = []
        findings: list[Finding] = []
        for place, (eye, looked) in enumerate(zip(("OD", "OS"), places, strict=True)):
            sha256 = _hash(f"{case_id} {eye}")
            quality, told, said = self._eyes[looked]
            known = state != "received"
            self._add(
                Image, next(self._ids[Image]), case_id, place, "fundus", eye, eye if known else "", sha256,
                200_000 + looked, f"{case_id[:8]}_{eye}.jpg", quality if known else "", "", "",
                _CAMERAS[self._sites.index(site) % 3],
            )  # fmt: skip
            if known:
                self._add(
                    Finding, next(self._ids[Finding]), case_id, sha256, f"model-{model}", said, quality, "[]",
                    f"Model {model}", self._at(received + timedelta(seconds=20)),
                )  # fmt: skip
                images.append(f"fundus/{eye}:{sha256}")
                findings.append(_Sealed(sha256, f"model-{model}", told))  # type: ignore[arg-type]
        return images, findings

    def _signed(
        self, case_id: str, site: str, order: dict[str, Any], body: str, found: _Found, images: list[str],
        findings: list[Finding], doctor: str, received: datetime, state: str,
    ) -> datetime:  # fmt: skip
        """Signed, released, perhaps amended; when it changed last."""
        draws = self._draws
        signed = min(self.until, received + timedelta(hours=min(draws.expovariate(1 / 20), 8 * 24)))
        at, number = self._at(signed), order["id"]
        opinion, title = found.opinion, f"Dr {doctor[-2:]}"
        review = _Review(1, opinion, doctor, title, at)
        case = _Signed(case_id, site, body, order)
        seal = signature_of(review, case, findings, images, key=self._seals)  # type: ignore[arg-type]
        self._opinion(case_id, 1, opinion, doctor, saved=at, signed=at, seal=seal)
        self._tell(signed - timedelta(seconds=40), doctor, case_id, "case_seen", {})
        told = {"from": "in_review", "revision": 1, "rules": found.rules, "signature": seal, "to": "signed"}
        self._tell(signed, doctor, case_id, "sign", told | {"urgency": found.urgency, "version": 5})
        if draws.random() < 0.05:
            told_first = json.dumps(opinion)
            self._add(FirstRead, next(self._ids[FirstRead]), case_id, 1, doctor, told_first, at)
        if state == "signed":
            self._add(Job, case_id, "release", 0, at, "", 0.0, 0)
            return signed
        out = min(self.until, signed + timedelta(seconds=3))
        answer = found.answer
        for word, mine in zip(_WORDS.values(), (number, order["person"]["patient_id"], title, at), strict=True):
            answer = answer.replace(word.encode(), mine.encode())
        unsent = draws.random() < 0.02 and self.until - out < timedelta(hours=6)
        self._add(
            Outgoing, next(self._ids[Outgoing]), case_id, 1, "screening_result", f"{case_id}-1", answer, self._at(out),
            "" if unsent else self._at(out), "", 0.0, 0 if unsent else 1,
        )  # fmt: skip
        self._tell(out, "service", case_id, "release",
                   {"from": "signed", "revision": 1, "to": "released", "version": 6})  # fmt: skip
        if not unsent:
            self._tell(out, "service", case_id, "sent", {"queue": "screening_result", "revision": 1})
        if draws.random() < 0.1:
            self._add(
                PatientLink, _hash(f"link {case_id}"), case_id, _hash(case_id), doctor, self._at(out),
                self._at(out + timedelta(days=30)), 0, "", "",
            )  # fmt: skip
        if state == "amended":
            out = min(self.until, out + timedelta(hours=30))
            self._opinion(case_id, 2, opinion, doctor, saved=self._at(out), reason="typing error")
            self._tell(
                out, doctor, case_id, "amend", {"from": "released", "revision": 2, "to": "amended", "version": 7}
            )
        return out

    def _opinion(
        self, case_id: str, revision: int, opinion: dict[str, Any], doctor: str, *, saved: str, signed: str = "",
        seal: str = "", reason: str = "",
    ) -> None:  # fmt: skip
        """What a doctor wrote."""
        self._add(
            Review, next(self._ids[Review]), case_id, revision, json.dumps(opinion), doctor,
            f"Dr {doctor[-2:]}" if signed else "", reason, saved, signed, seal, "",
        )  # fmt: skip

    def _pair(self, od: int, os: int) -> _Found:
        """What two eyes lead to; by the rules and the contract, once for each pair."""
        if (od, os) not in self._found:
            sides: tuple[tuple[Eye, int], ...] = (("OD", od), ("OS", os))
            seen, eyes = [], {}
            for eye, place in sides:
                quality, told, _ = self._eyes[place]
                said = {name: Said.model_validate(each) for name, each in told.items()}
                seen.append(Seen("fundus", eye, False, quality, said))
                values = {name: each["value"] for name, each in told.items()}
                eyes[f"fundus/{eye}"] = {
                    "findings": values, "ungradable": not told, "reason": "" if told else "too dark",
                }  # fmt: skip
                if told and place == 6:  # the doctor sees it otherwise, and says why
                    eyes[f"fundus/{eye}"] |= {"findings": values | {"GLA": 1}, "reason": "cupped disc"}
            merged = merge(seen, offers=_OFFERS)  # type: ignore[arg-type]
            ranked = urgency(merged, rules=self._rules)
            written = {"eyes": eyes, "conclusion": "See the findings.", "recommendation": "Come again in time."}
            opinion = Opinion.model_validate(written)
            order = Order.model_validate(_order(0, _WORDS["patient"], "", 0, self.until) | {"id": _WORDS["id"]})
            answered = Answered(
                "", order, 1, images={"fundus": 2}, said=merged.said, quality=merged.quality,
                values={key: each.findings for key, each in opinion.eyes.items() if each.findings},
                unavailable={**_ASIDE, **merged.unavailable}, opinion=opinion, doctor_name=_WORDS["doctor"],
                signed_at=_WORDS["at"], urgency=ranked.word, rules=ranked.rules, models=("Model",),
            )  # fmt: skip
            reasons = {language: list(told) for language, told in ranked.reasons.items()}
            self._found[od, os] = _Found(
                ranked.word, ranked.rank, ranked.rules, json.dumps(reasons), json.dumps(dict(merged.unavailable)),
                opinion.model_dump(), dumps(screening.answer(answered)),
            )  # fmt: skip
        return self._found[od, os]

    def _tell(self, at: datetime, actor: str, case_id: str, event: str, detail: dict[str, Any]) -> None:
        """A line for the audit trail, when its time comes."""
        heappush(self._events, _Event(self._at(at), next(self._numbers), actor, case_id, event, detail))

    def _chain(self, until: str) -> None:
        """Write the lines up to a moment, each sealed on the one before."""
        while self._events and self._events[0].at < until:
            told = heappop(self._events)
            detail = json.dumps(told.detail, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            self.seq += 1
            words = (str(self.seq), told.at, told.actor, told.case_id, told.event, detail)
            digest = _sealed(self._trail, self.head, *words)
            self._add(AuditRecord, self.seq, *words[1:], digest)
            self.head = _sealed(self._trail, "head", str(self.seq), digest)

    def _add(self, table: type[Any], *row: Any) -> None:
        """One row, in the order of the table's columns."""
        self.rows[table].append(row)

    def _at(self, moment: datetime) -> str:
        """As the tables have it."""
        return moment.isoformat(timespec="microseconds")[:26] + "Z"


class _Sealed(NamedTuple):
    """What is sealed of a finding."""

    image_sha256: str
    model_id: str
    said: dict[str, Any]


class _Review(NamedTuple):
    """What is sealed of an opinion."""

    revision: int
    opinion: dict[str, Any]
    doctor: str
    doctor_name: str
    signed_at: str
    drafted_by: str = ""


class _Signed(NamedTuple):
    """What is sealed of a case."""

    id: str
    site: str
    body_sha256: str
    order: dict[str, Any]


# Of the kinds of eye the first are healthy, the next ill, the last is too dark.
_WEIGHTS: Final = [3.0] * 5 + [1.0] * 6 + [0.5]
_KINDS: Final = len(_WEIGHTS)


def _eye(number: int, draws: random.Random) -> tuple[str, dict[str, Any], str]:
    """A kind of eye: quality, what a model says of it, and the same as JSON."""
    if number == _KINDS - 1:
        return "cannot grade: too dark", {}, "{}"
    values = dict.fromkeys(FINDINGS["fundus"], 0)
    if number >= 5:
        values |= {"DR": 1 + number % 4, "AMD": int(number == 7), "GLA": int(number == 8)}
    told = {name: {"value": value, "score": round(draws.uniform(0.5, 1.0), 4)} for name, value in values.items()}
    return "good", told, json.dumps(told)


def _order(number: int, patient: str, name: str, who: int, received: datetime) -> dict[str, Any]:
    """What was asked for, as ``records.Order`` is stored."""
    exam = {
        "acuity": "", "notation": "", "correction": "", "pressure_mmhg": None, "pressure_method": "",
        "pressure_time": "",
    }  # fmt: skip
    person = {
        "patient_id": patient, "name": name, "age": 30 + who % 55, "sex": ("male", "female")[who % 2], "phone": "",
    }  # fmt: skip
    return {
        "door": "screening", "id": f"m{number}", "person": person, "od": exam, "os": exam,
        "visit_time": received.strftime("%Y-%m-%d"), "earlier": [], "texts": {},
    }  # fmt: skip


def _hash(word: str) -> str:
    """SHA-256 of a word."""
    return hashlib.sha256(word.encode()).hexdigest()


def _sealed(key: bytes, before: str, *words: str) -> str:
    """As ``db.audit`` seals a line; written anew, for a million of them."""
    told = "".join(f"{len(word)}:{word}" for word in (before, *words))
    return hmac.digest(key, told.encode(), "sha256").hex()


def _write(connection: Connection, rows: dict[type[Any], list[tuple[Any, ...]]]) -> None:
    """Put rows into the tables: by COPY, or by many at once."""
    for table, mine in rows.items():
        if not mine:
            continue
        name, columns = table.__tablename__, [f'"{each}"' for each in table.__table__.columns.keys()]  # noqa: SIM118
        told = f"{name} ({', '.join(columns)})"
        if connection.dialect.name == "sqlite":
            marks = ", ".join("?" * len(columns))
            connection.exec_driver_sql(f"insert into {told} values ({marks})", mine)  # noqa: S608 - our own words
            continue
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"copy {told} from stdin") as copy:
            copy.write("".join("\t".join(map(_copied, row)) + "\n" for row in mine))


def _copied(value: Any) -> str:
    """A value as COPY reads it; none of ours holds a tab or a line's end."""
    if isinstance(value, str):
        return value.replace("\\", "\\\\")
    return f"\\\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _stripped(connection: Connection) -> list[str]:
    """Take out keys and indexes of PostgreSQL's tables, which are made faster at the end; what makes them again."""
    if connection.dialect.name == "sqlite":
        return []
    names = [table.__tablename__ for table in _TABLES]
    wanted = text(
        "select conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) from pg_constraint "
        "where (conrelid::regclass::text = any(:names) or confrelid::regclass::text = any(:names)) "
        "and contype in ('f', 'p', 'u') order by array_position(array['f', 'u', 'p'], contype::text)"
    )
    keys = connection.execute(wanted, {"names": names}).all()
    for table, key, _, _ in keys:
        connection.exec_driver_sql(f'alter table {table} drop constraint "{key}"')
    wanted = text("select indexname, indexdef from pg_indexes where schemaname = 'public' and tablename = any(:names)")
    indexes = connection.execute(wanted, {"names": names}).all()
    for index, _ in indexes:
        connection.exec_driver_sql(f'drop index "{index}"')
    made = [f'alter table {table} add constraint "{key}" {how}' for table, key, _, how in reversed(keys)]
    return [how for _, how in indexes] + made


def _settle(connection: Connection, again: Sequence[str]) -> None:
    """Make keys and indexes, and let new rows go on behind ours."""
    if connection.dialect.name == "sqlite":
        return
    connection.exec_driver_sql("set local maintenance_work_mem = '512MB'")
    for each in again:
        connection.exec_driver_sql(each)
    for table in _TABLES:
        if "id" in table.__table__.columns and table is not Case:
            last = connection.execute(select(func.max(table.id))).scalar_one() or 0
            told = f"select setval(pg_get_serial_sequence('{table.__tablename__}', 'id'), {last + 1})"
            connection.exec_driver_sql(told)
