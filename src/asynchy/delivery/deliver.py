"""Hand over what waits in the outbox, in order, and note what became of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile

from asynchy.catalogue import Catalogue
from asynchy.catalogue.host_locks import What
from asynchy.catalogue.notifications import mail_of
from asynchy.config import Settings
from asynchy.config.channels import OnCompleteEntry, WebhookEntry
from asynchy.delivery import apprise_sender, webhook
from asynchy.delivery.channels import Channel, channels_of, secrets_of
from asynchy.delivery.command import run_command
from asynchy.delivery.documents import text_for_people
from asynchy.delivery.mail import deliver_mail
from asynchy.errors import AlreadyRunning, DeliveryError, MailError
from asynchy.model.cancellation import Stop
from asynchy.model.formatting import count, duration
from asynchy.model.news import ACTIVITY_MAIL, MAIL, WaitingMessage, wait_after
from asynchy.model.redaction import masked
from asynchy.runtime.instance_lock import instance_lock
from asynchy.runtime.threads import all_at_once

log = logging.getLogger(__name__)

_MAILS: dict[str, tuple[What, str]] = {
    MAIL: ("epnalert", "epnalert"),
    ACTIVITY_MAIL: ("activity", "`report activity`"),
}
"""The lock under which the mails of a channel are handed over, and who writes them."""


@dataclass(frozen=True)
class Delivery:
    """What a delivery works with."""

    settings: Settings
    catalogue: Catalogue
    stop: Stop


def deliver_messages(work: Delivery, *, at_once: bool = False) -> list[str]:
    """Deliver mails, messages and webhooks whose time has come; why some were not, for people.

    `at_once`: do not wait for others that may come to be told with them, nor for the time of the
    next try. Another process that delivers at the moment is left to it.

    Raises:
        CatalogueError: the catalogue cannot be used.
        Stopped: a stop was requested meanwhile; what was not delivered waits.
    """
    channels = [one for one in channels_of(work.settings) if one.type != "on-complete"]
    problems: list[str] = []
    waiting = work.catalogue.outbox.waiting()
    for mails in (MAIL, ACTIVITY_MAIL):
        if any(one.channel == mails for one in waiting):
            problems += deliver_mails(work, mails, at_once=at_once)
    if any(one.channel == channel.name for one in waiting for channel in channels):
        with _alone(work, "messages") as alone:
            for channel in channels if alone else ():
                problems += _channel(work, channel, at_once=at_once)
    return problems


def deliver_mails(work: Delivery, channel: str, *, at_once: bool = False) -> list[str]:
    """Deliver the mails of one channel whose time has come; as above."""
    lock, writer = _MAILS[channel]
    with _alone(work, lock) as alone:
        for waiting in work.catalogue.outbox.waiting(channel) if alone else ():
            if not (at_once or waiting.is_due(datetime.now(UTC))):
                continue
            try:
                deliver_mail(
                    work.settings, work.catalogue.notifications, mail_of(waiting), work.stop
                )
            except MailError as error:
                log.error("the mail of %s waits: %s", writer, error)
                return [f"the mail of {writer}: {error}"]
    return []


def run_commands(work: Delivery, *, at_once: bool = False) -> list[str]:
    """Run the commands of `on-complete` whose time has come, one after the other; as above."""
    channels = [one for one in channels_of(work.settings) if one.type == "on-complete"]
    waiting = {one.channel for one in work.catalogue.outbox.waiting()}
    problems: list[str] = []
    if any(channel.name in waiting for channel in channels):
        with _alone(work, "commands") as alone:
            for channel in channels if alone else ():
                problems += _channel(work, channel, at_once=at_once)
    return problems


def forget_channels(work: Delivery) -> None:
    """Remove what waits for channels that the config no longer names."""
    names = {MAIL, ACTIVITY_MAIL, *(one.name for one in channels_of(work.settings))}
    for channel, number in work.catalogue.outbox.keep_channels(names).items():
        log.warning(
            "%s is no longer in the config: %s for it removed", channel, count(number, "message")
        )


@contextlib.contextmanager
def _alone(work: Delivery, what: What) -> Iterator[bool]:
    """Whether no other process delivers these at the moment."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(instance_lock(work.settings.catalogue_address, what))
        except AlreadyRunning as error:
            log.debug("%s", error)
            yield False
        else:
            yield True


