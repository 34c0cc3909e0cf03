"""In what two opinions differ, against a comparison written the slow way."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.web.differences import differences

_EYES = st.builds(
    EyeReview,
    findings=st.dictionaries(st.sampled_from(["DR", "AMD"]), st.integers(0, 4)),
    ungradable=st.booleans(),
    reason=st.sampled_from(["", "a", "b"]),
)
OPINIONS = st.builds(
    Opinion,
    eyes=st.dictionaries(st.sampled_from(["fundus/OD", "fundus/OS"]), _EYES),
    conclusion=st.sampled_from(["", "a", "b"]),
    recommendation=st.sampled_from(["", "a"]),
    texts=st.dictionaries(st.sampled_from(["fundusReport", "anteriorReport"]), st.sampled_from(["a", "b"])),
)


def at(told: Any, where: str) -> Any:
    """What stands at a place; None where nothing does."""
    for key in list(told):
        if where == key:
            return told[key]
        if where.startswith(f"{key}."):
            return at(told[key], where.removeprefix(f"{key}."))
    return None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(OPINIONS, OPINIONS)
def test_every_difference_is_one_and_together_they_are_all(sent: Opinion, stored: Opinion) -> None:
    found = differences(sent, stored)
    for each in found:
        assert each.sent == at(sent.model_dump(), each.where)
        assert each.stored == at(stored.model_dump(), each.where)
        assert each.sent != each.stored
    assert (found == []) == (sent == stored)
    assert [each.where for each in found] == sorted({each.where for each in found})
    assert [(each.where, each.stored, each.sent) for each in found] == [
        (each.where, each.sent, each.stored) for each in differences(stored, sent)
    ]
