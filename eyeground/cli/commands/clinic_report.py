"""eyeground clinic report: a signed report as a file."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    case: Annotated[str, typer.Argument(help="Beginning of a case's id; 'eyeground clinic review' lists them.")],
    out: Annotated[Path, typer.Option(help="File to write: .pdf, .html or .txt; it holds patients' data.")],
    lang: Annotated[str, typer.Option(help="Language: zh or en.")] = "zh",
    revision: Annotated[int, typer.Option(min=0, help="Which version; 0 = the last that was signed.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Write a signed report as PDF, HTML or text, readable by its owner only."""
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.clinic_report import check_report, write_report
    from eyeground.cli.console import answer

    check_report(out, language=lang, force=force)
    with opened(settings_of(config)) as service:
        facts = write_report(service, case, out, language=lang, revision=revision or None)
    told = {"out": str(out), "number": facts.number, "status": facts.status, "sha256": facts.sha256}
    answer(told, as_json=as_json, last_line=f"report {facts.number}, {facts.status}: {out}")
