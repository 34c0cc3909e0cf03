"""Settings of the service: from the environment or a TOML file, all faults told at once, unsafe ones refused."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)  # fmt: skip

from eyeground.clinic.llm.providers import ProviderRefused, provider_of
from eyeground.clinic.safety import LOOPBACK, LOOPBACK_ADDRESSES, NO_PROXY, is_guessed, open_to_others
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
        site_title: What pages and reports call this site; empty = ``site``.
        contact: Whom patients call, as their page and report say it.
        timezone: Zone of the times that people read, such as ``Asia/Shanghai``.
        public_url: Address under which browsers reach the service, such as ``https://eyes.example``; empty = this
            machine alone. Anywhere else it must be ``https:``.
        trusted_proxies: Who may say for whom it asks: addresses or networks, several separated by ``,``; empty = a
            proxy on this machine; ``none`` = nobody.
        session_hours: How long somebody stays signed in at most. Unit: h.
        idle_minutes: How long without doing anything. Unit: min.
        link_days: How long a patient's link is good. Unit: days.
        blind_first_read: Whether a doctor writes an opinion before seeing what the models say.
        llm_base_url: OpenAI-compatible service that drafts narratives: an address, or a preset of
            ``llm/providers.toml``; empty = the template writes them.
        llm_model: Which of its models; empty = the preset's.
        llm_key: Its key.
        llm_timeout_s: Longest time for a draft; then the template stands in. Unit: s.
        font: A font file with Chinese, for PDF reports; None = one of the system's, or of the extra ``fonts``.
        oidc_issuer: Single sign-on: the provider's issuer, ``https:``; empty = passwords only.
        oidc_client_id: This service's name there.
        oidc_client_secret: Its secret there.
        demo: Whether phantoms and accounts of a demonstration are in it, which no other machine may reach.

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
    site_title: str = Field("", max_length=80)
    contact: str = Field("", max_length=200)
    timezone: str = "UTC"
    public_url: str = ""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    session_hours: float = Field(12.0, gt=0, le=24)
    idle_minutes: float = Field(30.0, gt=0, le=720)
    link_days: float = Field(30.0, gt=0, le=365)
    blind_first_read: bool = False
    llm_base_url: str = Field("", repr=False)
    llm_model: str = ""
    llm_key: SecretStr = SecretStr("")
    llm_timeout_s: float = Field(30.0, gt=0, le=40)  # a draft is there within 45 s, whatever happens
    font: Path | None = None
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    demo: bool = False

    @property
    def title(self) -> str:
        """What pages and reports call this site."""
        return self.site_title or self.site

    @property
    def secure(self) -> bool:
        """Whether browsers come by TLS."""
        return self.public_url.startswith("https://")

    @property
    def proxies(self) -> tuple[str, ...]:
        """Addresses and networks that are believed when they say for whom they ask."""
        return () if self.trusted_proxies == (NO_PROXY,) else self.trusted_proxies or LOOPBACK_ADDRESSES

    @field_validator("bundle", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Several bundles stand in one variable like folders in PATH."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _known_proxies(cls, value: Any) -> Any:
        """Addresses and networks; not everybody's, for whoever is believed may be anybody."""
        told = value.split(",") if isinstance(value, str) else value
        names = tuple(filter(None, (str(each).strip() for each in told)))
        if NO_PROXY in names and len(names) > 1:
            raise ValueError("is 'none', or names proxies")
        try:
            networks = [ip_network(each) for each in names if each != NO_PROXY]
        except ValueError:
            raise ValueError("must be addresses or networks such as 10.0.0.5,172.30.17.0/24, or 'none'") from None
        if any(each.prefixlen == 0 for each in networks):
            raise ValueError("names everybody: then anybody could say that he is somebody else")
        return names

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
        if is_guessed(value.get_secret_value()):
            raise ValueError("is made of words that everybody tries; make one with: openssl rand -hex 32")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        """A zone that there is."""
        try:
            ZoneInfo(value)
        except (ValueError, OSError):  # no such zone, or no name of one
            raise ValueError("must be a zone such as UTC or Asia/Shanghai") from None
        return value

    @field_validator("public_url", "oidc_issuer", "llm_base_url")
    @classmethod
    def _by_tls(cls, value: str, known: ValidationInfo) -> str:
        """By TLS, or on this machine."""
        if known.field_name == "llm_base_url" and "://" not in value:
            return value  # the name of a preset
        parts = urlsplit(value)
        if value and parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in LOOPBACK):
            raise ValueError("must begin with https:// (http:// only on this machine, such as http://127.0.0.1:8080)")
        if value and not parts.hostname:
            raise ValueError("names no host")
        if known.field_name != "public_url":
            return value
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
            raise ValueError("must be a host alone, such as https://eyes.example: cookies are a host's")
        return value.rstrip("/")

    @field_validator("blind_first_read")
    @classmethod
    def _nothing_unsigned(cls, value: bool, known: ValidationInfo) -> bool:
        """What went out before anybody looked leaves nothing to be read first."""
        if value and known.data.get("release") == "unsigned":
            raise ValueError("a first read needs RELEASE=signed: what is released unsigned waits for nobody's")
        return value

    @field_validator("oidc_client_secret")
    @classmethod
    def _whole(cls, value: SecretStr, known: ValidationInfo) -> SecretStr:
        """Single sign-on is set as a whole, or not at all; what has a fault of its own is told there."""
        told = {name: known.data.get(name, "?") for name in ("oidc_issuer", "oidc_client_id", "public_url")}
        told["oidc_client_secret"] = plain(value)
        missing = [f"{PREFIX}{name.upper()}" for name, each in told.items() if not each]
        if missing and any(each for name, each in told.items() if name != "public_url"):
            raise ValueError(f"single sign-on is set in part; set {', '.join(missing)}, too")
        return value

    @field_validator("llm_key")
    @classmethod
    def _usable_model(cls, value: SecretStr, known: ValidationInfo) -> SecretStr:
        """A language model that can be asked, or none; what has a fault of its own is told there."""
        if address := known.data.get("llm_base_url", ""):
            try:
                provider_of(address, model=known.data.get("llm_model", ""), key=plain(value))
            except ProviderRefused as why:
                raise ValueError(f"the language model cannot be used: {why}") from None
        return value

    @field_validator("demo")
    @classmethod
    def _at_home(cls, value: bool, known: ValidationInfo) -> bool:
        """A demonstration is for nobody else."""
        if value and urlsplit(known.data.get("public_url", "")).hostname not in (None, *LOOPBACK):
            raise ValueError("a demonstration is for this machine alone; leave PUBLIC_URL out, or use another home")
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
        if not plain(told.get("secret")):
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
    else:
        wrong += open_to_others(
            home=found.home, blob_url=found.blob_url, database_url=found.database_url, secret=SECRET_FILE, config=file,
            shared=tuple(filter(None, (found.image_root, found.watch))),
        )  # fmt: skip
    if wrong:
        raise SettingsRefused("\n  ".join(["the clinic's settings cannot be used:", *wrong]))
    return found


def plain(secret: Any) -> str:
    """Say a secret's characters, however it came.

    Args:
        secret: A text, or what keeps one from being shown.

    Returns:
        The text; empty where there is none.

    Example:
        >>> plain(SecretStr("a")), plain(None)
        ('a', '')

    References:
        Our own.
    """
    return str(secret.get_secret_value() if isinstance(secret, SecretStr) else secret or "")


def _kept_secret(home: Path) -> str:
    """What ``init`` wrote; empty where it did not."""
    try:
        return (home / SECRET_FILE).read_text("ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError):
        raise ValueError(f"{home / SECRET_FILE}: cannot be read; allow reading, or set the secret") from None
