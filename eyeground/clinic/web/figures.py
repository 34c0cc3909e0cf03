"""How the service stands, for Prometheus: counted in the database, so that several processes say the same."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from eyeground.clinic.cases import stands_in
from eyeground.clinic.db.database import Database, DatabaseLost
from eyeground.clinic.db.tables import AuditHead, Case, DeadLetter, Job, Outgoing
from eyeground.clinic.log import failed
from eyeground.clinic.states import OPEN, STATES

_PREFIX = "eyeground_clinic"


@dataclass(frozen=True)
class Figures:
    """How the service stands.

    Args:
        cases: How many, by state.
        jobs: How many wait or are worked on, by kind.
        unsent: Answers that no queue has confirmed.
        letters: Dead letters that nobody has replayed, by code.
        audit_lines: Length of the audit trail.
        oldest: ISO time of what has waited longest: ``"job"``, ``"answer"``, ``"review"``; empty where nothing waits.

    Example:
        >>> Figures({}, {}, 0, {}, 0, {}).unsent
        0

    References:
        Our own.
    """

    cases: dict[str, int]
    jobs: dict[str, int]
    unsent: int
    letters: dict[str, int]
    audit_lines: int
    oldest: dict[str, str]


def count(session: Session) -> Figures:
    """Count.

    Args:
        session: An open transaction.

    Returns:
        The figures.

    References:
        docs/clinic.md, what is worth an alarm.
    """
    unsent = Outgoing.sent_at == ""
    oldest: dict[str, Any] = {
        "job": select(func.min(Job.added)),
        "answer": select(func.min(Outgoing.made_at)).where(unsent),
        # Counted beside it: the least alone is looked for from the first case that ever came.
        "review": select(func.min(Case.received_at), func.count()).where(stands_in(*OPEN)),
    }
    letters = select(DeadLetter.code, func.count()).where(DeadLetter.replayed_at == "").group_by(DeadLetter.code)
    return Figures(
        cases=_numbers(session, select(Case.state, func.count()).group_by(Case.state)),
        jobs=_numbers(session, select(Job.kind, func.count()).group_by(Job.kind)),
        unsent=session.execute(select(func.count()).select_from(Outgoing).where(unsent)).scalar_one(),
        letters=_numbers(session, letters),
        audit_lines=session.execute(select(AuditHead.seq)).scalar_one_or_none() or 0,
        oldest={what: session.execute(wanted).one()[0] or "" for what, wanted in oldest.items()},
    )


class FiguresCollector(Collector):
    """Gives Prometheus the figures; they are counted anew when they are older than ``keep_s``.

    Args:
        database: Where to count.
        keep_s: How long figures are good for. Unit: s.
        clock: Seconds that only ever grow.

    Example:
        >>> [metric.name for metric in FiguresCollector(Database("sqlite://", key=b"")).collect()]
        ['eyeground_clinic_database_up']

    References:
        https://prometheus.io/docs/instrumenting/writing_exporters/
    """

    def __init__(self, database: Database, *, keep_s: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._keep_s, self._clock = database, keep_s, clock
        self._lock = threading.Lock()
        self._found: Figures | None = None
        self._counted = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """Tell the figures; where the database does not answer, only that.

        Yields:
            Metrics. Their labels are words of our own.
        """
        figures = self._figures()
        yield GaugeMetricFamily(
            f"{_PREFIX}_database_up", "Whether the database answers", value=float(figures is not None)
        )
        if figures is None:
            return
        states = {state: figures.cases.get(state, 0) for state in STATES}
        yield _by("cases", "Cases by state", "state", states)
        yield _by("jobs", "Cases that wait for a worker or are worked on", "kind", figures.jobs)
        yield _by("dead_letters_open", "Dead letters that nobody has replayed", "code", figures.letters)
        yield GaugeMetricFamily(
            f"{_PREFIX}_answers_unsent", "Answers that no queue has confirmed", value=figures.unsent
        )
        yield GaugeMetricFamily(f"{_PREFIX}_audit_lines", "Length of the audit trail", value=figures.audit_lines)
        ages = {what: _age_s(since) for what, since in figures.oldest.items()}
        yield _by("oldest_seconds", "Age of what has waited longest; 0 where nothing waits", "what", ages)

    def describe(self) -> list[Any]:
        """Nothing is known before it is counted.

        Returns:
            Nothing.
        """
        return []

    def _figures(self) -> Figures | None:
        """The figures, counted at most every so often; whoever asks meanwhile waits for the same count."""
        with self._lock:
            if self._clock() - self._counted >= self._keep_s:
                try:
                    with self._database.read() as session:
                        self._found = count(session)
                except (DatabaseLost, SQLAlchemyError) as error:
                    failed("figures_missing", error)
                    self._found = None
                self._counted = self._clock()
            return self._found


def _numbers(session: Session, wanted: Select[str, int]) -> dict[str, int]:
    """Words and how often each is there."""
    return {word: number for word, number in session.execute(wanted).all()}  # noqa: C416 - dict() takes a row for keys


def _by(name: str, text: str, label: str, values: Mapping[Any, float]) -> Metric:
    """A gauge with one label."""
    metric = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], float(value))
    return metric


def _age_s(since: str) -> float:
    """How long ago that was, by the clock on the wall: good enough to be shown."""
    if not since:
        return 0.0
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
