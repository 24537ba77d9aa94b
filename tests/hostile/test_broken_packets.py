"""A server that breaks the protocol, as sshd's SFTP subsystem: while it lists, and while it reads."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Group, Home
from tests.hostile.harness import HOME, HONEST, PYTHON, TIMEOUT, Hostile

NO_SFTP = "sent an invalid SFTP response: "
SILENT = f"sent nothing for {TIMEOUT} s"
UNASKED = NO_SFTP + "an answer to request [0-9]+, which waits for none"
EARLY = NO_SFTP + "a packet that ends too early"

LISTING = {
    "listing: 4 GiB": NO_SFTP + "a packet of 4,294,967,295 bytes",
    "listing: empty packet": NO_SFTP + "a packet of 0 bytes",
    "listing: cut off": "the SFTP connection was ended",
    "listing: stall": SILENT,
    "listing: byte by byte": SILENT,
    "listing: loud": SILENT,
    "listing: twice": UNASKED,
    "listing: stranger": UNASKED,
    "listing: out of order": HOME,
    "listing: wrong type": NO_SFTP + "Attributes in answer to a question about a folder",
    "listing: unknown type": NO_SFTP + "a packet of the unknown type 77",
    "listing: long string": EARLY,
    "listing: many attributes": EARLY,
    "listing: too many names": NO_SFTP + "4,294,967,295 entries in a packet",
    "listing: long handle": NO_SFTP + "a handle of 1,000,000 bytes",
    "listing: no names": "goes on without naming anything",
    "listing: dot files without end": r"more than 2,000 entries \(max-entries\)",
    "listing: long words": r"the server reports: \\x1b\[2Jno\\n",
}
LOST = r"4 streams were lost at the same files, the first of them \.info; the last: .*"
READING = {
    "reading: 4 GiB": LOST + LISTING["listing: 4 GiB"],
    "reading: empty packet": LOST + LISTING["listing: empty packet"],
    "reading: cut off": LOST + LISTING["listing: cut off"],
    "reading: stall": LOST + SILENT,
    "reading: byte by byte": LOST + SILENT,
    "reading: loud": LOST + SILENT,
    "reading: twice": LOST + UNASKED,
    "reading: stranger": LOST + UNASKED,
    "reading: data after close": HOME,  # what came before it was whole
    "reading: out of order": HOME,
    "reading: wrong type": LOST + NO_SFTP + "Attributes in answer to a question about a file",
    "reading: unknown type": LOST + LISTING["listing: unknown type"],
    "reading: long string": LOST + EARLY,
    "reading: long handle": LOST + LISTING["listing: long handle"],
    "reading: too much data": LOST + NO_SFTP + "[0-9,]+ bytes where [0-9,]+ were asked for",
    "reading: no data": LOST + NO_SFTP + "0 bytes where [0-9,]+ were asked for",
    "reading: long words": r"29 files could not be fetched, the first of them \.info: \\x1b\[2J",
}


@pytest.fixture
def broken(home: Home) -> Hostile:
    hostile = Hostile(home)
    facility = home.facility
    facility.stop_sshd()
    facility.sftp_server = f"{PYTHON} {hostile.tools}/broken_sftp.py"
    facility.max_startups = "200"
    facility.start_sshd()
    return hostile


@pytest.mark.extra
def test_while_listing_each_ends_in_words_for_that_experiment_alone(
    broken: Hostile, group: Group
) -> None:
    broken.prepare(LISTING)
    broken.configure()
    run = broken.once()
    assert run.done.returncode == 4
    run.check(LISTING)
    group.configure(timeout=TIMEOUT, **{"max-entries": 2000})
    walked = group.walk()
    assert walked.returncode == 1
    whole = {HONEST, broken.epns["listing: out of order"]}
    assert {source.rpartition("/")[2] for source in group.files} >= whole
    told = broken.told_by_walk(group)
    for what, words in LISTING.items():
        if words is not HOME:
            assert re.search(f"mx/{broken.epns[what]}: .*{words}", told), told


@pytest.mark.extra
def test_while_reading_each_ends_in_words_for_that_experiment_alone(broken: Hostile) -> None:
    broken.prepare(READING)
    broken.configure()
    run = broken.once()
    assert run.done.returncode == 1
    run.check(READING)
    assert re.search("a stream was lost: .*" + UNASKED, broken.home.log)
