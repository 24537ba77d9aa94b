"""Engines: they move the files of one experiment from the facility to its destination at home."""
