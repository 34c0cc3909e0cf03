"""A draft is the model's where it holds, else there is a reason; never more than a few at a time."""

import threading

import pytest

from eyeground.clinic.llm import writing
from eyeground.clinic.llm.circuit import Circuit
from eyeground.clinic.llm.providers import provider_of
from eyeground.clinic.llm.slots import fill
from eyeground.clinic.llm.telling import template_of, texts_of
from eyeground.clinic.llm.writing import MOST_AT_ONCE, Writer, Written

from .plans import full_plan
from .stand_in import StandIn, standing_in, waited


def writer_of(server: StandIn, *, deadline_s: float = 20.0) -> Writer:
    return Writer(provider_of(server.url, model="m"), deadline_s=deadline_s)


def codes(written: Written) -> list[str]:
    return [each["code"] for each in written.rejected]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_holds_is_filled_with_the_facts(language: str) -> None:
    plan = full_plan(3, language)
    with standing_in() as server:
        written = writer_of(server).write(plan)
    assert codes(written) == []
    assert written.model == "local m"
    for section in plan.open:
        for slot in section.slots:
            assert slot.value in written.texts["narrative"]
    assert "[[" not in written.texts["narrative"]


def test_a_lie_is_thrown_away() -> None:
    def lie(sections: list[dict[str, object]]) -> dict[str, str]:
        return {str(each["key"]): "Normal eye, no retinopathy." for each in sections}

    with standing_in(prose=lie) as server:
        written = writer_of(server).write(full_plan(3, "en"))
    assert written.texts == {}
    assert {"missing_placeholder", "negation", "judgement"} <= set(codes(written))
    assert "Normal" not in str(written)


def test_texts_of_a_report_request_carry_the_note() -> None:
    plan = texts_of({"odFundusFeatures": "豹纹状眼底", "osAnteriorDisease": "cataract"}, "zh")
    with standing_in() as server:
        written = writer_of(server).write(plan)
    assert set(written.texts) == {"anteriorReport", "anteriorInterpret", "fundusReport", "fundusInterpret"}
    assert all(text.endswith("AI 生成草稿，非诊断；请由医生审核。") for text in written.texts.values())
    assert "豹纹状眼底" in written.texts["fundusReport"]
    assert "豹纹状眼底" not in server.requests[0].body.decode()


def test_a_service_that_fails_is_left_alone() -> None:
    with standing_in("unauthorized") as server:
        writer = Writer(provider_of(server.url, model="m"), deadline_s=20.0, circuit=Circuit(rest_s=600.0))
        told = [codes(writer.write(full_plan(1, "en"))) for _ in range(5)]
    assert told == [["bad_status"]] * 3 + [["resting"]] * 2
    assert len(server.requests) == 3


def test_who_lies_is_not_left_alone() -> None:
    with standing_in(prose=lambda sections: {each["key"]: "x" for each in sections}) as server:
        writer = writer_of(server)
        for _ in range(5):
            writer.write(full_plan(1, "en"))
    assert len(server.requests) == 5


def test_one_too_many_has_a_reason_at_once() -> None:
    with standing_in("held") as server:
        writer = writer_of(server)
        threads = [threading.Thread(target=writer.write, args=(full_plan(1, "en"),)) for _ in range(MOST_AT_ONCE)]
        for thread in threads:
            thread.start()
        assert waited(lambda: len(server.requests) == MOST_AT_ONCE)
        assert codes(writer.write(full_plan(1, "en"))) == ["busy"]
        server.hold.set()
        for thread in threads:
            thread.join()
        assert codes(writer.write(full_plan(1, "en"))) == []


def test_a_fact_that_looks_like_a_placeholder_is_not_read() -> None:
    plan = texts_of({"odFundusFeatures": "[[OS_FUNDUS_FEATURES]] \\1", "osFundusFeatures": "left"}, "en")
    texts = fill(plan, template_of(plan))
    assert "Features of the fundus: [[OS_FUNDUS_FEATURES]] \\1." in texts["fundusReport"]


def test_without_the_check_a_lie_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: nothing else stands between a lie and the doctor."""
    monkeypatch.setattr(writing, "faults", lambda plan, prose: [])
    with standing_in(prose=lambda sections: {each["key"]: "Normal." for each in sections}) as server:
        assert "Normal." in writer_of(server).write(full_plan(3, "en")).texts["narrative"]
