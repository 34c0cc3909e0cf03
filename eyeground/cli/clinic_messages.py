"""Messages sent into the service, and those that it could not take."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from eyeground.cli.config import ConfigError
from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.cases import NoSuchCase, find
from eyeground.clinic.contracts import contract_for
from eyeground.clinic.db.tables import DeadLetter, Job
from eyeground.clinic.queue.transport import Message
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.service import Service
from eyeground.clinic.uploads import message_of
from eyeground.clinic.views import find_request

QUEUE: Final = "screening"
_LOOK_EVERY_S: Final = 0.25


class NotInTime(TimeoutError):
    """What was waited for has not happened yet; it may still do."""


def message_from(files: Sequence[Path], *, message: Path | None, request_id: str, patient: str) -> bytes:
    """Make the patient message that a command was given.

    Args:
        files: Images.
        message: A file that holds a whole message; then nothing else is given.
        request_id: Id of the request; empty = made of what is sent.
        patient: Fields of ``Patient``, as JSON.

    Returns:
        The message; the contract has been asked whether it is one.

    Raises:
        ConfigError: If the words do not go together, or a file cannot be read; all are named.
        Refused: If the contract refuses it; everything that is wrong is told.

    Example:
        >>> message_from([], message=None, request_id="", patient="")
        Traceback (most recent call last):
        eyeground.cli.config.ConfigError: give images to send, or --message FILE

    References:
        docs/clinic.md for the contract.
    """
    wrong = []
    if message is not None and (files or request_id or patient):
        wrong.append("--message is the whole message: give no images, --id or --patient beside it")
    if message is None and not files:
        wrong.append("give images to send, or --message FILE")
    told: Any = {}
    if patient:
        try:
            told = json.loads(patient)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            wrong.append('--patient: is no JSON object, such as \'{"patient_id": "P1"}\'')
    found = []
    for path in files if message is None else (message,):
        try:
            found.append((path.name, path.read_bytes()))
        except OSError as error:
            wrong.append(f"{path}: {error.strerror}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    body = found[0][1] if message is not None else message_of(found, message_id=request_id, patient=told)
    contract_for(QUEUE).read(body)
    return body


def request_of(body: bytes) -> str:
    """Tell a message's own id.

    Args:
        body: A patient message.

    Returns:
        The id.

    Raises:
        Refused: If it is no such message.

    References:
        docs/clinic.md.
    """
    return str(contract_for(QUEUE).read(body).id)


def send_bodies(service: Service, bodies: Sequence[bytes], *, queue: str = QUEUE) -> None:
    """Send messages into a queue of the service, as a site does.

    Args:
        service: The service; its settings name the queue.
        bodies: The messages.
        queue: Which queue.

    Raises:
        TransportLost: If it cannot be reached; what was sent may be sent again, for each is taken once.
        Undeliverable: If it takes no more.

    References:
        docs/clinic.md.
    """

    async def send() -> None:
        transport = service.connect()
        await transport.open((), (queue,))
        try:
            for body in bodies:
                await transport.send(queue, Message(body))
        finally:
            await transport.close()

    if bodies:
        asyncio.run(send())


def known_case(service: Service, *, queue: str, request_id: str) -> str:
    """Find the case of a request.

    Args:
        service: The service.
        queue: Which queue it was sent to.
        request_id: Its id.

    Returns:
        The case's id; empty while there is none.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    with service.database.read() as session:
        try:
            return find_request(session, site=service.settings.site, queue=queue, request_id=request_id)
        except NoSuchCase:
            return ""


def last_letter(service: Service) -> int:
    """Tell the number of the newest dead letter, to be asked before something is sent.

    Args:
        service: The service.

    Returns:
        The number; 0 where there is none.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    with service.database.read() as session:
        return session.scalar(select(func.max(DeadLetter.id))) or 0


def wait_for_case(service: Service, body: bytes, *, after: int, timeout_s: float) -> tuple[str, str]:
    """Wait until the models have looked at a request.

    A case that was made of another message under the same id is not waited for: this message is about to be refused.

    Args:
        service: The service.
        body: The message that was sent.
        after: As ``last_letter`` told before it was sent; older letters say nothing of this sending.
        timeout_s: How long. Unit: s.

    Returns:
        The case and its state.

    Raises:
        NotInTime: If it takes longer; it goes on.
        Refused: If the message was put aside; everything that is wrong is told.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    request_id, digest = request_of(body), digest_of(body)
    ends = time.monotonic() + timeout_s
    letter = None
    while time.monotonic() < ends:
        case_id = known_case(service, queue=QUEUE, request_id=request_id)
        with service.database.read() as session:
            wanted = select(DeadLetter).filter_by(queue=QUEUE, body_sha256=digest, replayed_at="")
            letter = session.scalars(wanted.order_by(DeadLetter.id.desc()).limit(1)).first()
            case = find(session, case_id) if case_id else None
            if case is not None and case.body_sha256 == digest:
                if session.get(Job, case_id) is None:
                    return case_id, case.state
            elif letter is not None and letter.id > after:
                raise Refused([Problem(code=each["code"], where=each["where"]) for each in letter.problems])
        time.sleep(_LOOK_EVERY_S)
    # The same message refused twice is kept once, so that an old letter may, or may not, be this sending's, too.
    hint = (
        "does a worker run? (eyeground clinic worker)"
        if letter is None
        else f"the same message was refused before and is dead letter {letter.id} (eyeground clinic dead-letters)"
    )
    raise NotInTime(f"request {request_id}: not looked at after {timeout_s:.0f} s; {hint}")
