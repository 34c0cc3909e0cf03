"""What an operator does for the records' sake: the audit trail verified, a backup, a restore, old cases taken out."""

from pathlib import Path
from typing import Any

from eyeground.cli.clinic_opening import local_name
from eyeground.cli.console import counting, table, tell
from eyeground.clinic.backup import Saved, backup, restore
from eyeground.clinic.blobs.opening import open_store
from eyeground.clinic.db.audit import verify
from eyeground.clinic.retention import purge
from eyeground.clinic.seals import broken_seals
from eyeground.clinic.service import Service, signing_key
from eyeground.clinic.settings import Settings

_MOST_TOLD = 50


class AuditBroken(ValueError):
    """The audit trail, or what was signed, is not what was written: it was changed, or another secret is in use."""


def verify_trail(service: Service) -> int:
    """Check every line of the audit trail, and every signature that it tells of.

    Args:
        service: The service.

    Returns:
        How many lines there are.

    Raises:
        AuditBroken: If a line was changed, added or taken out; the first is named. If a signature does not hold; the
            cases are named.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.read() as session:
        verdict = verify(session, key=service.database.key)
    with service.database.read() as session:
        seals = broken_seals(session, key=signing_key(_secret(service.settings)))
    wrong = []
    if verdict.broken_at is not None:
        wrong.append(
            f"the audit trail is broken at line {verdict.broken_at}: {verdict.reason}; the {verdict.lines} lines "
            "before it are whole"
        )
    wrong += [f"case {each.case_id}, revision {each.revision}: {each.reason}" for each in seals[:_MOST_TOLD]]
    if len(seals) > _MOST_TOLD:
        wrong.append(f"and {len(seals) - _MOST_TOLD} more signatures do not hold")
    if wrong:
        raise AuditBroken("\n".join([*wrong, "Keep the database as it is, and compare it with the last backup"]))
    return verdict.lines


def write_backup(service: Service, out: Path) -> Saved:
    """Write an archive of everything.

    Args:
        service: The service.
        out: File to write.

    Returns:
        What it holds.

    Raises:
        BackupRefused: If the file is there already.
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer.
        OSError: If the file cannot be written.

    References:
        docs/clinic.md.
    """
    with counting("images") as done:
        saved = backup(service.database.engine, service.store, out, secret=_secret(service.settings), progress=done)
    _tell_saved(saved)
    tell(f"{out} holds patients' data, not encrypted; only its owner can read it: keep it so")
    return saved


def read_backup(settings: Settings, path: Path) -> Saved:
    """Fill an empty database and store.

    Args:
        settings: They name database and store.
        path: The archive.

    Returns:
        What it held.

    Raises:
        BackupRefused: If the archive cannot be used, or database or store are not empty.
        SchemaRefused: If a newer version has changed the database.
        DatabaseLost: If the database does not answer.
        StoreLost: If an image cannot be kept.
        OSError: If the archive cannot be read.

    References:
        docs/clinic.md.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = open_store(settings.blob_url, endpoint=settings.s3_endpoint)
    with counting("images") as done:
        saved = restore(
            path, url=settings.database_url, store=store, secret=_secret(settings), actor=local_name(), progress=done
        )
    _tell_saved(saved)
    return saved


def saved_json(saved: Saved) -> dict[str, Any]:
    """Say what an archive holds.

    Args:
        saved: As it was written or read.

    Returns:
        Plain values.

    Example:
        >>> saved_json(Saved({"cases": 1}, 2, (), 5))["images"]
        2

    References:
        Our own.
    """
    return {"rows": dict(saved.rows), "images": saved.images, "missing": list(saved.missing), "audit": saved.audit}


def purge_old(service: Service, *, letters_days: int, really: bool) -> dict[str, Any]:
    """Count what is old enough to go, or take it out.

    Args:
        service: The service; its settings say how many years cases are kept.
        letters_days: How long dead letters are kept after they were replayed. Unit: days.
        really: Take it out.

    Returns:
        Plain values.

    Raises:
        DatabaseLost: If the database does not answer.
        StoreLost: If the store does not answer.

    References:
        docs/clinic.md.
    """
    found = purge(
        service.database,
        service.store,
        years=service.settings.retention_years,
        letters_days=letters_days,
        actor=local_name(),
        really=really,
    )
    return vars(found)


def _secret(settings: Settings) -> str:
    """The secret itself."""
    return settings.secret.get_secret_value()


def _tell_saved(saved: Saved) -> None:
    """Show what an archive holds."""
    rows = [*saved.rows.items(), ("image files", saved.images)]
    table("backup", ["table", "lines"], [[name, count] for name, count in rows if count])
    for sha256 in saved.missing:
        tell(f"missing   image {sha256}: the store does not have it as it was put there")
