"""Signed cases to a folder: the words around ``clinic.exports``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eyeground.cli.clinic_cases import case_of
from eyeground.cli.clinic_opening import local_name
from eyeground.cli.config import ConfigError
from eyeground.cli.console import counting, tell
from eyeground.clinic.exports import Kind, Summary, export
from eyeground.clinic.service import Service

_SHOWN = 20


def one_kind(**wanted: bool) -> Kind:
    """Tell which form is wanted.

    Args:
        wanted: By form, whether its option was given.

    Returns:
        The one.

    Raises:
        ConfigError: If none or several are wanted.

    Example:
        >>> one_kind(fhir=True, dicom=False)
        'fhir'

    References:
        Our own.
    """
    found = [name for name, given in wanted.items() if given]
    if len(found) != 1:
        raise ConfigError(f"say one of {', '.join(f'--{name}' for name in wanted)}")
    return found[0]  # type: ignore[return-value]


def export_cases(
    service: Service,
    kind: Kind,
    out: Path,
    *,
    cases: Sequence[str],
    since: str,
    languages: Sequence[str],
    confirmed: Sequence[str],
) -> Summary:
    """Export, and say what is not in it.

    Args:
        service: The service.
        kind: In which form.
        out: Folder to make.
        cases: Beginnings of ids; none = all that are signed.
        since: Only those signed on this day or later.
        languages: Of printed reports.
        confirmed: Images in whose pixels a person has found no name.

    Returns:
        What was made.

    Raises:
        ConfigError: If several cases are meant by one beginning.
        NoSuchCase: If none is.
        ExportRefused: If the export cannot be made.
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer.
        OSError: If it cannot be written.

    References:
        docs/clinic.md.
    """
    with service.database.read() as session:
        whole = [case_of(session, prefix) for prefix in cases]
    with counting("cases") as progress:
        summary = export(
            service, kind, out, cases=whole, since=since, languages=languages, confirmed=confirmed, actor=local_name(),
            progress=progress,
        )  # fmt: skip
    _tell(summary)
    return summary


def summary_json(summary: Summary) -> dict[str, Any]:
    """Say what was made.

    Args:
        summary: What was made.

    Returns:
        Plain values.

    Example:
        >>> summary_json(Summary("fhir", Path("out"), 3, 6, (), ()))["cases"]
        3

    References:
        Our own.
    """
    return {
        "kind": summary.kind,
        "out": str(summary.folder),
        "cases": summary.cases,
        "files": summary.files,
        "unchanged": summary.unchanged,
        "left_out": [vars(each) for each in summary.left],
        "held": [{**vars(each), "text": list(each.text)} for each in summary.held],
    }


def _tell(summary: Summary) -> None:
    """Say what is not in it, and what to do about it."""
    unsigned = Counter(each.why for each in summary.left if not each.fault)
    for why, count in unsigned.items():
        tell(f"left out  {count} cases: {why}")
    broken = [f"{each.case_id}: {each.why}" for each in summary.left if each.fault]
    held = [
        f"{each.file} of {each.case_id}: {each.why}" + (f" ({'; '.join(each.text)})" if each.text else "")
        for each in summary.held
    ]
    for what, lines in (("left out", broken), ("held    ", held)):
        for line in lines[:_SHOWN]:
            tell(f"{what}  {line}")
        if len(lines) > _SHOWN:
            tell(f"{what}  and {len(lines) - _SHOWN} more; --json names all")
    if any(each.waits for each in summary.held):
        tell("look at those images; let them through with --confirm NAME where no name stands in their pixels")
    if summary.kind in ("fhir", "dicom"):
        tell(f"{summary.folder} holds patients' data; only its owner can read it: keep it so")
