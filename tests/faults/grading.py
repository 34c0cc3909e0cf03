"""A grader whose answer is a function of the image's bytes, so that every result can be checked by hand."""

import hashlib
import os
import signal
import time

from eyeground.clinic.grader import Reading
from eyeground.clinic.records import Part, Said

_MUCH = bytes(2**20)
OFFERS = ("AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR")


def answers(data: bytes) -> dict[str, int]:
    """What this grader says of an image; also the tests' own expectation."""
    digest = hashlib.sha256(data).digest()
    return {name: digest[place] % 2 for place, name in enumerate(OFFERS[:-1])} | {"DR": digest[6] % 5}


class HashGrader:
    """Answers at once, after a while, or after as much computing; some images kill it, and some make it fail."""

    id, title, part, offers = "hash-1", "hash grader 1", "fundus", OFFERS

    def __init__(
        self, delay_s: float = 0.0, deadly: str = "", failing: str = "", calls: str = "", busy_s: float = 0.0
    ) -> None:
        self.part: Part = "fundus"
        self._busy_s = busy_s
        self._delay_s, self._deadly, self._failing, self._calls = delay_s, deadly.encode(), failing.encode(), calls

    def read(self, data: bytes, *, name: str) -> Reading:
        del name
        if self._calls:
            with open(self._calls, "a", encoding="ascii") as file:  # noqa: PTH123 - one short write, whole or not at all
                file.write(f"{os.getpid()} {hashlib.sha256(data).hexdigest()}\n")
        if self._deadly and self._deadly in data:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._failing and self._failing in data:
            raise RuntimeError("the model fails on this")
        if self._delay_s:
            time.sleep(self._delay_s)
        began = time.thread_time()
        while time.thread_time() - began < self._busy_s:
            hashlib.sha256(_MUCH).digest()  # as a network does, it computes without Python's lock
        return Reading("good", said={key: Said(value=value, score=0.9) for key, value in answers(data).items()})

    def close(self) -> None: ...
