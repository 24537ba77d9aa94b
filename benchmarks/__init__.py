"""Measurements: `make bench`. What they say is for this machine; ratios are of one run."""
