"""eyeground clinic link: an address and a code by which a patient reads the signed report."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    case: Annotated[str, typer.Argument(help="Beginning of the case's id.")],
    account: Annotated[
        str, typer.Option("--as", help="Account that stands in the audit trail; none = whoever types, as an operator.")
    ] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke the case's links instead.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Make a patient's link and its code, which are shown this once, or revoke what links a case has.

    Give the code another way than the link: on paper, or by a message of its own. A new link revokes the one before.
    """
    from eyeground.cli.clinic_link import make_link, revoke_links
    from eyeground.cli.clinic_opening import acting, opened, settings_of
    from eyeground.cli.console import answer, tell

    with opened(settings_of(config)) as service:
        who = acting(service, account)
        if revoke:
            case_id, count = revoke_links(service, case, who=who)
            answer({"case": case_id, "revoked": count}, as_json=as_json, last_line=f"revoked: {count}")
            return
        case_id, address, link = make_link(service, case, who=who)
        if not service.settings.public_url:
            tell("PUBLIC_URL is not set: put the host before the path under which patients reach the service")
    tell(f"code: {link.code}", f"good until {link.ends_at[:16].replace('T', ' ')} UTC")
    told = {"case": case_id, "address": address, "code": link.code, "ends_at": link.ends_at}
    answer(told, as_json=as_json, last_line=address)
