"""A facility whose shell talks without an end where it is asked for digests."""

from __future__ import annotations

from tests.conftest import Home
from tests.hostile.harness import HONEST, Hostile

TALK = 'exec /usr/bin/yes "no digest at all"'


def test_a_shell_that_never_stops_talking_ends_in_words(home: Home) -> None:
    hostile = Hostile(home)
    home.facility.programs = {"xargs": TALK, "rsync": 'exec /usr/bin/rsync "$@"'}
    home.facility.stop_sshd()
    home.facility.start_sshd()
    hostile.configure(verify="source")
    done = home.once()
    assert done.returncode == 1
    assert f"{HONEST}: stays due: " in home.log
    assert "sha256sum at the facility prints far more than it was asked for" in home.log
