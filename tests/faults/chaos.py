"""A service under fire: workers that are killed and started again, messages fed in, and what must hold at the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from eyeground.clinic.db.audit import audit_key, verify
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.migrate import migrate
from eyeground.clinic.db.tables import Case, DeadLetter, Job, Outgoing, QueuedMessage

from .grading import answers

SECRET = "a secret for tests only"  # noqa: S105
SCRIPT = Path(__file__).with_name("zygote.py")


@dataclass
class Site:
    """A place with a database, an image root with a few images, and settings that point there."""

    folder: Path
    database_url: str = ""
    queue_url: str = "sql:"
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.folder / "root"
        self.root.mkdir(parents=True)
        self.folder.chmod(0o700)  # or the service refuses to start
        self.images = {f"{number}.jpg": f"image {number}".encode() * 50 for number in range(24)}
        for name, data in self.images.items():
            (self.root / name).write_bytes(data)
        self.database_url = self.database_url or f"sqlite:///{self.folder / 'clinic.db'}"
        self.settings = {
            "home": str(self.folder), "database_url": self.database_url, "queue_url": self.queue_url,
            "image_root": str(self.root), "secret": SECRET, "lease_s": 1.0, "release": "unsigned", **self.more,
        }  # fmt: skip
        self.database = Database(self.database_url, key=audit_key(SECRET))
        migrate(self.database.engine)

    def add_image(self, name: str, data: bytes) -> None:
        """One more image."""
        self.images[name] = data
        (self.root / name).write_bytes(data)

    def close(self) -> None:
        """Let the database go."""
        self.database.close()


def request(site: Site, number: int, draws: random.Random) -> bytes:
    """A check message: two eyes, or one, chosen at random."""
    names = sorted(name for name in site.images if name[0].isdigit())
    od, os_ = draws.sample(names, 2)  # the same picture for both eyes would be held
    told: dict[str, Any] = {"id": f"r{number}", "odFundusImg": od, "osFundusImg": os_}
    missing = draws.random()
    if missing < 0.15:
        told["osFundusImg"] = draws.choice(["", None])
    elif missing < 0.3:
        del told["odFundusImg"]
    return json.dumps(told).encode()


def expected(site: Site, body: bytes) -> dict[str, Any]:
    """The answer to it, made by hand: not a line of it is the service's."""
    told = json.loads(body)
    wanted: dict[str, Any] = {"id": told["id"]}
    for eye in ("od", "os"):
        name = told.get(f"{eye}FundusImg")
        if name:
            wanted[f"{eye}FundusResult"] = answers(site.images[name])
    return wanted


def feed(site: Site, bodies: Sequence[bytes], *, queue: str = "check") -> None:
    """Put messages into the queue that the database is, in one transaction."""
    with site.database.write() as work:
        work.session.add_all(QueuedMessage(queue=queue, body=body, message_id="", headers={}) for body in bodies)


