r"""The error messages of ssh, rsync and the system, and their meaning for people. No I/O.

ssh's own lines are those of OpenSSH 8.0 to 10 with `LogLevel=ERROR`, at which it prints no banner
of the server: no text of a server may be taken for ssh's warning about its host key.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from asynchy.errors import HostKeyRefused, ListingError, ServerBusy
from asynchy.model.backoff import Backoff
from asynchy.model.formatting import escaped

SSH_FAILED = 255
"""ssh(1): its own exit code, and no command's at the other end; rsync passes it on."""

ABSENT = re.compile(
    r"(change_dir|link_stat) .* failed: (No such file or directory \(2\)"
    r"|Not a directory \(20\)|Too many levels of symbolic links \(40\))"
)
"""rsync's message about a folder that does not exist, or is not a folder."""
_NO_HOST_KEY = "the server's host key is not in known_hosts"
_KNOWN_HOSTS = "the file that `known-hosts` names, or to ~/.ssh/known_hosts"
_HOST_KEYS: tuple[tuple[str, str, str], ...] = (
    (
        r"^@ +WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! +@\r?$"
        r"(?:[^\0]*?(?P<seen>SHA256:[A-Za-z0-9+/]{43}))?"
        r"(?:[^\0]*?Offending \S+ key in (?P<file>[^\r\n]+):\d+)?"
        r"(?:[^\0]*?Host key for (?P<host>\S+) has changed)?",
        "the server's host key is not the one in known_hosts",
        "somebody may be in between: ask the facility, by phone or on its web site, whether its "
        "key is {seen} now; only then remove the old one (`ssh-keygen -R {host} -f {file}`) and "
        "add the new one",
    ),
    (
        r"^No \S+ host key is known for \[?(?P<host>[^\]\s]+)(?:\]:(?P<port>\d+))?",
        _NO_HOST_KEY,
        "`ssh-keyscan -p {port} {host} > new` fetches it, `ssh-keygen -lf new` shows its "
        "fingerprint; if the facility names the same, add it to " + _KNOWN_HOSTS,
    ),
    (
        r"^Host key verification failed\.\r?$",
        _NO_HOST_KEY,
        "`ssh-keyscan` fetches it, `ssh-keygen -lf` shows its fingerprint; if the facility names "
        "the same, add it to " + _KNOWN_HOSTS,
    ),
)
"""ssh's messages about a server that is not known to be the facility's: pattern, reason, hint."""
_UNKNOWN = {
    "seen": "another one",
    "host": "'[HOST]:PORT'",
    "port": "22",
    "file": "KNOWN_HOSTS_FILE",
}
"""Placeholders in a hint for values that ssh does not print."""
_THEN_DENIED = r"[^\0]*?Permission denied \([a-z]"
"""A problem with a key matters only if no other key was accepted."""

_UNREADABLE = (
    "Permission denied|Operation not permitted|Input/output error|Is a directory"
    "|No such file or directory|Not a directory|Stale file handle|Too many levels of symbolic links"
)
"""The system's messages about a file that cannot be read; all others are about its content."""

