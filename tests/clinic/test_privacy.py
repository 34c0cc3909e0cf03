"""P1: no patient is named in a log, a metric, a refusal, a header, a key, a temporary file or the audit trail."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic import log, outbox
from eyeground.clinic.blobs.folder import Folder
from eyeground.clinic.db.database import Work
from eyeground.clinic.queue.transport import Message
from eyeground.clinic.refusal import Refused
from eyeground.clinic.web import counting, unfailing

from .canary import STEMS, WORDS, Canary
from .traces import Traces, leave_traces

CHANNELS = {
    "log", "metrics", "refusals", "refusals over HTTP", "headers", "broker headers", "keys of the store", "file names",
    "temporary files", "audit", "dead letters",
}  # fmt: skip


def check(traces: Traces, count: int) -> None:
    """Everything was looked at, and nobody is named."""
    assert set(traces.told) == CHANNELS
    print({where: len(texts) for where, texts in sorted(traces.told.items())}, traces.hits())  # noqa: T201 - a scoreboard
    assert len(traces.told["refusals over HTTP"]) >= 2 * 25 * count
    assert len(traces.told["log"]) >= 10 * count
    log_text = "\n".join(traces.told["log"])
    for event in ("case_failed", "request_failed", "request_waits", "message_failed", "message", "case_done"):
        assert f'"event": "{event}"' in log_text
    assert traces.hits() == {}


def test_sixty_patients_are_named_nowhere(tmp_path: Path) -> None:
    check(leave_traces(tmp_path, 60), 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_patients_are_named_nowhere(tmp_path: Path) -> None:
    check(leave_traces(tmp_path, 1000), 1000)


@pytest.mark.parametrize("number", [0, 1])
def test_every_word_about_a_patient_is_recognized(number: int) -> None:
    canary = Canary(number)
    for word in (canary.name, canary.file, *(str(each) for each in canary.person.values() if each != 50)):
        for text in (word, f'{{"a": "{word.upper()}"}}', ascii(word).replace("\\x", "\\u00")):
            assert WORDS.search(text), text
    assert not WORDS.search(" ".join(CHANNELS))


def _log_that_repeats(patch: pytest.MonkeyPatch) -> None:
    def failed(event: str, error: BaseException, **told: Any) -> None:
        log.say(event, error=str(error))

    patch.setattr(log, "_plain", lambda value: value)
    patch.setattr("eyeground.clinic.worker.failed", failed)


def _metrics_by_address(patch: pytest.MonkeyPatch) -> None:
    count = counting.Requests.count
    patch.setattr(
        counting.Requests, "count",
        lambda self, route, *rest: count(self, route if route != "none" else f"/{STEMS[1]}", *rest),
    )  # fmt: skip


def _refusals_that_repeat(patch: pytest.MonkeyPatch) -> None:
    plain = Refused.to_json
    patch.setattr(
        Refused,
        "to_json",
        lambda self: [{**each, "where": STEMS[0]} if each["code"] == "missing" else each for each in plain(self)],
    )


def _errors_that_repeat(patch: pytest.MonkeyPatch) -> None:
    plain = unfailing.turn_away

    def turn_away(away: Any, scope: Any) -> Any:
        away.said = str(away.__context__ or STEMS[2])
        return plain(away, scope)

    patch.setattr(unfailing, "turn_away", turn_away)


def _headers_that_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        outbox, "Message", lambda body, message_id, headers: Message(body, message_id, {**headers, "patient": STEMS[3]})
    )
    send = Message.__init__

    def named(self: Message, body: bytes, message_id: str = "", headers: Any = None) -> None:
        send(self, body, message_id or STEMS[3], headers or {})

    patch.setattr(Message, "__init__", named)


def _keys_that_name(patch: pytest.MonkeyPatch) -> None:
    hashes = Folder.hashes
    patch.setattr(Folder, "hashes", lambda self: (f"{STEMS[4]}-{each}" for each in hashes(self)))


def _temporary_files(patch: pytest.MonkeyPatch) -> None:
    note = Work.note

    def spills(self: Work, actor: str, event: str, *rest: Any, **detail: Any) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(STEMS[0].encode())
        note(self, actor, event, *rest, **detail)

    patch.setattr(Work, "note", spills)


def _notes_that_name(patch: pytest.MonkeyPatch) -> None:
    note = Work.note
    patch.setattr(Work, "note", lambda self, *told, **detail: note(self, *told, **detail, name=STEMS[0]))


@pytest.mark.parametrize(
    ("mutant", "where"),
    [
        (_log_that_repeats, "log"), (_metrics_by_address, "metrics"), (_refusals_that_repeat, "refusals"),
        (_refusals_that_repeat, "refusals over HTTP"), (_refusals_that_repeat, "dead letters"),
        (_errors_that_repeat, "refusals over HTTP"), (_headers_that_name, "broker headers"),
        (_keys_that_name, "keys of the store"), (_temporary_files, "temporary files"), (_notes_that_name, "audit"),
    ],
)  # fmt: skip
def test_whoever_names_a_patient_is_found_out(
    mutant: Callable[[pytest.MonkeyPatch], None], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    assert leave_traces(tmp_path, 6).hits().get(where, 0) > 0
