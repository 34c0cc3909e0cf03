"""How long patients wait, by day of the zone that people live in."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from eyeground.clinic.statistics.number import Number
from eyeground.clinic.statistics.waits import last_days, waits

SHANGHAI = ZoneInfo("Asia/Shanghai")


def told(signed: str, hours: float) -> tuple[str, str]:
    """A case that waited so long."""
    at = datetime.fromisoformat(signed)
    return (at - timedelta(hours=hours)).isoformat(), signed


def test_a_wait_counts_on_the_day_of_its_signature_in_the_zone() -> None:
    days = [date(2026, 11, 27), date(2026, 11, 28)]
    found = waits(
        [told("2026-11-27T15:59:59+00:00", 1), told("2026-11-27T16:00:00+00:00", 3)], days=days, zone=SHANGHAI
    )
    assert [(each.day, each.cases, each.median_h.value) for each in found.days] == [
        ("2026-11-27", 1, 1.0), ("2026-11-28", 1, 3.0),
    ]  # fmt: skip
    assert (found.whole.cases, found.whole.median_h.value) == (2, 2.0)


def test_median_and_p90_are_numpys_and_few_cases_have_no_p90() -> None:
    hours = [0.5, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
    day = [date(2026, 11, 28)]
    found = waits([told("2026-11-28T10:00:00+00:00", each) for each in hours], days=day, zone=SHANGHAI)
    assert found.whole.p90_h.value == np.quantile(hours, 0.9)
    assert found.whole.median_h.value == 8
    few = waits([told("2026-11-28T10:00:00+00:00", each) for each in hours[:9]], days=day, zone=SHANGHAI)
    assert few.days[0].p90_h == Number(None, why="too_few")


def test_a_day_without_signatures_is_there_and_undefined() -> None:
    found = waits([], days=last_days(date(2026, 3, 1), 3), zone=SHANGHAI)
    assert [each.day for each in found.days] == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert {each.median_h for each in found.days} == {Number(None, why="nothing")}


def test_a_clock_that_was_set_back_makes_no_negative_wait() -> None:
    found = waits([told("2026-11-28T10:00:00+00:00", -2)], days=[date(2026, 11, 28)], zone=SHANGHAI)
    assert (found.odd, found.whole.cases) == (1, 0)
