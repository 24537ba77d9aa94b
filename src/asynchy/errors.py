"""What can go wrong, what to do about it, and the exit code that tells a script.

Every error that asynchy raises on purpose is an `AsynchyError`: its message says what happened and
where, its `hint` what to do next, its `exit_code` what the command ends with, and `transient`
whether trying the same again can help.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with; the README prints this table."""

    OK = 0
    """All well: nothing is due any more."""
    INCOMPLETE = 1
    """At least one experiment stays due; the next run tries it again."""
    USAGE = 2
    """The command line was wrong (Click's own code)."""
    CONFIG = 3
    """The config file cannot be used."""
    REMOTE_UNAVAILABLE = 4
    """The portal or the SFTP service could not be asked, so the run is not complete."""
    STATE_ERROR = 5
    """`ignore.yml` or the catalogue cannot be used."""
    NOTHING_FETCHED = 6
    """Nothing of what `asynchy sync` was to fetch is complete now."""
    MAIL_FAILED = 7
    """A mail or message was not taken, or a command of `on-complete` failed; it is tried again."""
    INTERNAL = 70
    """A defect of asynchy itself; the log has the traceback."""
    HUNG_UP = 129
    """Stopped by SIGHUP: its terminal was closed."""
    INTERRUPTED = 130
    """Stopped by SIGINT (Ctrl-C)."""
    TERMINATED = 143
    """Stopped by SIGTERM."""


class AsynchyError(Exception):
    """Base of every error that asynchy raises on purpose."""

    exit_code: ExitCode = ExitCode.INCOMPLETE
    transient: bool = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(AsynchyError):
    """The config file is missing, unreadable or wrong."""

    exit_code = ExitCode.CONFIG


class PortalError(AsynchyError):
    """The portal's answer cannot be used, and asking again will not change that."""

    exit_code = ExitCode.REMOTE_UNAVAILABLE

    place: str | None = None
    """The URL at which it happened, without secrets."""

    @property
    def cause(self) -> str:
        """What happened, without the URL: it is the same for all that is asked of the portal."""
        return self.message if self.place is None else self.message.removesuffix(f": {self.place}")

    def name_place(self, url: str) -> None:
        """Say at which URL it happened; who asked closest to it is right."""
        if self.place is None:
            self.place = url
            self.message = f"{self.message}: {url}"
            self.args = (self.message,)


class PortalUnavailable(PortalError):
    """The portal did not answer properly this time; a later try may succeed."""

    transient = True

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        """Seconds that the portal asked us to wait, where it said so."""


class PortalRefused(PortalError):
    """The portal refused the credentials."""


class ListingError(AsynchyError):
    """An experiment at the facility could not be listed whole."""

    exit_code = ExitCode.REMOTE_UNAVAILABLE
    transient = True


class ServerUnreachable(ListingError):
    """No connection to the facility's server could be made: it is so for every experiment."""


class ServerBusy(ServerUnreachable):
    """The server takes no connection of ours for now; it does so again soon."""


class HostKeyRefused(ServerUnreachable):
    """The server's host key is not one that is known: it may be another server."""

    transient = False


class KeyFileRefused(ServerUnreachable):
    """The path of the key file is that of a folder, a pipe or a device."""

    transient = False


class SftpNotOffered(ListingError):
    """The server lets us in and offers no SFTP."""

    transient = False


class CommandsNotOffered(ListingError):
    """The server lets us in and runs no commands for us."""

    transient = False


MAY_NOT_BE_READ = "it may not be read (EACCES)"
"""The reason why a folder at the facility could not be listed, as text for people."""


class ListingRefused(ListingError):
    """It may not be read at the facility, or something in it has a name that cannot be used."""

    transient = False


class NotAFolder(ListingRefused):
    """In the place of its folder at the facility is something else, such as a link to none."""

    exit_code = ExitCode.INCOMPLETE


class DigestsNotOffered(ListingError):
    """The server offers no way to compare what files hold."""

    transient = False


class ExperimentAbsent(ListingError):
    """The facility has no folder for the experiment."""

    exit_code = ExitCode.INCOMPLETE
    transient = False


class ToolMissing(AsynchyError):
    """A program that asynchy runs (ssh, rsync) is not installed."""

    exit_code = ExitCode.REMOTE_UNAVAILABLE


