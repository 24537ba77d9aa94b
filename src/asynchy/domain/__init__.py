"""The words of the field as values: no I/O, no clock, no configuration."""
