"""Canaries sent down every path on which something fails, and everything that is left lying about.

What doctors and the sender of the very answer may read is not looked at: the database, and bodies of answers that are
no refusals. All else is.
"""

import asyncio
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from eyeground.clinic import log
from eyeground.clinic.db.database import Database, DatabaseLost
from eyeground.clinic.db.tables import AuditRecord, DeadLetter, Image
from eyeground.clinic.grader import Reading
from eyeground.clinic.intake import Arrived
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.queue.transport import Message
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view
from eyeground.clinic.web.app import make_app
from eyeground.clinic.work_list import work_list
from eyeground.images.decode import contents

from .canary import STEMS, WORDS, Canary
from .constant_grader import ConstantGrader
from .opened import account_of, agreed_opinion, open_service_in, photo, work_off


class FailingGrader(ConstantGrader):
    """Fails as models and decoders do, with the patient in the message; or reads half a picture."""

    def read(self, data: bytes, *, name: str) -> Reading:
        kind = sum(data) % 3
        if kind == 0:
            raise RuntimeError(f"cannot open {name}: {data[8:40]!r}")
        if kind == 1:
            contents(data, source=name)  # refused, in a child process
        return super().read(data, name=name)


@dataclass
class Traces:
    """What was left lying about, by where."""

    told: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, *texts: object) -> None:
        """Keep some."""
        self.told.setdefault(where, []).extend(str(text) for text in texts)

    def hits(self) -> dict[str, int]:
        """How many texts name a patient, by where; nothing where none does."""
        found = {where: sum(bool(WORDS.search(text)) for text in texts) for where, texts in self.told.items()}
        return {where: number for where, number in found.items() if number}


def leave_traces(folder: Path, count: int) -> Traces:
    """Send that many patients down every path that fails, and collect what is left."""
    traces = Traces()
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    (folder / "images").mkdir()
    service = open_service_in(folder / "clinic", image_root=folder / "images", tries=1, max_message_bytes=2**20)
    canaries = [Canary(number) for number in range(count)]
    with pytest.MonkeyPatch.context() as patch, _listening(traces):
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        _watch_spilling(patch, traces)
        _queue_paths(service, canaries, traces)
        _Http(service, traces).run(canaries)
        _lost_paths(service)
        _release(service)
    _collect(service, folder, temporary, traces)
    service.close()
    return traces


def _queue_paths(service: Service, canaries: Sequence[Canary], traces: Traces) -> None:
    """Messages over a queue, through a real worker whose model fails."""
    queues = ("screening", "check", "report")

    async def whole() -> None:
        transport = service.connect()
        await transport.open([], [*queues, "screening_result", "result_check", "result_report"])
        for canary in canaries:
            bad = canary.bad()
            await transport.send(queues[canary.number % 3], Message(bad[canary.number % len(bad)]))
            await transport.send("screening", Message(canary.message()))
            await transport.send("screening", Message(canary.message()))  # again
            await transport.send("screening", Message(canary.message(note=1)))  # under the same id: a conflict
        worker = service.worker([FailingGrader()])
        running = asyncio.ensure_future(worker.run())
        while not await asyncio.to_thread(_settled, service, len(canaries)):
            await asyncio.sleep(0.05)
        worker.stop()
        assert await running == 0

    asyncio.run(whole())
    for canary in canaries:
        for queue in queues:
            for outcome in service.intake.admit([Arrived(queue, body, "here") for body in canary.bad()[:6]]):
                traces.add("refusals", outcome.refused, outcome.refused and outcome.refused.to_json())


def _settled(service: Service, count: int) -> bool:
    """Whether the worker has nothing left to do."""
    with service.database.read() as session:
        connection = session.connection()
        cases = connection.exec_driver_sql("select count(*) from cases").scalar()
        jobs = connection.exec_driver_sql("select count(*) from jobs").scalar()
        letters = connection.exec_driver_sql("select count(*) from dead_letters").scalar()
    return bool(cases == count and jobs == 0 and letters and letters >= 2 * count)


