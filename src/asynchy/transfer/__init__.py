"""Engines: what moves an experiment from the facility to its place at home."""
