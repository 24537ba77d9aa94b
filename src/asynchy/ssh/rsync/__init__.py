"""The system's rsync over SSH: its command lines, running them, and parsing their output."""
