"""All statistics of some days, kept for a minute so that a page that is looked at often costs nothing."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import time as day_time
from enum import IntEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database
from eyeground.clinic.eyes import side
from eyeground.clinic.findings import EYES, FINDINGS, Merged, Seen, merge
from eyeground.clinic.records import Part, Said
from eyeground.clinic.statistics import rows
from eyeground.clinic.statistics.agreement import GRADABLE, SOURCES, Agreement, Pair, agreements
from eyeground.clinic.statistics.drift import Answered, Drift, drift
from eyeground.clinic.statistics.rates import Rate, rates
from eyeground.clinic.statistics.waits import Waits, last_days, waits

# What is looked at of each kind at most, the last ones; the page says when there was more.
MOST: Final = 20_000
_KEPT_S: Final = 60.0
# Of what models say the values count here, and each is the same as any other of its kind.
_VALUES: Final = tuple(Said(value=value) for value in range(max(max(each.values()) for each in FINDINGS.values()) + 1))
_ALL: Final = {part: set(findings) for part, findings in FINDINGS.items()}


class Days(IntEnum):
    """Of how many days statistics are told.

    Example:
        >>> Days(30) is Days.MONTH
        True

    References:
        Our own.
    """

    WEEK = 7
    MONTH = 30
    QUARTER = 90


@dataclass(frozen=True)
class StateCount:
    """How many cases stand somewhere.

    Args:
        state: Where.
        now: How many stand there now, however old; None of those that are out.
        arrived: How many of those that arrived in these days.

    Example:
        >>> StateCount("in_review", 3, 2).now
        3

    References:
        ``eyeground.clinic.states``.
    """

    state: str
    now: int | None
    arrived: int


@dataclass(frozen=True)
class Statistics:
    """What happened in some days.

    Args:
        days: How many; today is the last of them.
        site: Whose cases; empty = all sites'.
        since: Begin of the first day; UTC, ISO.
        made_at: When this was counted; UTC, ISO.
        timezone: Whose days.
        states: Cases by state.
        waits: From arrival to the first signature.
        agreement: Doctors and models, by where the doctors' words are from and by finding.
        rates: Images that cannot be graded, by site and device.
        drift: Models' answers, held against their first ones.
        most: How many opinions, and answers of a model, are counted at most.
        cut: Whether there were more than that, so that the earliest of these days are not in.

    Example:
        >>> Statistics.__dataclass_fields__["cut"].type
        <class 'bool'>

    References:
        pages.md of the design, section 5.
    """

    days: int
    site: str
    since: str
    made_at: str
    timezone: str
    states: tuple[StateCount, ...]
    waits: Waits
    agreement: tuple[Agreement, ...]
    rates: tuple[Rate, ...]
    drift: tuple[Drift, ...]
    most: int
    cut: bool


class Statistician:
    """Counts, and remembers for a minute what was counted.

    Args:
        database: Where cases live.
        timezone: Whose days.
        kept_s: How long it remembers. Unit: s.
        most: What is looked at of each kind at most.
        clock: Seconds that only ever grow.

    References:
        docs/clinic.md.
    """

    def __init__(
        self,
        database: Database,
        *,
        timezone: str,
        kept_s: float = _KEPT_S,
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._zone, self._kept_s, self._most = database, ZoneInfo(timezone), kept_s, most
        self._clock = clock
        self._kept: dict[tuple[str, int], tuple[float, Statistics]] = {}
        self._turn = threading.Lock()

    def of(self, *, site: str, days: Days) -> Statistics:
        """Tell what happened.

        Args:
            site: Only at this site; empty = at all.
            days: In how many days, today included.

        Returns:
            The statistics, at most ``kept_s`` old.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        with self._turn:  # who comes meanwhile waits, and gets the same
            moment = self._clock()
            self._kept = {key: each for key, each in self._kept.items() if moment - each[0] < self._kept_s}
            if (site, days) not in self._kept:
                self._kept[site, days] = (moment, self._count(site, days))
            return self._kept[site, days][1]

    def _count(self, site: str, days: Days) -> Statistics:
        """Count."""
        made_at = now()
        wanted = last_days(datetime.fromisoformat(made_at).astimezone(self._zone).date(), days)
        begin = datetime.combine(wanted[0], day_time(), self._zone).astimezone(UTC)
        since, most = begin.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), self._most
        with self._database.read() as session:
            states = rows.states(session, site=site, since=since)
            qualities = rows.qualities(session, site=site, since=since)
            models = rows.models(session, site=site, since=since)
        with self._database.read() as session:
            written = {
                "signed": rows.signed(session, site=site, since=since, most=most + 1),
                "first_read": rows.first_reads(session, site=site, since=since, most=most + 1),
            }
        cut = any(len(each) > most for each in written.values())
        written = {source: each[:most] for source, each in written.items()}
        said = self._said(list(dict.fromkeys(each.case_id for opinions in written.values() for each in opinions)))
        found: list[Drift] = []
        for model_id, title in models:
            with self._database.read() as session:
                reference, later = rows.spoken(session, model_id, site=site, since=since, most=most + 1)
            cut = cut or len(later) > most
            found += _drifts(title, reference, later[:most])
        first_ones = [(each.arrived_at, each.written_at) for each in written["signed"] if each.revision == 1]
        return Statistics(
            days=int(days),
            site=site,
            since=since,
            made_at=made_at,
            timezone=self._zone.key,
            states=tuple(StateCount(state, *counts) for state, counts in states.items()),
            waits=waits(first_ones, days=wanted, zone=self._zone),
            agreement=tuple(
                each
                for source in SOURCES
                for each in agreements(_pairs(_last(source, written[source]), said), source=source)
            ),
            rates=rates(qualities),
            drift=tuple(found),
            most=most,
            cut=cut,
        )

    def _said(self, case_ids: Sequence[str]) -> dict[str, Merged]:
        """What the models said of each case, by eye; of a signed case that is sealed, and does not change."""
        with self._database.read() as session:
            images = list(rows.images_of_cases(session, case_ids))
        with self._database.read() as session:
            findings = list(rows.findings_of_cases(session, case_ids))
        answers: defaultdict[tuple[str, str], list[tuple[str, dict[str, Said]]]] = defaultdict(list)
        for case_id, sha256, quality, said in findings:
            told = json.loads(said)
            answers[case_id, sha256].append((quality, {name: _VALUES[each["value"]] for name, each in told.items()}))
        seen: defaultdict[str, list[Seen]] = defaultdict(list)
        for case_id, part, eye, conflict, sha256, quality in images:
            for verdict, told in answers[case_id, sha256] or [(quality or "cannot grade", {})]:
                seen[case_id].append(Seen(_part(part), side(eye), bool(conflict), verdict, told))
        return {case_id: merge(each, offers=_ALL) for case_id, each in seen.items()}


