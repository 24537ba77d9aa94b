"""The commands: options in, text and exit codes out."""

from asynchy.cli import first_moments

first_moments.note_hangup()  # before anything else is loaded, which takes half a second
first_moments.end_without_traceback()

from asynchy.cli import streams  # noqa: E402

streams.fill_gaps()  # before a file is opened
