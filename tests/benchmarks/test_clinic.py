"""The benchmark of the service: a few cases go through it, and none is lost."""

from benchmarks import clinic


def test_cases_go_through_two_workers() -> None:
    claim, found = clinic.measured("SQLite", 6, 1.0)
    assert found.faults == 0
    assert sum(found.shares) >= 6
    assert found.cpu_s > 0
    assert claim.unit == "cases/s"


def test_the_same_answers_are_made_without_keeping_anything() -> None:
    assert clinic.without_keeping_anything(4) > 0