def _last(source: str, written: Sequence[rows.Written]) -> list[rows.Written]:
    """Of signed opinions the last of each case; first reads stand for themselves, for each is another doctor's."""
    if source == "first_read":
        return list(written)
    return list({each.case_id: each for each in reversed(written)}.values())


def _pairs(written: Iterable[rows.Written], said: dict[str, Merged]) -> Iterable[Pair]:
    """What doctors and models say of the same thing."""
    for each in written:
        merged = said.get(each.case_id, Merged())
        eyes: dict[str, dict[str, Any]] = json.loads(each.opinion).get("eyes", {})
        for key, eye in eyes.items():
            part, answers = _part(key.partition("/")[0]), merged.said.get(key)
            if key.partition("/")[2] not in EYES or (answers is None and merged.unavailable.get(key) != "cannot_grade"):
                continue  # no model has looked at it: there is nobody to agree with
            yield Pair(each.patient, part, GRADABLE, int(eye["ungradable"]), int(answers is None))
            for name, value in eye["findings"].items():
                if answers is not None and name in answers:
                    yield Pair(each.patient, part, name, value, answers[name].value)


def _drifts(title: str, reference: Sequence[rows.Spoken], later: Sequence[rows.Spoken]) -> Iterable[Drift]:
    """The drift of a model in all that it answers."""
    sides = [[(each.patient, json.loads(each.said)) for each in spoken] for spoken in (reference, later)]
    answered = {name for _, told in sides[0] for name in told}
    for part, findings in FINDINGS.items():
        for name in findings:
            if name in answered:
                before, after = (
                    [Answered(who, told[name]["value"], told[name].get("score")) for who, told in side if name in told]
                    for side in sides
                )
                yield drift(before, after, model=title, part=part, finding=name)


def _part(word: str) -> Part:
    """A part of the eye."""
    return "anterior" if word == "anterior" else "fundus"
