"""The commands: options in, text and exit codes out."""

from asynchy.cli import signals

signals.note_hangup()  # before anything else is loaded, which takes half a second
