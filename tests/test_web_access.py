"""Who may enter the page: this machine's user, who has the token."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from web import Served, serving

from miripool import Home
from miripool.web.access import Access
from miripool.web.serving import redirect_file


def test_without_the_token(shown: Served) -> None:
    for path in ("", "api/pools", "api/session", "files/jpl8/0.fits", "static/app.js", "api/openapi.json", "nothing"):
        answer = shown.ask(path, token=False)
        assert answer.status == 401, path
        assert "open the address that miripool printed" in answer.error
        assert shown.token.encode() not in answer.body


@pytest.mark.parametrize("wrong", ["", "x", "é", "\x00", "a" * 10_000])
def test_a_wrong_token(shown: Served, wrong: str) -> None:
    query = urllib.parse.urlencode({"token": wrong})
    assert shown.ask(f"api/pools?{query}", token=False).status == 401
    assert shown.ask(f"?{query}", token=False).status == 401
    header = {"Cookie": f"miripool-{shown.port}={'x' * 43}"}
    assert shown.ask("api/pools", token=False, headers=header).status == 401


def test_the_token_as_a_password(shown: Served) -> None:
    """For files only, whose programs can't send anything else."""
    header = {"Authorization": "Basic " + base64.b64encode(f"any: one:{shown.token}".encode()).decode()}
    password = {"Authorization": "Basic " + base64.b64encode(f"anyone:{shown.token}".encode()).decode()}
    for sent in ({}, header, {"Authorization": "Basic é"}, {"Authorization": "Basic " + shown.token}):
        answer = shown.ask("dav/jpl8/", token=False, headers=sent)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="miripool"')
    answer = shown.ask("dav/jpl8/", token=False, headers=password)
    assert (answer.status, "start `miripool serve` with --dav" in answer.error) == (404, True)
    answer = shown.ask("api/pools", token=False, headers=password)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, None)


def test_the_token_is_answered_by_a_cookie(shown: Served) -> None:
    query = {"token": shown.token, "pool": "jpl8", "where": "a == 'b&c'"}
    answer = shown.ask("?" + urllib.parse.urlencode(query), token=False)
    assert answer.status == 303
    address, _, key = answer.headers["location"].partition("#key=")
    assert address == "./?pool=jpl8&where=a+%3D%3D+%27b%26c%27"
    assert re.fullmatch("[0-9a-f]{48}", key)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"miripool-{shown.port}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert shown.token not in cookie
    held = {"Cookie": "other=1; " + cookie.partition(";")[0]}
    assert shown.ask("", token=False, headers=held).status == 200
    assert shown.ask("api/pools", token=False, headers=held).status == 200
    post = shown.ask("api/pools/jpl8/tag", method="POST", token=False, headers=held, body=b"{}")
    assert post.status == 403  # the cookie alone changes nothing
    assert "the page's own token" in post.error
    # A cookie goes to all ports of the machine: it must not lead to the token for changes.
    assert key not in shown.ask("api/session", token=False, headers=held).body.decode()
    written = shown.ask(
        "api/pools/jpl8/tag", method="POST", token=False, headers={**held, "X-Miripool-Token": key}, body=b"{}"
    )
    assert written.status == 400  # let in


def test_programs_give_the_token_as_parameter_or_header(shown: Served) -> None:
    with urllib.request.urlopen(f"{shown.base}api/pools?token={shown.token}") as answer:
        assert [pool["name"] for pool in json.load(answer)] == ["jpl8", "other one"]
    assert shown.ask("api/pools").status == 200


def test_a_token_as_parameter_changes_nothing(shown: Served) -> None:
    answer = shown.ask(f"api/pools/jpl8/tag?token={shown.token}", method="POST", token=False, body=b"{}")
    assert answer.status == 403


@pytest.mark.parametrize(
    "host", ["example.org", "evil.127.0.0.1.nip.io", "127.0.0.1", "localhost:1", "[::1", "127.0.0.1:80:80", "", "é"]
)
def test_a_forged_host(shown: Served, host: str) -> None:
    answer = shown.ask("api/pools", headers={"Host": host})
    assert answer.status in (400, 403)  # uvicorn itself refuses what is no host at all


def test_two_hosts(shown: Served) -> None:
    with socket.create_connection(("127.0.0.1", shown.port)) as line:
        line.sendall(
            f"GET /api/pools HTTP/1.1\r\nHost: 127.0.0.1:{shown.port}\r\nHost: example.org\r\n"
            f"Authorization: Bearer {shown.token}\r\nConnection: close\r\n\r\n".encode()
        )
        assert line.recv(100).split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "origin", ["http://example.org", "null", "https://127.0.0.1.example.org", "file://", "http://[::1", ""]
)
def test_a_forged_origin(shown: Served, origin: str) -> None:
    answer = shown.ask("api/pools", headers={"Origin": origin})
    assert answer.status == 403
    assert "are not answered" in answer.error


