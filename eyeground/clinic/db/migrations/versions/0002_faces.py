"""What pages need: sessions, patients' links, drafts, heat maps, and columns to search by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WORDS = (
    ("accounts", "password_hash"), ("accounts", "subject"), ("cases", "patient_id"), ("cases", "patient_name"),
    ("images", "device"), ("reviews", "drafted_by"),
)  # fmt: skip
_PERSON = {"patient_id": "patient_id", "patient_name": "name"}
_IN_ORDER = {
    "sqlite": """json_extract("order", '$.person.{key}')""",
    "postgresql": """"order" -> 'person' ->> '{key}'""",
}


def upgrade() -> None:
    """Make them.

    References:
        ``eyeground.clinic.db.people``, ``eyeground.clinic.db.opinions``.
    """
    for table, column in _WORDS:
        op.add_column(table, sa.Column(column, sa.String(), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("must_change", sa.Boolean(), nullable=False, server_default=sa.false()))
    told = _IN_ORDER[op.get_context().dialect.name]
    for column, key in _PERSON.items():
        op.execute(f"update cases set {column} = coalesce({told.format(key=key)}, '')")  # noqa: S608 - our own words
    op.create_index(op.f("ix_cases_site_patient_id"), "cases", ["site", "patient_id"])
    op.create_index(op.f("ix_reviews_signed_at"), "reviews", ["signed_at"])
    op.create_table(
        "sessions",
        sa.Column("id_sha256", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.Column("seen_at", sa.String(), nullable=False),
        sa.Column("ends_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_sessions_account")),
        sa.PrimaryKeyConstraint("id_sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_account"), "sessions", ["account"])
    op.create_index(op.f("ix_sessions_ends_at"), "sessions", ["ends_at"])
    op.create_table(
        "patient_links",
        sa.Column("token_sha256", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("code_digest", sa.String(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.Column("ends_at", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.String(), nullable=False),
        sa.Column("revoked_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_patient_links_case_id")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_patient_links")),
    )
    op.create_index(op.f("ix_patient_links_case_id"), "patient_links", ["case_id"])
    op.create_table(
        "attempts",
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.String(), nullable=False),
        sa.Column("until", sa.String(), nullable=False),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_last_at"), "attempts", ["last_at"])
    op.create_table(
        "heat_maps",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_heat_maps_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heat_maps")),
        sa.UniqueConstraint(
            "case_id", "image_sha256", "model_id", name=op.f("uq_heat_maps_case_id_image_sha256_model_id")
        ),
    )
    op.create_table(
        "first_reads",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("doctor", sa.String(), nullable=False),
        sa.Column("opinion", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_first_reads_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_first_reads")),
        sa.UniqueConstraint("case_id", "revision", "doctor", name=op.f("uq_first_reads_case_id_revision_doctor")),
    )
    op.create_table(
        "drafts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.Column("rejected", sa.JSON(), nullable=False),
        sa.Column("facts_sha256", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_drafts_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drafts")),
        sa.UniqueConstraint(
            "case_id", "revision", "language", "facts_sha256", "by",
            name=op.f("uq_drafts_case_id_revision_language_facts_sha256_by"),
        ),
    )  # fmt: skip
