"""What a list shows of an eye."""

from eyeground.clinic.leads import Lead, leads_of
from eyeground.clinic.records import Said
from eyeground.clinic.urgency import read_rules


def test_everything_that_is_there_is_shown_the_most_urgent_first() -> None:
    def leads(**values: int) -> list[Lead]:
        return list(leads_of({name: Said(value=value) for name, value in values.items()}, read_rules("ico")))

    assert leads(DR=0, AMD=0) == [Lead("DR", 0, None)]
    assert leads(AMD=0, RVO=0) == [Lead("AMD", 0, None)]
    assert [each.finding for each in leads(DR=1, GLA=1, RVO=0)] == ["GLA", "DR"]
    assert [each.finding for each in leads(AMD=1, DR=4)] == ["DR", "AMD"]
    assert [each.finding for each in leads(DR=1, ON=1, AMD=1)] == ["ON", "AMD", "DR"]
