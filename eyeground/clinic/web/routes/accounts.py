"""Accounts, for administrators: listed, made, changed, revoked, signed out. Each deed is in the audit trail."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import FastAPI, Path, Request
from starlette.concurrency import run_in_threadpool

from eyeground.clinic.db.database import Work
from eyeground.clinic.staff import (
    Admin,
    FirstSecret,
    StaffRefused,
    disengage,
    engage,
    members,
    renew_password,
    sign_out_everywhere,
)  # fmt: skip
from eyeground.clinic.web.account_shapes import Accounts, AccountShape, MadeAccount, NewAccount
from eyeground.clinic.web.bodies import body_of, read_asked
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import guarded_answers, who_asks
from eyeground.clinic.web.refusing import TurnedAway

_Name = Annotated[str, Path(max_length=64)]
_Gives = TypeVar("_Gives")


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """

    @app.get(f"{API}/accounts", summary="Accounts", responses=guarded_answers())
    def list_accounts(request: Request) -> Accounts:
        """List accounts, without anything that they prove themselves by."""
        return Accounts(accounts=_list(desk, request))

    @app.post(
        f"{API}/accounts",
        status_code=201,
        summary="Make an account",
        responses=guarded_answers(409),
        openapi_extra=body_of(NewAccount),
    )
    async def make_account(request: Request) -> MadeAccount:
        """Make an account; its first password, or a program's token, is told this once."""
        asked = await read_asked(request, NewAccount)

        def make(work: Work, admin: Admin) -> FirstSecret:
            return engage(work, asked.name, role=asked.role, title=asked.title, site=asked.site, admin=admin)

        made = await run_in_threadpool(_carry_out, desk, request, make)
        return MadeAccount(name=asked.name, kind=made.kind, secret=made.secret)

    @app.post(
        f"{API}/accounts/{{name}}/revoke", summary="Take an account's rights away", responses=guarded_answers(404, 409)
    )
    def revoke_account(name: _Name, request: Request) -> Accounts:
        """Take an account's rights away for good; all accounts as they are then."""
        _carry_out(desk, request, lambda work, admin: disengage(work, name, admin=admin))
        return Accounts(accounts=_list(desk, request))

    @app.post(
        f"{API}/accounts/{{name}}/password", summary="Give a new first password", responses=guarded_answers(404, 409)
    )
    def renew(name: _Name, request: Request) -> MadeAccount:
        """Give an account another first password, told this once; it is signed out everywhere."""
        secret = _carry_out(desk, request, lambda work, admin: renew_password(work, name, admin=admin))
        return MadeAccount(name=name, kind="password", secret=secret)

    @app.post(
        f"{API}/accounts/{{name}}/sign-out-everywhere", summary="End its sessions", responses=guarded_answers(404)
    )
    def sign_out(name: _Name, request: Request) -> Accounts:
        """End all browser sessions of an account; all accounts as they are then."""
        _carry_out(desk, request, lambda work, admin: sign_out_everywhere(work, name, admin=admin))
        return Accounts(accounts=_list(desk, request))


def _list(desk: Desk, request: Request) -> list[AccountShape]:
    """The accounts that who asks looks after."""
    with desk.service.database.read() as session:
        return [AccountShape.model_validate(each) for each in members(session, site=who_asks(request).site)]


def _carry_out(desk: Desk, request: Request, act: Callable[[Work, Admin], _Gives]) -> _Gives:
    """Do something, in a transaction of its own."""
    who = who_asks(request)
    try:
        with desk.service.database.write() as work:
            return act(work, Admin(who.account, who.site))
    except StaffRefused as refused:
        raise TurnedAway(refused.reason) from None
