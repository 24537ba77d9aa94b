"""Whether what is at home is what was listed."""
