"""The app served to a real browser, in this process: whoever is signed in, and photographs that can be seen."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.grader import Reading
from eyeground.clinic.records import Part, Said
from eyeground.clinic.service import Service
from eyeground.clinic.sessions import open_session
from eyeground.data.phantom import draw_fundus

from ...browser import Browser
from ..opened import encoded, open_service_in
from ..pictures import encoded as written
from .office import HERE, Office

# What the grader says of a disease that a phantom shows.
SAID = {"normal": {"DR": 0}, "dr2": {"DR": 2}, "drusen": {"DR": 0, "AMD": 1}}


class Seer:
    """Says what it was told beforehand of a file's hash, with a map that has its peak at (0.25, 0.25)."""

    id, title = "seer-0000", "Seer 1.0"

    def __init__(
        self, answers: Mapping[str, Mapping[str, int]], *, part: Part = "fundus", offers: Sequence[str] = ()
    ) -> None:
        self._answers, self.part = answers, part
        self.offers = tuple(offers or FINDINGS[part])

    def read(self, data: bytes, *, name: str) -> Reading:
        told = self._answers.get(digest_of(data))
        if told is None:
            return Reading("cannot grade: out of focus")
        said = {
            each: Said(value=told.get(each, 0), score=0.81 if told.get(each) else 0.93 if each == "DR" else 0.04)
            for each in self.offers
        }
        return Reading(
            "fair: haze" if told.get("DR") else "good",
            said=said,
            areas=("macula",),
            heat=peak(),
            heat_of="DR" if "DR" in self.offers else self.offers[0],
        )

    def close(self) -> None:
        pass


def peak(side_px: int = 128) -> bytes:
    """A map with one peak in its first quarter."""
    y, x = np.mgrid[:side_px, :side_px] / side_px - 0.25
    return written((255 * np.exp(-(x**2 + y**2) / 0.01)).astype(np.uint8))


def jpeg(disease: str, *, seed: int, eye: str, size_px: int = 512) -> bytes:
    """A phantom photograph."""
    out = BytesIO()
    Image.fromarray(draw_fundus(disease, seed=seed, eye=eye, size_px=size_px).image.pixels).save(out, "JPEG")  # type: ignore[arg-type]
    return out.getvalue()


class Seen(Office):
    """An office whose cases have photographs, and a grader that was told what to say of them."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.said: dict[str, Mapping[str, int]] = {}

    def photo(self, disease: str, *, seed: int, eye: str, **more: str) -> dict[str, str]:
        """A photograph as a message has it."""
        data = jpeg(disease, seed=seed, eye=eye)
        self.said[digest_of(data)] = SAID[disease]
        return {"eye": eye, "name": f"{seed}_{eye}.jpg", "data": encoded(data), **more}

    @property
    def graders(self) -> list[Seer]:
        """Those that a worker asks."""
        return [Seer(self.said), Seer(self.said, part="anterior")]


def open_seen(folder: Path, **settings: Any) -> Seen:
    """Open such an office; close its service afterwards."""
    return Seen(open_service_in(folder, site=HERE, **settings))


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app on a port of its own: its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not (server.started or not thread.is_alive()):
        thread.join(0.02)
    assert server.started, "the service did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def sign_in(browser: Browser, service: Service, account: str, url: str, *, language: str = "en") -> None:
    """Let a browser be signed in as somebody."""
    with service.database.write() as work:
        cookie = open_session(work, account, how="password", hours=1)
    browser.do("Network.setCookie", name="eyeground", value=cookie, url=url, httpOnly=True, sameSite="Lax")
    browser.do("Network.setCookie", name="language", value=language, url=url)
