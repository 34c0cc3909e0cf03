"""A process that has imported everything and forks workers on demand, so that two hundred kills cost seconds.

It reads specifications from its standard input, a line of JSON each, and answers each with the new process's number.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import mutants
from grading import HashGrader

from eyeground.clinic import moments
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.log import write_lines
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service, open_service
from eyeground.clinic.settings import read_settings
from eyeground.clinic.states import Forbidden
from eyeground.clinic.work_list import work_list


def _run(spec: dict[str, Any]) -> int:
    """Be a worker, or the doctor who signs everything."""
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    os.nice(spec.get("nice", 0))
    write_lines(int(spec.get("level", 30)))
    mutants.apply(spec.get("mutants", []))
    if shift_s := spec.get("clock_shift_s", 0):
        mutants.shift_clock(shift_s)
    if crash := spec.get("crash"):
        chance, draws = crash["chance"], random.Random(crash["seed"] * 1_000_003 + os.getpid())

        def die(moment: str) -> None:
            if moment == crash["moment"] and draws.random() < chance:
                Path(crash["deaths"], str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)

        moments.watch(die)
    service = open_service(read_settings(**spec["settings"]))
    if spec["role"] == "doctor":
        return _sign_all(service)
    worker = service.worker([HashGrader(**spec.get("grader", {}))])

    async def go() -> int:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        return await worker.run()

    return asyncio.run(go())


def _sign_all(service: Service) -> int:
    """Sign whatever waits, with the models' words, until killed."""
    doctor = Doctor("li", "Dr Li")
    while True:
        signed = 0
        try:
            with service.database.read() as session:
                lines = work_list(session, most=50)
            for line in lines:
                eyes = {key: EyeReview(findings=values) for key, values in line.eyes.items()}
                try:
                    opinion = Opinion(eyes=eyes, conclusion="as the model says")
                    service.reviews.sign(line.id, opinion, version=line.version, doctor=doctor)
                    signed += 1
                except (Forbidden, ValueError):
                    continue
        except DatabaseLost:
            pass
        if not signed:
            time.sleep(0.05)


def main() -> None:
    """Fork on demand."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            devnull = os.open(os.devnull, os.O_RDWR)
            os.dup2(devnull, 0)
            os.dup2(devnull, 1)
            code = 1
            try:
                code = _run(json.loads(line))
            finally:
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
