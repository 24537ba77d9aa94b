"""`asynchy report activity --mail`: nightly if something needs a person, weekly in any case."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.mail import MailSink
from tests.conftest import Home, give
from tests.integration.test_alert import alert, configure, html_of, text_of
from tests.integration.test_reports import measured, report

NIGHTLY = ("activity", "--mail", "--if-needed")
WEEKLY = ("activity", "--mail", "--since", "7d")


@pytest.fixture
def sink(place: Path) -> Iterator[MailSink]:
    with MailSink(place / "mails") as running:
        yield running


@pytest.fixture
def office(home: Home, sink: MailSink) -> Home:
    """A home with one experiment at home, that mails go out of."""
    configure(home, sink)
    measured(home, "12282a", 1)
    assert home.once().returncode == 0
    return home


def unknown(home: Home) -> None:
    """Have something need a person: an EPN that belongs to no project."""
    measured(home, "77a", 1)
    assert home.once().returncode == 1


def waiting(home: Home) -> Any:
    return home.program.run("asynchy", "--config", home.config, "notify", "list").stdout


def test_the_nightly_mail_goes_only_if_something_needs_a_person(
    office: Home, sink: MailSink
) -> None:
    quiet = report(office, *NIGHTLY)
    assert (quiet.returncode, sink.mails) == (0, [])
    assert quiet.stdout == "Nothing needs a person: no mail is written.\n"
    unknown(office)
    night = report(office, *NIGHTLY)
    assert (night.returncode, night.stderr) == (0, ""), night.stdout
    (mail,) = sink.mails
    assert mail["Subject"] == "asynchy: 1 thing needs a person; 1 experiment came home"
    assert night.stdout == f"Mailed to it@uni.example, beam@uni.example: {mail['Subject']}\n"
    for part in (text_of(mail), html_of(mail)):
        assert "1 experiment belongs to no project: 77a" in part
        assert f"asynchy --config {office.config} status" in part
        assert part.index("77a") < part.index("12282a")
    assert "took 'asynchy: 1 thing" in (office.place / "logs" / "email.log").read_text()


def test_the_weekly_digest_goes_always(office: Home, sink: MailSink) -> None:
    assert report(office, *WEEKLY).returncode == 0
    (mail,) = sink.mails
    assert mail["Subject"] == "asynchy: nothing needs a person; 1 experiment came home"
    assert "Nothing needs a person." in text_of(mail)
    assert "12282a  ny79" in text_of(mail)


def test_a_mail_that_is_not_taken_waits_beside_that_of_epnalert(
    office: Home, sink: MailSink
) -> None:
    unknown(office)
    sink.stop()
    failed = report(office, *NIGHTLY)
    assert failed.returncode == 7
    assert failed.stderr.count("cannot be reached") == 1, failed.stderr
    assert report(office, *WEEKLY).returncode == 7
    assert report(office, *NIGHTLY).returncode == 7  # it takes the place of the first
    assert alert(office).returncode == 7
    assert office.once().returncode == 1  # it tries, too, and removes neither
    assert waiting(office).count("activity mail, report") == 2
    assert waiting(office).count(" mail, report") == 3
    sink.start()
    assert alert(office).returncode == 0
    assert sorted(mail["Subject"][:7] for mail in sink.mails) == ["Unknown", "asynchy", "asynchy"]
    assert waiting(office) == "Nothing waits to be delivered.\n"


def test_a_mail_that_another_process_delivers_is_left_to_it(office: Home, sink: MailSink) -> None:
    lock = office.place / "catalogue.db.activity"
    lock.touch()
    give(lock)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        run = report(office, *WEEKLY)
        assert (run.returncode, sink.mails) == (0, [])
        assert "handed over by another process" in run.stdout
    assert report(office, *NIGHTLY).returncode == 0  # it needs none, and takes the other along
    assert len(sink.mails) == 1


def test_a_template_of_the_site_is_tried_and_gives_way_if_it_cannot_be_used(
    office: Home, sink: MailSink
) -> None:
    def templates(text: str) -> Any:
        (office.place / "mine.txt").write_text(text)
        configure(
            office, sink,
            **{"epnalert-template-folder": ".", "activity-template-text": "mine.txt"},
        )  # fmt: skip
        give(office.place)
        return office.program.run("asynchy", "config", "check", office.config)

    assert templates("{{ attention | length }} things, {{ outcome }}").returncode == 0
    assert report(office, *WEEKLY).returncode == 0
    assert text_of(sink.mails[0]).startswith("0 things, 1 experiment came home")
    checked = templates("{{ atention }}")
    assert checked.returncode == 3
    assert "the template mine.txt:1 cannot be used: 'atention' is undefined" in checked.stderr
    assert report(office, *WEEKLY).returncode == 0
    assert "A mail template of this site cannot be used" in text_of(sink.mails[1])
    assert "Nothing needs a person." in text_of(sink.mails[1])


def test_a_mail_without_addresses_or_without_mail_is_refused(office: Home, sink: MailSink) -> None:
    run = report(office, "activity", "--if-needed")
    assert run.returncode == 2 and "--if-needed is about a mail: add --mail" in run.stderr
    configure(office, sink, **{"epnalert-email-smtp": None})
    run = report(office, *WEEKLY)
    assert run.returncode == 3
    assert "the config does not have epnalert-email-smtp" in run.stderr
