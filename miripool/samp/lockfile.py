"""The lock file of SAMP: it says where the hub of a user is, and holds the secret that lets programs in.

The place and the form are those of the standard profile, SAMP 1.3, section 4.3
(https://www.ivoa.net/documents/SAMP/): ``$SAMP_HUB``, or ``.samp`` in the user's home.
"""

from __future__ import annotations

import errno
import http.client
import os
import secrets
import stat
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ..errors import FormatError, InvalidInput, ProgramError, ReadOnly
from ..system.files import kind_of
from ..system.oserrors import storage_error
from .transport import PatientTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HubAddress", "answers", "lock_path", "publish_lock", "read_lock", "running_hub"]

_PREFIX = "std-lockurl:"
_URL, _SECRET = "samp.hub.xmlrpc.url", "samp.secret"
_MOST = 1 << 16
"""Bytes of a lock file that are read; hubs write some 300."""
_PING_SECONDS = 5.0
_WRITING_SECONDS = 1.0
"""To wait for a hub that writes its lock file at this moment."""
_OTHER_PLACE = (
    "it must be your own: remove it if the hub is gone, or choose another with SAMP_HUB=std-lockurl:file:///path"
)


@dataclass(frozen=True, slots=True)
class HubAddress:
    """What a lock file says.

    Attributes
    ----------
    url : str
        Where the hub answers XML-RPC.
    secret : str
        Lets a program register.
    path : pathlib.Path
        The lock file.
    """

    url: str
    secret: str
    path: Path

    @property
    def parameters(self) -> dict[str, str]:
        """The lines of the file that a client needs."""
        return {_URL: self.url, _SECRET: self.secret}


def lock_path() -> Path:
    """Give the place of the lock file, whether it is there or not.

    Returns
    -------
    pathlib.Path
        ``$SAMP_HUB`` if that is set, else ``~/.samp``.

    Raises
    ------
    InvalidInput
        If ``$SAMP_HUB`` names no local file.
    """
    named = os.environ.get("SAMP_HUB")
    if not named:
        return Path.home() / ".samp"
    url = urlsplit(named.removeprefix(_PREFIX))
    if not named.startswith(_PREFIX) or url.scheme != "file" or url.netloc not in {"", "localhost"}:
        raise InvalidInput(
            f"SAMP_HUB is {named!r}; miripool can use {_PREFIX}file:///path only. Correct or unset the variable"
        )
    return Path(unquote(url.path))


def read_lock(path: Path) -> HubAddress | None:
    """Read a lock file.

    Parameters
    ----------
    path : pathlib.Path
        From `lock_path`.

    Returns
    -------
    HubAddress or None
        None if there is no file, or an unfinished one.

    Raises
    ------
    ReadOnly
        If it belongs to another user, or can't be read.
    FormatError
        If it is something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM}:
            raise storage_error(error, path) from error
        raise ReadOnly(f"the SAMP lock file {path} can't be read by this user; {_OTHER_PLACE}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FormatError(f"{path} should be a SAMP lock file and is {kind_of(status.st_mode)}; move it away")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_uid != os.geteuid():
            raise ReadOnly(f"the SAMP lock file {path} belongs to another user (uid {status.st_uid}); {_OTHER_PLACE}")
        lines = file.read(_MOST).decode("utf-8", "replace").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    found = {key.strip(): value.strip().replace("\\", "") for key, value in values.items()}
    if not found.get(_URL) or not found.get(_SECRET):
        return None
    return HubAddress(found[_URL], found[_SECRET], path)


def answers(address: HubAddress) -> bool:
    """Ask a hub whether it is there.

    Parameters
    ----------
    address : HubAddress
        From its lock file.

    Returns
    -------
    bool
        False if nothing listens there, or something else does: the lock file is a dead hub's.

    Raises
    ------
    ProgramError
        If it takes the question and gives no answer in time.
    """
    transport = PatientTransport(_PING_SECONDS)
    try:
        xmlrpc.client.ServerProxy(address.url, transport=transport).samp.hub.ping()
    except TimeoutError:
        raise ProgramError(
            f"the SAMP hub at {address.url} does not answer; end the program that runs it, or remove {address.path}"
        ) from None
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return False
    except (ValueError, OverflowError):  # it is no address, e.g. http://[ or one with port 99999
        return False
    finally:
        transport.close()
    return True


def running_hub() -> HubAddress | None:
    """Find the user's hub.

    Returns
    -------
    HubAddress or None
        None if there is none, or only the lock file of one that is gone.

    Raises
    ------
    InvalidInput, ReadOnly, FormatError, ProgramError
        As `lock_path`, `read_lock` and `answers` do.
    """
    path = lock_path()
    until = time.monotonic() + _WRITING_SECONDS
    while (address := read_lock(path)) is None:
        if not path.exists() or time.monotonic() > until:
            return None
        time.sleep(0.02)
    return address if answers(address) else None


def publish_lock(path: Path, values: Mapping[str, str]) -> None:
    """Write a lock file, readable by the user alone. It is there as a whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        From `lock_path`; a file of that name is replaced.
    values : mapping of str to str
        Its lines.

    Raises
    ------
    StorageError, ReadOnly
        If it can't be written.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"# SAMP lock file, written by miripool\n{text}")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
