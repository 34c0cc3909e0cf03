"""A service opened in a folder, and what tests do with one: messages, accounts, the work of a worker."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eyeground.clinic.accounts import add_account
from eyeground.clinic.db.database import open_engine
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.grader import Grader
from eyeground.clinic.jobs import Jobs
from eyeground.clinic.reading import Reader
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.service import Service, open_service
from eyeground.clinic.settings import Settings
from eyeground.clinic.states import Role

SECRET = "a phrase of the tests own"  # noqa: S105


def open_service_in(folder: Path, **settings: Any) -> Service:
    """Open a service: SQLite and images in the folder, a queue in memory, unless the settings say otherwise."""
    chosen = Settings(**{"home": folder, "secret": SECRET, "queue_url": f"memory:{folder}", **settings})
    engine = open_engine(chosen.database_url)
    migrate(engine)
    engine.dispose()
    return open_service(chosen)


def account_of(service: Service, name: str, role: Role, *, site: str = "", title: str = "") -> str:
    """Make an account; its token."""
    with service.database.write() as work:
        return add_account(work, name, role=role, site=site, title=title, actor="tests")


def photo(seed: int | str) -> bytes:
    """Bytes that begin as an image does; nobody decodes them here."""
    return b"\x89PNG\r\n\x1a\n" + str(seed).encode()


def patient_message(
    message_id: str, *, patient: dict[str, Any] | None = None, photos: Sequence[dict[str, Any]] | None = None
) -> bytes:
    """A patient message with a photo of each eye."""
    told = [
        {"name": f"{message_id}_{eye}.png", "eye": eye, "data": encoded(photo(f"{message_id} {eye}"))}
        for eye in ("OD", "OS")
    ]
    person = {"patient_id": f"P-{message_id}", **(patient or {}), "photos": told if photos is None else list(photos)}
    return json.dumps({"message_id": message_id, "Patient": person}, ensure_ascii=False).encode()


def encoded(data: bytes) -> str:
    """Bytes as a message has them."""
    return base64.b64encode(data).decode()


def work_off(service: Service, graders: Sequence[Grader]) -> int:
    """Do all that is in line, as a worker would; how many jobs that was. What fails rests, and is not tried again."""
    settings = service.settings
    reader = Reader(service.database, service.store, graders=graders, rules=service.rules)
    jobs = Jobs(service.database, reader, lease_s=settings.lease_s, tries=settings.tries)
    done = 0
    while (taken := jobs.take()) is not None:
        done += 1
        try:
            jobs.finish(taken, reader.look(taken.case_id) if taken.kind == "read" else None)
        except Exception:  # noqa: BLE001 - as a worker has it
            jobs.fail(taken)
    return done


def agreed_opinion(view: dict[str, Any], **more: Any) -> Opinion:
    """An opinion that says of each eye what the models say, or that it cannot be graded."""
    values = view["answered"]["values"]
    keys = dict.fromkeys(f"{each['part']}/{each['eye']}" for each in view["images"] if each["eye"])
    eyes = {
        key: EyeReview(findings=values[key]) if key in values else EyeReview(ungradable=True, reason="blurred")
        for key in keys
    }
    return Opinion(eyes=eyes, **{"conclusion": "As the models say", "recommendation": "Come again", **more})
