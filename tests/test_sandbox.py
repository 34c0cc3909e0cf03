"""What a confined process can no longer do."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

GIB = 2**30
TRIED = """
import ctypes, json, os, socket
from eyeground.sandbox import confine
confine(2**30)
def tried(action):
    try: action()
    except OSError as error: return error.errno
    except MemoryError: return "memory"
    return 0
print(json.dumps({
    "read": tried(lambda: open("/etc/passwd")),
    "write": tried(lambda: open("canary", "w")),
    "socket": tried(socket.socket),
    "pipe": tried(os.pipe),
    "memory": tried(lambda: bytearray(2**30)),
    "shell": os.system("touch canary 2> /dev/null") != 0,
}), flush=True)
"""


def run(code: str, folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, **options
    )


def test_neither_files_nor_sockets_nor_memory_nor_programs(tmp_path: Path) -> None:
    answer = run(TRIED, tmp_path)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert [told[what] for what in ("read", "write", "socket", "pipe")] == [24, 24, 24, 24]  # EMFILE
    assert told["memory"] == "memory"
    assert told["shell"]  # the shell finds no number to open its libraries with
    assert not (tmp_path / "canary").exists()


def test_the_same_shell_command_does_write_where_nothing_is_given_up(tmp_path: Path) -> None:
    run(TRIED.replace("confine(2**30)", ""), tmp_path)
    assert (tmp_path / "canary").exists()


def test_time_ends_with_a_signal_that_says_so(tmp_path: Path) -> None:
    answer = run("from eyeground.sandbox import confine\nconfine(2**30, 1)\nwhile True: pass", tmp_path, timeout=30)
    assert answer.returncode == -signal.SIGXCPU


def test_what_is_open_stays_open_up_to_a_length(tmp_path: Path) -> None:
    code = (
        "import os\nfrom eyeground.sandbox import confine\nfile = os.open('out', os.O_WRONLY | os.O_CREAT)\n"
        "confine(2**28)\nprint(os.write(file, b'x' * 10))\nos.lseek(file, 2**28, 0)\nos.write(file, b'x')"
    )
    answer = run(code, tmp_path)
    assert answer.stdout == "10\n"
    assert "File too large" in answer.stderr


def test_a_lower_limit_stays(tmp_path: Path) -> None:
    code = (
        "import resource\nfrom eyeground.sandbox import confine\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))\n"
        "confine(2**40, 100)\nprint(resource.getrlimit(resource.RLIMIT_AS)[0] == 2**29)"
    )
    assert run(code, tmp_path).stdout == "True\n"


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_CPU"])
def test_the_hard_limits_are_set_too(tmp_path: Path, name: str) -> None:
    code = (
        f"import resource\nfrom eyeground.sandbox import confine\nconfine(2**30, 100)\n"
        f"print(resource.getrlimit(resource.{name})[1] == resource.RLIM_INFINITY)"
    )
    assert run(code, tmp_path).stdout == "False\n"