class _Http:
    """The same patients over HTTP."""

    def __init__(self, service: Service, traces: Traces) -> None:
        self.service, self.traces = service, traces
        roles = {"site": "site", "doctor": "doctor", "operator": "operator"}
        self.tokens = {name: account_of(service, name, role) for name, role in roles.items()}  # type: ignore[arg-type]

    def run(self, canaries: Sequence[Canary]) -> None:
        """Ask for everything that is refused."""

        async def whole() -> None:
            transport = httpx.ASGITransport(make_app(self.service), raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                for canary in canaries:
                    await self._send(client, canary)
                await asyncio.to_thread(work_off, self.service, [ConstantGrader()])
                for canary in canaries:
                    await self._treat(client, canary)
                    await self._fail(client, canary)
                await self._replay(client)
                page = await client.get("/metrics")
                assert page.status_code == 200
                self.traces.add("metrics", page.text)

        asyncio.run(whole())

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, who: str, **more: Any) -> httpx.Response:
        """Ask, and keep what a refusal says."""
        headers = {"Authorization": f"Bearer {self.tokens.get(who, who)}"}
        reply = await client.request(method, f"/api/v1/{path}", headers=headers, **more)
        if reply.status_code >= 400:
            self.traces.add("refusals over HTTP", reply.text, reply.headers)
        else:
            self.traces.add("headers", reply.headers)
        return reply

    async def _send(self, client: httpx.AsyncClient, canary: Canary) -> None:
        """Good and bad messages and forms."""
        bad = canary.bad()
        for place in range(4):
            door = ("screenings", "checks", "reports", "screenings")[place]
            body = bad[(canary.number + place * 5) % len(bad)]
            assert (await self.ask(client, "POST", door, "site", content=body)).status_code == 422
        for body, status in ((canary.message(), 201), (canary.message(), 200), (canary.message(note=1), 409)):
            assert (await self.ask(client, "POST", "screenings", "site", content=body)).status_code == status
        large = canary.message([{"name": canary.file, "data": "A" * 2**20}])
        assert (await self.ask(client, "POST", "screenings", "site", content=large)).status_code == 413
        image = (f"{canary.file}_OD.png", photo(f"{canary.name} upload"))
        forms: list[tuple[dict[str, Any], int]] = [
            ({"files": {"OD": image}, "data": {"patient": json.dumps(canary.person)}}, 201),
            ({"files": {"OD": image}, "data": {"patient": f"{{'{canary.name}"}}, 422),
            ({"files": {canary.name: image}}, 422),
            ({"files": {"OD": image}, "data": {"message_id": canary.name}}, 422),
            ({"files": {"OD": (f"{canary.file}\x00", b"")}}, 422),
        ]
        for form, status in forms:
            assert (await self.ask(client, "POST", "uploads", "site", **form)).status_code == status
        broken = f'--x\r\nContent-Disposition: form-data; name="{canary.name}"\r\n\r\n{canary.name}'.encode()
        kind = "multipart/form-data; boundary=x"
        for content in (broken, canary.name.encode()):
            reply = await client.post(
                "/api/v1/uploads", content=content,
                headers={"Content-Type": kind, "Authorization": f"Bearer {self.tokens['site']}"},
            )  # fmt: skip
            assert reply.status_code == 422
            self.traces.add("refusals over HTTP", reply.text, reply.headers)

    async def _treat(self, client: httpx.AsyncClient, canary: Canary) -> None:
        """What a doctor does wrong, then right."""
        reply = await self.ask(client, "GET", f"screenings/m{canary.number}", "site")
        view = (await self.ask(client, "GET", f"cases/{reply.json()['case_id']}", "doctor")).json()
        case, version = f"cases/{view['id']}", view["version"]
        good = agreed_opinion(view).model_dump()
        wrong: list[Any] = [
            {"eyes": {canary.name: {"findings": {"DR": 1}}}}, {"eyes": {"fundus/OD": {"findings": {canary.name: 1}}}},
            {"conclusion": [canary.name]}, {canary.name: 1}, {"conclusion": f"{canary.name}\x00"},
            {"eyes": {"fundus/OD": {"findings": {"DR": canary.name}}}},
        ]  # fmt: skip
        for opinion in wrong:
            body = {"version": version, "opinion": opinion}
            assert (await self.ask(client, "PUT", f"{case}/opinion", "doctor", json=body)).status_code == 422
        late = {"version": version - 1, "opinion": good}
        assert (await self.ask(client, "POST", f"{case}/sign", "doctor", json=late)).status_code == 409
        signed = {"version": version, "opinion": {**good, "conclusion": f"{canary.name}: as the models say"}}
        assert (await self.ask(client, "POST", f"{case}/sign", "doctor", json=signed)).status_code == 200
        assert (await self.ask(client, "POST", f"{case}/sign", "doctor", json=signed)).status_code == 409
        await asyncio.to_thread(work_off, self.service, [])
        shown = (await self.ask(client, "GET", case, "doctor")).json()
        again = {"version": shown["version"], "reason": f"{canary.name} {'x' * 500}"}
        assert (await self.ask(client, "POST", f"{case}/amend", "doctor", json=again)).status_code == 422
        amended = {"version": shown["version"], "reason": f"for {canary.name}"}
        assert (await self.ask(client, "POST", f"{case}/amend", "doctor", json=amended)).status_code == 200
        for place in range(2):
            assert (await self.ask(client, "GET", f"{case}/images/{place}", "doctor")).status_code == 200

    async def _fail(self, client: httpx.AsyncClient, canary: Canary) -> None:
        """Addresses, queries, tokens and faults with a patient in them."""
        name = quote(canary.name)
        for path, who in (
            (f"screenings/{name}", "site"), (f"cases/{name}", "doctor"), (f"cases/{name}/images/0", "doctor"),
            (f"cases?site={name}", "doctor"), (f"cases?state={name}", "doctor"), (f"cases?most={name}", "doctor"),
            (f"{name}/{name}", "doctor"), (f"dead-letters?after={name}", "operator"), ("cases", quote(canary.name)),
            (f"dead-letters/{name}/replay", "operator"),
        ):  # fmt: skip
            # Whoever sends many wrong tokens is told to wait.
            assert (await self.ask(client, "GET", path, who)).status_code in (401, 404, 405, 422, 429)
        faults = (
            DatabaseLost(canary.name), KeyError(canary.name), OSError(28, canary.name, f"/{canary.file}"),
            OperationalError(f"select '{canary.name}'", {"name": canary.name}, Exception(canary.name)),
        )  # fmt: skip
        fault = faults[canary.number % len(faults)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "write", _raising(fault))
            reply = await self.ask(client, "POST", "screenings", "site", content=canary.message())
            assert reply.status_code in (500, 503)
            patch.undo()
            patch.setattr("eyeground.clinic.exchange.screening.read", _raising(fault))
            reply = await self.ask(client, "POST", "screenings", "site", content=canary.message())
            assert reply.status_code in (500, 503)

    async def _replay(self, client: httpx.AsyncClient) -> None:
        """Every dead letter, sent round again."""
        after = 0
        while True:
            page = (await self.ask(client, "GET", f"dead-letters?most=500&after={after}", "operator")).json()["letters"]
            if not page:
                return
            self.traces.add("dead letters", *page)
            for letter in page[:200]:
                await self.ask(client, "POST", f"dead-letters/{letter['id']}/replay", "operator")
            after = page[-1]["id"]


