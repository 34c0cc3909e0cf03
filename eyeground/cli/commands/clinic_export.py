"""eyeground clinic export: signed cases to other systems, and to training."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="Folder to make; of --labels the folder of all versions.")],
    case: Annotated[list[str] | None, typer.Argument(help="Beginnings of cases' ids; none = all signed ones.")] = None,
    fhir: Annotated[
        bool, typer.Option("--fhir", help="A FHIR R4B bundle and the report as PDF, a folder a case.")
    ] = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="The report as Encapsulated PDF and its findings as Comprehensive SR.")
    ] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="What doctors signed as a versioned set to fine-tune on, de-identified.")
    ] = False,
    deidentified: Annotated[
        bool, typer.Option("--deidentified", help="Images and what is known of each case, without whose they are.")
    ] = False,
    since: Annotated[str, typer.Option(help="Only those signed on this day or later, such as 2026-01-31.")] = "",
    lang: Annotated[list[str] | None, typer.Option(help="Language of printed reports: zh, en. Repeatable.")] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="Name of a held image: a person saw no name in its pixels. Repeatable."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Write signed cases into a folder, whole or not at all; ends with 1 where something that was signed is missing."""
    from eyeground.cli.clinic_export import export_cases, one_kind, summary_json
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.console import answer

    kind = one_kind(fhir=fhir, dicom=dicom, labels=labels, deidentified=deidentified)
    with opened(settings_of(config)) as service:
        made = export_cases(
            service, kind, out, cases=case or [], since=since, languages=lang or ["zh"], confirmed=confirm or []
        )
    word = "unchanged" if made.unchanged else "export"
    answer(summary_json(made), as_json=as_json, last_line=f"{word}: {made.folder}")
    if not made.whole:
        raise typer.Exit(1)
