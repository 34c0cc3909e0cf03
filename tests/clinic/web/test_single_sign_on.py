"""Single sign-on against a provider on this machine: who is let in, and all the ways in which nobody is."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from eyeground.clinic import kept, oidc
from eyeground.clinic.accounts import AccountRefused, revoke, set_subject
from eyeground.clinic.oidc import Flow
from eyeground.clinic.web.app import make_app

from ..opened import open_service_in
from ..provider import CLIENT, SECRET, Provider, provider
from .office import HERE, Office

BASE = "http://127.0.0.1:8080"


@pytest.fixture
def issuer() -> Iterator[Provider]:
    with provider() as found:
        yield found


@pytest.fixture
def office(tmp_path: Path, issuer: Provider) -> Iterator[Office]:
    """An office whose doctor is somebody at the provider."""
    service = open_service_in(
        tmp_path / "clinic", site=HERE, public_url=BASE, oidc_issuer=issuer.url, oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
    )  # fmt: skip
    found = Office(service, make_app(service))
    with service.database.write() as work:
        set_subject(work, "doctor", f"{issuer.url} 4711", actor="tests")
    yield found
    service.close()


class Person:
    """Somebody with a browser: cookies are kept, redirects looked at."""

    def __init__(self, office: Office) -> None:
        self.office, self.cookies = office, dict[str, str]()

    def get(self, address: str) -> httpx.Response:
        reply = self.office.ask(
            "GET", address.removeprefix(BASE),
            headers={"Host": "127.0.0.1:8080", "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())},
        )  # fmt: skip
        for each in reply.headers.get_list("set-cookie"):
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return reply

    def signs_in(self, issuer: Provider, back: str = "/password") -> httpx.Response:
        """The whole way."""
        sent = self.get(f"/oidc/start?next={back}")
        assert sent.status_code == 303, sent.text
        return self.get(issuer.signs_in(sent.headers["location"]))


def problem(reply: httpx.Response) -> str:
    """What the form will say."""
    assert reply.status_code == 303
    parts = urlsplit(reply.headers["location"])
    assert parts.path == "/sign-in", reply.headers["location"]
    return parse_qs(parts.query)["problem"][0]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
def test_who_is_somebody_there_is_let_in_here(office: Office, issuer: Provider, algorithm: str, auth: str) -> None:
    issuer.algorithm, issuer.auth = algorithm, auth
    person = Person(office)
    reply = person.signs_in(issuer)
    assert (reply.status_code, reply.headers["location"]) == (303, "/password")
    assert set(person.cookies) == {"eyeground"}, "the flow's cookie is gone"
    page = person.get("/password")
    assert page.status_code == 200
    assert "single sign-on" in page.text


def test_the_address_of_the_provider_holds_what_it_should_and_no_secret(office: Office, issuer: Provider) -> None:
    sent = Person(office).get("/oidc/start?next=/work")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert asked["redirect_uri"] == f"{BASE}/oidc/callback"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 43
    assert len(asked["nonce"]) >= 43
    assert "code_verifier" not in asked
    assert SECRET not in sent.headers["location"]
    [cookie] = [each for each in sent.headers.get_list("set-cookie") if each.startswith("eyeground-oidc=")]
    assert {"httponly", "samesite=lax", "max-age=600"} <= {each.strip().lower() for each in cookie.split(";")}


REFUSED = [
    "wrong nonce", "no nonce", "wrong audience", "no audience", "two audiences", "other party", "wrong issuer",
    "expired", "no expiry", "from the future", "no subject", "no subject at all", "wrong access token", "alg none",
    "other key", "signed with what is public", "key of a name nobody knows", "changed", "no id token", "says no",
    "other state", "other issuer in the address",
]  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_a_token_with_a_fault_lets_nobody_in(office: Office, issuer: Provider, fault: str) -> None:
    issuer.fault = fault
    person = Person(office)
    assert problem(person.signs_in(issuer)) == "refused"
    assert "eyeground" not in person.cookies
    issuer.fault = ""
    assert person.signs_in(issuer).headers["location"] == "/password", "and without the fault he is let in"


def test_a_check_that_is_left_out_is_found_out(
    office: Office, issuer: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from authlib.oidc.core import CodeIDToken

    monkeypatch.setattr(CodeIDToken, "validate", lambda self, now=None, leeway=0: None)
    let_in = []
    for issuer.fault in REFUSED:
        reply = Person(office).signs_in(issuer)
        if reply.headers.get("location") == "/password":
            let_in.append(issuer.fault)
    assert {"wrong nonce", "wrong audience", "wrong issuer", "expired"} <= set(let_in)
    assert not {"alg none", "other key", "changed", "other state"} & set(let_in), "signatures are another check"


@pytest.mark.parametrize(
    "fault", ["down", "describes another", "keys in the open", "redirects", "no json", "too much", "slow"]
)
def test_a_provider_that_does_not_answer_is_told_and_passwords_still_work(
    office: Office, issuer: Provider, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc.SingleSignOn.__init__, "__kwdefaults__", {"timeout_s": 1.0})
    office.app = make_app(office.service)
    issuer.fault = fault
    person = Person(office)
    sent = person.get("/oidc/start?next=/work")
    reply = sent if "problem=" in sent.headers["location"] else person.get(issuer.signs_in(sent.headers["location"]))
    assert problem(reply) == "lost"
    page = person.get(reply.headers["location"])
    assert page.status_code == 503
    assert "Your password works all the same." in page.text
    assert 'name="password"' in page.text
    assert "127.0.0.1:9" not in " ".join(issuer.asked)


def test_a_flow_is_good_once_for_one_browser_for_ten_minutes(office: Office, issuer: Provider) -> None:
    person, stranger = Person(office), Person(office)
    back = issuer.signs_in(person.get("/oidc/start?next=/password").headers["location"])
    kept = dict(person.cookies)
    assert problem(stranger.get(back)) == "refused", "another browser's flow"
    # The stranger's code never went out, so the right browser still gets in: once.
    assert person.get(back).headers["location"] == "/password"
    again = Person(office)
    again.cookies = kept
    before = len(issuer.asked)
    assert problem(again.get(back)) == "refused", "a state that was used"
    assert len(issuer.asked) == before, "the provider is not even asked"


def test_a_flow_that_is_old_or_touched_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow("s", "n", "v", "/work", "2026-11-28T09:00:00.000000Z")
    for at, good in (("09:09:59", True), ("09:10:01", False), ("08:59:30", True), ("08:00:00", False)):
        monkeypatch.setattr(oidc, "now", lambda at=at: f"2026-11-28T{at}.000000Z")
        assert (Flow.opened(flow.sealed(b"k"), b"k") == flow) is good, at
    monkeypatch.setattr(oidc, "now", lambda: "2026-11-28T09:01:00.000000Z")
    for told in ("", ".", "a.b", flow.sealed(b"k")[:-1], "x" + flow.sealed(b"k"), flow.sealed(b"other")):
        assert Flow.opened(told, b"k") is None


def test_without_the_verifier_the_provider_gives_nothing(office: Office, issuer: Provider) -> None:
    person = Person(office)
    back = issuer.signs_in(person.get("/oidc/start").headers["location"])
    for asked in issuer.codes.values():
        asked["code_challenge"] = "another"
    assert problem(person.get(back)) == "refused"


def test_nobody_is_made_and_who_was_revoked_stays_out(office: Office, issuer: Provider) -> None:
    issuer.subject = "4712"
    assert problem(Person(office).signs_in(issuer)) == "unknown"
    issuer.subject = "4711"
    with office.service.database.write() as work:
        revoke(work, "doctor", actor="tests")
    assert problem(Person(office).signs_in(issuer)) == "unknown"


def test_a_subject_is_one_person_s(office: Office, issuer: Provider) -> None:
    for name, subject, said in (
        ("operator", f"{issuer.url} 4711", "another account has that subject"),
        ("operator", "4711", "issuer, a space"),
        ("site_here", f"{issuer.url} 9", "a program's"),
    ):
        with pytest.raises(AccountRefused, match=said), office.service.database.write() as work:
            set_subject(work, name, subject, actor="tests")


def test_keys_that_change_are_asked_for_again_once_a_minute(
    office: Office, issuer: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Person(office).signs_in(issuer).headers["location"] == "/password"
    issuer.new_key()
    assert problem(Person(office).signs_in(issuer)) == "refused", "they were read a moment ago"
    monkeypatch.setattr(kept, "_AGAIN_S", 0.0)
    assert Person(office).signs_in(issuer).headers["location"] == "/password"
    assert issuer.asked.count("GET /jwks") == 2
    assert issuer.asked.count("GET /.well-known/openid-configuration") == 1


def test_what_another_site_s_page_makes_a_browser_ask_costs_nobody_anything(office: Office, issuer: Provider) -> None:
    """Or it could shut out a whole clinic: all of it has one address."""
    person = Person(office)
    back = issuer.signs_in(person.get("/oidc/start?next=/password").headers["location"])
    kept_cookies = dict(person.cookies)
    for who in (Person(office), person):
        for _ in range(30):
            assert problem(who.get("/oidc/callback?code=a&state=b")) == "refused"
    for _ in range(150):
        sent = office.ask("GET", "/oidc/start", headers={"Host": "127.0.0.1:8080", "Sec-Fetch-Site": "cross-site"})
        assert sent.headers["location"] == "/sign-in"
    assert person.cookies == kept_cookies, "nor his flow"
    assert person.get(back).headers["location"] == "/password"


def test_who_comes_back_with_codes_of_his_own_has_to_wait(office: Office, issuer: Provider) -> None:
    found = []
    for _ in range(25):
        person = Person(office)
        state = parse_qs(urlsplit(person.get("/oidc/start").headers["location"]).query)["state"][0]
        found.append(person.get(f"/oidc/callback?code=a&state={state}").status_code)
    assert found[:20] == [303] * 20
    assert set(found[20:]) == {429}


def test_whoever_begins_again_and_again_has_to_wait(office: Office, issuer: Provider) -> None:
    found = [Person(office).get("/oidc/start").status_code for _ in range(102)]
    assert found == [303] * 100 + [429] * 2


def test_a_provider_that_hangs_holds_nobody_but_those_who_go_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing. Sixty go there; more than the threads that answer everything else."""
    monkeypatch.setattr(oidc.SingleSignOn.__init__, "__kwdefaults__", {"timeout_s": 60.0})
    monkeypatch.setattr(kept, "_WAITED_S", 60.0)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as hanging:
        service = open_service_in(
            tmp_path / "clinic", site=HERE, public_url=BASE, oidc_client_id=CLIENT, oidc_client_secret=SECRET,
            oidc_issuer=f"http://127.0.0.1:{hanging.getsockname()[1]}",
        )  # fmt: skip
        office = Office(service)

        async def whole() -> list[httpx.Response]:
            transport = httpx.ASGITransport(office.app)
            token = {"Authorization": f"Bearer {office.tokens['doctor']}"}
            async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=300) as client:
                starts = [asyncio.create_task(client.get("/oidc/start")) for _ in range(60)]
                line = await asyncio.to_thread(hanging.accept)
                others = [await client.get("/api/v1/counts", headers=token), await client.get("/sign-in")]
                assert not [each for each in starts if each.done()], "they were answered first"
                line[0].close()
                assert {problem(each) for each in await asyncio.gather(*starts)} == {"lost"}
                hanging.setblocking(False)
                with pytest.raises(BlockingIOError):  # it is not asked again at once
                    hanging.accept()
                return others

        assert [each.status_code for each in asyncio.run(whole())] == [200, 200]
        service.close()
