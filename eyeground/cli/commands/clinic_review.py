"""eyeground clinic review: the work list; a case; a doctor's draft."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    case: Annotated[str, typer.Argument(help="Beginning of a case's id; none = the work list.")] = "",
    account: Annotated[str, typer.Option("--as", help="Name of the doctor's account; needed to write.")] = "",
    sets: Annotated[list[str] | None, typer.Option("--set", help="A finding: fundus/OD.DR=2; may be repeated.")] = None,
    ungradable: Annotated[list[str] | None, typer.Option(help="An eye: fundus/OS; may be repeated.")] = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Why ungradable, or unlike the models: fundus/OS=WORDS, or words for all named."),
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Take the models' answers, then what else is said.")] = False,
    conclusion: Annotated[str, typer.Option(help="In the doctor's words.")] = "",
    recommendation: Annotated[str, typer.Option(help="What the patient should do and by when.")] = "",
    text: Annotated[
        list[str] | None, typer.Option(help="Of a report request: fundusReport=WORDS; may be repeated.")
    ] = None,
    eye: Annotated[list[str] | None, typer.Option(help="Which eye an image shows: 0=OD; may be repeated.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Of the list: only these states; none = what waits.")] = None,
    most: Annotated[int, typer.Option(min=1, max=10000, help="Of the list: how many.")] = 100,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Show what waits, or all of a case, or save a draft; nothing goes out before 'eyeground clinic sign'."""
    from eyeground.cli.clinic_cases import list_cases, look_at, show_case
    from eyeground.cli.clinic_opening import acting, opened, settings_of
    from eyeground.cli.clinic_opinion import opinion_of
    from eyeground.cli.clinic_signing import decide_eyes, save_draft
    from eyeground.cli.config import ConfigError
    from eyeground.cli.console import answer

    wanted = sets or ungradable or reason or conclusion or recommendation or text
    writes = bool(accept or wanted)
    if (writes or eye) and not (case and account):
        raise ConfigError("say which CASE, and --as which doctor")
    if writes and eye:
        raise ConfigError("--eye: the models look anew after it; write the opinion then")
    with opened(settings_of(config)) as service:
        if not case:
            lines = list_cases(service, states=state or (), most=most)
            answer({"cases": lines}, as_json=as_json, last_line=f"cases: {len(lines)}")
            return
        view = look_at(service, case)
        if writes:
            opinion = opinion_of(
                view, accept=accept, sets=sets or (), ungradable=ungradable or (), reasons=reason or (),
                texts=text or (), conclusion=conclusion, recommendation=recommendation,
            )  # fmt: skip
            save_draft(service, view, opinion, doctor=acting(service, account))
        elif eye:
            decide_eyes(service, view, eye, doctor=acting(service, account))
        if writes or eye:
            view = look_at(service, view["id"])
        show_case(view)
        answer(view, as_json=as_json, last_line=f"case: {view['id']}, version {view['version']}")
