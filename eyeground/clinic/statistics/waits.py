"""Turn-around: how long patients wait from the arrival of their images to a doctor's signature."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from eyeground.clinic.statistics.number import Number, quantile

_HOUR_S: Final = 3600.0
# With fewer the ninetieth percentile is one of the two longest waits, whatever the others are.
LEAST_FOR_P90: Final = 10


@dataclass(frozen=True)
class Waited:
    """The waits that ended on one day, or in all of them.

    Args:
        day: The day in the service's zone, ISO; empty of all days together.
        cases: How many cases were signed for the first time.
        median_h: Median wait. Unit: h.
        p90_h: What nine of ten waits did not exceed. Unit: h.

    Example:
        >>> Waited("2026-11-28", 0, Number(None), Number(None)).cases
        0

    References:
        Our own.
    """

    day: str
    cases: int
    median_h: Number
    p90_h: Number


@dataclass(frozen=True)
class Waits:
    """All waits of some days.

    Args:
        days: One after the other, without gaps.
        whole: All together.
        odd: Cases that seem to be signed before they arrived, since a clock was set; they are left out.

    Example:
        >>> Waits((), Waited("", 0, Number(None), Number(None)), 0).odd
        0

    References:
        Our own.
    """

    days: tuple[Waited, ...]
    whole: Waited
    odd: int


def waits(times: Iterable[tuple[str, str]], *, days: Sequence[date], zone: ZoneInfo) -> Waits:
    """Sum up waits by the day on which they ended.

    Args:
        times: Of each case when it arrived and when it was signed for the first time; UTC, ISO.
        days: Days that are wanted.
        zone: Whose days.

    Returns:
        The waits.

    Example:
        >>> told = [("2026-11-27T20:00:00.000000Z", "2026-11-27T23:00:00.000000Z")]
        >>> found = waits(told, days=[date(2026, 11, 28)], zone=ZoneInfo("Asia/Shanghai"))
        >>> found.days[0].cases, found.days[0].median_h.value, found.days[0].p90_h.why
        (1, 3.0, 'too_few')

    References:
        Our own.
    """
    by_day: dict[date, list[float]] = {day: [] for day in days}
    odd = 0
    for arrived, signed in times:
        begun, ended = datetime.fromisoformat(arrived), datetime.fromisoformat(signed)
        hours = (ended - begun).total_seconds() / _HOUR_S
        day = ended.astimezone(zone).date()
        if hours < 0:
            odd += 1
        elif day in by_day:
            by_day[day].append(hours)
    every = [hours for each in by_day.values() for hours in each]
    return Waits(tuple(_waited(day.isoformat(), each) for day, each in by_day.items()), _waited("", every), odd)


def last_days(today: date, count: int) -> list[date]:
    """List the last days.

    Args:
        today: The last of them.
        count: How many.

    Returns:
        The days, the earliest first.

    Example:
        >>> [each.day for each in last_days(date(2026, 12, 1), 2)]
        [30, 1]

    References:
        Our own.
    """
    return [today - timedelta(days=back) for back in reversed(range(count))]


def _waited(day: str, hours: Sequence[float]) -> Waited:
    """The waits of a day."""
    return Waited(day, len(hours), quantile(hours, 0.5), quantile(hours, 0.9, least=LEAST_FOR_P90))
