"""Accounts over HTTP, and as a page."""

import pytest

from .office import Office


def names(office: Office, who: str) -> list[str]:
    """Accounts that somebody sees."""
    return [each["name"] for each in office.get("accounts", who).json()["accounts"]]


def test_an_account_is_made_and_works_at_once(office: Office) -> None:
    made = office.post("accounts", "admin", json={"name": "gate", "role": "site", "site": "here"})
    assert (made.status_code, made.json()["kind"]) == (201, "token")
    assert office.get("screenings/none", made.json()["secret"]).status_code == 404
    person = office.post("accounts", "admin", json={"name": "wang", "role": "doctor", "title": "王芳 医师"})
    assert (person.status_code, person.json()["kind"]) == (201, "password")
    [found] = [each for each in office.get("accounts", "admin").json()["accounts"] if each["name"] == "wang"]
    assert (found["title"], found["role"], found["how"], found["site"]) == ("王芳 医师", "doctor", "password", "")
    renewed = office.post("accounts/wang/password", "admin")
    assert (renewed.status_code, renewed.json()["kind"], renewed.json()["name"]) == (200, "password", "wang")
    assert renewed.json()["secret"] != person.json()["secret"]
    assert 'data-deed="password"' in office.ask("GET", "/accounts", "admin").text
    assert office.post("accounts/gate/password", "admin").json()["reason"] == "no_password"
    for secret in (made.json()["secret"], person.json()["secret"], renewed.json()["secret"]):
        assert secret not in office.get("accounts", "admin").text
        assert secret not in office.ask("GET", "/accounts", "admin").text


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ({"name": "doctor", "role": "doctor"}, 409, "account_taken"),
        ({"name": "Dr Li", "role": "doctor"}, 422, "account_unusable"),
        ({"name": "x", "role": "service"}, 422, "refused"),
        ({"name": "x", "role": "doctor", "site": "a b"}, 422, "refused"),
        ({"name": "x", "role": "doctor", "title": "\u202ex"}, 422, "refused"),
        ({"name": "x" * 65, "role": "doctor"}, 422, "refused"),
        ({"name": "x", "role": "doctor", "token": "mine"}, 422, "refused"),
    ],
)
def test_an_account_that_cannot_be_is_refused(office: Office, asked: dict[str, str], status: int, reason: str) -> None:
    before = names(office, "admin")
    reply = office.post("accounts", "admin", json=asked, params={"lang": "zh"})
    assert (reply.status_code, reply.json()["reason"]) == (status, reason)
    assert not reply.json()["error"].isascii()
    assert names(office, "admin") == before


def test_a_revoked_account_is_out_at_once(office: Office) -> None:
    assert office.get("cases", "doctor").status_code == 200
    reply = office.post("accounts/doctor/revoke", "admin")
    assert reply.status_code == 200
    assert next(each for each in reply.json()["accounts"] if each["name"] == "doctor")["revoked_at"]
    assert office.get("cases", "doctor").status_code == 401
    assert office.post("accounts/doctor/revoke", "admin").status_code == 404
    own = office.post("accounts/admin/revoke", "admin")
    assert (own.status_code, own.json()["reason"]) == (409, "own_account")
    assert office.post("accounts/operator/sign-out-everywhere", "admin").status_code == 200


def test_an_administrator_of_a_site_sees_and_does_nothing_elsewhere(office: Office) -> None:
    assert names(office, "admin_elsewhere") == [
        "admin_elsewhere", "doctor_elsewhere", "operator_elsewhere", "site_elsewhere",
    ]  # fmt: skip
    for deed in ("revoke", "sign-out-everywhere"):
        assert office.post(f"accounts/doctor_here/{deed}", "admin_elsewhere").status_code == 404
    assert "doctor_here" not in office.ask("GET", "/accounts", "admin_elsewhere").text
    made = office.post("accounts", "admin_elsewhere", json={"name": "new", "role": "admin"})
    assert made.status_code == 201
    assert "new" in names(office, "admin_elsewhere")
    forbidden = office.post("accounts", "admin_elsewhere", json={"name": "newer", "role": "doctor", "site": "here"})
    assert forbidden.status_code == 403


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_lists_everybody_and_offers_nobody_his_own_end(office: Office, language: str) -> None:
    page = office.ask("GET", "/accounts", "admin", params={"lang": language}).text
    for name in names(office, "admin"):
        assert f'data-name="{name}"' in page
    mine = page.partition('data-name="admin"')[2].partition("</tr>")[0]
    other = page.partition('data-name="doctor"')[2].partition("</tr>")[0]
    assert ('data-deed="revoke"' in mine, 'data-deed="revoke"' in other) == (False, True)
    assert "built-in method" not in page


def test_what_an_account_is_called_is_no_markup(office: Office) -> None:
    office.post("accounts", "admin", json={"name": "x", "role": "doctor", "title": "<img src=x onerror=alert(1)>"})
    page = office.ask("GET", "/accounts", "admin").text
    assert "<img" not in page
    assert "&lt;img src=x" in page
