"""Why attempts failed, by cause: each reason that the code gives has one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from asynchy.errors import MAY_NOT_BE_READ
from asynchy.model.attempt import Attempt, Verdict
from asynchy.model.epn import Epn
from asynchy.model.experiment import Experiment
from asynchy.model.history import PastAttempt
from asynchy.reporting.failure_causes import FailureCause, by_cause, cause_in, cause_of
from asynchy.ssh.error_causes import _CAUSES, _HOST_KEYS
from asynchy.ssh.rsync.output import EXIT_CODES, is_lost

NOW = datetime.now(UTC)


def attempt(verdict: Verdict, reason: str | None = None, hours: float = 1) -> Attempt:
    ended = NOW - timedelta(hours=hours)
    return Attempt(ended, ended, "h", 1, "sftp", None, "size", "time", verdict, None, None, None,
                   None, None, None, reason, "")  # fmt: skip


@pytest.mark.parametrize("reason", [row[1] for row in (*_HOST_KEYS, *_CAUSES)])
def test_each_reason_that_ssh_and_rsync_are_known_to_give_has_a_cause(reason: str) -> None:
    assert cause_in(reason) is not FailureCause.OTHER


@pytest.mark.parametrize("code", [code for code in EXIT_CODES if is_lost(code)])
def test_each_exit_code_of_a_lost_connection_is_one(code: int) -> None:
    assert cause_in(EXIT_CODES[code]) is FailureCause.CONNECTION


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("the destination is full (ENOSPC)", FailureCause.NO_ROOM),
        ("the quota at the destination is used up (EDQUOT)", FailureCause.NO_ROOM),
        ("no permission to write at the destination (EACCES)", FailureCause.HOME),
        ("some of it may not be read at the facility (EACCES)", FailureCause.FACILITY),
        (f"3 files could not be fetched, the first of them a: {MAY_NOT_BE_READ}",
         FailureCause.FACILITY),
        ("the server refused the SSH key", FailureCause.REFUSED),
        ("the server's host key is not the one in known_hosts", FailureCause.REFUSED),
        ("the connection to the server was lost", FailureCause.CONNECTION),
        ("something nobody has seen", FailureCause.OTHER),
    ],
)  # fmt: skip
def test_a_reason_has_the_cause_that_it_names(reason: str, cause: FailureCause) -> None:
    assert cause_in(reason) is cause


def test_attempts_are_added_up_by_cause_and_those_that_did_not_fail_are_left_out() -> None:
    one, other = Experiment("mx", Epn("1a")), Experiment("mx", Epn("2b"))

    def past(experiment: Experiment, what: Attempt) -> PastAttempt:
        return PastAttempt(experiment, "p", "/d", what, again=False)

    lost = "the connection to the server was lost"
    found = by_cause(
        [
            past(one, attempt(Verdict.FAILED, lost, hours=30)),
            past(other, attempt(Verdict.FAILED, lost)),
            past(one, attempt(Verdict.INTERRUPTED, hours=25)),
            past(one, attempt(Verdict.COMPLETE)),
            past(one, attempt(Verdict.STOPPED)),
        ],
        NOW,
    )
    assert [(each.cause, each.attempts, each.lately, each.experiments) for each in found] == [
        (FailureCause.CONNECTION, 2, 1, 2), (FailureCause.INTERRUPTED, 1, 0, 1),
    ]  # fmt: skip
    assert found[0].example == other
    assert cause_of(attempt(Verdict.DIFFERENT)) is FailureCause.DIFFERENT
