"""What pages need where there are very many cases: indexes of those that wait, and by time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_WAITS = "state in ('in_review', 'amended')"
_OUT = "state in ('released')"
_PLAIN = {
    "cases": (["state", "urgency_rank", "received_at", "id"], ["site", "patient_id", "received_at"]),
    "findings": (["model_id", "id"], ["found_at"]),
    "first_reads": (["made_at"],),
    "dead_letters": (["body_sha256"],),
}
_PARTIAL = {
    "ix_cases_waiting": (["urgency_rank", "received_at", "id"], _WAITS),
    "ix_cases_waiting_at_site": (["site", "urgency_rank", "received_at", "id"], _WAITS),
    "ix_cases_out": (["changed_at"], _OUT),
}
# The longer ones serve for what these served for.
_SHORTER = ("ix_cases_state_urgency_rank_received_at", "ix_cases_site_patient_id")


def upgrade() -> None:
    """Make them. The tables are closed to writers meanwhile: minutes where there are millions of cases.

    Example:
        >>> from eyeground.clinic.db.migrate import known
        >>> "0003" in known()
        True

    References:
        ``eyeground.clinic.db.tables``.
    """
    for table, indexes in _PLAIN.items():
        for columns in indexes:
            op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
    for name, (columns, rows) in _PARTIAL.items():
        where = sa.text(rows)
        op.create_index(op.f(name), "cases", columns, postgresql_where=where, sqlite_where=where)
    for name in _SHORTER:
        op.drop_index(name, "cases")
