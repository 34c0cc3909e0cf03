"""A grader that needs no network: what it says of an image follows from the image's hash, or was said beforehand."""

import time
from collections.abc import Mapping, Sequence

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.grader import Reading
from eyeground.clinic.records import Part, Said
from eyeground.images.laterality import eye_from_name

NO_IMAGE = Reading("cannot grade: not an image")


class ConstantGrader:
    """Says the same of the same bytes, always.

    Bytes that begin with ``no image`` cannot be graded. ``answers`` by hash go before what follows from the hash;
    ``fault`` is raised instead of any answer, ``sleep_s`` passes before it.
    """

    def __init__(
        self,
        part: Part = "fundus",
        *,
        id: str = "constant-0000",
        title: str = "Constant 1.0",
        offers: Sequence[str] | None = None,
        answers: Mapping[str, Reading] | None = None,
        sleep_s: float = 0.0,
        fault: Exception | None = None,
    ) -> None:
        self.id, self.title, self.part = id, title, part
        self.offers: tuple[str, ...] = tuple(FINDINGS[part] if offers is None else offers)
        self.answers, self.sleep_s, self.fault = dict(answers or {}), sleep_s, fault
        self.reads = 0
        self.closed = False

    def read(self, data: bytes, *, name: str) -> Reading:
        self.reads += 1
        if self.sleep_s:
            time.sleep(self.sleep_s)
        if self.fault is not None:
            raise self.fault
        sha256 = digest_of(data)
        if sha256 in self.answers:
            return self.answers[sha256]
        if data.startswith(b"no image"):
            return NO_IMAGE
        return Reading("good", eye=eye_from_name(name), said=said_of(data, self.part, self.offers))

    def close(self) -> None:
        self.closed = True


def said_of(data: bytes, part: Part = "fundus", offers: Sequence[str] | None = None) -> dict[str, Said]:
    """What a constant grader says of these bytes."""
    names = tuple(FINDINGS[part] if offers is None else offers)
    digest = bytes.fromhex(digest_of(data))
    return {
        name: Said(value=digest[place] % (FINDINGS[part][name] + 1), score=digest[-1 - place] / 255)
        for place, name in enumerate(names)
    }
