"""How the catalogue's schema came about, a step a file (Alembic)."""
