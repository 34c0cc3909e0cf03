"""Whatever is refused: a page for a person, JSON for a program, and a page needs nothing that may be gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import Database, DatabaseLost
from eyeground.clinic.passwords import set_password
from eyeground.clinic.web.app import WebSettings

from .office import Office, open_office
from .visitor import GOOD, Visitor

Breaks = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = open_office(tmp_path / "clinic", web=WebSettings(timeout_s=5), max_message_bytes=64 * 1024)
    with found.service.database.write() as work:
        set_password(work, "doctor", GOOD, actor="tests")
    yield found
    found.service.close()


def fails(error: Exception) -> Breaks:
    """The work list fails."""

    def broken(*_: Any, **__: Any) -> None:
        raise error

    return lambda patch: patch.setattr("eyeground.clinic.web.pages.work.work_list", broken)


def no_database(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def gone(self: Database) -> Iterator[None]:
        raise DatabaseLost("gone")
        yield

    patch.setattr(Database, "read", gone)
    patch.setattr(Database, "write", gone)


@pytest.mark.parametrize(
    ("breaks", "method", "path", "more", "status", "reason"),
    [
        (no_database, "GET", "/work", {}, 503, "unavailable"),
        (fails(StoreLost("gone")), "GET", "/work", {}, 503, "unavailable"),
        (fails(RuntimeError("Zhang San")), "GET", "/work", {}, 500, "failed"),
        (None, "GET", "/work?skip=-1", {}, 422, "bad_query"),
        (None, "POST", "/work", {}, 405, "method_not_allowed"),
        (None, "POST", "/sign-in", {"content": b"a" * 70_000}, 413, "too_large"),
        (None, "POST", "/sign-in", {"json": {}}, 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_a_person_gets_a_page_and_a_program_json(
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Breaks | None,
    method: str,
    path: str,
    more: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    visitor = Visitor(office)
    visitor.signs_in()
    counted: list[object] = []
    monkeypatch.setattr("eyeground.clinic.web.app.head_counts", lambda *told: counted.append(told) or {})
    if breaks:
        breaks(monkeypatch)
    page = visitor.ask(method, path, **more)
    assert counted == [], "nothing is asked of what may be gone"
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert f"{status} · {reason}" in page.text
    assert "Zhang" not in page.text
    assert ("retry-after" in page.headers) == (status == 503)
    assert "操作未完成" in visitor.ask(method, f"{path}{'&' if '?' in path else '?'}lang=zh", **more).text
    told = visitor.ask(method, path, **more, headers={"Accept": "application/json"})
    assert (told.status_code, told.json()["reason"]) == (status, reason)


def test_the_pages_themselves_may_fail(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Zhang San")

    monkeypatch.setattr("eyeground.clinic.web.paging.Pages.show", broken)
    reply = Visitor(office).ask("GET", "/sign-in")
    assert (reply.status_code, reply.json()["reason"]) == (500, "failed")
