"""An answer that is kept: asked for by one, whatever the other server does."""

import threading

import pytest

from eyeground.clinic import kept as module
from eyeground.clinic.kept import Kept, ProviderLost


def test_while_one_asks_the_others_are_told_at_once_and_afterwards_all_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_WAITED_S", 0.01)
    asked, answers, calls = threading.Event(), threading.Event(), list[int]()

    def ask() -> list[int]:
        calls.append(1)
        asked.set()
        assert answers.wait(60)
        return calls

    kept = Kept(ask)
    first = threading.Thread(target=kept.get)
    first.start()
    assert asked.wait(60)
    for _ in range(20):
        with pytest.raises(ProviderLost):
            kept.get()
    monkeypatch.setattr(module, "_WAITED_S", 60.0)
    second: list[object] = []
    waiting = threading.Thread(target=lambda: second.append(kept.get()))
    waiting.start()
    answers.set()
    first.join()
    waiting.join()
    assert second == [kept.get()]
    assert calls == [1]


def test_a_failure_is_remembered_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls, is_there = [1000.0], list[int](), [False]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def ask() -> str:
        calls.append(1)
        if not is_there[0]:
            raise ProviderLost("gone")
        return f"answer {len(calls)}"

    kept = Kept(ask)
    for _ in range(5):
        with pytest.raises(ProviderLost):
            kept.get()
    assert len(calls) == 1
    clock[0] += 31
    is_there[0] = True
    first = kept.get()
    clock[0] += 59
    assert kept.get(other_than=first) is first, "too early for another"
    clock[0] += 2
    second = kept.get(other_than=first)
    assert (first, second) == ("answer 2", "answer 3")
    clock[0] += 3601
    is_there[0] = False
    for _ in range(3):
        with pytest.raises(ProviderLost):
            kept.get()
    assert len(calls) == 4