REFUSED_BACKOFF = Backoff(first=1.0, longest=15.0, factor=4.0, spread=1.0)
"""Before another try at a connection that the server closed before the login. At random, so that
several connections that were refused together do not come back together."""
REFUSED_TRIES = 4
"""Tries at such a connection. The waits between them are together longer than the 15 s for which
OpenSSH 9.8 and later refuse a machine after refused keys (PerSourcePenalties)."""
_ORIGIN = r"^packet\.c:sshpkt_vfatal\(\):\d+ \([^)\r\n]*\): "
"""How a line begins that ssh writes for `LogVerbose`."""
_EXCHANGE = r"(?:kex|ssh)_exchange_identification: "
_NO_ADDRESS = (
    rf"(?:{_EXCHANGE}[^\n]*\n(?:{_ORIGIN[1:]})?|{_ORIGIN[1:]})"
    r"Connection (?:closed|reset) by UNKNOWN port 65535"
)
"""ssh knows no address of a server that it reaches through another program."""
_SPOKEN = (
    r"^(?P<said>(?!kex_|ssh_exchange|packet\.c|stdio forw|Load key|Warning: |Permissions )"
    r"\S[^\r\n]*)\r?$"
)
"""A line of that program, or of its shell."""
_CONFIG_FILE = r"[^\r\n:]*(?:ssh|config)[^\r\n:]*"
_BEFORE_THE_SERVER = (
    *(
        (
            pattern,
            "the way to the server that ssh_config names (ProxyJump or ProxyCommand) failed: "
            "{said}",
            "`ssh USER@HOST` shows it; correct ssh_config, or ask who runs the host on the way",
        )
        for pattern in (
            rf"{_SPOKEN}\n(?:stdio forw[^\n]*\n)?{_NO_ADDRESS}",
            rf"^{_NO_ADDRESS}[^\n]*\n{_SPOKEN}",
        )
    ),
    (
        rf"^(?P<said>{_CONFIG_FILE}:? line \d+: [^\r\n]+)[^\0]*?terminating, \d+ bad config",
        "ssh does not take its configuration: {said}",
        "correct that line; `ssh -G HOST` checks the file",
    ),
    (
        rf"^(?P<said>Bad owner or permissions on {_CONFIG_FILE})",
        "ssh does not take its configuration: {said}",
        "let nobody else write that file: `chmod go-w`",
    ),
)
"""Messages of ssh, or of a command that it starts, if it never reached the server."""
_BUSY = (
    (
        "^" + _NO_ADDRESS,
        "the connection through ProxyJump or ProxyCommand was closed before the login",
        "the host on the way may be down, or the server have too many connections; "
        "`ssh USER@HOST` may show more; it is tried again",
    ),
    (
        # Since 10, OpenSSH prints only the second, and only if `LogVerbose` asks for it.
        r"(kex|ssh)_exchange_identification: (read: )?Connection (closed|reset)"
        rf"|{_ORIGIN}Connection (closed|reset) by \S+ port ",
        "the server closed the connection before the login",
        "it has too many connections just now (MaxStartups), or holds this machine back after "
        "refused keys (PerSourcePenalties of OpenSSH 9.8 and later), and it is tried again; or no "
        "SSH server listens there: check `host` and `port`",
    ),
)
_CAUSES = (
    (
        r"banner line contains invalid characters|banner exchange: [^\r\n]*: invalid format"
        r"|Bad remote protocol version identification",
        "no SSH server answers at this address",
        "check `host` and `port`",
    ),
    (
        r"Load key .*(incorrect passphrase|passphrase)|read_passphrase",
        "the SSH key has a passphrase",
        "load it into ssh-agent, or use a key without one for unattended work",
    ),
    (
        r"^Permissions (?P<mode>0\d+) for '(?P<key>[^'\r\n]+)' are too open" + _THEN_DENIED,
        "others may read the key file {key} (mode {mode}), so ssh does not use it",
        "`chmod 600 {key}`",
    ),
    (
        r"^Warning: Identity file (?P<key>[^\r\n]+) not accessible: (?P<what>[^\r\n]+?)\.?\r?$"
        + _THEN_DENIED,
        "the key file {key} cannot be read: {what}",
        "check `key-file`, and that the user that runs asynchy may read it",
    ),
    (
        rf'^Load key "(?P<key>[^"\r\n]+)": (?P<what>{_UNREADABLE})\r?$' + _THEN_DENIED,
        "the key file {key} cannot be read: {what}",
        "check `key-file`, and that the user that runs asynchy may read it",
    ),
    (
        r'^Load key "(?P<key>[^"\r\n]+\.pub)": [^\r\n]+' + _THEN_DENIED,
        "the key file {key} is the public key, and no agent has the private one",
        "name the private key with `key-file`: the same name without .pub",
    ),
    (
        r'^Load key "(?P<key>[^"\r\n]+)": (?P<what>[^\r\n]+)' + _THEN_DENIED,
        "ssh cannot use the key file {key}: {what}",
        "it is damaged, or its line ends are (those of Windows, or none at its end): "
        "`ssh-keygen -y -f {key}` must print the public key; copy the file again",
    ),
    (
        r"Too many authentication failures",
        "the server refused too many keys one after the other",
        "name the right one with `key-file`: then no other is offered",
    ),
    (
        r"Permission denied \((?![^)]*publickey)[a-z][^)]*\)",
        "the server asks for a password or a code, with the key or in its place",
        "ask the facility for a login with a key alone: nobody is there to answer",
    ),
    (
        r"Permission denied \(.*(publickey|password|keyboard)",
        "the server refused the SSH key",
        "check `user` and `key-file`, and that the facility knows the public key",
    ),
    (
        r"Could not resolve hostname",
        "the server's name cannot be resolved",
        "check `host`, and this machine's DNS",
    ),
    (r"Connection refused", "the server refused the connection", "check `host` and `port`"),
    (
        r"exec request failed on channel",
        "the server runs no commands for us, it offers SFTP alone",
        "`engine: sftp` or `auto`, without what needs rsync: `symlinks`, `special-files`, "
        "`compare: checksum`",
    ),
    (
        r"Disk quota exceeded \(122\)",
        "the quota at the destination is used up (EDQUOT)",
        "free space or raise the quota of the project; it is tried again in the next run",
    ),
    (
        r"No space left on device \(28\)",
        "the destination is full (ENOSPC)",
        "free space or inodes; it is tried again in the next run",
    ),
    (
        r"mkstemp.*Invalid cross-device link \(18\)",
        "no file can be moved into its folder, which is of another file system, or of another "
        "branch of a mergerfs (EXDEV)",
        "let one file system hold the copy; mergerfs: another policy for `create`",
    ),
    (
        r"mkstemp.*(Invalid argument \(22\)|multibyte or wide character \(84\))",
        "the file system at home refuses its name",
        "ask the facility for another name, or use a file system that takes it",
    ),
    (
        r"mkstemp.*File too large \(27\)",
        "it is larger than a file at home may be (EFBIG)",
        "use a file system that takes it (FAT holds 4 GiB), or lift the limit (`ulimit -f`)",
    ),
    (
        r"(mkstemp|\[(generator|receiver)\]).*Input/output error \(5\)",
        "the file system at home has an input/output error (EIO)",
        "look at `dmesg` and at the disk or file server; it is tried again in the next run",
    ),
    (
        r"(mkstemp|\[(generator|receiver)\]).*Stale file handle \(116\)",
        "the file server of the destination does not know it any more (ESTALE)",
        "have it mounted again; it is tried again in the next run",
    ),
    (
        r"Read-only file system \(30\)",
        "the destination is mounted read-only (EROFS)",
        "have it mounted for writing; it is tried again in the next run",
    ),
    (
        ABSENT.pattern,
        "there is no such folder at the facility",
        "check `source-path` and `beamline`; the data may be gone or not there yet",
    ),
    (
        r"\[(Receiver|generator|receiver)\] .*Permission denied \(13\)"
        r"|(mkstemp|mkdir|recv_generator|rename).*Permission denied \(13\)",
        "no permission to write at the destination (EACCES)",
        "make the project folder writable for the user that runs asynchy",
    ),
    (
        r"Permission denied \(13\)",
        "some of it may not be read at the facility (EACCES)",
        "ask the facility to open it to the user",
    ),
    (
        r"Connection (to \S+ )?(timed out|closed|reset)|No route to host|Network is unreachable"
        r"|client_loop: |Timeout, server .* not responding|Operation timed out",
        "the connection to the server was lost",
        "it is tried again in the next run",
    ),
    (
        r"unsafe pathname from sender|rejecting (unrequested|excluded) file-list name",
        "the server's rsync sent a name that leads out of the experiment",
        "it is faulty or malicious: report it to the facility",
    ),
    (
        r"protocol version mismatch|is your shell clean",
        "something other than rsync answered",
        "the server may offer SFTP alone (`engine: sftp` or `auto`), or its login shell print "
        "text: `ssh USER@HOST rsync --version` shows what it offers",
    ),
)


