"""What is known and stored: the catalogue (SQL)."""

from asynchy.catalogue.store import Catalogue

__all__ = ["Catalogue"]
