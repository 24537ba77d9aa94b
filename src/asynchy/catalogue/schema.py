"""The catalogue's tables.

A new catalogue is made from them, an older one comes to the same by the migrations; tests compare
the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    false,
    text,
)

from asynchy.catalogue.column_types import LevelNumber, Text, UtcDateTime, json_type

REVISION = "0025"
"""The latest step in `migrations/versions`."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


experiments = Table(
    "experiments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("beamline", Text, nullable=False),  # empty: not known, or in no beamline's folder
    Column("epn", Text, nullable=False, index=True),
    Column("proposal", Text, nullable=False),
    Column("source", Text, nullable=False),  # path at the facility; empty: not known
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    # What the latest walk or import of its files found; null: none has been.
    Column("files", BigInteger),
    Column("bytes", BigInteger),
    Column("modified", UtcDateTime),  # of the latest file
    # What it has besides, of the latest walk or listing of all of it; null: not counted.
    Column("dot_files", BigInteger),
    Column("symlinks", BigInteger),
    Column("special_files", BigInteger),
    Column("changed", UtcDateTime),  # when something new was last found in it
    Column("walk_id", Integer),  # the latest walk that listed all of it
    Column("vanished", UtcDateTime),  # when a walk no longer found it; null: it is there
    # What an original's database said, which does not tell where its copy lies.
    Column("completed_elsewhere", Boolean, nullable=False, server_default=false()),
    Column("moved_elsewhere", BigInteger),
    Column("elsewhere_since", UtcDateTime),  # up to when that can hold; null: nothing was said
    Column("link_target", Text),  # its folder at the facility is a link to there; null: it is none
    Column("problem", Text),  # why its folder cannot be used; null: it can, as far as is known
    # A person said that it need not come home; null: it must. A later visit makes it due again.
    Column("released", UtcDateTime),
    Column("release_reason", Text),
    UniqueConstraint("beamline", "epn"),
)

sightings = Table(
    "sightings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),  # walk, import, or listing (of one experiment)
    Column("origin", Text, nullable=False),  # what was walked or listed, or the imported file
    Column("started", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),  # null: stopped in the middle, or going on
    # Seconds to the facility and back; null: not ended, an import, or without SFTP.
    Column("round_trip", Float),
)

files = Table(
    "files",
    metadata,
    Column("experiment_id", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # relative to the experiment's folder
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),  # seconds since 1970 in UTC
    Column("since", Integer, nullable=False),  # the sighting that first found it like this
    Column("seen", Integer, nullable=False),  # the latest sighting of it
    Column("mode", Integer),  # permission bits at the facility; null: not told
    sqlite_with_rowid=False,
)

