"""Settings: every fault is told in one message, and what is secret is never shown."""

from pathlib import Path

import pytest

from eyeground.clinic.secret_file import make_secret
from eyeground.clinic.settings import Settings, SettingsRefused, read_settings

SECRET = "a phrase of the tests own"  # noqa: S105


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("home = 5\nlease_s = -1\n", ["HOME", "LEASE_S"]),
        ("lease_s = -1\n[home]\nplace = 'x'\n", ["HOME", "LEASE_S"]),
        ("home = ['a']\nsite = 3\n", ["HOME", "SITE"]),
        ("lease_s = -1\n[database_url]\nhost = 'x'\n", ["DATABASE_URL", "LEASE_S"]),
        ("queue_url = 5\nblob_url = 5\nbundle = 5\n", ["QUEUE_URL", "BLOB_URL", "BUNDLE"]),
        ("[secret]\nkey = 'x'\n", ["SECRET"]),
        ("home = \n", ["CONFIG"]),
    ],
)
def test_a_value_of_another_kind_is_told_beside_all_others(
    lines: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clinic.toml"
    file.write_text(lines)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEGROUND_CLINIC_CONFIG", str(file))
    for read in (read_settings, make_secret):
        with pytest.raises(SettingsRefused) as caught:
            read(**({} if "secret" in lines else {"secret": SECRET}))
        assert [name for name in told if f"EYEGROUND_CLINIC_{name}" not in str(caught.value)] == []
    assert not (tmp_path / "clinic").exists()


@pytest.mark.parametrize("lines", ["home = \n", None])
def test_a_file_that_cannot_be_read_is_told_before_a_secret_is_made(
    lines: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clinic.toml"
    if lines is not None:
        file.write_text(lines)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEGROUND_CLINIC_CONFIG", str(file))
    with pytest.raises(SettingsRefused, match="EYEGROUND_CLINIC_CONFIG"):
        make_secret()
    assert not (tmp_path / "clinic").exists()


def test_no_password_stands_in_what_is_shown() -> None:
    settings = Settings(
        secret=SECRET,
        database_url="postgresql+psycopg://eyeground:hunter2@127.0.0.1/eyeground",
        queue_url="amqp://eyeground:hunter3@127.0.0.1/",
    )
    for shown in (repr(settings), str(settings)):
        assert "hunter" not in shown
        assert SECRET not in shown
        assert "site='default'" in shown
