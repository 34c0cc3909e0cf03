"""Statistics, dead letters and accounts in a real browser: by keyboard, in both languages, wide and narrow."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from eyeground.clinic.intake import Arrived

from ...browser import Browser, browser_needed
from ..opened import photo
from .office import HERE, Office
from .open_page import served, sign_in

pytestmark = browser_needed
_WHO = {"/statistics": "doctor", "/dead-letters": "operator", "/accounts": "admin"}


@dataclass(frozen=True)
class Opened:
    """An office that is served, and a browser before it."""

    office: Office
    browser: Browser
    url: str

    def open(self, path: str, *, language: str = "en", width: int = 1440) -> None:
        """Open a page as who may."""
        sign_in(self.browser, self.office.service, _WHO[path.partition("?")[0]], self.url, language=language)
        self.browser.open(self.url + path, width=width, height=900)

    def send(self, *bodies: bytes) -> None:
        """Messages that are not taken."""
        self.office.service.intake.admit([Arrived("check", body, HERE) for body in bodies])


@pytest.fixture
def opened(office: Office, browser: Browser) -> Iterator[Opened]:
    """An office and a browser."""
    with served(office.app) as url:
        yield Opened(office, browser, url)


@pytest.mark.parametrize("path", _WHO)
def test_pages_are_accessible_and_fit_in_both_languages_wide_and_narrow(opened: Opened, path: str) -> None:
    opened.office.signed("m1")
    opened.send(b"no json", b"{}")
    for language in ("en", "zh"):
        for width in (1440, 390):
            opened.open(path, language=language, width=width)
            opened.browser.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            assert opened.browser.axe() == [], (language, width)
            assert opened.browser.evaluate("document.documentElement.scrollWidth") <= width, (language, width)
            assert opened.browser.complaints() == []
            opened.browser.picture(f"{path[1:]}-{width}-{language}")


def test_letters_are_replayed_and_dismissed_by_keyboard_alone(opened: Opened, tmp_path: Path) -> None:
    browser = opened.browser
    opened.send(b"no json", json.dumps({"id": 1, "odFundusImg": "late.png"}).encode(), b"[]")
    opened.open("/dead-letters")
    browser.press("j", "j")
    assert browser.evaluate("document.activeElement.dataset.number") == "2"
    browser.press("r")
    browser.until("document.querySelector('[data-number=\"2\"] .outcome').innerText.startsWith('refused again')")
    (tmp_path / "late.png").write_bytes(photo(1))
    browser.press("r")
    browser.until("document.querySelector('[data-number=\"2\"] .outcome').innerText.startsWith('taken')")
    assert browser.evaluate("document.querySelectorAll('[data-number=\"2\"] button').length") == 0
    browser.press("k", "d")
    browser.until("document.getElementById('sure').open")
    assert "letter 1" in browser.evaluate("document.getElementById('sure-text').textContent")
    browser.press("Escape")
    browser.until("!document.getElementById('sure').open")
    assert len(opened.office.get("dead-letters", "operator").json()["letters"]) == 2
    # Word of the closing comes when the dialog is open again.
    browser.press("d")
    browser.evaluate("sure.close(); document.dispatchEvent(new KeyboardEvent('keydown', {key: 'd'}))")
    browser.press("Tab", "Enter")
    browser.until("document.querySelector('[data-number=\"1\"] .outcome').innerText === 'dismissed'")
    assert browser.evaluate("document.getElementById('spoken').textContent") == "Letter 1: dismissed"
    assert [each["id"] for each in opened.office.get("dead-letters", "operator").json()["letters"]] == [3]
    browser.press("?")
    browser.until("document.getElementById('help').open")
    browser.press("Escape", "a")
    browser.until("location.search === '?show=all' && document.readyState === 'complete'")
    assert browser.complaints() == []


def test_a_letter_that_somebody_else_has_dealt_with_is_told(opened: Opened) -> None:
    opened.send(b"no json")
    opened.open("/dead-letters", language="zh")
    opened.office.post("dead-letters/1/dismiss", "operator")
    opened.browser.press("j", "r")
    opened.browser.until("!document.getElementById('failure').hidden")
    assert not opened.browser.evaluate("document.getElementById('failure').textContent").isascii()


def test_an_account_is_made_shown_once_and_revoked(opened: Opened) -> None:
    browser, office = opened.browser, opened.office
    opened.open("/accounts")
    browser.evaluate("document.querySelector('#add [name=name]').focus()")
    browser.write("doctor")
    browser.press("Enter")
    browser.until("document.getElementById('wrong').textContent !== ''")
    browser.evaluate("document.querySelector('#add [name=name]').value = ''")
    browser.write("wang.fang")
    browser.press("Tab")
    browser.write("王芳 医师")
    browser.press("Enter")
    browser.until("document.getElementById('once').open")
    secret = browser.evaluate("document.getElementById('secret').textContent")
    assert len(secret) == 19
    browser.picture("accounts-once")
    browser.evaluate("document.querySelector('#once [type=submit]').click()")
    browser.until("document.querySelector('[data-name=\"wang.fang\"]') !== null")
    assert secret not in browser.evaluate("document.documentElement.outerHTML")
    browser.evaluate("document.querySelector('[data-name=\"wang.fang\"] [data-deed=revoke]').focus()")
    browser.press("Enter")
    browser.until("document.getElementById('sure').open")
    browser.press("Tab", "Enter")
    browser.until("document.querySelector('[data-name=\"wang.fang\"].gone') !== null")
    found = office.get("accounts", "admin").json()["accounts"]
    assert next(each for each in found if each["name"] == "wang.fang")["revoked_at"]
    assert browser.complaints() == []
