"""The words of the field as values, and the rules that all rooms share; no I/O, no clock."""
