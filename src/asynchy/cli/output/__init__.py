"""What the commands print: tables for people, rows for programs."""
