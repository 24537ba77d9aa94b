"""What is due and why: pure decisions on what is known, one experiment at a time."""
