"""Mails: what mail servers refuse, and what a site's own templates get wrong."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.mail import MailSink
from simulator.portal.handle import OMIT
from tests.conftest import Home, give
from tests.integration.test_alert import alert, configure, html_of, measured, text_of
from tests.tools.exim import Exim, exim

GREYLIST = """
  defer  recipients = greylisted@uni.example
         message = 4.7.1 Greylisted, try again in 300 seconds
  deny   recipients = gone@uni.example
         message = 5.1.1 no such user
  accept
"""


@pytest.fixture
def sink(place: Path) -> Iterator[MailSink]:
    with MailSink(place / "mails") as running:
        yield running


@pytest.fixture
def office(home: Home, sink: MailSink) -> Home:
    """A home with one unknown EPN that mails go out of."""
    configure(home, sink)
    measured(home, "7000x")
    return home


def to_exim(home: Home, server: Exim, sink: MailSink, **keys: object) -> None:
    configure(home, sink, **{"epnalert-email-smtp": f"127.0.0.1:{server.port}", **keys})


def templates(
    home: Home, sink: MailSink, text: str, html: str | None = None, **keys: object
) -> None:
    """Have the home use templates of its own."""
    (home.place / "mine.txt").write_text(text)
    (home.place / "mine.html").write_text(text if html is None else html)
    give(home.place)
    configure(
        home,
        sink,
        **{
            "epnalert-template-folder": ".",
            "epnalert-template-text": "mine.txt",
            "epnalert-template-html": "mine.html",
            **keys,
        },
    )


@pytest.mark.extra
@pytest.mark.parametrize("offered", [True, False])
def test_a_mail_is_of_7_bits_whatever_the_server_offers(
    office: Home, sink: MailSink, place: Path, offered: bool
) -> None:
    visit = office.visit("99999a", ended=24)
    zoe = {"first_names": "Zoë", "last_name": "Nguyễn", "email": "zoe@uni.example"}
    office.facility.portal.clear_visits()
    office.facility.portal.add_raw_visit(23, {**visit, "principal_scientist": zoe})
    short = "{{ epn_details }}{{ unknown_epns }}"  # long lines are encoded anyway
    main = f"accept_8bitmime = {str(offered).lower()}"
    with exim(place / "exim", main=main) as server:
        templates(office, sink, short, **{"epnalert-email-smtp": f"127.0.0.1:{server.port}"})
        assert alert(office).returncode == 0
        (body,) = server.bodies
    assert body.isascii()
    readable = quopri.decodestring(body) + b"".join(
        base64.b64decode(block) for block in re.findall(rb"(?m)^(?:[A-Za-z0-9+/=]{60,}\n)+", body)
    )
    assert "Zoë Nguyễn".encode() in readable


@pytest.mark.extra
def test_recipients_refused_for_now_get_the_mail_with_the_next_run(
    office: Home, sink: MailSink, place: Path
) -> None:
    everybody = "it@uni.example; Data Team <greylisted@uni.example>, gone@uni.example"
    with exim(place / "exim", acl=GREYLIST) as server:
        to_exim(office, server, sink, **{"epnalert-email-to": everybody})
        run = alert(office)
        assert run.returncode == 7
        assert "greylisted@uni.example: 451 4.7.1 Greylisted" in run.stderr
        assert "goes with the next run" in run.stderr
        assert "refused gone@uni.example: 550 5.1.1 no such user" in run.stderr
        assert len(server.taken) == 1
        run = alert(office, "--only-new")
        assert run.returncode == 7  # still; and it@uni.example gets it once
        assert len(server.taken) == 1
    with exim(place / "again") as server:
        to_exim(office, server, sink, **{"epnalert-email-to": everybody})
        assert alert(office, "--only-new").returncode == 0
        (kept,) = server.headers
        assert "\n1\ngreylisted@uni.example\n" in kept  # the envelope's recipients
        assert "X-Asynchy" not in kept
        assert alert(office, "--only-new").returncode == 0
        assert len(server.taken) == 1


@pytest.mark.extra
@pytest.mark.parametrize(
    ("main", "acl", "said", "hint"),
    [
        ("message_size_limit = 300", "  accept", "552 ", "larger than the server takes"),
        ("", "  defer message = 4.3.1 later", "451 4.3.1 later", "refuses it for now"),
        ("", "  deny message = 5.1.1 who?", "550 5.1.1 who?", "check epnalert-email-to"),
        ("", "  deny message = 552 5.2.2 full", "552 5.2.2 full", "a mailbox there is full"),
        ("acl_smtp_mail = no", "  accept\nno:\n  deny", "550 ", "check epnalert-email-from"),
    ],
)
def test_the_hint_follows_the_servers_code(
    office: Home, sink: MailSink, place: Path, main: str, acl: str, said: str, hint: str
) -> None:
    with exim(place / "exim", main=main, acl=acl) as server:
        to_exim(office, server, sink)
        run = alert(office)
    assert run.returncode == 7
    assert said in run.stderr, run.stderr
    assert hint in run.stderr.partition("What to do: ")[2], run.stderr


@pytest.mark.extra
def test_names_and_an_ipv6_address_are_accepted(office: Home, sink: MailSink, place: Path) -> None:
    with exim(place / "exim") as server:
        keys = {"epnalert-email-to": "Zoë Nguyễn <zoe@uni.example>; it@uni.example"}
        to_exim(office, server, sink, **keys)
        assert alert(office).returncode == 0
        (kept,) = server.headers
    assert "\n2\nzoe@uni.example\nit@uni.example\n" in kept
    configure(office, sink, **{"epnalert-email-smtp": "[::1]:9"})
    run = alert(office)
    assert (run.returncode, "[::1]:9 cannot be reached" in run.stderr) == (7, True)


def test_an_address_that_the_server_cannot_take_is_named(office: Home, sink: MailSink) -> None:
    configure(office, sink, **{"epnalert-email-to": "zoë@uni.example"})
    run = alert(office)
    assert run.returncode == 7
    assert "it does not offer SMTPUTF8): zoë@uni.example" in run.stderr
    assert "write an address of ASCII letters" in run.stderr


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Hello\n{{ epn_detials }}\n", "mine.txt:2 cannot be used: 'epn_detials' is undefined"),
        ("{% if epn_detials %}x{% endif %}", "mine.txt:1 cannot be used"),
        ("{% for u in alert.unknown %}{{ left(u) }}{% endfor %}", "has no attribute 'days_left'"),
        ("\n\n{{ alert.unknown[0].reported.first }}", "mine.txt:3 cannot be used"),
        ("{% if %}", "mine.txt:1 cannot be used: Expected an expression"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% include 'other.txt' %}", "there is no template other.txt"),
    ],
)
def test_a_template_with_a_mistake_gives_way_to_ours(
    office: Home, sink: MailSink, template: str, said: str
) -> None:
    templates(office, sink, template, "<p>{{ epn_details }}{{ unknown_epns }}</p></body>")
    check = office.program.run("asynchy", "config", "check", str(office.config))
    assert (check.returncode, said in check.stderr) == (3, True), check.stderr
    run = alert(office, "--only-new")
    assert (run.returncode, said in run.stderr) == (0, True), run.stderr
    (mail,) = sink.mails
    assert "7000x" in text_of(mail) and "belongs to no project yet" in text_of(mail)
    assert said in text_of(mail).replace("\n", " ")
    assert "A mail template of this site cannot be used" in html_of(mail)  # the other part, too


def test_a_mistake_where_no_value_leads_is_found_too(office: Home, sink: MailSink) -> None:
    templates(
        office,
        sink,
        "{{ unknown_epns }}{{ title | default('') }}{% if note is defined %}{% endif %}"
        "{% if days > 3660 %}{{ epn_detials }}{% endif %}",
    )
    check = office.program.run("asynchy", "config", "check", str(office.config))
    assert check.returncode == 3
    found = [line for line in check.stderr.splitlines() if "template" in line]
    assert len(found) == 2 and "mine.txt uses epn_detials, which is not defined" in found[0]


def test_what_a_template_does_not_show_is_below_it(office: Home, sink: MailSink) -> None:
    office.visit("12282a")
    measured(office, "12282a")
    templates(
        office, sink, "Hello\n{{ epn_details }}{{ unknown_epns }}", "<b>{{ unknown_epns }}</b>"
    )
    (office.storage / "ny79").rename(office.storage / "gone")  # a mount is missing
    office.once()
    assert alert(office).returncode == 0
    (mail,) = sink.mails
    for body in (text_of(mail), html_of(mail)):
        assert (
            body.index("7000x") < body.index("does not show this") < body.index("ny79 is missing")
        )
        assert body.count("7000x") == 1
    assert html_of(mail).startswith("<b>-----\r\n7000x")


def test_a_template_that_shows_everything_gets_nothing_below(office: Home, sink: MailSink) -> None:
    shows = "{{ unknown_epns }}{% for one in alert.attention %}<i>{{ one }}</i>{% endfor %}"
    templates(office, sink, shows)
    office.visit("12282a")
    (office.storage / "ny79").rename(office.storage / "gone")
    office.once()
    assert alert(office).returncode == 0
    (mail,) = sink.mails
    assert "does not show" not in text_of(mail) + html_of(mail)
    assert "is it mounted?" in text_of(mail)


def test_a_portal_that_is_down_is_below_a_template_of_the_original(
    office: Home, sink: MailSink
) -> None:
    templates(office, sink, "{{ epn_details }}\n{{ unknown_epns }}\n")
    office.facility.portal.set_fault(name="refuse_credentials")
    assert alert(office).returncode == 4
    (mail,) = sink.mails
    assert "equipment 23: the portal" in text_of(mail)
    assert "equipment 23: the portal" in html_of(mail)


def test_line_breaks_of_the_two_texts_can_be_replaced_in_html(office: Home, sink: MailSink) -> None:
    visit = office.visit("99999a", ended=24)
    odd = {"first_names": "<script>", "last_name": "Love & Lace", "email": "ada@uni.example"}
    office.facility.portal.clear_visits()
    office.facility.portal.add_raw_visit(23, {**visit, "principal_scientist": odd})
    breaks = (
        "{{ epn_details | replace('\n', '<br>') }}|{{ epn_details.replace('\n', '<br />') }}|"
        "{{ epn_details.split('\n') | join('<hr>') }}|{{ unknown_epns | replace('\n', '<br>') }}"
    )
    templates(office, sink, "{{ epn_details }}{{ unknown_epns }}", breaks)
    assert alert(office).returncode == 0
    page = html_of(sink.mails[0])
    assert "is not known.<br>Principal scientist: &lt;script&gt; Love &amp; Lace" in page
    assert "is not known.<br />Principal" in page and "is not known.<hr>Principal" in page
    assert "|-----<br>7000x<br>-----" in page
    assert "<script>" not in page and "&lt;br" not in page and "&amp;lt;" not in page


def test_quiet_says_nothing_if_all_is_well(office: Home, sink: MailSink) -> None:
    keys = {"user": OMIT}  # the default is worth a warning, every time
    configure(office, sink, **keys)
    run = alert(office, "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert len(sink.mails) == 1
    assert "user is not given" in (office.place / "logs" / "epnalert.log").read_text()
    configure(office, sink, **{"epnalert-email-to": "refused@uni.example"})
    run = alert(office, "--quiet")
    assert (run.returncode, "refused every recipient" in run.stderr) == (7, True)


def test_mxsync_is_quiet_if_all_is_well(office: Home) -> None:
    office.visit("12282a")
    measured(office, "12282a")
    office.configure(
        **{"log-files": {"sync": "logs/sync.log"}, "epn_cap_map": {"12282": "ny79", "7000": "ny79"}}
    )
    run = office.once()
    assert (run.returncode, "12282a" in run.stdout) == (0, True), run.stdout + run.stderr
    run = office.mxsync("--execute", "--once", "--quiet")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    office.visit("8020l")
    run = office.mxsync("--execute", "--once", "--quiet")
    assert (run.returncode, "8020l" in run.stdout) == (1, True)
