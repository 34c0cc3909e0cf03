"""Changes of the tables, by number; Alembic carries them out."""