folders = Table(  # of experiments that were listed for a transfer
    "folders",
    metadata,
    Column("experiment_id", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # relative to the experiment's, which is `.`
    Column("modified", BigInteger, nullable=False),  # seconds since 1970 in UTC
    Column("mode", Integer, nullable=False),
    Column("seen", Integer, nullable=False),  # the latest listing of it
    sqlite_with_rowid=False,
)

others = Table(  # dot files, links and special files of experiments
    "others",
    metadata,
    Column("experiment_id", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # relative to the experiment's folder
    Column("kind", Text, nullable=False),  # dot file, symlink, special file
    Column("seen", Integer, nullable=False),  # the latest sighting of it
    sqlite_with_rowid=False,
)

frontier = Table(
    "frontier",
    metadata,
    Column("experiment_id", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # a folder that is known and not listed yet
    Column("problem", Text),  # why it could not be listed; null: its turn has not come
    sqlite_with_rowid=False,
)

copies = Table(
    "copies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False, index=True),
    Column("project", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("project_folder", Text),  # never made by us; null: not known, in copies before 0011
    Column("completed", UtcDateTime),  # when it was last found complete; null: never
    Column("completed_listing", UtcDateTime),  # when the listing began that it agrees with
    Column("files", BigInteger),  # of the latest listing
    Column("bytes", BigInteger),
    Column("fingerprint", Text),  # of the listing that it agrees with
    Column("level", LevelNumber),  # the weakest of its files; null: nothing, or not known
    Column("verified", UtcDateTime),  # when that was last established
    Column("damaged", BigInteger, nullable=False, server_default=text("0")),  # files, also missing
    Column("missing", BigInteger, nullable=False, server_default=text("0")),  # of the damaged ones
    # Complete once, until files were found missing, or to differ from the facility's: due again.
    Column("doubted", Boolean, nullable=False, server_default=false()),
    Column("losses", Text),  # what the facility no longer has of it; null: nothing known
    Column("edited", BigInteger, nullable=False, server_default=text("0")),  # by people, at home
    # Of the facility's, those that were at home at the latest listing.
    Column("symlinks", BigInteger, nullable=False, server_default=text("0")),
    Column("special_files", BigInteger, nullable=False, server_default=text("0")),
    # Links and special files that it held and that were found missing, or to lead elsewhere.
    Column("lost_links", BigInteger, nullable=False, server_default=text("0")),
    # Earlier versions of its files that are kept beside it, and those among them whose place has
    # less now.
    Column("replaced_files", BigInteger, nullable=False, server_default=text("0")),
    Column("replaced_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("replaced_by_less", BigInteger, nullable=False, server_default=text("0")),
    Column("replaced", UtcDateTime),  # when the latest of them was replaced; null: never
    # A person said that it need not be at its place any more; its attempts and checks stay.
    Column("forgotten", UtcDateTime),
    Column("forget_reason", Text),
    # The latest attempt of which other programs and people were told, or need not be; null: none.
    Column("announced", Integer),
    Column("lease", Integer, nullable=False, server_default=text("0")),  # the latest that was given
    UniqueConstraint("experiment_id", "destination"),
    Index(  # a place belongs to one experiment
        "uq_copies_destination",
        "destination",
        unique=True,
        sqlite_where=text("forgotten IS NULL"),
        postgresql_where=text("forgotten IS NULL"),
    ),
)

held = Table(  # the files that copies hold, or held, as they were found complete
    "held",
    metadata,
    Column("copy_id", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # relative to the copy's folder
    Column("size", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),  # seconds since 1970 in UTC
    Column("level", LevelNumber),  # null: nothing is proven of it
    Column("checked", BigInteger, nullable=False),  # when: seconds since 1970 in UTC
    Column("sha256", LargeBinary),  # of its bytes at home; null: not computed
    Column("damage", Text),  # null: none was found; otherwise its level counts no more
    # The time at home of a file whose own time home cannot hold; null: it has its own.
    Column("at_home", BigInteger),
    Column("run", Integer),  # the verification of all that last proved it; null: none did
    sqlite_with_rowid=False,
)

held_others = Table(  # the links and special files that copies hold, as they came home
    "held_others",
    metadata,
    Column("copy_id", Integer, primary_key=True),
    Column("path", LargeBinary, primary_key=True),  # relative to the copy's folder
    Column("target", LargeBinary),  # where a link points to; null: a special file
    Column("lost", Boolean, nullable=False),  # it was found missing, or to lead elsewhere
    sqlite_with_rowid=False,
)

claims = Table(
    "claims",
    metadata,
    Column("copy_id", ForeignKey("copies.id"), primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process", Text, nullable=False),  # tells a process from a later one of the same pid
    Column("since", UtcDateTime, nullable=False),
    Column("heartbeat", UtcDateTime, nullable=False),
    Column("lease", Integer, nullable=False, server_default=text("0")),  # its number
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("copy_id", ForeignKey("copies.id"), nullable=False),
    Column("started", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("engine", Text, nullable=False),
    Column("chosen", Text),  # why this engine; null: in attempts before schema 0006
    Column("check", Text, nullable=False),
    Column("compare", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("exit_code", Integer),
    Column("files", BigInteger),
    Column("bytes", BigInteger),
    Column("listed_at", UtcDateTime),
    Column("listed_files", BigInteger),
    Column("listed_bytes", BigInteger),
    Column("reason", Text),
    Column("stderr", Text, nullable=False),
    Column("lease", Integer),  # under which it was made; null: none, or before schema 0025
    Index("ix_attempts_copy_id_started", "copy_id", "started"),
    Index("ix_attempts_ended", "ended"),
)

checks = Table(  # every verification and audit of a copy; only ever added
    "checks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("copy_id", ForeignKey("copies.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("way", Text, nullable=False),
    Column("started", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("different", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("extra", BigInteger, nullable=False),
    Column("digested", BigInteger, nullable=False),
    Column("edited", BigInteger, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("whole", Boolean, nullable=False, server_default=false()),  # it came to its end
    Column("lease", Integer),  # under which it was made; null: none, or before schema 0025
)

events = Table(  # what became of experiments, beside attempts and checks; only ever added
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("what", Text, nullable=False),  # a value of `model.event.EventKind`
    Column("detail", Text, nullable=False),  # such as a person's reason
)

reported = Table(  # EPNs in mails that the mail server took
    "reported",
    metadata,
    Column("epn", Text, primary_key=True),
    Column("first", UtcDateTime, nullable=False),
    Column("latest", UtcDateTime, nullable=False),
    Column("times", Integer, nullable=False),
)

outbox = Table(  # what was not delivered yet: mails, messages, what commands are run for
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channel", Text, nullable=False),  # mail, or kind and name in the config: notify team
    Column("kind", Text, nullable=False),  # a value of `model.news.NewsKind`
    Column("subject", Text, nullable=False),  # what comes in order; empty: all of the channel does
    Column("created", UtcDateTime, nullable=False),
    Column("body", LargeBinary, nullable=False),  # a mail, or JSON
    Column("message_id", Text, nullable=False),  # the same in each try
    Column("detail", json_type(none_as_null=True)),  # what is noted when it has been delivered
    Column("not_before", UtcDateTime),  # when it is tried next; null: at once
    Column("tries", Integer, nullable=False, server_default=text("0")),  # that failed
    Column("failing_since", UtcDateTime),
    Column("failed", UtcDateTime),  # the latest time
    Column("error", Text),
    Column("exit_code", Integer),  # of a command
)

told = Table(  # the conditions that each channel was told, until they end
    "told",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
)

due = Table(  # what the latest cycle of mxsync that decided on it left undone
    "due",
    metadata,
    Column("beamline", Text, primary_key=True),
    Column("epn", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("latest", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
)

visits = Table(  # as the portal last told of them
    "visits",
    metadata,
    Column("equipment", Integer, primary_key=True, autoincrement=False),
    Column("visit", Text, primary_key=True),  # its id at the portal
    Column("epn", Text, nullable=False, index=True),
    Column("beamline", Text, nullable=False),
    Column("start", UtcDateTime, nullable=False),
    Column("end", UtcDateTime, nullable=False),
    Column("title", Text, nullable=False),  # the proposal's
    Column(
        "principal", json_type()
    ),  # a person's names, mail address, organisation; null: not told
    Column("scientists", json_type(), nullable=False),  # a list of such
    Column("told", UtcDateTime, nullable=False),  # when the portal last told of it
)

called_off = Table(  # visits that the portal told on a beamline, and no longer tells there
    "called_off",
    metadata,
    Column("visit", Text, primary_key=True),  # its id at the portal
    Column("epn", Text, primary_key=True),
    Column("beamline", Text, primary_key=True),
    Column("at", UtcDateTime, nullable=False),  # when that was first seen
)

portal_spans = Table(  # the last span for which the portal answered for an entry completely
    "portal_spans",
    metadata,
    Column("equipment", Integer, primary_key=True, autoincrement=False),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

ignore_entries = Table(  # the entries of ignore.yml that we have seen, and whose they are
    "ignore_entries",
    metadata,
    Column("epn", Text, primary_key=True),
    Column("origin", Text, nullable=False),  # ours, original, person
    Column("since", UtcDateTime, nullable=False),  # when it was written by us, or first seen
)

state = Table(  # facts about our own state, such as which ignore.yml was written
    "state",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

services = Table(
    "services",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("heartbeat", UtcDateTime, nullable=False),
    Column("doing", Text, nullable=False),  # in words that people read
    Column("next_look", UtcDateTime),
    Column("trouble", Text),  # what went wrong in the latest cycle; null: nothing
)
