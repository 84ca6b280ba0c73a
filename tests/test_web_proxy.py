"""The page behind a proxy that puts a prefix before all addresses, as jupyter-server-proxy does."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_web_page import Page, rows
from web import serving

from miripool import Home

PREFIX = "/user/ana/proxy/8766"


@contextlib.contextmanager
def proxy() -> Iterator[tuple[int, list[int]]]:
    """Pass requests below the prefix on, without it, and with the name that the browser used; gives port and target."""
    target: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self.path.startswith(PREFIX + "/"):
                self.send_error(404)
                return
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length) if length else None
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", target[0])) as line:
                line.request(self.command, self.path.removeprefix(PREFIX), body, dict(self.headers))
                answer = line.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], target
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_behind_a_prefix(browser: Any, shown_home: Home, tmp_path: Path) -> None:
    with proxy() as (port, target):
        name = f"127.0.0.1:{port}"
        options = ("browse", "jpl8", "--no-open", "--allow-host", name)
        with serving(tmp_path, *options, home=shown_home.path) as served:
            target.append(served.port)
            behind = type(served)(
                f"http://{name}{PREFIX}/?{served.url.partition('?')[2]}", served.process, served.words
            )
            page = Page(browser.new_page(), behind)
            page.wait()
            tab = page.tab
            assert tab.url.startswith(f"http://{name}{PREFIX}/")
            assert "token" not in tab.url
            assert "dark_20" in rows(tab)
            tab.locator("tbody input[type=checkbox]").first.check()
            tab.get_by_role("button", name="Actions on 1").click()
            tab.get_by_role("menuitem", name="Tag …", exact=True).click()
            tab.get_by_role("combobox", name="Tag").fill("by a proxy")
            tab.get_by_role("button", name="Tag", exact=True).click()
            tab.get_by_text("newly marks 1 version").wait_for()
            tab.get_by_role("button", name="Undo").click()
            tab.get_by_text("Undone").wait_for()
            tab.locator("td.name a", has_text="dark_20").click()
            page.wait()
            assert "dark_20" in tab.locator("h1").inner_text()
            page.check()
            tab.close()
