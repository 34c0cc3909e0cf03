"""Settings of the service: from the environment or a TOML file, all faults told at once, unsafe ones refused."""

import os
import secrets
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)  # fmt: skip

from eyeground.atomic_file import flush_folder
from eyeground.clinic.states import Release

PREFIX: Final = "EYEGROUND_CLINIC_"
LEAST_SECRET: Final = 16  # characters
SECRET_FILE: Final = "secret"  # noqa: S105 - the name of a file in the home folder
_NOT_SETTINGS = ("CONFIG",)


class SettingsRefused(ValueError):
    """Settings that cannot be used, or that would be unsafe; the message names all."""


class Settings(BaseSettings):
    """All that can be set; ``EYEGROUND_CLINIC_<NAME>``, or ``<name> = ...`` in a TOML file.

    Args:
        home: Folder for what is embedded: database, images, and what ``up --demo`` makes.
        site: Name of this site; with queue and id it names a request.
        database_url: ``sqlite:///PATH`` or ``postgresql+psycopg://...``; empty = a SQLite file in ``home``.
        queue_url: ``sql:`` (the database itself), ``amqp://...``, ``amqps://...``; ``memory:`` for tests.
        queue_type: How queues that do not exist yet are declared over AMQP: ``classic`` as the contract's sites do, or
            ``quorum``, with a delivery limit. Queues that exist are used as they are.
        blob_url: ``file:PATH`` or ``s3://bucket/prefix``; empty = a folder in ``home``.
        s3_endpoint: Address of an S3-compatible store; empty = Amazon's.
        image_root: The one folder that paths in messages may lead into; None = no paths are taken.
        watch: A folder to take files from; None = none is watched.
        bundle: Model bundles, several separated by ``:``; each answers what its heads are called.
        heat_maps: Whether regions of attention are computed.
        secret: Key of the audit trail and of signatures, at least 16 characters; empty = what ``init`` wrote into the
            file ``secret`` in ``home``.
        release: ``signed``: results go out when a doctor has signed. ``unsigned``: at once, and marked so, for sites
            whose doctors sign in their own system.
        rules: Rule set of urgency, a file in ``rules/``.
        lease_s: How long a silent worker keeps what it took. Unit: s.
        tries: How often a piece of work is begun before it is put aside as a dead letter.
        max_message_bytes: Longest message. Unit: bytes.
        max_image_bytes: Longest image. Unit: bytes.
        max_images: Most images in one request.
        retention_years: How long signed records are kept at least. Unit: years.

    Raises:
        ValueError: If a value cannot be used; ``read_settings`` says it in one message.

    Example:
        >>> Settings(secret="a phrase of your own").database_url
        'sqlite:///clinic/clinic.db'

    References:
        docs/clinic.md.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    home: Path = Path("clinic")
    site: str = Field("default", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    database_url: str = Field("", repr=False)  # both may hold a password
    queue_url: str = Field("sql:", repr=False)
    queue_type: Literal["classic", "quorum"] = "classic"
    blob_url: str = ""
    s3_endpoint: str = ""
    image_root: Path | None = None
    watch: Path | None = None
    bundle: Annotated[tuple[Path, ...], NoDecode] = ()
    heat_maps: bool = True
    secret: SecretStr = SecretStr("")
    release: Release = "signed"
    rules: str = "ico"
    lease_s: float = Field(30.0, gt=0, le=3600)
    tries: int = Field(5, ge=1, le=100)
    max_message_bytes: int = Field(48 * 2**20, ge=1024)
    max_image_bytes: int = Field(32 * 2**20, ge=1024)
    max_images: int = Field(16, ge=1, le=1000)
    retention_years: int = Field(15, ge=15)

    @field_validator("bundle", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Several bundles stand in one variable like folders in PATH."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("secret")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        """A short secret is none."""
        if not value.get_secret_value():
            raise ValueError("is not set, and the home folder holds none; run: eyeground clinic init")
        if len(value.get_secret_value()) < LEAST_SECRET:
            raise ValueError(
                f"must have at least {LEAST_SECRET} characters and stay the same; make one with: openssl rand -hex 32"
            )
        return value

    @field_validator("queue_url")
    @classmethod
    def _known_queue(cls, value: str) -> str:
        """A queue that is on the shelf."""
        if value.partition(":")[0] not in ("sql", "amqp", "amqps", "memory"):
            raise ValueError("must be sql:, amqp://... or amqps://...")
        return value

    @model_validator(mode="before")
    @classmethod
    def _embedded(cls, told: dict[str, Any]) -> dict[str, Any]:
        """What is not set lies in the home folder."""
        named = told.get("home", "clinic")
        # What is no path is told as a fault of its own, beside all others.
        home = Path(named if isinstance(named, str | Path) else "clinic")
        told = dict(told)
        told["database_url"] = told.get("database_url") or f"sqlite:///{home / 'clinic.db'}"
        told["blob_url"] = told.get("blob_url") or f"file:{home / 'images'}"
        if not _plain(told.get("secret")):
            told["secret"] = _kept_secret(home)
        return told

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        """One of the two kinds this is tested on."""
        if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must be sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME")
        return value

    @field_validator("blob_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        """A store that is on the shelf."""
        if not value.startswith(("file:", "s3://", "memory:")):
            raise ValueError("must be file:PATH or s3://BUCKET/PREFIX")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say which source goes first: the environment, then the file that ``EYEGROUND_CLINIC_CONFIG`` names.

        Args:
            settings_cls: This class.
            init_settings: What was given by name; before all others.
            env_settings: The environment.
            dotenv_settings: Not used.
            file_secret_settings: Not used.

        Returns:
            The sources, the first the strongest.
        """
        file = os.environ.get(f"{PREFIX}CONFIG", "")
        more = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        return init_settings, env_settings, *more


