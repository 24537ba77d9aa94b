"""The system's rsync over SSH: command lines, running them, and what they say."""
