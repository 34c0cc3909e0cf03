"""L1: whatever a model's server does, there is an answer or a reason within the time given."""

import logging
import time

import pytest

from eyeground.clinic.llm import asking
from eyeground.clinic.llm.asking import NoAnswer, ask
from eyeground.clinic.llm.prompt import messages_of, schema_of
from eyeground.clinic.llm.providers import Provider, presets, provider_of
from eyeground.clinic.llm.reasons import reasons

from .plans import full_plan
from .stand_in import BROKEN, PLAIN, SLOW, standing_in

KEY = "sk-canary-of-the-key"
PLAN = full_plan(1, "en")
DEADLINE_S = 1.0
CODES = {
    "unauthorized": "bad_status", "bad_request": "bad_status", "redirect": "bad_status", "server_error": "bad_status",
    "held_back": "held_back", "refused": "held_back", "too_long": "cut_off", "refuses_connection": "unreachable",
    "endless": "too_large", "endless_error": "too_large", "too_many": "too_slow", "packed": "bad_answer",
    "hangs_up": "unreachable", "no_http": "unreachable", "hangs_up_in_body": "unreachable",
}  # fmt: skip


def asked(url: str, deadline_s: float = DEADLINE_S) -> dict[str, str]:
    return ask(
        provider_of(url, model="m", key=KEY), messages_of(PLAN), schema_of(PLAN), key=KEY, deadline_s=deadline_s
    )  # fmt: skip


def test_a_server_that_answers_is_heard() -> None:
    with standing_in() as server:
        assert set(asked(server.url, 20.0)) == {"narrative_OD", "narrative_OS"}
    [request] = server.requests
    assert request.path == "/v1/chat/completions"
    assert f"Bearer {KEY}" in request.headers


def test_a_fence_is_taken_off() -> None:
    assert asking._texts('```json\n{"a": "b"}\n```') == {"a": "b"}


@pytest.mark.parametrize("mode", [*PLAIN, *SLOW, *BROKEN])
def test_every_failure_has_its_reason_in_time(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with standing_in(mode) as server:
        begin = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            asked(server.url)
        assert time.monotonic() - begin < DEADLINE_S + 20  # a slow machine's; the figure is the scoreboard's
    expected = CODES.get(mode, "too_slow" if mode in SLOW else "bad_answer")
    # What takes its time to fail on a busy machine may run out of it.
    assert caught.value.code in {expected, "too_slow"} if mode not in ("held_back", "refused") else {expected}
    assert caught.value.code in reasons()
    assert KEY not in caplog.text
    assert KEY not in repr(caught.value)


def test_a_redirect_is_not_followed() -> None:
    with standing_in("redirect") as server, pytest.raises(NoAnswer):
        asked(server.url, 10.0)
    assert len(server.requests) == 1


def test_a_failing_server_is_asked_twice_at_most() -> None:
    with standing_in("server_error") as server, pytest.raises(NoAnswer) as caught:
        asked(server.url, 20.0)
    assert (caught.value.code, caught.value.status) == ("bad_status", 500)
    assert len(server.requests) == 2


def test_without_its_cap_an_endless_answer_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the cap is what ends it, and not the time."""
    monkeypatch.setattr(asking, "MOST_BYTES", 2**40)
    with standing_in("endless") as server, pytest.raises(NoAnswer) as caught:
        asked(server.url)
    assert caught.value.code == "too_slow"


@pytest.mark.parametrize("name", sorted(presets()))
def test_each_provider_is_sent_what_it_takes(name: str) -> None:
    with standing_in() as server:
        preset = presets()[name]
        provider = Provider(**(vars(preset) | {"url": server.url, "model": preset.model or "m"}))
        ask(provider, messages_of(PLAN), schema_of(PLAN), key=KEY, deadline_s=20.0)
    told = server.requests[0].told
    limit = {"openai": "max_completion_tokens"}.get(name, "max_tokens")
    assert told[limit] > 0
    assert {"max_tokens", "max_completion_tokens"} & told.keys() == {limit}
    assert ("temperature" in told) == (name != "openai")
    shape = {"openai": "json_schema", "deepseek": "json_object", "qwen": "json_object", "local": None}[name]
    assert told.get("response_format", {}).get("type") == shape
    assert told.get("enable_thinking") == (False if name == "qwen" else None)
    assert told.get("thinking") == ({"type": "disabled"} if name == "deepseek" else None)
    assert not told.get("stream")
    if shape:  # JSON mode wants the word in the conversation
        assert "JSON" in told["messages"][0]["content"]
