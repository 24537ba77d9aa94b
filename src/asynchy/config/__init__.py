"""The config file: read, checked as a whole, and turned into `Settings`."""

from asynchy.config.load import load
from asynchy.config.model import EquipmentEntry, Settings

__all__ = ["EquipmentEntry", "Settings", "load"]
