"""A service in which something has happened: cases in several states, dead letters, a message that still waits."""

import asyncio
from pathlib import Path

from sqlalchemy import select

from eyeground.clinic.db.tables import Case, Redelivered
from eyeground.clinic.intake import Arrived
from eyeground.clinic.queue.transport import Message
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view

from .constant_grader import ConstantGrader
from .opened import account_of, agreed_opinion, open_service_in, patient_message, work_off

DOCTOR = Doctor("li", "Dr Li 李")


def populated_in(folder: Path, *, released: int = 2, waiting: int = 2, **settings: object) -> Service:
    """``released`` cases that went out, ``waiting`` in review, one that nobody has looked at, two dead letters."""
    service = open_service_in(folder, **{"queue_url": "sql:", **settings})
    account_of(service, "li", "doctor", title=DOCTOR.title)
    for number in range(released + waiting):
        take_in(service, f"visit-{number}")
    work_off(service, [ConstantGrader()])
    with service.database.read() as session:
        cases = session.scalars(select(Case.id).order_by(Case.request_id)).all()
    for case_id in cases[:released]:
        sign(service, case_id)
    work_off(service, [])
    asyncio.run(_send(service))
    take_in(service, "late")
    service.intake.admit([Arrived("check", b"no json", "default"), Arrived("check", b"[]", "default")])
    with service.database.write() as work:
        work.session.add(Redelivered(queue="check", body_sha256="0" * 64, times=1))
    return service


def take_in(service: Service, request: str) -> str:
    """A patient's message through the queue's door; the case."""
    message = patient_message(request, patient={"name": "张三 O'Neil"})
    [outcome] = service.intake.admit([Arrived("screening", message, "default")])
    return outcome.case_id


def sign(service: Service, case_id: str) -> None:
    """Sign as the models say."""
    with service.database.read() as session:
        view = case_view(session, case_id)
    service.reviews.sign(case_id, agreed_opinion(view), version=view["version"], doctor=DOCTOR)


async def _send(service: Service) -> None:
    """Send what is out, and leave one message that nobody has received."""
    from eyeground.clinic.outbox import Outbox

    transport = service.connect()
    await transport.open((), ("screening_result", "screening"))
    try:
        while await Outbox(service.database, site=service.settings.site, lease_s=30.0).send(transport):
            pass
        await transport.send("screening", Message(b"\x00\xff waits", "m-1", {"revision": "1"}))
    finally:
        await transport.close()
