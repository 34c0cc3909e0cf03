"""eyeground clinic sign: a draft becomes a report, and goes out."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    case: Annotated[str, typer.Argument(help="Beginning of the case's id.")],
    account: Annotated[str, typer.Option("--as", help="Name of the doctor's account.")],
    version: Annotated[int | None, typer.Option(min=1, help="Only if the case is still at this version.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has gone out, and give the answer.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="How long to wait. Unit: s.")] = 120,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Show exactly what will be released, ask, sign it: from then on it never changes."""
    import json

    from eyeground.cli.clinic_opening import acting, opened, settings_of
    from eyeground.cli.clinic_signing import sign_case, wait_for_answer
    from eyeground.cli.console import answer

    with opened(settings_of(config)) as service:
        doctor = acting(service, account)
        case_id, now_at, revision = sign_case(service, case, version=version, doctor=doctor, yes=yes)
        told = {"case": case_id, "version": now_at, "revision": revision}
        last_line = f"signed: {case_id}"
        if wait:
            told["answer"] = wait_for_answer(service, case_id, revision=revision, timeout_s=timeout)
            last_line = json.dumps(told["answer"], ensure_ascii=False)
    answer(told, as_json=as_json, last_line=last_line)
