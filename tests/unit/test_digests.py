"""What programs at the facility say of files, understood; and a file that comes in any order."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynchy.domain.level import Held
from asynchy.facility.digests import _File, patience_for
from asynchy.ssh.remote import Remote
from asynchy.ssh.rsync_output import parse_compared
from asynchy.ssh.sha256sum import parse

SHA = "00" * 31 + "ff"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"{SHA}  /data/x".encode(), (bytes(31) + b"\xff", b"/data/x")),
        (f"{SHA} */data/new\nline".encode(), (bytes(31) + b"\xff", b"/data/new\nline")),
        (f"{SHA}  \\".encode(), (bytes(31) + b"\xff", b"\\")),
        (f"\\{SHA}  /data/x".encode(), None),  # escaped: not with -z
        (f"{SHA}".encode(), None),
        (f"{SHA}  ".encode(), None),
        (f"{SHA[:-1]}  /data/x".encode(), None),
        (f"{SHA.upper()}  /data/x".encode(), None),
        (b"Welcome to the facility!", None),
        (b"", None),
    ],
)
def test_a_line_of_sha256sum(line: bytes, found: tuple[bytes, bytes] | None) -> None:
    assert parse(line) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (rb".f          a b", (b"a b", True)),
        (rb".f..t...... a", (b"a", True)),
        (rb".f...p..... a", (b"a", True)),
        (rb">fc........ a", (b"a", False)),
        (rb">fcs....... a", (b"a", False)),
        (rb">f..T...... a", (b"a", False)),
        (rb">f+++++++++ a", (b"a", False)),
        (rb".f          d/n\#012l\#134#012", (b"d/n\nl\\#012", True)),
        (rb".d          d/", None),
        (rb"cd+++++++++ d/", None),
        (rb".L          link -> there", None),
        (b'skipping non-regular file "x"', None),
        (b"", None),
    ],
)
def test_a_line_of_itemize_changes(line: bytes, found: tuple[bytes, bool] | None) -> None:
    assert parse_compared(line) == found


@given(st.binary(max_size=100), st.integers(1, 20), st.randoms(use_true_random=False))
def test_a_digest_does_not_depend_on_the_order_in_which_parts_come(
    data: bytes, step: int, chance: object
) -> None:
    parts = [(at, data[at : at + step]) for at in range(0, len(data), step)]
    chance.shuffle(parts)  # type: ignore[attr-defined]
    file = _File(Held(b"a", len(data), 0, None, datetime.now(UTC), None, None))
    for at, part in parts:
        assert file.digest is None
        file.take(at, memoryview(part))
    assert file.digest == hashlib.sha256(data).digest()


def test_a_server_may_be_silent_for_as_long_as_digests_take() -> None:
    def file(size: int) -> Held:
        return Held(b"a", size, 0, None, datetime.now(UTC), None, None)

    remote = Remote("host", "user", timeout=60)
    assert patience_for(remote, [file(0)]) == 60
    assert patience_for(remote, [file(10**9), file(10**9)]) == 160
