"""The service in a process of its own: under load, against rude senders, and at its end."""

import asyncio
import contextlib
import gc
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eyeground.serve.app import make_app
from eyeground.serve.gate import gate_bytes
from eyeground.serve.server import run

from .stand_in import contract_of, counts, dark, photograph, predictor_of, serving


def resident_kib(pid: int) -> int:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc to see the memory of a process")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, int]]:
    with serving() as found:
        yield found


def test_fifty_at_once_with_broken_ones_among_them(service: tuple[str, int]) -> None:
    url, pid = service
    pictures = [
        photograph(disease, seed=seed, size_px=200) for seed in (1, 2) for disease in ("normal", "drusen", "dr3")
    ]
    contract = contract_of(calibrated=True)
    predictor = predictor_of(contract)
    answers = predictor.answer([gate_bytes(each, contract, name="a") for each in pictures])
    right: list[tuple[bytes, int, Any]] = [
        (picture, 200, answer.to_json(contract)["heads"]) for picture, answer in zip(pictures, answers, strict=True)
    ]
    right += [
        (dark(), 200, False), (b"no image", 422, "not_an_image"), (pictures[0][:5000], 422, "truncated"),
        (bytes(3 * 2**20), 413, "too_large"),
    ]  # fmt: skip
    wanted = [(number, *right[number % len(right)]) for number in range(50)]

    async def upload(client: httpx.AsyncClient, number: int, content: bytes, status: int, truth: Any) -> None:
        name = f"{number}.png"
        if number % 3 == 0:
            reply = await client.post("/predict", content=content, headers={"Content-Type": "image/png"})
        else:
            reply = await client.post("/predict", files={"image": (name, content)})
        told = reply.json()
        assert reply.status_code == status
        if status != 200:
            assert told["reason"] == truth
        elif truth is False:
            assert told["graded"] is False
        else:
            assert told["heads"] == truth
            assert told["file"] == ("" if number % 3 == 0 else name), "nobody gets another's answer"

    async def round_of_fifty() -> None:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
            await asyncio.gather(*(upload(client, *each) for each in wanted))

    memory = []
    for _ in range(3):
        asyncio.run(round_of_fifty())
        memory.append(resident_kib(pid))
    assert memory[2] - memory[0] < 32 * 1024, f"memory grows: {memory} KiB"
    found = counts(httpx.get(f"{url}/metrics").text)
    assert sum(value for name, value in found.items() if "requests_total{" in name) == 150
    assert (found["eyeground_waiting"], found["eyeground_in_flight"]) == (0, 0)


def raw(url: str, *parts: bytes) -> bytes:
    """Send bytes as they are, hear the answer to its end; the line stays open."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        for part in parts:
            line.sendall(part)
        heard = b""
        while not heard.endswith((b"}", b".")) and (part := line.recv(65536)):
            heard += part
    return heard


HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((HEAD + b"Content-Length: 9000000\r\n\r\n", b"x" * 10**6), b"413"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *([b"20000\r\n" + b"x" * 0x20000 + b"\r\n"] * 17)), b"413"),
        ((HEAD + b"Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n",), b"413"),
        ((HEAD + b"Content-Length: many\r\n\r\n",), b"400"),
        ((HEAD + b"X-Long: " + b"x" * 100_000,), b"400"),
        (
            (
                b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: 4\r\n\r\n4711",
            ),
            b"422",
        ),
    ],
    ids=[
        "announced",
        "chunked",
        "asked before sending",
        "a length that is none",
        "a head without end",
        "a form that is none",
    ],
)
def test_a_refused_sender_reads_the_refusal(service: tuple[str, int], parts: tuple[bytes, ...], status: bytes) -> None:
    assert raw(service[0], *parts).startswith(b"HTTP/1.1 " + status)


def test_a_server_prints_no_name_and_stops_when_told(service: tuple[str, int]) -> None:
    # ``serving`` itself asserts that nothing is printed, and that a stop ends the process with success.
    assert "server" not in httpx.get(f"{service[0]}/healthz").headers


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        run(make_app(predictor_of()), host="127.0.0.1", port=taken.getsockname()[1], listening=lambda _: None)


def test_an_app_that_does_not_start_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"):
        run(broken, host="127.0.0.1", port=0, listening=lambda _: None)
    gc.collect()
    assert "never retrieved" not in caplog.text, "uvicorn's SystemExit is not left in a task"


def test_who_never_ends_a_head_is_let_go_and_others_are_answered() -> None:
    ended: list[float] = []

    def listening(url: str) -> None:
        def hold() -> None:
            place = (url.split("//")[1].split(":")[0], int(url.rsplit(":", 1)[1]))
            half = [socket.create_connection(place, timeout=20) for _ in range(40)]
            for number, each in enumerate(half):
                each.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" if number % 2 else b"")
            with httpx.Client(base_url=url) as client:
                assert client.get("/healthz").status_code == 200
                # Behind an answered request the next head has its time as well.
                assert client.get("/healthz").status_code == 200
            for each in half:
                with contextlib.suppress(ConnectionResetError), each:
                    assert each.recv(10) == b""
            ended.append(1)
            signal.raise_signal(signal.SIGINT)

        threading.Thread(target=_told(hold, ended), daemon=True).start()

    run(make_app(predictor_of()), host="127.0.0.1", port=0, listening=listening, head_s=0.3)
    assert ended == [1]


def _told(work: Callable[[], None], ended: list[float]) -> Callable[[], None]:
    """Let a failure in a thread end the server, not hang it."""

    def done() -> None:
        try:
            work()
        except BaseException:
            ended.append(-1)
            signal.raise_signal(signal.SIGINT)
            raise

    return done
