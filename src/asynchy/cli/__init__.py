"""The commands: options in, text and exit codes out."""

from asynchy.cli import signals, streams

streams.fill_gaps()  # before a file is opened
signals.end_without_traceback()
signals.note_hangup()  # before anything else is loaded, which takes half a second
