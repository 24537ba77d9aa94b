"""Value types of the domain, and the rules that all packages share; no I/O, no clock."""
