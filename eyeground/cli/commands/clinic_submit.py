"""eyeground clinic submit: images or a patient message into the queue."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Images of one patient; names tell the eye: P7_OD.jpg.")
    ] = None,
    request_id: Annotated[str, typer.Option("--id", help="Id of the request; none = made of what is sent.")] = "",
    patient: Annotated[str, typer.Option(help='Fields of Patient as JSON: \'{"patient_id": "P7", "age": 61}\'.')] = "",
    message: Annotated[Path | None, typer.Option(help="A file that holds a whole patient message instead.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the models have looked, and tell the case.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="How long to wait. Unit: s.")] = 120,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Send a request as a site does; the same again is the same request."""
    from eyeground.cli.clinic_messages import last_letter, message_from, request_of, send_bodies, wait_for_case
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.console import answer, tell

    body = message_from(files or [], message=message, request_id=request_id, patient=patient)
    with opened(settings_of(config)) as service:
        newest = last_letter(service)
        send_bodies(service, [body])
        told = {"id": request_of(body)}
        if wait:
            told["case"], told["state"] = wait_for_case(service, body, after=newest, timeout_s=timeout)
            tell(f"case {told['case']} is {told['state'].replace('_', ' ')}")
    answer(told, as_json=as_json, last_line=told["id"])
