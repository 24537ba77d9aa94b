"""epnalert: nobody's data waits unseen."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from asynchy.delivery.smtp import MailServer, send
from asynchy.errors import MailError
from simulator.experiments import mx_experiment
from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from tests.conftest import SOON, Home, give, interrupt, wait_until
from tests.tools.dripping import dripping
from tests.tools.exim import exim

ADA = {"first_names": "Ada", "last_name": "Lovelace", "email": "ada@uni.example"}


@pytest.fixture
def sink(place: Path) -> Iterator[MailSink]:
    with MailSink(place / "mails") as running:
        yield running


@pytest.fixture
def office(home: Home, sink: MailSink) -> Home:
    """A home that mails go out of."""
    (home.facility.data / "mx").mkdir()
    give(home.facility.data)
    configure(home, sink)
    return home


def configure(home: Home, sink: MailSink, **keys: Any) -> None:
    home.configure(
        **{
            "epnalert-email-to": "it@uni.example, beam@uni.example",
            "epnalert-email-from": "asynchy@uni.example",
            "epnalert-email-smtp": f"{sink.host}:{sink.port}",
            "epnalert-template-folder": OMIT,
            "epnalert-template-text": OMIT,
            "epnalert-template-html": OMIT,
            "log-files": {"epnalert": "logs/epnalert.log", "email": "logs/email.log"},
            **keys,
        }
    )


def alert(home: Home, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return home.program.run("epnalert", "--config", home.config, *arguments, **options)


def measured(home: Home, epn: str) -> None:
    source = home.facility.experiment("mx", epn)
    mx_experiment(source, epn, frames=1, frame_bytes=10)
    give(home.facility.data)


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def html_of(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def test_one_mail_about_what_belongs_to_nobody(office: Home, sink: MailSink) -> None:
    office.visit("12282a")
    visit = office.visit("99999a", ended=24)
    measured(office, "99999a")
    for number in range(10):
        measured(office, f"7{number:03}x")
    (office.facility.data / "mx" / "calibration").mkdir()
    run = alert(office)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "11 EPNs of no project (11 new), 0 experiments due for long\n"
    (mail,) = sink.mails
    assert mail["Subject"] == "Unknown ownership of EPNs"
    assert mail["From"] == "asynchy@uni.example"
    assert mail["To"] == "it@uni.example, beam@uni.example"
    assert mail["X-Recipients"] == "it@uni.example beam@uni.example"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@uni.example>")
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text = text_of(mail)
    assert "99999a  new" in text
    assert "principal   Ada Lovelace <ada@uni.example>, University of X" in text
    assert "Structures of things" in text
    assert "7000x  7001x  7002x  7003x  7004x  7005x  7006x  7007x\n7008x  7009x\n" in text
    assert "calibration" not in text
    assert "12282a" not in text.replace("principal scientist as 12282a", "")
    assert "suggestion  ny79: the same principal scientist as 12282a, which belongs to ny79" in text
    assert f"asynchy --config {office.config} map add 99999 ny79" in text
    assert '"99999": ny79' in text
    assert "ny79" in html_of(mail) and "<script" not in html_of(mail)
    start = datetime.fromisoformat(visit["start_time"]).astimezone().strftime("%Y-%m-%d %H:%M")
    assert start in text
    log = (office.place / "logs" / "email.log").read_text()
    assert "took 'Unknown ownership of EPNs' to it@uni.example, beam@uni.example, 11 EPNs" in log
    assert "unknown: 99999a (mx)" in (office.place / "logs" / "epnalert.log").read_text()


def test_a_template_of_the_original_gets_its_two_strings_to_the_letter(
    office: Home, sink: MailSink
) -> None:
    folder = office.place / "templates"
    folder.mkdir()
    (folder / "mine.txt").write_text("[{{ epn_details }}]\n<{{ unknown_epns }}>")
    (folder / "mine.html").write_text("<pre>{{ epn_details }}</pre><p>{{ unknown_epns }}</p>")
    configure(
        office,
        sink,
        **{
            "epnalert-template-folder": "templates",
            "epnalert-template-text": "mine.txt",
            "epnalert-template-html": "mine.html",
        },
    )
    visit = office.visit("99999a", ended=24)
    visit = office.facility.portal.add_visit(
        equipment=23, epn="99998b", data_scientists=[ADA], principal_scientist=None,
        start=datetime.now(UTC) - timedelta(hours=60), end=datetime.now(UTC) - timedelta(hours=50),
    )  # fmt: skip
    office.facility.portal.clear_visits()
    office.facility.portal.add_raw_visit(
        23, {**visit, "epn": "99999a", "principal_scientist": ADA, "data_scientists": [ADA]}
    )
    office.facility.portal.add_raw_visit(
        23, {**visit, "id": 4711, "epn": "99998b", "data_scientists": []}
    )
    measured(office, "7000x")
    assert alert(office).returncode == 0
    (mail,) = sink.mails
    start = visit["start_time"]
    expected = (
        f"[Epn 99998b on {start} is not known.\n"
        "Principal scientist: not known\n"
        "It includes scientists: \n"
        "First name    Last name    Email\n"
        "------------  -----------  -------\n"
        "** Please add it the config. **\n"
        "\n"
        f"Epn 99999a on {start} is not known.\n"
        "Principal scientist: Ada Lovelace ada@uni.example\n"
        "It includes scientists: \n"
        "First name    Last name    Email\n"
        "------------  -----------  ---------------\n"
        "Ada           Lovelace     ada@uni.example\n"
        "** Please add it the config. **\n"
        "\n"
        "]\n<-----\n7000x\n----->"
    )
    assert text_of(mail).strip() == expected
    assert "Ada           Lovelace     ada@uni.example" in html_of(mail)


def test_what_the_facility_deletes_soon_is_worth_a_mail(office: Home, sink: MailSink) -> None:
    configure(office, sink, **{"retention-days": {"mx": 30}})
    office.visit("12282a", ended=24 * 10)
    office.visit("12283b", ended=24 * 28.5)
    assert "1 deleted there soon" in alert(office, "--only-new").stdout
    (mail,) = sink.mails
    assert mail["Subject"] == "Experiments that the facility deletes soon"
    text = text_of(mail)
    assert (
        "MAY BE DELETED AT THE FACILITY WITHIN 14 DAYS, and not safe at home:\n\n12283b (mx)  1 day left"
        in text
    )
    assert "  ny79, size not known: never fetched\n" in text and "12282a" not in text
    assert f"asynchy --config {office.config} report at-risk" in html_of(mail)
    assert "1 day left" in html_of(mail)
    # It asked for the visit; the report knows of it. A mail that is only shown stores nothing.
    office.visit("12284c", ended=24 * 31.5)
    dry = alert(office, "--dry-run", "--since", "40").stdout
    assert "12284c (mx)  2 days past" in dry
    report = office.program.run("asynchy", "--config", office.config, "report", "at-risk")
    assert "12283b" in report.stdout and "12284c" not in report.stdout


def test_names_from_outside_break_neither_headers_nor_html(office: Home, sink: MailSink) -> None:
    bad = {
        "first_names": "Zoë\r\nBcc: everybody@uni.example",
        "last_name": "<script>alert(1)</script>\x1b[31m",
        "email": "zoe@uni.example",
    }
    office.facility.portal.add_visit(
        equipment=23, epn="99999a", principal_scientist=bad, data_scientists=[bad, None, 7, {}],
        start=datetime.now(UTC) - timedelta(hours=60), end=datetime.now(UTC) - timedelta(hours=50),
        proposal={"title": "A & B <b>bold</b>\n\nSubject: no"},
    )  # fmt: skip
    assert alert(office).returncode == 0
    (mail,) = sink.mails
    assert mail["Bcc"] is None and mail.get_all("Subject") == ["Unknown ownership of EPNs"]
    assert "<script>" not in html_of(mail)
    assert "&lt;script&gt;" in html_of(mail)
    assert "A &amp; B &lt;b&gt;bold" in html_of(mail)
    assert "\x1b" not in text_of(mail)
    assert "Zoë Bcc: everybody@uni.example <script>" in text_of(mail)


def test_it_tells_new_ones_apart_and_can_be_quiet(office: Home, sink: MailSink) -> None:
    assert alert(office).stdout == "0 EPNs of no project (0 new), 0 experiments due for long\n"
    assert sink.mails == []
    measured(office, "7000x")  # without visit details: the original stayed silent
    assert alert(office).returncode == 0
    assert alert(office).returncode == 0
    assert "7000x  reported 1 time since" in text_of(sink.mails[1])
    assert alert(office, "--only-new").returncode == 0
    assert len(sink.mails) == 2
    measured(office, "7001x")
    dry = alert(office, "--dry-run", "--only-new")
    assert "To: it@uni.example, beam@uni.example\nSubject: Unknown ownership" in dry.stdout
    assert len(sink.mails) == 2
    assert alert(office, "--only-new").returncode == 0
    text = text_of(sink.mails[2])
    assert "7001x  new" in text and "7000x  reported 2 times since" in text


def test_it_looks_as_far_back_as_it_is_told(office: Home, sink: MailSink) -> None:
    office.visit("99999a", ended=24 * 40)
    assert alert(office).stdout.startswith("0 EPNs")
    assert alert(office, "--since", "60").stdout.startswith("1 EPN of no project")
    assert "99999a  new" in text_of(sink.mails[0])


def test_what_the_portal_does_not_know_the_file_beside_the_data_may(
    office: Home, sink: MailSink
) -> None:
    office.visit("12282a")
    measured(office, "7000x")  # its .info names Ada
    (office.facility.experiment("mx", "7001x") / ".info").write_text("__import__('os').abort()")
    give(office.facility.data)
    assert alert(office).returncode == 0
    text = text_of(sink.mails[0])
    assert "Ada Lovelace <ada@uni.example>, says .info, booked from 2016-04-29 08:00:00" in text
    assert "suggestion  ny79: the same principal scientist as 12282a" in text
    assert "7001x" in text


def test_how_much_waits_where_a_walk_has_looked(office: Home, sink: MailSink) -> None:
    measured(office, "99999a")
    office.visit("99999a")
    assert office.program.run("asynchy", "--config", office.config, "walk").returncode == 0
    assert alert(office).returncode == 0
    with closing(sqlite3.connect(office.place / "catalogue.db")) as db:
        (files,) = db.execute("SELECT files FROM experiments").fetchone()
    assert files > 10
    assert f"waiting     {files} files, " in text_of(sink.mails[0])


FAULTS = [
    {"name": "status", "code": 500},
    {"name": "malformed"},
    {"name": "refuse_credentials"},
    *(
        pytest.param(fault, marks=pytest.mark.extra)
        for fault in (
            {"name": "status", "code": 401},
            {"name": "html"},
            {"name": "truncated"},
            {"name": "wrong_shape"},
            {"name": "reset"},
            {"name": "paging"},
            {"name": "redirect"},
            {"name": "huge"},
            {"name": "stall", "seconds": 60},
            {"name": "drip"},
        )
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_a_portal_that_cannot_be_asked_is_what_the_mail_says(
    office: Home, sink: MailSink, fault: dict[str, Any]
) -> None:
    silent = fault["name"] in ("stall", "drip")
    configure(office, sink, **({"timeout": 1} if silent else {}))
    where = {} if fault["name"] == "refuse_credentials" else {"path": "visits"}
    office.facility.portal.set_fault(**fault, **where)
    run = alert(office)
    assert run.returncode == 4
    (mail,) = sink.mails
    assert mail["Subject"] == "EPNs could not be looked for"
    assert "COULD NOT LOOK EVERYWHERE" in text_of(mail)
    assert "equipment 23: " in text_of(mail)
    assert "It was not possible to look everywhere." in html_of(mail)
    office.facility.portal.clear_faults()
    configure(office, sink)  # a busy machine is no silent one
    assert alert(office).returncode == 0
    assert len(sink.mails) == 1


def test_an_sftp_service_that_cannot_be_asked_is_what_the_mail_says(
    office: Home, sink: MailSink
) -> None:
    office.visit("99999a")
    office.facility.stop_sshd()
    assert alert(office).returncode == 4
    (mail,) = sink.mails
    assert mail["Subject"] == "Unknown ownership of EPNs"
    assert "SFTP service: 127.0.0.1: the server refused the connection" in text_of(mail)
    office.facility.offers_sftp = False
    office.facility.start_sshd()
    measured(office, "7000x")
    assert alert(office).returncode == 0
    assert "7000x" in text_of(sink.mails[1])  # listed by rsync


def test_a_mail_that_is_not_taken_waits_and_goes_with_the_next_run(
    office: Home, sink: MailSink
) -> None:
    measured(office, "7000x")
    sink.stop()
    run = alert(office)
    assert run.returncode == 7
    assert "cannot be reached" in run.stderr and "goes with the next run" in run.stderr
    assert "not sent" in (office.place / "logs" / "email.log").read_text()
    sink.start()
    sink.refuse("451 come back later")
    assert alert(office).returncode == 7
    assert sink.mails == []
    with closing(sqlite3.connect(office.place / "catalogue.db")) as db:
        assert db.execute("SELECT count(*) FROM reported").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM outbox").fetchone() == (1,)
    sink.refuse(None)
    # It goes although there is nothing to say any more.
    mapped = office.program.run("asynchy", "--config", office.config, "map", "add", "7000x", "ny79")
    assert mapped.returncode == 0, mapped.stderr
    assert alert(office).returncode == 0
    assert "7000x  new" in text_of(sink.mails[0])
    assert alert(office).returncode == 0
    assert len(sink.mails) == 1


def test_a_recipient_that_is_refused_is_told_and_the_others_get_it(
    office: Home, sink: MailSink
) -> None:
    configure(office, sink, **{"epnalert-email-to": ["refused@uni.example", "it@uni.example"]})
    measured(office, "7000x")
    assert alert(office).returncode == 0
    assert sink.mails[0]["X-Recipients"] == "it@uni.example"
    log = (office.place / "logs" / "email.log").read_text()
    assert "refused refused@uni.example: 550 no such user here" in log
    configure(office, sink, **{"epnalert-email-to": "refused@uni.example"})
    run = alert(office)
    assert (run.returncode, "refused every recipient" in run.stderr) == (7, True)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_with_tls_and_a_login(home: Home, place: Path, security: str) -> None:
    authority = trustme.CA()
    pem = place / "mail.pem"
    certificate = authority.issue_cert("127.0.0.1")
    pem.write_bytes(certificate.private_key_pem.bytes() + certificate.cert_chain_pems[0].bytes())
    authority.cert_pem.write_to_path(str(home.place / "authority.pem"))
    (home.place / "secret").write_text("mail-canary\n")
    (home.place / "secret").chmod(0o600)
    measured(home, "7000x")
    with MailSink(place / "mails", security=security, pem=pem, login="me:mail-canary") as sink:
        keys = {
            "epnalert-smtp-security": security,
            "epnalert-smtp-user": "me",
            "epnalert-smtp-password": {"file": "secret"},
        }
        configure(home, sink, **keys)
        run = alert(home)
        assert (run.returncode, "TLS handshake failed" in run.stderr) == (7, True), run.stderr
        configure(home, sink, **keys, **{"ca-bundle": "authority.pem"})
        run = alert(home)
        assert run.returncode == 0, run.stderr
        assert len(sink.mails) == 1
        configure(
            home,
            sink,
            **{**keys, "epnalert-smtp-password": "wrong"},
            **{"ca-bundle": "authority.pem"},
        )
        run = alert(home)
        assert (run.returncode, "refused the user or the password" in run.stderr) == (7, True)
    logs = "".join(path.read_text() for path in (home.place / "logs").iterdir())
    assert "mail-canary" not in logs


def test_a_password_never_travels_in_the_open(office: Home, sink: MailSink) -> None:
    configure(office, sink, **{"epnalert-smtp-user": "me", "epnalert-smtp-security": "none"})
    run = alert(office)
    assert run.returncode == 3
    assert "accepted is starttls or tls where epnalert-smtp-user is given" in run.stderr
    configure(office, sink, **{"epnalert-smtp-user": "me", "epnalert-smtp-password": "x"})
    measured(office, "7000x")
    run = alert(office)  # the server has no STARTTLS
    assert (run.returncode, "STARTTLS" in run.stderr) == (7, True)


def test_what_does_not_come_home_is_named_with_its_reason(office: Home, sink: MailSink) -> None:
    office.visit("12282a")
    measured(office, "12282a")
    (office.storage / "ny79").rename(office.storage / "gone")  # a mount is missing
    assert office.once().returncode == 1
    assert alert(office).stdout.startswith("0 EPNs")
    with closing(sqlite3.connect(office.place / "catalogue.db")) as db, db:
        db.execute("UPDATE due SET since = datetime(since, '-4 days')")
    run = alert(office)
    assert run.stdout == (
        "0 EPNs of no project (0 new), 1 experiment due for long, 1 thing for a person\n"
    )
    first, mail = sink.mails
    assert "ny79 is missing, or has no copy: is it mounted?" in text_of(first)
    assert mail["Subject"] == "Experiments that do not come home"
    assert "12282a (ny79)  since" in text_of(mail)
    assert "the project folder is not there" in text_of(mail)
    (office.storage / "gone").rename(office.storage / "ny79")
    assert office.once().returncode == 0
    assert alert(office).stdout.startswith("0 EPNs of no project (0 new), 0 experiments")
    assert len(sink.mails) == 2


def test_a_catalogue_that_is_lost_is_what_the_mail_says(office: Home, sink: MailSink) -> None:
    office.visit("12282a")
    measured(office, "12282a")
    assert office.once().returncode == 0
    for path in filter(Path.is_file, office.place.glob("catalogue.db*")):
        path.unlink()
    assert alert(office, "--dry-run").returncode == 5
    for _ in range(2):  # the first run makes a new one
        run = alert(office)
        assert run.returncode == 5
        assert "catalogue.db is" in run.stderr and "says that it was used with it" in run.stderr
    (mail, _) = sink.mails
    assert "`asynchy catalogue rebuild`" in text_of(mail)
    assert mail["Subject"] == "ignore.yml or the catalogue cannot be used"


def test_what_was_never_in_a_visit_is_told_once(office: Home, sink: MailSink) -> None:
    measured(office, "12282a")  # ours and visible
    for _ in range(2):
        assert alert(office).returncode == 0
    (mail,) = sink.mails
    assert mail["Subject"] == "Experiments not asked for"
    assert "12282a (mx). `fetch-visible: true`" in text_of(mail)
    measured(office, "12282b")
    assert alert(office).returncode == 0
    assert "12282a (mx), 12282b (mx)" in text_of(sink.mails[1])


def test_an_ignore_yml_that_is_gone_for_a_night_makes_nothing_a_persons(
    office: Home, sink: MailSink
) -> None:
    measured(office, "12282a")
    ignore = office.place / "ignore.yml"
    ignore.write_text("previouslySynched:\n- 12282a\n- 12283b\n")
    give(ignore)
    assert office.once().returncode == 0
    text = ignore.read_text()
    ignore.unlink()
    assert alert(office).returncode == 5
    ignore.write_text(text)
    give(ignore)
    assert alert(office).returncode == 0
    with closing(sqlite3.connect(office.place / "catalogue.db")) as db:
        origins = db.execute("SELECT DISTINCT origin FROM ignore_entries").fetchall()
    assert origins == [("original",)]


def test_an_alert_without_addresses_ends_and_names_the_keys(office: Home, sink: MailSink) -> None:
    missing = ("epnalert-email-to", "epnalert-email-from", "epnalert-email-smtp")
    configure(office, sink, **dict.fromkeys(missing, OMIT))
    run = alert(office)
    assert run.returncode == 3
    assert "epnalert-email-to, epnalert-email-from, epnalert-email-smtp" in run.stderr


DRIPS: dict[str, tuple[bytes, bytes | None]] = {
    "greeting": (b"220 ", None),
    "answer to EHLO": (b"250-", b"EHLO"),
    "answer after the mail": (b"250 ", b"."),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_mail_server_that_drips_is_given_up_at_the_total_limit(what: str) -> None:
    begin, after = DRIPS[what]
    message = EmailMessage()
    message["From"], message["To"] = "asynchy@uni.example", "it@uni.example"
    message.set_content("words")
    begun = time.monotonic()
    with dripping(begin, b"a", after) as port:
        server = MailServer("127.0.0.1", port, "none", timeout=0.5)
        with pytest.raises(MailError, match="did not take the mail within 2 s") as error:
            send(server, message, ["it@uni.example"])
    assert 2 <= time.monotonic() - begun < SOON
    assert error.value.hint == (
        "ask who runs the mail server; the mail is kept, and goes with the next run"
    )


def test_a_mail_server_whose_answer_has_no_end_is_given_up_before_memory_is() -> None:
    message = EmailMessage()
    message["From"], message["To"] = "asynchy@uni.example", "it@uni.example"
    lines = (b"250-" + b"x" * 94 + b"\r\n") * 5000
    with dripping(lines, lines, b"EHLO") as port:
        server = MailServer("127.0.0.1", port, "none", timeout=60)
        with pytest.raises(MailError, match=r"its answers have more than 1\.00 MB"):
            send(server, message, ["it@uni.example"])


@pytest.mark.parametrize("what", DRIPS)
def test_a_stop_is_heard_while_the_mail_server_drips_and_the_mail_is_kept(
    office: Home, sink: MailSink, what: str
) -> None:
    measured(office, "7000x")
    begin, after = DRIPS[what]
    reached = threading.Event()
    with dripping(begin, b"a", after, reached) as port:
        configure(office, sink, **{"epnalert-email-smtp": f"127.0.0.1:{port}"})
        with office.program.start("epnalert", "--config", office.config) as process:
            wait_until(reached.is_set)
            code, seconds = interrupt(process, signal.SIGTERM)
    assert (code, seconds < SOON) == (143, True)
    configure(office, sink)
    assert alert(office, "--only-new").returncode == 0
    assert len(sink.mails) == 1


def test_two_at_once_send_one_mail(office: Home, sink: MailSink) -> None:
    measured(office, "7000x")
    lock = office.place / "catalogue.db.epnalert"
    lock.write_text("process 7 on elsewhere")
    give(lock)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # only one that wants it alone is kept out
        run = alert(office)
    assert (run.returncode, sink.mails) == (5, [])
    assert "an epnalert runs on" in run.stderr and "process 7 on elsewhere" in run.stderr


def test_the_mapping_is_kept_with_its_comments(office: Home) -> None:
    text = office.config.read_text()
    office.config.write_text(f"# ours\n{text}  # the end\n")
    give(office.config)

    def mapping(*arguments: str) -> subprocess.CompletedProcess[str]:
        return office.program.run("asynchy", "--config", office.config, "map", *arguments)

    assert mapping("add", "20345b", "kx12").stdout.endswith("20345 belongs to kx12 now.\n")
    assert mapping("add", "20345", "kx12").stdout.endswith("20345 belongs to kx12 already.\n")
    refused = mapping("add", "20345", "ny79")
    assert (refused.returncode, "20345 belongs to kx12 already" in refused.stderr) == (3, True)
    assert mapping("add", "20345", "ny79", "--replace").returncode == 0
    assert "20345   ny79" in mapping("list").stdout
    assert office.config.read_text().startswith("# ours\n")
    assert "# the end" in office.config.read_text()
    odd = mapping("add", "not-a-proposal", "ny79")
    assert (odd.returncode, "a proposal number" in odd.stderr) == (2, True)
    office.config.write_text("nonsense: [")
    assert mapping("add", "1", "a").returncode == 3


def test_the_mapping_is_changed_and_nothing_else_of_the_file(office: Home) -> None:
    def mapping(*arguments: str) -> subprocess.CompletedProcess[str]:
        return office.program.run("asynchy", "--config", office.config, "map", *arguments)

    text = office.config.read_text()
    start = text.index("epn_cap_map:")
    rest = re.sub(r"epn_cap_map:.*?\n(?=\S)", "", text, flags=re.DOTALL)
    ours = "epn_cap_map:\r\n    12282:  ny79     # Ada\r\n    08123: ny79\r\n"
    before = "---\r\n" + rest[:start].replace("\n", "\r\n") + ours
    before += rest[start:].replace("\n", "\r\n")
    office.config.write_bytes(before.encode())
    give(office.config)
    assert mapping("add", "08123", "ny79").stdout.endswith("08123 belongs to ny79 already.\n")
    added = mapping("add", "8123a", "kx12")
    assert (added.returncode, "Warning: the project folder" in added.stderr) == (0, True)
    assert f"{office.storage / 'kx12'} does not exist" in added.stderr
    line = '    08123: ny79\r\n    "8123": kx12\r\n'
    assert office.config.read_bytes().decode() == before.replace("    08123: ny79\r\n", line)
    listed = mapping("list").stdout.split()
    assert listed[3:] == ["08123", "ny79", "8123", "kx12", "12282", "ny79"]
    removed = mapping("remove", "8123")
    assert removed.stdout.endswith("8123 belongs to no project now.\n")
    assert office.config.read_bytes().decode() == before
    again = mapping("remove", "8123")
    assert (again.returncode, "8123 belongs to no project" in again.stderr) == (3, True)


def test_the_same_as_a_command_of_asynchy(office: Home, sink: MailSink) -> None:
    measured(office, "7000x")
    run = office.program.run("asynchy", "--config", office.config, "alert")
    assert (run.returncode, len(sink.mails)) == (0, 1)
    assert json.dumps(run.stdout)


TLS = """
tls_advertise_hosts = *
tls_certificate = {place}/mail.pem
tls_privatekey = {place}/mail.pem
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}{{}}}}
"""
LOG_IN_FIRST = "  accept authenticated = *\n  deny message = log in first"
PLAIN = """
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{me}}{eq{$auth3}{mail-canary}}}}
  server_set_id = $auth2
