"""Servers that tests talk to: the running ones, each test in a room of its own there, and private ones to be killed.

``with postgres_url() as url:`` and ``with amqp_url() as url:`` skip the test where no server runs.
``with OwnPostgres() as server:`` starts one of one's own: ``server.url``, ``.kill()``, ``.stop()``, ``.start()``.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
import pytest

POSTGRES = "postgres@127.0.0.1"
BROKER = ("127.0.0.1", 5672)
_CTL = "rabbitmqctl"
_START_S = 90.0
_AMQP_HELLO = b"AMQP\x00\x00\x09\x01"


@contextlib.contextmanager
def postgres_url() -> Iterator[str]:
    """An empty database on the running server; dropped afterwards, whoever is still connected."""
    name = f"eyeground_{secrets.token_hex(6)}"
    try:
        server = psycopg.connect(f"postgresql://{POSTGRES}/postgres", autocommit=True, connect_timeout=5)
    except psycopg.OperationalError:
        pytest.skip("needs a PostgreSQL server at 127.0.0.1")
    with server:
        server.execute(f'create database "{name}"')
        try:
            yield f"postgresql+psycopg://{POSTGRES}/{name}"
        finally:
            server.execute(f'drop database "{name}" with (force)')


def end_backends(url: str) -> None:
    """Cut every connection to a database of ``postgres_url``, as a failover does."""
    name = url.rpartition("/")[2]
    with psycopg.connect(f"postgresql://{POSTGRES}/postgres", autocommit=True) as server:
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])


@contextlib.contextmanager
def amqp_url() -> Iterator[str]:
    """An empty virtual host on the running broker; deleted afterwards, with all that is in it."""
    if not _speaks_amqp(*BROKER):
        pytest.skip("needs a RabbitMQ server at 127.0.0.1")
    if shutil.which(_CTL) is None or os.geteuid() != 0:
        pytest.skip("needs the right to make a virtual host: root and rabbitmqctl")
    name = f"eyeground_{secrets.token_hex(6)}"
    broker_ctl("add_vhost", name)
    try:
        broker_ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"amqp://guest:guest@{BROKER[0]}:{BROKER[1]}/{name}"
    finally:
        broker_ctl("delete_vhost", name)


def broker_ctl(*words: str) -> str:
    """Tell the running broker something, such as ``close_all_connections --vhost NAME REASON``."""
    done = subprocess.run([_CTL, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class _Own:
    """A private server: a folder and a port that are gone at the end."""

    _kill = signal.SIGKILL
    _stop = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="eyeground-server-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> None:
        """Start it, on what it wrote before; returns when it answers."""
        assert self._process is None, "it runs"
        with (self._folder / "server.log").open("ab") as log:
            self._process = self._launch(log.fileno())
        ends = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{type(self).__name__} did not start: {self._log()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash: nothing is written any more."""
        self._signal(self._kill)

    def stop(self) -> None:
        """In order."""
        self._signal(self._stop)

    def _signal(self, number: int) -> None:
        """Send it, wait for the end, and take away what a killed server leaves behind."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(timeout=_START_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _end(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _log(self) -> str:
        return (self._folder / "server.log").read_text("utf-8", errors="replace")[-2000:]

    def _prepare(self) -> None:
        raise NotImplementedError

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class OwnPostgres(_Own):
    """A PostgreSQL server of one's own, ``fsync`` on; ``url`` is its database ``postgres``."""

    # "Immediate": its backends, which have sessions of their own, are killed too, and nothing is written.
    _kill = signal.SIGQUIT
    # SIGTERM would wait until every client has left.
    _stop = signal.SIGINT

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def _prepare(self) -> None:
        homes = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not homes:
            pytest.skip("needs PostgreSQL's programs")
        self._programs = homes[-1].parent
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
        words = ("-D", self._folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        subprocess.run(
            [self._programs / "initdb", *words], user=self._user, group=self._user, cwd=self._folder, check=True,
            capture_output=True, timeout=_START_S,
        )  # fmt: skip

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder, "fsync": "on",
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return subprocess.Popen(
            [self._programs / "postgres", "-D", self._folder / "data", *words], user=self._user, group=self._user,
            cwd=self._folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class OwnRabbit(_Own):
    """A RabbitMQ broker of one's own; ``url`` is its default virtual host."""

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def __init__(self) -> None:
        super().__init__()
        self._names: subprocess.Popen[bytes] | None = None

    def _prepare(self) -> None:
        # Debian's /usr/sbin/rabbitmq-server changes the user and forgets the environment; this one does not.
        self._server = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        if not self._server.exists() or shutil.which("epmd") is None:
            pytest.skip("needs RabbitMQ's programs")
        names = free_port()
        self._environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self._folder),  # Erlang's cookie
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": f"eyeground-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
        }
        (self._folder / "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\n")
        (self._folder / "plugins").write_text("[].\n")
        # The service that Erlang's nodes find each other by; it would outlive the server as a daemon.
        self._names = subprocess.Popen(
            ["epmd", "-port", str(names), "-address", "127.0.0.1"], cwd=self._folder, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        # RUNNING_UNDER_SYSTEMD: the script becomes the server instead of watching over it.
        return subprocess.Popen(
            [self._server], env=self._environment | {"RUNNING_UNDER_SYSTEMD": "true"}, cwd=self._folder, stdout=log,
            stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def _answers(self) -> bool:
        return _speaks_amqp("127.0.0.1", self.port)

    def _end(self) -> None:
        super()._end()
        if self._names is not None:
            self._names.kill()
            self._names.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _speaks_amqp(host: str, port: int) -> bool:
    """Whether a broker greets there."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(_AMQP_HELLO)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