def read_settings(**given: Any) -> Settings:
    """Read the settings of this process.

    Args:
        given: What goes before environment and file, by name.

    Returns:
        The settings.

    Raises:
        SettingsRefused: If there are faults; all are told, values never.

    Example:
        >>> read_settings(secret="short", lease_s=-1)
        Traceback (most recent call last):
        eyeground.clinic.settings.SettingsRefused: the clinic's settings cannot be used:
        ...EYEGROUND_CLINIC_SECRET: ...must have at least 16 characters...
        ...EYEGROUND_CLINIC_LEASE_S: ...greater than 0...

    References:
        docs/clinic.md.
    """
    names = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    names |= {f"{PREFIX}{name}" for name in _NOT_SETTINGS}
    wrong = [f"{name}: no such setting" for name in os.environ if name.startswith(PREFIX) and name not in names]
    file = os.environ.get(f"{PREFIX}CONFIG", "")
    if file and not Path(file).is_file():
        wrong.append(f"{PREFIX}CONFIG: no such file")
    try:
        found = Settings(**given)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in each["loc"]) or "settings"
            wrong.append(f"{PREFIX}{name.upper()}: {each['msg']}")
    except (OSError, ValueError) as error:  # the TOML file cannot be read
        wrong.append(f"{PREFIX}CONFIG: {error}")
    if wrong:
        raise SettingsRefused("\n  ".join(["the clinic's settings cannot be used:", *wrong]))
    return found


def make_secret(**given: Any) -> Path | None:
    """Make the service's secret where there is none, for its owner's eyes only.

    Args:
        given: What goes before environment and file, by name.

    Returns:
        The file that was written; None where there is a secret already.

    Raises:
        SettingsRefused: If there are faults; all are told.
        OSError: If the file cannot be written.

    Example:
        >>> home = Path(tempfile.mkdtemp()) / "clinic"
        >>> make_secret(home=home).name, make_secret(home=home)
        ('secret', None)

    References:
        Our own.
    """
    try:
        read_settings(**given)
        return None
    except SettingsRefused:
        if _told_secret(given):
            raise
        home = read_settings(**(given | {"secret": "0" * LEAST_SECRET})).home
    target = home / SECRET_FILE
    if target.exists():
        raise SettingsRefused(f"{target}: no secret can be read from it; put back the one that was there")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=home, prefix=f".{SECRET_FILE}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link is made or not: of two who begin at once, both use the same secret.
        with suppress(FileExistsError):
            target.hardlink_to(name)
        flush_folder(home)
    finally:
        Path(name).unlink()
    return target


def _told_secret(given: dict[str, Any]) -> bool:
    """Whether somebody has set a secret, good or not."""
    file, in_file = os.environ.get(f"{PREFIX}CONFIG", ""), ""
    if file:
        with suppress(OSError, ValueError):  # a file that cannot be read is told by ``read_settings``
            in_file = tomllib.loads(Path(file).read_text("utf-8")).get("secret", "")
    return any(map(_plain, (given.get("secret"), os.environ.get(f"{PREFIX}SECRET"), in_file)))


def _plain(secret: Any) -> str:
    """A secret's characters, however it came."""
    return str(secret.get_secret_value() if isinstance(secret, SecretStr) else secret or "")


def _kept_secret(home: Path) -> str:
    """What ``init`` wrote; empty where it did not."""
    try:
        return (home / SECRET_FILE).read_text("ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError):
        raise ValueError(f"{home / SECRET_FILE}: cannot be read; allow reading, or set the secret") from None
