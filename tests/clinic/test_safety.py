"""Settings that would be unsafe do not start, and say everything at once."""

import os
from pathlib import Path

import pytest

from eyeground.clinic.safety import is_guessed, listening_faults, open_to_others
from eyeground.clinic.secret_file import close_home, make_secret
from eyeground.clinic.settings import PREFIX, SettingsRefused, read_settings

GOOD = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's settings."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "secret",
    [
        "changemechangeme", "change-me-change-me", "CHANGE_ME_PLEASE", "please change this", "your-secret-key-here",
        "secret" * 4, "password12345678", "0" * 64, "0123456789012345", "abababababababab",
        "make one with openssl rand -hex 32",
        "example-secret-1", "eyeground-clinic-secret", "replace this secret", "defaultdefault12",
    ],
)  # fmt: skip
def test_a_secret_that_everybody_tries_is_none(secret: str) -> None:
    assert is_guessed(secret)
    with pytest.raises(SettingsRefused, match=r"SECRET: .*words that everybody tries"):
        read_settings(secret=secret)


def test_a_secret_that_was_made_is_one(tmp_path: Path) -> None:
    for place in range(200):
        file = make_secret(home=tmp_path / str(place))
        assert file is not None
        assert not is_guessed(file.read_text().strip())


def open_home(tmp_path: Path, **modes: int) -> Path:
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    (home / "secret").write_text(GOOD)
    (home / "secret").chmod(modes.get("secret", 0o600))
    (home / "images").chmod(modes.get("images", 0o700))
    home.chmod(modes.get("home", 0o700))
    return home


def test_a_closed_home_is_good(tmp_path: Path) -> None:
    assert read_settings(home=open_home(tmp_path)).secret.get_secret_value() == GOOD


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        ({"home": 0o755}, ["home: others on this machine may look into it; chmod 700"]),
        ({"home": 0o701}, ["home: others"]), ({"home": 0o750}, ["home: others"]),
        ({"secret": 0o640}, ["secret: others on this machine may look into it; chmod 600"]),
        ({"secret": 0o604}, ["secret: others"]), ({"images": 0o777}, ["images: others"]),
        ({"home": 0o755, "secret": 0o644, "images": 0o755}, ["home: others", "secret: others", "images: others"]),
    ],
)  # fmt: skip
def test_what_others_may_read_is_told_whole(tmp_path: Path, modes: dict[str, int], said: list[str]) -> None:
    with pytest.raises(SettingsRefused) as caught:
        read_settings(home=open_home(tmp_path, **modes))
    assert all(each in str(caught.value) for each in said)
    assert str(caught.value).count("others on this machine") == len(said)
    assert GOOD not in str(caught.value)


def test_setting_up_closes_the_home_but_leaves_a_secret_that_was_read_to_a_person(tmp_path: Path) -> None:
    home = open_home(tmp_path, home=0o755)
    close_home(home=home)
    assert read_settings(home=home).home == home
    home = open_home(tmp_path / "again", home=0o755, secret=0o644)
    close_home(home=home)
    with pytest.raises(SettingsRefused, match="secret: others"):
        read_settings(home=home)


def test_a_database_outside_of_the_home_is_looked_at_too(tmp_path: Path) -> None:
    home, folder = open_home(tmp_path), tmp_path / "elsewhere"
    folder.mkdir()
    folder.chmod(0o755)
    file = folder / "a.db"
    file.write_bytes(b"")
    file.chmod(0o644)
    with pytest.raises(SettingsRefused, match=r"a\.db: others on this machine may read it"):
        read_settings(home=home, database_url=f"sqlite:///{file}")
    for path, mode in ((file, 0o600), (file, 0o644)):
        path.chmod(mode)
        folder.chmod(0o755 if mode == 0o600 else 0o700)
        assert read_settings(home=home, database_url=f"sqlite:///{file}")


