"""The config file: read, checked as a whole, and turned into `Settings` or `Shared`."""

from asynchy.config.loader import load, load_shared
from asynchy.config.schema import EquipmentEntry, Settings, Shared

__all__ = ["EquipmentEntry", "Settings", "Shared", "load", "load_shared"]
