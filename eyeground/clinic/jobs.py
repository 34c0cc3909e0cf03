"""The line of work: a worker takes a case, does what is due, and gives it back or finishes it."""

from dataclasses import dataclass

from sqlalchemy import select, update

from eyeground.clinic.answering import release
from eyeground.clinic.cases import find
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.lease import LeaseLost, Leases, Watcher
from eyeground.clinic.db.tables import Job
from eyeground.clinic.dead_letters import bury
from eyeground.clinic.log import failed
from eyeground.clinic.moments import reached
from eyeground.clinic.reading import Read, Reader

_LONGEST_PAUSE_S = 60.0
_LAST = 90


@dataclass
class Taken:
    """A job that this process has.

    Args:
        job: Its row.
        case_id: The case.
        kind: What is to be done.
        attempts: Which try this is, from 1.

    References:
        Our own.
    """

    job: Job
    case_id: str
    kind: str
    attempts: int


class Jobs:
    """Takes and finishes jobs.

    Args:
        database: Where they are.
        reader: Looks at cases.
        lease_s: How long a silent worker keeps a job. Unit: s.
        tries: How often a job is begun before it is put aside.
        watcher: What this process has seen of others' leases.

    References:
        docs/clinic.md.
    """

    def __init__(
        self, database: Database, reader: Reader, *, lease_s: float, tries: int, watcher: Watcher | None = None
    ) -> None:
        self._database, self._reader, self._tries = database, reader, tries
        self._leases = Leases(
            Job, key=Job.case_id, order=(Job.urgent, Job.added, Job.case_id), lease_s=lease_s, watcher=watcher
        )

    def take(self) -> Taken | None:
        """Take the most urgent job; those that killed too many workers are put aside.

        Returns:
            The job; None when there is nothing to do.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        with self._database.read() as session:  # an idle worker keeps nobody from writing
            if session.scalars(select(Job.case_id).limit(1)).first() is None:
                return None
        with self._database.write() as work:
            taken = self._leases.take(work.session, count=1)
            for job in taken:
                if job.attempts > self._tries and job.kind == "read":
                    self._put_aside(work, job, "killed_the_worker")
                    taken = []
        return Taken(taken[0], taken[0].case_id, taken[0].kind, taken[0].attempts) if taken else None

    def keep(self, taken: Taken) -> None:
        """Say that this process still works on it.

        Args:
            taken: The job.

        Raises:
            LeaseLost: If somebody else has it.
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            self._leases.keep(work.session, taken.job)

    def finish(self, taken: Taken, read: Read | None) -> None:
        """Write what was found, and take the job out of the line: both or neither.

        Args:
            taken: The job.
            read: What the reader found; None of a job that releases.

        Raises:
            LeaseLost: If somebody else has it; nothing is written.
            Forbidden: If the case has gone on; nothing is written.
            DatabaseLost: If the database does not answer; it may or may not be written, and is safe to do again.
        """
        with self._database.write() as work:
            self._leases.drop(work.session, taken.job)
            if read is None:
                release(work, taken.case_id)
            else:
                self._reader.write(work, taken.case_id, read)
        reached("result_committed")

    def fail(self, taken: Taken) -> bool:
        """Give a job back that failed: it rests, longer each time, or is put aside.

        Args:
            taken: The job.

        Returns:
            Whether it was put aside.

        Raises:
            LeaseLost: If somebody else has it.
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            # What was signed is never put aside: it is released as soon as whatever hinders it is mended.
            if taken.attempts >= self._tries and taken.kind == "read":
                self._put_aside(work, taken.job, "failed_every_time")
                return True
            if taken.attempts >= self._tries:
                # Others go first from now on.
                last = update(Job).where(Job.case_id == taken.case_id).values(urgent=_LAST)
                work.session.execute(last.execution_options(synchronize_session=False))
            self._leases.rest(work.session, taken.job, pause_s=min(_LONGEST_PAUSE_S, 0.5 * 2.0**taken.attempts))
        return False

    def drop(self, taken: Taken) -> None:
        """Take a job out of the line, for its case has gone on without it.

        Args:
            taken: The job.

        Raises:
            LeaseLost: If somebody else has it.
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            self._leases.drop(work.session, taken.job)

    def give_back(self, taken: Taken) -> None:
        """Give a job back that was not really begun.

        Args:
            taken: The job.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        with self._database.write() as work:
            try:
                self._leases.undo(work.session, taken.job)
            except LeaseLost:
                return

    def _put_aside(self, work: Work, job: Job, code: str) -> None:
        """Take a job out of the line and tell doctor and operator."""
        self._leases.drop(work.session, job)
        case = find(work.session, job.case_id, lock=True)
        try:
            with work.session.begin_nested():
                self._reader.give_up(work, case.id)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it must be out of the others' way
            failed("case_failed", error, case=case.id)
        bury(work, case.id, code=code, case_queue=case.queue, site=case.site)
