"""The files of ``deploy/``: parsed, held against the commands and settings they name. No container was ever started."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from eyeground.cli.main import app
from eyeground.clinic.safety import listening_faults
from eyeground.clinic.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
SETTINGS = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """A unit's sections; a key may stand several times."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            here = sections.setdefault(line.strip("[]"), {})
            continue
        key, _, value = line.partition("=")
        here.setdefault(key, []).append(value)
    return sections


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return found


def understood(words: list[str]) -> None:
    """A command line that the program understands, found without running it."""
    group: Any = typer.main.get_command(app)
    clinic = group.commands["clinic"]
    verb, *rest = words
    clinic.commands[verb].make_context(verb, list(rest))


def test_there_is_something_to_check() -> None:
    assert [path.name for path in UNITS] == ["eyeground-clinic-web.service", "eyeground-clinic-worker@.service"]
    understood(["web", "--port", "8080"])
    with pytest.raises(typer._click.exceptions.UsageError):  # type: ignore[attr-defined]
        understood(["web", "--prot", "8080"])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened_starts_again_and_waits_for_the_end(path: Path) -> None:
    service = unit(path)["Service"]
    for key, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "Restart": "always",
        "CapabilityBoundingSet": "",
        "UMask": "0077",
        "StateDirectoryMode": "0700",
        "User": "eyeground",
    }.items():
        assert service[key] == [value], key
    assert int(service["TimeoutStopSec"][0]) > 30  # what a stop may take
    assert re.fullmatch(r"\d+G", service["MemoryMax"][0])
    assert service["EnvironmentFile"] == ["/etc/eyeground/clinic.env"]
    for line in service["Environment"]:
        assert line.partition("=")[0] in SETTINGS


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_s_commands_are_commands(path: Path) -> None:
    service = unit(path)["Service"]
    for line in (*service["ExecStartPre"], *service["ExecStart"]):
        program, group, *words = shlex.split(line)
        assert (Path(program).name, group) == ("eyeground", "clinic")
        understood(words)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_a_unit(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    # Users and programs of the machine it will run on are not here.
    here = re.sub(r"/opt/eyeground/.venv/bin/eyeground", "/bin/true", path.read_text("utf-8"))
    here = re.sub(r"(User|Group)=eyeground", r"\1=root", here)
    copy = tmp_path / path.name.replace("@.", "@1.")
    copy.write_text(here)
    found = subprocess.run([program, "verify", copy], capture_output=True, text=True, check=False)
    assert [line for line in found.stderr.splitlines() if path.name.partition(".")[0].rstrip("@") in line] == []


def test_the_example_of_an_environment_file_names_settings_and_no_secret() -> None:
    lines = (DEPLOY / "clinic.env.example").read_text("utf-8").splitlines()
    told = [line.lstrip("#").partition("=") for line in lines if re.match(r"#?[A-Z_]+=", line)]
    assert {name for name, _, _ in told} <= SETTINGS
    assert {value for name, _, value in told if name.endswith("SECRET")} == {""}


def environments(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's environment."""
    told = service.get("environment", {})
    return {str(name): str(value) for name, value in told.items()}


def test_compose_names_settings_and_holds_no_secret() -> None:
    services = compose()["services"]
    assert {"postgres", "rabbitmq", "web", "worker"} <= set(services)
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        for key, value in environments(service).items():
            if key.startswith(PREFIX):
                assert key in SETTINGS, f"{name}: {key}"
            if re.search("SECRET|PASS", key):
                assert value.startswith("${"), f"{name}: {key} must come from the environment"
            for password in re.findall(r"://[^:]+:([^@]+)@", value):
                assert password.startswith("${"), f"{name}: {key} holds a password"


def test_compose_s_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Compose would fill them in, the service takes them."""
    filled = {"CLINIC_SECRET": "a phrase of this test", "POSTGRES_PASSWORD": "p", "RABBITMQ_PASSWORD": "r"}
    filled["PUBLIC_URL"] = "https://eyes.example"
    services = compose()["services"]
    for key, value in environments(services["web"]).items():
        found = re.sub(r"\$\{(\w+)(:-([^}]*)|:\?[^}]*)?\}", lambda named: filled.get(named[1], named[3] or "x"), value)
        monkeypatch.setenv(key, found)
    settings = read_settings()
    assert settings.database_url == "postgresql+psycopg://eyeground:p@postgres/eyeground"
    assert settings.queue_url == "amqp://eyeground:r@rabbitmq/"
    host = services["web"]["command"][2]
    told = {"demo": settings.demo, "trusted_proxies": settings.trusted_proxies}
    assert listening_faults(host, public_url=settings.public_url, **told) == []
    [network] = compose()["networks"]["default"]["ipam"]["config"]
    assert settings.proxies == (network["subnet"],), "whoever comes in by the port comes from there"
    assert listening_faults(host, public_url="", demo=False) != [], "it listens for other machines"


def test_compose_s_commands_are_commands_and_every_server_is_watched() -> None:
    services = compose()["services"]
    for name in ("init", "web", "worker"):
        understood([str(word) for word in services[name]["command"]])
        assert services[name]["cap_drop"] == ["ALL"]
        assert int(services[name]["stop_grace_period"].rstrip("s")) > 30
    for name in ("postgres", "rabbitmq", "web"):
        assert services[name]["healthcheck"]["test"], name
    assert services["web"]["ports"] == ["127.0.0.1:8080:8080"]  # nobody else's before a proxy with TLS


def instructions() -> Iterator[tuple[str, str]]:
    """A Dockerfile's instructions."""
    whole = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text("utf-8"))
    for line in whole.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


def test_the_image_is_built_of_what_is_there_and_runs_as_nobody_in_particular() -> None:
    found = list(instructions())
    for word, rest in found:
        if word == "COPY":
            *sources, _ = rest.split()
            assert [name for name in sources if not (ROOT / name).exists()] == []
        if word == "ENV":
            names = {each.partition("=")[0] for each in rest.split()}
            assert {name for name in names if name.startswith(PREFIX)} <= SETTINGS
    assert [rest for word, rest in found if word == "USER"] == ["eyeground"]
    assert dict(found)["ENTRYPOINT"] == '["eyeground", "clinic"]'
    assert "--require-hashes" in next(rest for word, rest in found if "requirements.lock" in rest and word == "RUN")
    understood(yaml.safe_load(dict(found)["CMD"]))


def test_the_negative_control_a_wrong_name_is_found(tmp_path: Path) -> None:
    assert f"{PREFIX}BUNDLES" not in SETTINGS
    broken = tmp_path / "a.service"
    broken.write_text("[Service]\nNoNewPrivileges=no\n")
    with pytest.raises(AssertionError):
        test_a_unit_is_hardened_starts_again_and_waits_for_the_end(broken)
