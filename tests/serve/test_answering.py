"""Work and who waits for it: nothing runs at once that must not, and nothing goes on for those who left."""

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from starlette.types import Message

from eyeground.serve.answering import Lane, Looked
from eyeground.serve.app import ServeSettings, make_app
from eyeground.serve.gate import Gated
from eyeground.serve.predictor import Answer

from .stand_in import ByColor, assert_refused, counts, explain, photograph, predictor_of, talk

GOOD = photograph(seed=3)


def test_a_lane_never_runs_more_than_it_may_and_keeps_nothing_of_those_who_left() -> None:
    go_on, begun = threading.Event(), Counter[str]()

    def slow(name: str) -> str:
        begun[name] += 1
        go_on.wait(30)
        return name

    async def whole() -> None:
        lane = Lane("test", 2)
        first = [asyncio.ensure_future(lane.do(lambda: slow("first"))) for _ in range(2)]
        while begun["first"] < 2:
            await asyncio.sleep(0.01)
        for each in first:
            each.cancel()
        left = [asyncio.ensure_future(lane.do(lambda: slow("left"))) for _ in range(50)]
        await asyncio.sleep(0.05)
        # Nobody waits for the first two, but their threads still work: their places are not free.
        assert (lane.busy, begun["left"], lane._pool._work_queue.qsize()) == (2, 0, 0)
        for each in left:
            each.cancel()
        last = asyncio.ensure_future(lane.do(lambda: slow("last")))
        await asyncio.sleep(0.05)
        assert begun["last"] == 0
        go_on.set()
        assert await last == "last"
        while lane.busy:  # the other of the first two may end later
            await asyncio.sleep(0.01)
        assert begun["left"] == 0
        lane.close()
        with pytest.raises(RuntimeError):
            await lane.do(lambda: 1)
        assert lane.busy == 0

    asyncio.run(whole())


def test_a_sender_that_hangs_up_leaves_no_work_behind() -> None:
    runtime = ByColor()
    app = make_app(predictor_of(runtime=runtime), settings=ServeSettings(workers=1))

    async def whole() -> tuple[dict[str, float], int]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
            runtime.go_on.clear()
            gone = asyncio.Event()
            scope = {
                "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
                "headers": [(b"content-type", b"image/png")], "root_path": "", "scheme": "http",
                "server": ("service", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
                "asgi": {"version": "3.0"},
            }  # fmt: skip

            def sender() -> Any:
                sent = False

                async def receive() -> Message:
                    nonlocal sent
                    if not sent:
                        sent = True
                        return {"type": "http.request", "body": GOOD, "more_body": False}
                    await gone.wait()
                    return {"type": "http.disconnect"}

                async def send(message: Message) -> None: ...

                return asyncio.ensure_future(app(dict(scope), receive, send))

            requests = [sender() for _ in range(20)]
            while counts((await client.get("/metrics")).text)["eyeground_waiting"] < 18:
                await asyncio.sleep(0.02)
            gone.set()
            await asyncio.gather(*requests)
            runtime.go_on.set()
            while (found := counts((await client.get("/metrics")).text))["eyeground_in_flight"]:
                await asyncio.sleep(0.02)
            return found, runtime.answered

    found, answered = asyncio.run(whole())
    assert found['eyeground_requests_total{outcome="hung_up"}'] == 20
    assert answered <= 3, "the warm-up and what had begun"
    assert found["eyeground_waiting"] == 0


def test_the_network_is_asked_one_at_a_time_and_a_full_room_turns_away() -> None:
    runtime = ByColor()
    app = make_app(predictor_of(runtime=runtime), settings=ServeSettings(most_waiting=6))

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        replies = [asyncio.ensure_future(client.post("/predict", files={"image": ("a.png", GOOD)})) for _ in range(10)]
        return await asyncio.gather(*replies)

    replies = talk(app, ask)
    assert Counter(each.status_code for each in replies) == {200: 6, 503: 4}
    assert runtime.most_at_once == 1
    for each in replies:
        if each.status_code == 503:
            assert_refused(each, 503, "waiting_room_full")


def test_what_explains_needs_no_web() -> None:
    # ``looking`` names ``Looked``, and ``eyeground explain`` works where the extra ``serve`` is not installed.
    script = (
        "import sys, eyeground.serve.answering; "
        "print(sorted({'starlette', 'fastapi', 'uvicorn', 'prometheus_client', 'torch'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_explaining_is_done_one_at_a_time_too() -> None:
    # It uses the network as well, and no lock of the predictor's stands before it.
    lock, at_once, most = threading.Lock(), 0, 0

    def counted(gated: Gated, answer: Answer) -> Looked:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)  # long enough for another to come in, were there a way
        with lock:
            at_once -= 1
        return explain(gated, answer)

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        form = {"image": ("a.png", GOOD)}
        return await asyncio.gather(*(client.post("/predict?heat_map=true", files=form) for _ in range(6)))

    replies = talk(make_app(predictor_of(), explain=counted), ask)
    assert [each.json()["heat_map"]["method"] for each in replies] == ["stand-in"] * 6
    assert most == 1
