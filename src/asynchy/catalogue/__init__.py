"""What is known and stored: the catalogue (SQL) and `ignore.yml`."""

from asynchy.catalogue.ignorelist import IgnoreList
from asynchy.catalogue.store import Catalogue

__all__ = ["Catalogue", "IgnoreList"]