"""


@pytest.mark.extra
def test_debians_exim_takes_it_over_starttls_with_a_login(home: Home, place: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    pem = certificate.private_key_pem.bytes() + certificate.cert_chain_pems[0].bytes()
    authority.cert_pem.write_to_path(str(home.place / "authority.pem"))
    measured(home, "7000x")
    main = TLS.format(place=place / "exim")
    with exim(place / "exim", main=main, acl=LOG_IN_FIRST, more=PLAIN, pem=pem) as server:
        at = {"epnalert-email-smtp": f"127.0.0.1:{server.port}", "ca-bundle": "authority.pem"}
        no_templates = {f"epnalert-template-{name}": OMIT for name in ("folder", "text", "html")}
        home.configure(
            **at,
            **no_templates,
            **{
                "epnalert-email-to": "it@uni.example",
                "epnalert-email-from": "Asynchy <asynchy@uni.example>",
                "epnalert-smtp-user": "me",
                "epnalert-smtp-password": "mail-canary",
            },
        )
        run = alert(home)
        assert run.returncode == 0, run.stderr
        home.configure(**at, **no_templates)
        refused = alert(home)
        assert refused.returncode == 7
        assert "log in first" in refused.stderr
        (taken,) = server.taken
    assert " <= asynchy@uni.example " in taken
    assert " X=TLS" in taken and " A=plain:me " in taken
