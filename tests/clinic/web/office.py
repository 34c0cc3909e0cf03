"""The JSON API of a service in a folder, with an account of every kind, and how tests talk to it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from eyeground.clinic.service import Service
from eyeground.clinic.states import Role
from eyeground.clinic.web.app import WebSettings, make_app

from ..constant_grader import ConstantGrader
from ..opened import account_of, agreed_opinion, open_service_in, patient_message, work_off

HERE, ELSEWHERE = "here", "elsewhere"
# Account -> its role and site.
ACCOUNTS: dict[str, tuple[Role, str]] = {
    "site_here": ("site", HERE), "site_elsewhere": ("site", ELSEWHERE), "doctor": ("doctor", ""),
    "doctor_here": ("doctor", HERE), "doctor_elsewhere": ("doctor", ELSEWHERE), "operator": ("operator", ""),
    "operator_here": ("operator", HERE), "operator_elsewhere": ("operator", ELSEWHERE), "admin": ("admin", ""),
    "admin_elsewhere": ("admin", ELSEWHERE),
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    who: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Office:
    """A service, its app, and everybody's token."""

    def __init__(self, service: Service, app: FastAPI | None = None) -> None:
        self.service = service
        self.app = make_app(service) if app is None else app
        self.tokens = {name: account_of(service, name, *who[:1], site=who[1]) for name, who in ACCOUNTS.items()}

    def all_at_once(self, asked: Sequence[Asked]) -> list[httpx.Response]:
        """Ask everything at the same time."""

        async def whole() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await asyncio.gather(*(self._ask(client, each) for each in asked))

        return asyncio.run(whole())

    def ask(self, method: str, path: str, who: str = "", **more: Any) -> httpx.Response:
        """Ask once."""
        return self.all_at_once([Asked(method, path, who, more)])[0]

    def get(self, path: str, who: str = "", **more: Any) -> httpx.Response:
        """Get an address of the API."""
        return self.ask("GET", f"/api/v1/{path}", who, **more)

    def post(self, path: str, who: str = "", **more: Any) -> httpx.Response:
        """Post to an address of the API."""
        return self.ask("POST", f"/api/v1/{path}", who, **more)

    def send(self, message_id: str, *, who: str = "site_here", **more: Any) -> str:
        """Send a patient message; its case."""
        reply = self.post("screenings", who, content=patient_message(message_id, **more))
        assert reply.status_code == 201, reply.text
        return str(reply.json()["case_id"])

    def in_review(self, message_id: str, **more: Any) -> dict[str, Any]:
        """A case that waits for a doctor, as the doctor sees it."""
        case_id = self.send(message_id, **more)
        work_off(self.service, [ConstantGrader()])
        return self.case(case_id)

    def case(self, case_id: str) -> dict[str, Any]:
        """A case as a doctor sees it."""
        reply = self.get(f"cases/{case_id}", "doctor")
        assert reply.status_code == 200, reply.text
        told: dict[str, Any] = reply.json()
        return told

    def signed(self, message_id: str) -> dict[str, Any]:
        """A case that is released, as the doctor sees it."""
        view = self.in_review(message_id)
        body = {"version": view["version"], "opinion": agreed_opinion(view).model_dump()}
        reply = self.post(f"cases/{view['id']}/sign", "doctor", json=body)
        assert reply.status_code == 200, reply.text
        work_off(self.service, [])
        return self.case(view["id"])

    async def _ask(self, client: httpx.AsyncClient, asked: Asked) -> httpx.Response:
        """Ask with the asker's token; whoever is no account is a token."""
        more = dict(asked.more)
        headers = dict(more.pop("headers", {}))
        if asked.who:
            headers.setdefault("Authorization", f"Bearer {self.tokens.get(asked.who, asked.who)}")
        return await client.request(asked.method, asked.path, headers=headers, **more)


def open_office(folder: Path, *, web: WebSettings | None = None, **settings: Any) -> Office:
    """Open an office; close its service afterwards."""
    service = open_service_in(folder, site=HERE, **settings)
    return Office(service, make_app(service, settings=web))


def deep(levels: int) -> bytes:
    """JSON nested that deeply."""
    return b'{"a":' * levels + b"1" + b"}" * levels


def as_json(told: Any) -> bytes:
    """JSON."""
    return json.dumps(told, ensure_ascii=False).encode()
