"""Marks of log records."""

from __future__ import annotations

IN_REPORT = {"in_report": True}
"""`extra` of a line that the report at the end of a run repeats."""
