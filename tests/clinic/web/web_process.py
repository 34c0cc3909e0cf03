"""``eyeground clinic web`` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..opened import SECRET


@contextmanager
def running_web(home: Path, port: int) -> Iterator[int]:
    """The service of a home, stopped in the end as an operator would: its process."""
    told = {"EYEGROUND_CLINIC_HOME": str(home), "EYEGROUND_CLINIC_SECRET": SECRET, "EYEGROUND_CLINIC_CONFIG": ""}
    words = ["-c", "from eyeground.cli.main import main; main()", "clinic", "web", "--port", str(port), "--json"]
    with subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **told},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["url"]
            yield process.pid
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
