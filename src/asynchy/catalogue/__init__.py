"""What is known and stored: the catalogue (SQL)."""

from asynchy.catalogue.copies import Catalogue

__all__ = ["Catalogue"]