def _lost_paths(service: Service) -> None:
    """Work on images that are gone."""
    with service.database.read() as session:
        kept = sorted(session.scalars(select(Image.sha256)))
    for sha256 in kept[::2]:
        service.store.remove(sha256)
    work_off(service, [ConstantGrader()])


def _release(service: Service) -> None:
    """Sign what came over the queue, and send the answers there."""
    with service.database.read() as session:
        lines = work_list(session, states=("in_review",), most=10**6)
        views = [case_view(session, line.id) for line in lines]
    for view in views:
        if view["queue"] == "screening":
            opinion = agreed_opinion(view)
            service.reviews.sign(view["id"], opinion, version=view["version"], doctor=Doctor("li", "Dr Li"))
    work_off(service, [])

    async def send() -> None:
        transport = service.connect()
        await transport.open([], ["screening_result"])
        while await Outbox(service.database, site=service.settings.site, lease_s=30.0).send(transport):
            continue

    asyncio.run(send())


def _collect(service: Service, folder: Path, temporary: Path, traces: Traces) -> None:
    """What lies about in the end."""

    async def headers() -> None:
        transport = service.connect()
        queues = ["screening_result", "result_check", "result_report", "screening", "check", "report"]
        await transport.open(queues, [], prefetch=10**6)
        for delivery in await transport.receive(most=10**6, wait_s=0.1):
            traces.add("broker headers", delivery.queue, delivery.message.message_id, dict(delivery.message.headers))

    asyncio.run(headers())
    traces.add("keys of the store", *service.store.hashes())
    traces.add("file names", *(path.relative_to(folder) for path in folder.rglob("*")))
    traces.add("temporary files", *os.listdir(temporary))  # noqa: PTH208
    traces.add(
        "temporary files",
        *(path.read_bytes().decode("utf-8", "replace") for path in temporary.rglob("*") if path.is_file()),
    )
    with service.database.read() as session:
        for line in session.scalars(select(AuditRecord)):
            traces.add("audit", line.actor, line.event, line.detail)
        for letter in session.scalars(select(DeadLetter)):
            traces.add("dead letters", letter.code, json.dumps(letter.problems, ensure_ascii=False))


@contextmanager
def _listening(traces: Traces) -> Iterator[None]:
    """Write this process's log as a service does, every level of it, and keep all lines."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(log._Lines())
    root, ours = logging.getLogger(), logging.getLogger(log.NAME)
    before = root.handlers[:], root.level, ours.level
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.handlers[:], root.level = before[0], before[1]
        ours.setLevel(before[2])
        traces.add("log", *lines.getvalue().splitlines())


def _watch_spilling(patch: pytest.MonkeyPatch, traces: Traces) -> None:
    """An upload that is written to a disk leaves no name; that it was is a trace all the same."""
    spill = tempfile.SpooledTemporaryFile.rollover

    def watched(self: Any) -> None:
        self._file.seek(0)
        traces.add("temporary files", f"spilled: {STEMS[0]}")
        spill(self)

    patch.setattr(tempfile.SpooledTemporaryFile, "rollover", watched)


def _raising(error: Exception) -> Any:
    """Something that only fails."""

    def fails(*_: Any, **__: Any) -> None:
        raise error

    return fails