def test_a_file_of_settings_that_holds_secrets_is_not_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = open_home(tmp_path), tmp_path / "clinic.toml"
    file.write_text(f'home = "{home}"\nllm_key = "sk-{GOOD}"\n')
    monkeypatch.setenv(f"{PREFIX}CONFIG", str(file))
    file.chmod(0o644)
    with pytest.raises(SettingsRefused, match="it holds llm_key, and everybody") as caught:
        read_settings()
    assert GOOD not in str(caught.value)
    file.chmod(0o640)
    assert read_settings()
    file.write_text(f'home = "{home}"\n')
    file.chmod(0o644)
    assert read_settings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"public_url": "http://eyes.example"}, ["PUBLIC_URL", "https://"]),
        ({"public_url": "https://eyes.example/clinic"}, ["PUBLIC_URL", "a host alone"]),
        ({"public_url": "https://user:pass@eyes.example"}, ["PUBLIC_URL", "a host alone"]),
        ({"public_url": "https://"}, ["PUBLIC_URL", "no host"]),
        ({"llm_base_url": "http://llm.example/v1"}, ["LLM_BASE_URL", "https://"]),
        ({"oidc_issuer": "http://id.example"}, ["OIDC_ISSUER", "https://"]),
        ({"oidc_issuer": "https://id.example"}, ["OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "PUBLIC_URL"]),
        ({"oidc_client_id": "a"}, ["OIDC_ISSUER", "OIDC_CLIENT_SECRET", "PUBLIC_URL"]),
        ({"oidc_client_secret": "a", "public_url": "https://a.example"}, ["OIDC_ISSUER", "OIDC_CLIENT_ID"]),
        ({"release": "unsigned", "blind_first_read": True}, ["BLIND_FIRST_READ", "RELEASE=signed"]),
        ({"demo": True, "public_url": "https://a.example"}, ["DEMO", "this machine alone"]),
        (
            {"secret": "changemechangeme", "public_url": "http://a.example", "oidc_client_id": "a", "lease_s": -1},
            ["SECRET", "PUBLIC_URL", "OIDC_CLIENT_SECRET", "LEASE_S"],
        ),
    ],
)
def test_what_is_unsafe_is_told_at_once(given: dict[str, object], said: list[str]) -> None:
    with pytest.raises(SettingsRefused) as caught:
        read_settings(**({"secret": GOOD} | given))
    assert all(each in str(caught.value) for each in said), str(caught.value)
    assert "changeme" not in str(caught.value)
    assert "user:pass" not in str(caught.value)


def test_what_is_safe_is_taken() -> None:
    whole = {"oidc_issuer": "https://id.example/", "oidc_client_id": "a", "oidc_client_secret": "b"}
    settings = read_settings(secret=GOOD, public_url="https://eyes.example/", **whole)
    assert (settings.public_url, settings.secure) == ("https://eyes.example", True)
    assert settings.oidc_issuer == "https://id.example/", "an issuer is compared letter by letter"
    assert read_settings(secret=GOOD, llm_base_url="http://127.0.0.1:9/v1", llm_model="a", demo=True).demo
    assert read_settings(secret=GOOD, public_url="http://localhost:8080", demo=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "eyes.example"])  # noqa: S104 - refused
def test_listening_for_other_machines_wants_tls(host: str) -> None:
    [fault] = listening_faults(host, public_url="", demo=False)
    assert "PUBLIC_URL" in fault
    assert listening_faults(host, public_url="http://127.0.0.1:8080", demo=False) == [fault]
    proxy = ("10.0.0.5",)
    assert listening_faults(host, public_url="https://eyes.example", demo=False, trusted_proxies=proxy) == []
    [demo] = listening_faults(host, public_url="https://eyes.example", demo=True)
    assert "this machine alone" in demo


def test_a_proxy_on_another_machine_has_to_be_named_or_there_is_none() -> None:
    host, public_url = "192.0.2.7", "https://eyes.example"
    [fault] = listening_faults(host, public_url=public_url, demo=False)
    assert "TRUSTED_PROXIES" in fault
    for told, believed in (
        ("", ("127.0.0.1", "::1")), ("none", ()),
        ("10.0.0.5, 172.30.17.0/24,::1", ("10.0.0.5", "172.30.17.0/24", "::1")),
    ):  # fmt: skip
        settings = read_settings(secret=GOOD, public_url=public_url, trusted_proxies=told)
        assert settings.proxies == believed
        found = listening_faults(host, public_url=public_url, demo=False, trusted_proxies=settings.trusted_proxies)
        assert found == ([] if told else [fault])


@pytest.mark.parametrize("told", ["*", "0.0.0.0/0", "::/0", "proxy.example", "10.0.0.5/8", "none,10.0.0.5"])
def test_nobody_and_everybody_is_no_proxy(told: str) -> None:
    with pytest.raises(SettingsRefused, match="TRUSTED_PROXIES"):
        read_settings(secret=GOOD, trusted_proxies=told)


@pytest.mark.parametrize("name", ["image_root", "watch"])
def test_a_folder_of_images_is_not_everybody_s(tmp_path: Path, name: str) -> None:
    """A group may read it: sites share such folders."""
    folder = tmp_path / "shared" / "in"
    folder.mkdir(parents=True)
    for mode, above, good in ((0o755, 0o755, False), (0o775, 0o711, False), (0o770, 0o755, True), (0o755, 0o750, True)):
        folder.chmod(mode)
        folder.parent.chmod(above)
        if good:
            assert read_settings(secret=GOOD, **{name: folder})
        else:
            with pytest.raises(SettingsRefused, match=r"shared/in: everybody .* chmod o-rwx"):
                read_settings(secret=GOOD, **{name: folder})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_this_machine_it_does_not(host: str) -> None:
    assert listening_faults(host, public_url="", demo=True) == []


def test_what_is_not_there_is_not_open(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert not open_to_others(home=gone, blob_url=f"file:{gone}", database_url="", secret="s", config=str(gone))  # noqa: S106
