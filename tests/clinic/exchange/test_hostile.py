"""M1: bad messages of very many kinds are refused, each with codes of the closed list, and nothing else happens."""

import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from eyeground.clinic.exchange import check, report, screening
from eyeground.clinic.refusal import Problem, Refused
from eyeground.pick import pick

from .hostile import CANARY, GOOD, good, kinds, raw, variant, verdict

KINDS = kinds()
READERS: dict[str, Callable[[bytes], Any]] = {"check": check.read, "report": report.read, "screening": screening.read}


def variants(count: int, seed: int) -> list[tuple[str, str, bytes]]:
    """Some variants: queue, kind, body."""
    random_ = random.Random(seed)
    chosen = random_.choices(list(KINDS), k=count)
    return [(queue, kind, variant(queue, KINDS[queue, kind], random_)) for queue, kind in chosen]


def faults(count: int, seed: int) -> Counter[str]:
    """What is wrong with the answers to some variants, and to which kinds."""
    found = Counter(f"{queue}, {kind}: {verdict(READERS[queue], body)}" for queue, kind, body in variants(count, seed))
    return Counter({name: times for name, times in found.items() if not name.endswith(": ")})


def test_there_are_enough_kinds() -> None:
    assert len({kind for _, kind in KINDS}) >= 60
    assert len(KINDS) >= 250
    for queue in GOOD:
        bodies = [body for (other, _), body in KINDS.items() if other == queue]
        assert len(set(bodies)) == len(bodies) >= 60


@pytest.mark.parametrize("queue", sorted(GOOD))
def test_the_message_they_are_made_from_is_taken(queue: str) -> None:
    # Otherwise every kind would be refused for another reason than its own.
    assert READERS[queue](raw(good(queue))).id in ("17", "r-1", "m-1")


@pytest.mark.parametrize(("queue", "kind"), sorted(KINDS))
def test_a_bad_message_is_refused(queue: str, kind: str) -> None:
    assert verdict(READERS[queue], KINDS[queue, kind]) == ""


@pytest.mark.parametrize(
    ("queue", "kind", "code"),
    [
        ("check", "image leads out", "bad_path"),
        ("check", "image an address", "url_refused"),
        ("check", "no image", "no_image"),
        ("check", "id a fraction", "wrong_type"),
        ("check", "id with a slash", "bad_id"),
        ("check", "no id", "missing"),
        ("check", "too long", "too_large"),
        ("check", "latin 1", "not_utf8"),
        ("check", "nan", "not_json"),
        ("check", "a list", "not_an_object"),
        ("check", "deep lists", "too_deep"),
        ("check", "many values", "too_many_values"),
        ("check", "a key twice", "repeated_key"),
        ("check", "20 digits", "out_of_range"),
        ("report", "half a pair", "bad_text"),
        ("report", "text far too long", "too_long"),
        ("report", "no text", "empty"),
        ("screening", "photos cut base64", "bad_base64"),
        ("screening", "photos empty bytes", "image_empty"),
        ("screening", "photos path and bytes", "two_sources"),
        ("screening", "photos two eyes", "eye_contradiction"),
        ("screening", "photos by url", "url_refused"),
        ("screening", "photos none", "no_image"),
        ("screening", "photos far too many", "too_many_images"),
        ("screening", "photos an unknown eye", "bad_word"),
        ("screening", "record screening_time impossible", "bad_time"),
        ("screening", "vision left_eye words", "bad_acuity"),
        ("screening", "vision intraocular_pressure far too high", "out_of_range"),
    ],
)
def test_the_code_says_what_is_wrong(queue: str, kind: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        READERS[queue](KINDS[queue, kind])
    assert [problem.code for problem in caught.value.problems] == [code]


def test_variants_are_refused() -> None:
    assert faults(600, seed=1) == {}


@pytest.mark.slow
def test_ten_thousand_variants_are_refused() -> None:
    assert faults(10_000, seed=2) == {}


def test_variants_are_refused_for_many_reasons() -> None:
    codes = set()
    for queue, _, body in variants(600, seed=1):
        with pytest.raises(Refused) as caught:
            READERS[queue](body)
        codes |= {problem.code for problem in caught.value.problems}
    assert len(codes) >= 15


@pytest.mark.parametrize("queue", sorted(GOOD))
def test_random_bytes_in_a_good_message_are_read_or_refused(queue: str) -> None:
    random_, body, taken = random.Random(3), raw(good(queue)), 0
    for _ in range(1000):
        changed = bytearray(body)
        for _ in range(random_.randrange(1, 4)):
            place = random_.randrange(len(changed))
            changed[place : place + random_.randrange(2)] = random_.randbytes(random_.randrange(2))
        found = verdict(READERS[queue], bytes(changed))
        assert found in ("", "was taken"), bytes(changed)
        taken += found == "was taken"
    assert 0 < taken < 1000


@pytest.mark.parametrize("queue", sorted(GOOD))
def test_everything_that_is_wrong_is_told_together(queue: str) -> None:
    message = good(queue)
    wrong = {"check": ("osFundusImg", "odFundusImg"), "report": ("osFundusFeatures", "odAnteriorDisease")}.get(
        queue, ()
    )
    for name in wrong:
        message[name] = 3
    if queue == "screening":
        message["Patient"] |= {"age": "old", "photos": ["../a", {"url": "http://a"}]}
        message["vision_data"]["left_eye"] = CANARY
    with pytest.raises(Refused) as caught:
        READERS[queue](raw(message | {"id": ["x"], "message_id": ["x"]}))
    places = {problem.where for problem in caught.value.problems}
    if queue == "screening":
        assert places == {
            "message_id", "Patient.age", "Patient.photos.0", "Patient.photos.1.url", "vision_data.left_eye"
        }  # fmt: skip
    else:
        assert places == {"id", *wrong}


@pytest.mark.parametrize(
    "body",
    [b'{"a": [' + b"[]," * (4 * 2**20 // 3) + b"[]]}", b'{"a": [' + b"1," * 2**21 + b"1]}", b"[" * 2**22],
    ids=["empty lists", "numbers", "never closed"],
)
def test_memory_is_settled_before_anything_is_built(body: bytes) -> None:
    def peak(read: Callable[[bytes], object]) -> int:
        tracemalloc.start()
        try:
            with suppress(Refused, ValueError, RecursionError):
                read(body)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(screening.read) < 4 * len(body)
    if body[-1:] == b"}":  # negative control
        assert peak(json.loads) > 4 * len(body)


def trusting(body: bytes) -> object:
    """A reader as they are often written."""
    told = json.loads(body)
    return told["id"], told.get("osFundusImg", "").strip()


def quoting(body: bytes) -> object:
    """A reader whose refusals hold the patient's name."""
    raise Refused([Problem(code="not_json", where=body.decode("utf-8", "replace")[:200])])


@pytest.mark.parametrize("broken", [trusting, quoting])
def test_a_broken_reader_is_caught(broken: Callable[[bytes], object]) -> None:
    found = Counter(verdict(broken, body) for body in KINDS.values())
    del found[""]
    assert found.total() > 30
    wanted = {"trusting": {"was taken", "raised KeyError", "raised JSONDecodeError", "raised RecursionError"},
              "quoting": {"repeats what was sent"}}  # fmt: skip
    assert wanted[broken.__name__] <= set(found)


def test_the_readers_are_those_of_the_shelf() -> None:
    assert all(pick("clinic.exchange", queue).read is reader for queue, reader in READERS.items())
