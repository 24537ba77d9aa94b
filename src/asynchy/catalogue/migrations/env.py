"""Alembic's entry: runs the steps on the connection that the catalogue hands over."""

from alembic import context

from asynchy.catalogue.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