@dataclass(frozen=True)
class Explanation:
    """Why something failed, and what to do about it."""

    reason: str
    hint: str | None
    kind: type[ListingError] | None = None
    """The class of the error; None: the class that the caller raises for its operation."""

    @property
    def distrust(self) -> bool:
        """Whether it may be another server: nothing is tried again until a person has looked."""
        return self.kind is HostKeyRefused

    def as_error(self, kind: type[ListingError]) -> ListingError:
        """An error of this kind, unless it is one of its own."""
        return (self.kind or kind)(self.reason, hint=self.hint)


def cause(message: str, code: int | None = None) -> Explanation | None:
    """The cause that rsync, ssh or the system name in a message; None if it is unknown.

    An error of the system is expected in rsync's form: `No space left on device (28)`. `code`: the
    exit code of ssh, or of the rsync that ran it; None: there was no such command. Only ssh itself
    (255) reports on host keys: text from a shell at the other end is ignored.
    """
    is_of_ssh = code in (None, SSH_FAILED)
    kinds = (
        (None, _BEFORE_THE_SERVER if is_of_ssh else ()),
        (HostKeyRefused, _HOST_KEYS if is_of_ssh else ()),
        (ServerBusy, _BUSY),
        (None, _CAUSES),
    )
    for kind, causes in kinds:
        for pattern, reason, hint in causes:
            if (match := re.search(pattern, message, re.MULTILINE)) is not None:
                found = {name: escaped(word) for name, word in match.groupdict().items() if word}
                quoted = {name: shlex.quote(word) for name, word in found.items()}
                filled = hint.format_map(_UNKNOWN | quoted) if kind or found else hint
                return Explanation(reason.format_map(found), filled, kind)
    return None


def without_origin(message: str) -> str:
    """A message of ssh, without the position in its source that some lines begin with."""
    return re.sub(_ORIGIN, "", message, flags=re.MULTILINE)


def refuses_commands(message: str) -> bool:
    """Whether the server runs no command for us: SFTP is all that it offers."""
    return "exec request failed on channel" in message