def _channel(work: Delivery, channel: Channel, *, at_once: bool) -> list[str]:
    """Deliver to one channel until nothing is due; each subject ends with its first failure.

    A channel of which a whole service is down is left alone until its next turn.
    """
    problems = []
    tried: set[str] = set()
    while not work.stop.requested:
        batch = _next_batch(work, channel, tried, at_once=at_once)
        if not batch:
            break
        try:
            _hand_over(work, channel, batch)
        except DeliveryError as error:
            tried.add(batch[0].subject)
            problems.append(_note_failure(work, channel, batch, error))
            if channel.type != "on-complete":
                break
        else:
            _note_delivery(work, channel, batch)
    return problems


def _next_batch(
    work: Delivery, channel: Channel, tried: set[str], *, at_once: bool
) -> list[WaitingMessage]:
    """The messages that go together next: the oldest of a subject that is due, with its like."""
    now = datetime.now(UTC)
    seen: set[str] = set(tried)
    waiting = work.catalogue.outbox.waiting(channel.name)
    for at, one in enumerate(waiting):
        if one.subject in seen:
            continue
        seen.add(one.subject)
        if not (at_once or one.is_due(now)):
            continue
        if channel.type != "notify":
            return [one]
        return _alike(waiting[at:])
    return []


def _alike(waiting: Sequence[WaitingMessage]) -> list[WaitingMessage]:
    """The first, and those after it that are told in one message with it."""
    return list(takewhile(lambda one: one.kind is waiting[0].kind, waiting))


def _hand_over(work: Delivery, channel: Channel, batch: Sequence[WaitingMessage]) -> None:
    """Hand over messages, and wait for the receiver's word.

    Raises:
        DeliveryError: it was not taken.
        Stopped: a stop was requested meanwhile.
    """
    entry, secrets, now = channel.entry, secrets_of(work.settings), datetime.now(UTC)
    first = batch[0]
    body = masked(first.body.decode(), secrets).encode()
    if isinstance(entry, OnCompleteEntry):
        run_command(entry, first.message_id, body, secrets, work.stop)
    elif isinstance(entry, WebhookEntry):
        bundle = work.settings.ca_bundle
        wait_for(work, partial(webhook.send, entry, first.message_id, body, now, bundle))
    else:
        title, text = text_for_people(batch, now)
        url = entry.url.get_secret_value()
        apprise_sender.send(url, title, masked(text, secrets), work.stop)


def wait_for(work: Delivery, call: Callable[[], None]) -> None:
    """Make a call that may take long, and give it up on a stop.

    Raises:
        DeliveryError: as the call.
        Stopped: a stop was requested meanwhile.
    """
    all_at_once([call], work.stop, _nothing)


def _nothing() -> None:
    """A receiver that is waited for is no sign that the cycles of this process get on."""


def _note_failure(
    work: Delivery, channel: Channel, batch: Sequence[WaitingMessage], error: DeliveryError
) -> str:
    head = batch[0]
    reason = masked(str(error), secrets_of(work.settings))
    is_news = head.error != reason
    runs = channel.type == "on-complete"
    note = f"{channel.entry.name}: {reason}" if runs and is_news else None
    work.catalogue.outbox.failed(batch, datetime.now(UTC), reason, error.exit_status, note)
    what = f"{channel.name}, {head.subject}" if runs else channel.name
    log.log(
        logging.ERROR if is_news else logging.INFO,
        "%s: %s; tried again in %s%s",
        what,
        reason,
        duration(wait_after(head.tries + 1).total_seconds()),
        f" ({error.hint})" if error.hint else "",
    )
    return f"{what}: {reason}"


def _note_delivery(work: Delivery, channel: Channel, batch: Sequence[WaitingMessage]) -> None:
    note = channel.entry.name if channel.type == "on-complete" else None
    work.catalogue.outbox.delivered(batch, datetime.now(UTC), note)
    about = f", {batch[0].subject}" if batch[0].subject else ""
    log.info("%s%s: %s delivered", channel.name, about, count(len(batch), "message"))