class Crew:
    """Workers, started through one zygote."""

    def __init__(self, site: Site, **spec: Any) -> None:
        self.site = site
        self.log = site.folder / "workers.log"
        self.spec = {"settings": site.settings, "role": "worker", "log": str(self.log), **spec}
        self._zygote = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pids: list[int] = []
        self.started = 0

    def start(self, **more: Any) -> int:
        """Fork one."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps({**self.spec, **more}) + "\n")
        self._zygote.stdin.flush()
        pid = int(self._zygote.stdout.readline())
        self.pids.append(pid)
        self.started += 1
        return pid

    def keep_up(self, count: int, **more: Any) -> None:
        """Replace those that died."""
        self.pids = [pid for pid in self.pids if alive(pid)]
        while len(self.pids) < count:
            self.start(**more)

    def kill_one(self, draws: random.Random) -> bool:
        """SIGKILL to one of those that live."""
        living = [pid for pid in self.pids if alive(pid)]
        if not living:
            return False
        os.kill(draws.choice(living), signal.SIGKILL)
        return True

    def signal_all(self, number: int = signal.SIGTERM) -> None:
        """A signal to everybody."""
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, number)

    def close(self) -> None:
        """End everybody."""
        self.signal_all(signal.SIGKILL)
        self._zygote.kill()
        self._zygote.wait()
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.stdout.close()


@contextmanager
def crew(site: Site, **spec: Any) -> Iterator[Crew]:
    """A crew that is gone at the end."""
    made = Crew(site, **spec)
    try:
        yield made
    finally:
        made.close()


def alive(pid: int) -> bool:
    """Whether a process runs; its parent leaves no dead ones about."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(
    done: Callable[[], bool],
    *,
    seconds: float,
    act: Callable[[], None] = lambda: None,
    moves: Callable[[], object] | None = None,
    patience_s: float = 8.0,
) -> bool:
    """Wait until something holds, doing something meanwhile; give up where what should move has stood still."""
    ends = time.monotonic() + seconds
    seen, since = None, time.monotonic()
    while not done():
        now = time.monotonic()
        if moves is not None and (where := moves()) != seen:
            seen, since = where, now
        if now > ends or (moves is not None and now - since > patience_s):
            return False
        act()
        time.sleep(0.02)
    return True


def sent(site: Site) -> int:
    """How many answers are out."""
    with site.database.read() as session:
        return session.scalar(select(func.count()).select_from(Outgoing).where(Outgoing.sent_at != "")) or 0


def results_in_queue(site: Site, queue: str = "result_check") -> list[bytes]:
    """What waits in a queue that the database is."""
    with site.database.read() as session:
        rows = select(QueuedMessage.body).where(QueuedMessage.queue == queue).order_by(QueuedMessage.id)
        return list(session.scalars(rows))


def waiting(site: Site, queue: str) -> int:
    """How many messages wait in a queue that the database is."""
    with site.database.read() as session:
        return session.scalar(select(func.count()).select_from(QueuedMessage).where(QueuedMessage.queue == queue)) or 0


@dataclass(frozen=True)
class Count:
    """What is left after a fire."""

    requests: int
    lost: int
    duplicated: int
    wrong: int
    stuck: int
    dead_letters: int
    cases: int
    audit: str

    @property
    def sound(self) -> bool:
        """Whether every request was answered once and rightly."""
        return not (self.lost or self.duplicated or self.wrong or self.stuck or self.dead_letters or self.audit) and (
            self.cases == self.requests
        )


def count(site: Site, bodies: Sequence[bytes], results: Sequence[bytes]) -> Count:
    """Hold what came out against what went in; bodies are the distinct requests."""
    wanted = {json.loads(body)["id"]: expected(site, body) for body in bodies}
    got = [json.loads(result) for result in results]
    times = Counter(str(each["id"]).partition("~")[0] for each in got)
    with site.database.read() as session:
        stuck = session.scalar(select(func.count()).select_from(Job)) or 0
        stuck += session.scalar(select(func.count()).select_from(Case).where(Case.state != "released")) or 0
        stuck += session.scalar(select(func.count()).select_from(Outgoing).where(Outgoing.sent_at == "")) or 0
        letters = session.scalar(select(func.count()).select_from(DeadLetter)) or 0
        cases = session.scalar(select(func.count()).select_from(Case)) or 0
        verdict = verify(session, key=site.database.key)
    return Count(
        requests=len(wanted),
        lost=sum(times[key] == 0 for key in wanted),
        duplicated=sum(max(0, number - 1) for number in times.values()),
        wrong=sum(not _right(each, wanted.get(str(each["id"]))) for each in got),
        stuck=stuck,
        dead_letters=letters,
        cases=cases,
        audit=verdict.reason,
    )


def _right(got: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Whether an answer says what it should, and nothing else but why something is missing."""
    if wanted is None:
        return False
    rest = {key: value for key, value in got.items() if key not in ("unavailable", "unsigned")}
    return rest == dict(wanted)
