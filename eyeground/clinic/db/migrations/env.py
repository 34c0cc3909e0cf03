"""What Alembic runs: the change goes through the connection it is handed, inside that connection's transaction."""

from alembic import context

from eyeground.clinic.db.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
