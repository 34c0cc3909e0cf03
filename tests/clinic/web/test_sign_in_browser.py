"""Signing in in a real browser: by keyboard, without JavaScript, narrow and wide, in both languages."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from eyeground.clinic.passwords import set_password
from eyeground.clinic.service import Service
from eyeground.clinic.sessions import close_all
from eyeground.clinic.web.app import make_app

from ...browser import Browser, browser_needed
from ..opened import account_of, open_service_in
from .open_page import served, sign_in

GOOD, OTHER = "seven geese walk home", "eight geese swim away"

pytestmark = browser_needed


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service whose doctor has a password."""
    found = open_service_in(
        tmp_path / "clinic", site_title="Lhasa Eye Center 拉萨眼科中心", public_url="", timezone="Asia/Shanghai"
    )
    account_of(found, "li", "doctor", title="Dr Li")
    with found.database.write() as work:
        set_password(work, "li", GOOD, actor="tests")
    yield found
    found.close()


def test_a_doctor_signs_in_by_keyboard_changes_the_password_and_signs_out(service: Service, browser: Browser) -> None:
    with served(make_app(service)) as url:
        browser.open(f"{url}/password")
        assert browser.evaluate("location.pathname + location.search") == "/sign-in?next=%2Fpassword"
        browser.until("document.activeElement.name === 'name'")
        browser.write("li")
        browser.press("Tab")
        browser.write(OTHER)
        browser.press("Enter")
        browser.until("document.getElementById('problem') !== null")
        assert "Name or password is wrong." in browser.text()
        browser.until("document.activeElement.name === 'password'")
        browser.write(GOOD)
        browser.press("Enter")
        browser.until("location.pathname === '/password' && document.getElementById('change') !== null")
        assert browser.complaints() == []
        browser.evaluate("document.querySelector('[name=old]').focus()")
        for text in (GOOD, "short", "short"):
            browser.write(text)
            browser.press("Tab")
        browser.press("Enter")
        browser.until("!document.getElementById('problem').hidden")
        assert "fewer than 12 characters" in browser.evaluate("document.getElementById('problem').textContent")
        assert browser.evaluate("document.activeElement.name") == "new"
        for name in ("new", "again"):
            browser.evaluate(f"document.querySelector('[name={name}]').value = ''")
            browser.evaluate(f"document.querySelector('[name={name}]').focus()")
            browser.write(OTHER)
        browser.press("Enter")
        browser.until("document.body?.innerText.includes('The password is changed.')")
        assert browser.complaints() == []
        browser.evaluate("document.getElementById('sign-out').click()")
        browser.until("location.pathname === '/sign-in'")
        browser.open(f"{url}/password")
        assert browser.evaluate("location.pathname") == "/sign-in"
        assert browser.complaints() == []


def test_signing_in_needs_no_script(service: Service, browser: Browser) -> None:
    with served(make_app(service)) as url:
        browser.do("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(f"{url}/sign-in?next=/password")
        browser.until("document.activeElement.name === 'name'")
        browser.write("li")
        browser.press("Tab")
        browser.write(GOOD)
        browser.events.clear()
        browser.press("Enter")
        browser.loaded()
        browser.do("Emulation.setScriptExecutionDisabled", value=False)
        browser.until("location.pathname === '/password'")


def test_signing_out_elsewhere_leaves_this_browser(service: Service, browser: Browser) -> None:
    with served(make_app(service)) as url:
        sign_in(browser, service, "li", url, language="zh")
        sign_in(browser, service, "li", url, language="zh")
        browser.open(f"{url}/password")
        browser.evaluate("document.getElementById('elsewhere').click()")
        browser.until("document.body?.innerText.includes('其他登录已全部退出。')")
        assert browser.evaluate("document.querySelectorAll('tbody tr').length") == 1
        assert browser.complaints() == []


def test_a_page_that_stayed_open_goes_on_after_signing_in_anew_unless_it_is_somebody_else(
    service: Service, browser: Browser
) -> None:
    account_of(service, "chen", "doctor")
    sends = """(async () => {
        const { ask } = await import(document.querySelector('script[src*="base.js"]').src);
        return ask("POST", "/password/elsewhere").then(() => "done", (refusal) => refusal.reason);
    })()"""
    with served(make_app(service)) as url:
        for name, found in (("li", "done"), ("chen", "somebody_else")):
            sign_in(browser, service, "li", url)
            browser.open(f"{url}/password")
            with service.database.write() as work:
                close_all(work, "li")
            sign_in(browser, service, name, url)  # in another tab
            assert browser.do("Runtime.evaluate", expression=sends, awaitPromise=True)["result"]["value"] == found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_state_can_be_read_by_everybody(service: Service, browser: Browser, language: str, width: int) -> None:
    told = {"oidc_issuer": "https://id.example", "oidc_client_id": "a", "oidc_client_secret": SecretStr("b")}
    single = make_app(replace(service, settings=service.settings.model_copy(update=told)))
    with served(single) as url:
        for problem in ("", "refused", "unknown", "lost"):
            browser.open(f"{url}/sign-in?lang={language}&problem={problem}&next=/work", width=width, height=800)
            assert browser.axe() == [], problem
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            browser.picture(f"sign-in-{problem or 'form'}-{width}-{language}")
        browser.open(f"{url}/sign-in", width=width, height=800)
        browser.until("document.activeElement.name === 'name'")
        browser.write("li")
        browser.press("Tab")
        browser.write(OTHER)
        browser.press("Enter")
        browser.until("document.getElementById('problem') !== null")
        assert browser.evaluate("document.querySelector('[name=password]').value") == ""
        browser.picture(f"sign-in-wrong-{width}-{language}")
        assert browser.axe() == []
        sign_in(browser, service, "li", url, language=language)
        sign_in(browser, service, "li", url, language=language)
        browser.open(f"{url}/password", width=width, height=800)
        assert browser.axe() == []
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.picture(f"password-{width}-{language}")
        assert browser.complaints() == []
