"""The whole service on one machine: set up where needed, then web and workers under one parent."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Final

from eyeground.atomic_file import write_whole
from eyeground.cli.clinic_opening import opened, use_config
from eyeground.cli.clinic_processes import Processes
from eyeground.cli.clinic_setup import FIRST, SetUp, set_up, show_setup
from eyeground.cli.console import tell
from eyeground.clinic.safety import listening_faults
from eyeground.clinic.settings import PREFIX, SettingsRefused

LOG: Final = "clinic.log"
DEMO_CONFIG: Final = "clinic.toml"
DEMO_TITLE: Final = "Eyeground demonstration / 眼底演示"
_DEMO_HOME: Final = "clinic-demo"


def bring_up(config: Path | None, *, demo: bool, host: str, port: int, workers: int, as_json: bool) -> int:
    """Run everything until asked to stop.

    Args:
        config: File of settings.
        demo: Use a model learned on phantoms, and send phantom patients.
        host: Address to listen on.
        port: Port of the web service.
        workers: How many workers.
        as_json: Say where things are as one JSON line, once the web service listens.

    Returns:
        Exit code.

    Raises:
        SettingsRefused: If the settings have faults, or listening there is unsafe.
        SchemaRefused: If a newer version has changed the database.
        DatabaseLost: If the database cannot be reached.
        Interrupted: If a person stopped the demonstration's training.
        OSError: If the disk is full.

    References:
        docs/clinic.md.
    """
    use_config(config)
    made = _set_up_demo(host) if demo else set_up(None, accounts=FIRST, host=host)
    home = made.settings.home.absolute()
    show_setup(made)
    if not made.settings.bundle:
        tell("models    none: set EYEGROUND_CLINIC_BUNDLE to a bundle, or every finding is left to the doctor")
    for folder in made.settings.bundle:
        tell(f"models    {folder}")
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    tell(f"open      {made.settings.public_url or url}/ in a browser", *_who_signs_in(made))
    tell(f"service   {url}/api/v1/; document {url}/openapi.json; health {url}/readyz; metrics {url}/metrics")
    tell(f"log       {home / LOG}", *_next_steps(demo), "stop it with Ctrl-C")
    commands = {"web": ["clinic", "web", "--host", host, "--port", str(port)]}
    commands |= {f"worker {number + 1}": ["clinic", "worker"] for number in range(workers)}

    def started() -> bool:
        if not as_json:
            return True
        if not _answers(host, port):
            return False
        sys.stdout.write(json.dumps({"url": url, "log": str(home / LOG)} | made.to_json()) + "\n")
        sys.stdout.flush()
        return True

    return Processes(commands, told=tell, log=home / LOG).run(started=started)


def _set_up_demo(host: str) -> SetUp:
    """Set up the demonstration; its settings go into a file that other commands can be told."""
    from eyeground.cli.clinic_demo import ACCOUNTS, demo_bundle, send_phantoms

    if faults := listening_faults(host, public_url="https://", demo=True):  # told before a model is trained
        raise SettingsRefused("; ".join(faults))
    home = Path(os.environ.get(f"{PREFIX}HOME", "") or _DEMO_HOME).absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    bundle = demo_bundle(home / "demo")
    if f"{PREFIX}CONFIG" not in os.environ:
        words = {"home": str(home), "bundle": str(bundle), "demo": True, "site_title": DEMO_TITLE}
        lines = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in words.items())
        write_whole(home / DEMO_CONFIG, f"# The demonstration's settings; docs/clinic.md lists all.\n{lines}".encode())
        use_config(home / DEMO_CONFIG)
    os.environ.setdefault(f"{PREFIX}HOME", str(home))
    os.environ.setdefault(f"{PREFIX}BUNDLE", str(bundle))
    os.environ.setdefault(f"{PREFIX}DEMO", "true")
    os.environ.setdefault(f"{PREFIX}SITE_TITLE", DEMO_TITLE)
    made = set_up(None, accounts=ACCOUNTS, host=host)
    with opened(made.settings) as service:
        count = send_phantoms(service)
    if count:
        tell(f"patients  {count} phantoms were sent; they are drawn, no person stands behind them")
    return made


def _who_signs_in(made: SetUp) -> list[str]:
    """With what, where nothing was shown just now."""
    return [] if made.shown else ["          password forgotten: eyeground clinic user password NAME"]


def _next_steps(demo: bool) -> list[str]:
    """What a person may try now, in another shell."""
    if not demo:
        return []
    return [
        f"next      export EYEGROUND_CLINIC_CONFIG={os.environ[f'{PREFIX}CONFIG']}",
        "          eyeground clinic review",
        "          eyeground clinic submit right_OD.jpg left_OS.jpg --wait",
        "          eyeground clinic review CASE --accept --conclusion 'as the model says' --as li",
        "          eyeground clinic sign CASE --as li --wait",
    ]


def _answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False