class ClockWrong(AsynchyError):
    """This machine's clock differs from the portal's."""

    exit_code = ExitCode.REMOTE_UNAVAILABLE


class IgnoreListError(AsynchyError):
    """`ignore.yml` cannot be read or written."""

    exit_code = ExitCode.STATE_ERROR


class CatalogueError(AsynchyError):
    """The catalogue cannot be opened, read or written."""

    exit_code = ExitCode.STATE_ERROR


class CatalogueUnreachable(CatalogueError):
    """The server that has the catalogue is not there, or the connection to it broke."""

    transient = True


class LeaseLost(CatalogueError):
    """Another process may work on the copy that this one worked on."""


class OlderCatalogue(CatalogueError):
    """The catalogue is of an older version of asynchy, and is only to be read."""


class DestinationTaken(CatalogueError):
    """Another experiment has its copy at the destination."""


class StateLost(AsynchyError):
    """`ignore.yml` or the catalogue is missing, although something says that it existed."""

    exit_code = ExitCode.STATE_ERROR


class CopyRefused(AsynchyError):
    """What a person asked for cannot be done with a copy."""

    exit_code = ExitCode.INCOMPLETE


class ImportRefused(AsynchyError):
    """A file of the original programs cannot be taken into the catalogue."""

    exit_code = ExitCode.INCOMPLETE


class ExportRefused(AsynchyError):
    """What the catalogue knows cannot be written there."""

    exit_code = ExitCode.STATE_ERROR


class ReceiptRefused(AsynchyError):
    """No receipt can be made of a copy, or not there; what it says would not be true."""

    exit_code = ExitCode.INCOMPLETE


class SpreadsheetError(AsynchyError):
    """A spreadsheet, or the folder of them, or a list of EPNs cannot be read."""

    exit_code = ExitCode.CONFIG


class ServicePaused(AsynchyError):
    """A person has paused the service."""

    exit_code = ExitCode.INCOMPLETE


class ServiceNotRunning(AsynchyError):
    """The service does not run on this machine."""

    exit_code = ExitCode.STATE_ERROR


class NothingKnown(AsynchyError):
    """The catalogue does not know what was asked for."""

    exit_code = ExitCode.STATE_ERROR


class DestinationMissing(AsynchyError):
    """The folder that copies are to go to is not there."""

    exit_code = ExitCode.CONFIG


class MailError(AsynchyError):
    """The mail server did not take a mail."""

    exit_code = ExitCode.MAIL_FAILED
    transient = True


class DeliveryError(AsynchyError):
    """A channel did not take a message, or a command that was run for one failed."""

    exit_code = ExitCode.MAIL_FAILED
    transient = True

    exit_status: int | None = None
    """The exit code of the command; None: none was run, or it was ended by its time limit."""


class TemplateRefused(AsynchyError):
    """A mail template cannot be used."""

    exit_code = ExitCode.CONFIG


class MappingRefused(AsynchyError):
    """A proposal belongs to another project already."""

    exit_code = ExitCode.CONFIG


class TokenRefused(AsynchyError):
    """A token of the dashboard cannot be made or revoked."""


class WebKeyRefused(AsynchyError):
    """The key that signs the dashboard's sessions cannot be used."""

    exit_code = ExitCode.STATE_ERROR


class ListenRefused(AsynchyError):
    """The dashboard cannot listen where it is to."""

    exit_code = ExitCode.CONFIG


class ActionRefused(AsynchyError):
    """What somebody asked for in the dashboard is not done."""


class PackageMissing(AsynchyError):
    """Python packages of an extra are not installed."""

    exit_code = ExitCode.CONFIG


class ClusterError(AsynchyError):
    """The Dask cluster cannot be used: no scheduler, no workers, or other versions."""

    exit_code = ExitCode.INCOMPLETE
    transient = True


class AlreadyRunning(AsynchyError):
    """Another service works on the same state."""

    exit_code = ExitCode.STATE_ERROR


class DiskStandsStill(AsynchyError):
    """The file system at home did not do what was asked of it in time; it may hang for hours."""

    exit_code = ExitCode.INCOMPLETE
    transient = True


class Stopped(AsynchyError):
    """The work was stopped by a signal before it was done."""

    exit_code = ExitCode.TERMINATED
