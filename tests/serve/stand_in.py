"""A model that stands in for a real one: it answers from the color of what it sees. As a program, the service of it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.phantom import draw_fundus, draw_oct
from eyeground.data.preprocessing import Preprocessing
from eyeground.data.task import Head, Task, classification
from eyeground.evaluate.calibrate import Calibration
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets
from eyeground.evaluate.thresholds import Positive, Threshold
from eyeground.model.engine import Images
from eyeground.model.spec import ModelSpec
from eyeground.serve.answering import Looked
from eyeground.serve.app import ServeSettings, make_app
from eyeground.serve.contract import Contract
from eyeground.serve.gate import Gated
from eyeground.serve.predictor import Answer, Predictor
from eyeground.serve.replies import words
from eyeground.serve.server import run

Ask = Callable[[httpx.AsyncClient], Awaitable[Any]]
CLASSES = ("normal", "cataract", "drusen")
CAPTION = {"en": "where the model looked, not a lesion boundary", "zh": "模型关注的位置，并非病灶边界"}


class ByColor:
    """Outputs are the mean of each channel: another picture, another answer."""

    description = "stand-in on cpu, fp32"

    def __init__(self, outputs: int = 3) -> None:
        self.width = outputs
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.answered = 0

    def outputs(self, images: Images) -> NDArray[np.float32]:
        """Wait until told to go on, then answer, or fail."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.go_on.wait(30)
            if self.fault is not None:
                raise self.fault
            means = images.mean(axis=(2, 3))
            return np.resize(means.T, (self.width, len(images))).T.astype(np.float32)
        finally:
            with self._lock:
                self._at_once -= 1
                self.answered += len(images)

    def close(self) -> None:
        """Nothing to let go of."""


def contract_of(task: Task | None = None, *, calibrated: bool = False) -> Contract:
    """A contract with titles in both languages."""
    task = classification(CLASSES) if task is None else task
    titles = {
        "normal": {"en": "No disease found", "zh": "未见异常"},
        "cataract": {"en": "Cataract", "zh": "白内障"},
        "drusen": {"en": "Drusen", "zh": "玻璃膜疣"},
        "AMD": {"en": "Age-related macular degeneration", "zh": "年龄相关性黄斑变性"},
        "DR": {"en": "Diabetic retinopathy", "zh": "糖尿病视网膜病变"},
        "yes": {"en": "Yes", "zh": "是"},
        "no": {"en": "No", "zh": "否"},
    }
    made = Calibration(
        CLASSES,
        False,
        Estimate(1.5),
        (
            Threshold(Positive("drusen", (2,)), "sensitivity", 0.9, Estimate(0.25)),
            Threshold(Positive("cataract", (1,)), "specificity", 0.9, Estimate(float("nan"), reason="too few")),
        ),
        ConformalSets(0.9, False, (Estimate(0.8),) * 3),
    )
    return Contract(
        ModelSpec("vit_demo_patch8", task.outputs, image_px=32),
        task,
        False,
        Preprocessing(image_px=32),
        "center",
        "fundus",
        "1a2b" * 16,
        titles,
        {"label": made} if calibrated else {},
    )


def several() -> Task:
    """A task of every kind of head."""
    return Task(
        "heads",
        (
            Head("AMD"),
            Head("DR", "grades", ("0", "1", "2")),
            Head("IOP", "quantity", unit="mmHg", center=16.0, spread=4.0),
        ),
    )


def predictor_of(contract: Contract | None = None, runtime: ByColor | None = None) -> Predictor:
    """A model ready to be asked."""
    contract = contract_of() if contract is None else contract
    return Predictor(contract, ByColor(contract.task.outputs) if runtime is None else runtime, id="demo-0000")


def explain(gated: Gated, answer: Answer) -> Looked:
    """A map that shows the image itself, its right half red."""
    assert gated.shown is not None
    pixels = gated.shown.copy()
    pixels[:, pixels.shape[1] // 2 :, 0] = 255
    return Looked("stand-in", encoded(pixels), ("macula", "somewhere"), CAPTION)


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Write a picture."""
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def photograph(disease: str = "normal", *, seed: int = 1, size_px: int = 256, kind: str = "PNG") -> bytes:
    """A photograph that can be graded."""
    return encoded(draw_fundus(disease, seed=seed, size_px=size_px).image.pixels, kind)


def scan() -> bytes:
    """A B-scan, which is no photograph."""
    return encoded(draw_oct("normal", seed=1).image.pixels)


def dark() -> bytes:
    """A photograph on which nothing can be seen."""
    return encoded(np.zeros((200, 200, 3), np.uint8))


def talk(app: Any, ask: Ask) -> Any:
    """Start an app, talk to it in its own process, and end it."""

    async def whole() -> Any:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            return await ask(client)

    return asyncio.run(whole())


def counts(page: str) -> dict[str, float]:
    """Read Prometheus' text."""
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if not line.startswith("#")
    }


def assert_refused(reply: httpx.Response, status: int, reason: str, language: str = "en") -> None:
    """One shape of refusal, and nothing but a sentence of ours in it."""
    assert (reply.status_code, reply.json()) == (
        status,
        {"error": words()["refusals"][reason][language], "reason": reason},
    )


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """The service in a process of its own, stopped in the end as an operator would: its URL and process id."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the service did not start"
        yield url, process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        # Nothing is set up to log, so Python itself writes warnings and errors: a rude head may be told, no more.
        assert set(process.stdout.read().splitlines()) <= {"Invalid HTTP request received."}
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    run(
        make_app(
            predictor_of(contract_of(calibrated=True)), explain=explain, settings=ServeSettings(max_bytes=2 * 2**20)
        ),
        host="127.0.0.1",
        port=0,
        listening=lambda url: print(url, flush=True),  # noqa: T201  whoever started it waits for this
    )
