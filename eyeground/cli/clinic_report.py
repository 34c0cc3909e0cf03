"""A signed report written into a file."""

import os
import tempfile
from pathlib import Path
from typing import Final

from eyeground.atomic_file import flush_folder
from eyeground.cli.clinic_cases import case_of
from eyeground.cli.clinic_opening import local_name
from eyeground.cli.config import ConfigError
from eyeground.clinic.cases import find
from eyeground.clinic.report.facts import Facts
from eyeground.clinic.report.language import languages
from eyeground.clinic.report.text import facts_text
from eyeground.clinic.reports import signed_facts, signed_html, signed_pdf
from eyeground.clinic.service import Service

_KINDS: Final = (".pdf", ".html", ".txt")


def check_report(out: Path, *, language: str, force: bool) -> None:
    """Refuse what cannot be written, before anything is opened.

    Args:
        out: File to write; its ending says what.
        language: In which language.
        force: Replace a file that is there.

    Raises:
        ConfigError: If something is wrong; all of it is told.

    Example:
        >>> check_report(Path("report.docx"), language="en", force=False)
        Traceback (most recent call last):
        eyeground.cli.config.ConfigError: --out report.docx: name it .pdf, .html or .txt

    References:
        docs/clinic.md.
    """
    wrong = []
    if out.suffix.lower() not in _KINDS:
        wrong.append(f"--out {out}: name it .pdf, .html or .txt")
    elif out.exists() and not force:
        wrong.append(f"--out {out}: already there; choose another name, or say --force to replace it")
    if not out.absolute().parent.is_dir():
        wrong.append(f"--out {out}: there is no such folder")
    if language not in languages():
        wrong.append(f"--lang {language}: there are {', '.join(languages())}")
    if wrong:
        raise ConfigError("\n".join(wrong))


def write_report(service: Service, prefix: str, out: Path, *, language: str, revision: int | None = None) -> Facts:
    """Write a report that a doctor signed; or what went out unsigned, marked so.

    Args:
        service: The service.
        prefix: The beginning of a case's id.
        out: File to write; its ending says what. Only its owner can read it.
        language: In which language.
        revision: Which version; None = the last.

    Returns:
        What it says.

    Raises:
        NoSuchCase: If there is no such case.
        ConfigError: If several are meant.
        NotSigned: If no doctor has signed that version.
        FontMissing: If a PDF is wanted and there is no font with Chinese.
        PdfFailed: If the PDF cannot be typeset.
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer.
        OSError: If the file cannot be written.

    References:
        docs/clinic.md.
    """
    with service.database.read() as session:
        case_id = case_of(session, prefix)
    facts = signed_facts(service, case_id, language=language, revision=revision, unsigned=True)
    kind = out.suffix.lower()
    if kind == ".pdf":
        content = signed_pdf(service, case_id, language=language, revision=revision, unsigned=True)
    elif kind == ".html":
        content = signed_html(service, case_id, language=language, revision=revision, unsigned=True).encode()
    else:
        content = facts_text(facts).encode("utf-8", "backslashreplace")
    with service.database.write() as work:
        work.note(local_name(), "report_seen", find(work.session, case_id), revision=facts.revision)
    _write_private(out, content)
    return facts


def _write_private(out: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(out)
        flush_folder(out.absolute().parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
