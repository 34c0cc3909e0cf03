"""The clinic's web process."""

import json
import sys
from pathlib import Path

from eyeground.cli.clinic_opening import opened, settings_of
from eyeground.cli.clinic_setup import check_listening
from eyeground.cli.config import ConfigError
from eyeground.cli.console import tell
from eyeground.clinic.log import say, write_lines
from eyeground.clinic.web.app import make_app
from eyeground.serve.server import run


def serve_clinic(config: Path | None, *, host: str, port: int, as_json: bool) -> None:
    """Answer over HTTP until asked to stop; what has begun then has 25 s.

    Args:
        config: File of settings.
        host: Address to listen on.
        port: Port; 0 = any free one.
        as_json: Say where it listens as one JSON line.

    Raises:
        SettingsRefused: If the settings have faults, or listening there is unsafe.
        SchemaRefused: If the database was never set up.
        DatabaseLost: If the database cannot be reached.
        ConfigError: If the port is taken, or the address is not this machine's.

    References:
        docs/clinic.md.
    """
    write_lines()
    settings = settings_of(config)
    check_listening(settings, host)
    with opened(settings) as service:

        def listening(url: str) -> None:
            tell(f"open      {settings.public_url or url}/ in a browser")
            tell(f"service   {url}/api/v1/; document {url}/openapi.json; health {url}/readyz; metrics {url}/metrics")
            say("web_listens", port=int(url.rpartition(":")[2]))
            if as_json:
                sys.stdout.write(json.dumps({"url": url}) + "\n")
                sys.stdout.flush()

        try:
            run(
                make_app(service), host=host, port=port, listening=listening, graceful_s=25, proxies=settings.proxies,
            )  # fmt: skip
        except OSError as error:
            raise ConfigError(f"--host {host} --port {port}: {error.strerror or error}; choose another") from error