def test_headers_that_proxies_set_are_not_believed(shown: Served) -> None:
    forged = {"X-Forwarded-Host": "example.org", "Remote-User": "admin", "X-Forwarded-For": "1.2.3.4"}
    assert shown.ask("api/pools", headers=forged).status == 200
    assert shown.ask("api/pools", headers={"Host": "example.org", "X-Forwarded-Host": "127.0.0.1"}).status == 403
    assert shown.ask("api/pools", token=False, headers={"Remote-User": "root"}).status == 401


def test_headers_of_every_answer(shown: Served) -> None:
    for path in ("", "api/pools", "static/app.js", "nothing", "api/pools/none/products"):
        headers = shown.ask(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_names_of_proxies(shown_home: Home, tmp_path: Path) -> None:
    options = ("--allow-host", "Hub.example.org", "--no-open", "--port", "0")
    with serving(tmp_path, "browse", *options, home=shown_home.path) as served:
        for host in ("hub.example.org", "hub.example.org:8888", f"127.0.0.1:{served.port}"):
            assert served.ask("api/pools", headers={"Host": host, "Origin": f"https://{host}"}).status == 200
        assert served.ask("api/pools", headers={"Host": "other.example.org"}).status == 403


def test_serve_reads_only(shown_home: Home, tmp_path: Path) -> None:
    with serving(tmp_path, "serve", home=shown_home.path) as served:
        assert served.get("api/session")["write"] is False
        answer = served.post("api/pools/jpl8/tag", {"label": "x", "serials": [0]})
        assert answer.status == 403
        assert "--write" in answer.error
        for method in ("PUT", "DELETE", "PATCH"):
            assert served.ask("api/pools/jpl8/tag", method=method).status == 403


def test_the_token_is_nowhere_to_be_read(shown: Served) -> None:
    shown.ask(f"api/pools/none/products?token={shown.token}")
    words = Path(f"/proc/{shown.process.pid}/cmdline")
    if words.exists():
        assert shown.token not in words.read_text()
    assert shown.token not in shown.log()


def test_only_this_machine_is_listened_to(shown: Served) -> None:
    import psutil

    listening = [c.laddr.ip for c in psutil.Process(shown.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_the_page_that_leads_there(tmp_path: Path) -> None:
    access = Access(4711, write=True)
    file = redirect_file(access.url_of("a & b"), tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"token={access.token}&amp;pool=a+%26+b" in file.read_text()
    assert access.token not in repr(access)


def test_a_port_that_is_used(shown: Served, shown_home: Home) -> None:
    command = [sys.executable, "-m", "miripool", "--home", str(shown_home.path), "serve", "--port", str(shown.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (20, "")
    assert "is used already; choose another with --port" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [(("none",), 11), (("--port", "70000"), 30), (("--port", "-1"), 30)])
def test_what_can_not_be_served(shown_home: Home, arguments: tuple[str, ...], code: int) -> None:
    command = [sys.executable, "-m", "miripool", "--home", str(shown_home.path), "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("miripool: ")


def test_a_server_on_the_port_of_http() -> None:
    access = Access(80, write=False)
    assert access.is_own_host("127.0.0.1")
    assert access.is_own_host("localhost:80")
    assert not Access(8080, write=False).is_own_host("127.0.0.1")


def test_ctrl_c_ends_it(shown_home: Home, tmp_path: Path) -> None:
    with serving(tmp_path, "browse", "--no-open", home=shown_home.path) as served:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]{48}", served.url)
        os.kill(served.process.pid, signal.SIGINT)
        assert served.process.wait(20) in (0, 130)
        assert "Traceback" not in served.log()


def test_from_a_session(shown_home: Home) -> None:
    with shown_home.pool("jpl8") as pool, pool.browse(open_browser=False) as page:
        with urllib.request.urlopen(page.url.replace("/?", "/api/session?")) as answer:
            assert json.load(answer)["pools"] == ["jpl8", "other one"]
        assert page.url.partition("?")[0] in page._repr_html_()
        process = page._process
    assert process.wait(20) is not None
    with shown_home.pool("jpl8") as pool, pytest.raises(Exception, match="there is no port 99999"):
        pool.browse(port=99999)


def test_without_the_extra(shown_home: Home) -> None:
    code = "import sys; sys.modules['fastapi'] = None; from miripool.cli import main; sys.exit(main())"
    for command in (["browse"], ["serve"], ["demo", "--browse"]):
        argv = [sys.executable, "-c", code, "--home", str(shown_home.path), *command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (30, ""), done.stderr
        assert "pip install 'miripool[web]'" in done.stderr
