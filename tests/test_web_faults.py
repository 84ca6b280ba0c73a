"""What goes wrong around a page that is open: each gives a clear answer, and the server lives on."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from homes import empty_home, file_of
from postgresql import reachable_folder
from test_web_page import Page, rows
from web import Served, serving

from miripool import Home, Pool
from miripool.simulate import Calibration, SimulatedExposure

CLOSED_BY_THE_SERVER = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)

NAME = "it's <script>alert(1)<script> \" %2f 😀"


@pytest.fixture
def home_here(tmp_path: Path, database_url: str) -> Iterator[Home]:
    with empty_home(tmp_path / "home", database_url, "faults") as home:
        yield home


@pytest.fixture
def filled(home_here: Home, exposure: SimulatedExposure, tmp_path: Path) -> Iterator[Pool]:
    (tmp_path / "files").mkdir()
    paths = list(exposure.write_products(tmp_path / "files", Calibration("v1"), kinds=("ramp", "rateints")))
    with home_here.create("jpl8") as pool:
        for path in paths:
            pool.save(path)
        pool.save(paths[0], name=NAME, tag="a 'tag' <b> %2f 😀")
        yield pool


def blob_of(pool: Pool, urn: str, dataset: str) -> Path:
    return file_of(pool.ref(urn).product[dataset].source)


@pytest.mark.slow
def test_a_damaged_blob(filled: Pool, home_here: Home, browser: Any, tmp_path: Path) -> None:
    file = blob_of(filled, "urn:jpl8:RateInts:1", "SCI")
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(byte ^ 0xFF for byte in data[middle : middle + 200])
    file.chmod(0o644)
    file.write_bytes(data)
    with serving(tmp_path, "browse", "jpl8", "--no-open", home=home_here.path) as served:
        for path in ("api/pools/jpl8/products/1/frame?index=0", "files/jpl8/1/SCI.fits"):
            answer = served.ask(path)
            assert answer.status == 500
            assert answer.json["error"]["kind"] == "integrity"
            assert "restore" in answer.error
        page = Page(browser.new_page(), served)
        tab = page.open(pool="jpl8", view="image", serial=1)
        tab.locator("[role=alert]:visible").first.wait_for()
        assert "restore" in tab.locator("[role=alert]:visible").first.inner_text()
        page.open(pool="jpl8", view="image", serial=0)
        assert tab.locator("[role=alert]:visible").count() == 0
        assert "Traceback" not in served.log()
        tab.close()


@pytest.mark.slow
def test_a_blob_that_is_gone(filled: Pool, home_here: Home, tmp_path: Path) -> None:
    blob_of(filled, "urn:jpl8:RateInts:1", "SCI").unlink()
    with serving(tmp_path, "serve", home=home_here.path) as served:
        for path in (
            "api/pools/jpl8/products/1/frame?index=0",
            "api/pools/jpl8/products/1/thumbnail",
            "files/jpl8/1.fits",
        ):
            assert served.ask(path).status == 500
        assert served.ask("api/pools/jpl8/products/1").status == 200


@pytest.mark.slow
def test_names_of_all_kinds(filled: Pool, home_here: Home, browser: Any, tmp_path: Path) -> None:
    with serving(tmp_path, "browse", "--no-open", home=home_here.path) as served:
        page = Page(browser.new_page(), served)
        tab = page.open(pool="jpl8")
        assert NAME in rows(tab)
        tab.locator("tbody tr", has_text="😀").locator("td.name a").click()
        page.wait()
        assert NAME in tab.locator("h1").inner_text()
        tab.get_by_role("link", name="a 'tag' <b> %2f 😀").first.click()
        page.wait()
        assert rows(tab) == [NAME]
        page.check()
        tab.close()


@pytest.mark.slow
def test_fifty_thousand_keywords(home_here: Home, browser: Any, tmp_path: Path) -> None:
    about = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": 4, "NAXIS2": 4}  # astropy takes a minute for as many
    cards = [f"{key:<8}= {value:>20}" for key, value in about.items()]
    cards += [f"K{n:05d}  = {n:>20} / a card of many" for n in range(50_000)]
    header = "".join(card.ljust(80) for card in [*cards, "END"]).encode()
    (tmp_path / "many.fits").write_bytes(header + b" " * (-len(header) % 2880) + bytes(2880))
    with home_here.create("jpl8") as pool:
        pool.save(tmp_path / "many.fits")
    with serving(tmp_path, "browse", "jpl8", "--no-open", home=home_here.path) as served:
        page = Page(browser.new_page(), served)
        tab = page.open(pool="jpl8", view="version", serial=0)
        assert "the first 1000 are shown" in tab.locator(".keywords").inner_text()
        tab.get_by_label("Search keywords").fill("K49999")
        assert tab.locator(".keywords tbody tr").count() == 1
        page.check()
        tab.close()


def leave_in_the_middle(served: Served, path: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # the end comes as a reset
        head = f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\n\r\n"
        line.sendall(head.encode())
        line.recv(1000)


def test_a_reader_who_leaves(shown: Served) -> None:
    for path in ("files/jpl8/0.fits", "api/pools/jpl8/products", "static/app.js", ""):
        for _ in range(5):
            leave_in_the_middle(shown, path)
    with socket.create_connection(("127.0.0.1", shown.port)) as line:
        line.sendall(b"POST /api/pools/jpl8/tag HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert shown.ask("api/pools").status == 200
    assert "Traceback" not in shown.log()


def test_what_is_no_request(shown: Served) -> None:
    for sent in (
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 200_000,
        b"GET /%zz%ff HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", shown.port), timeout=10) as line:
            try:
                line.sendall(sent)
                line.shutdown(socket.SHUT_WR)
                answer = line.recv(100)
            except OSError as error:  # the server has closed the connection: refused, too
                if error.errno not in CLOSED_BY_THE_SERVER:
                    raise
                continue
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert shown.ask("api/pools").status == 200


@pytest.mark.slow
def test_the_database_stops_and_starts(exposure: SimulatedExposure, tmp_path: Path) -> None:
    """The embedded server is started again by the next question."""
    with reachable_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        home = Home(folder / "home")
        with home.create("jpl8") as pool:
            pool.save(exposure.write_uncal(tmp_path))
        with serving(tmp_path, "browse", "jpl8", "--no-open", home=home.path) as served:
            before = served.get("api/pools/jpl8/products")
            home.server.stop()
            assert served.get("api/pools/jpl8/products") == before
            home.server.stop()
            assert served.ask("api/pools/jpl8/products/0/view").status == 200
            for process in psutil.Process(served.process.pid).children():
                assert "postgres" not in process.name()
        home.server.remove()


@pytest.mark.slow
def test_a_pool_that_is_deleted_and_made_again(home_here: Home, exposure: SimulatedExposure, tmp_path: Path) -> None:
    path = exposure.write_uncal(tmp_path)
    with home_here.create("jpl8") as pool:
        pool.save(path)
    with serving(tmp_path, "browse", "jpl8", "--no-open", home=home_here.path) as served:
        assert served.get("api/pools/jpl8/products")["total"] == 1
        home_here.delete("jpl8")
        assert served.ask("api/pools/jpl8/products").status == 404
        home_here.create("jpl8").close()
        assert served.get("api/pools/jpl8/products")["total"] == 0
        assert "Traceback" not in served.log()


@pytest.mark.slow
def test_many_readers_and_a_writer(filled: Pool, home_here: Home, tmp_path: Path) -> None:
    paths = [
        "api/pools/jpl8/products",
        "api/pools/jpl8/facets",
        "api/pools/jpl8/products/0/frame?index=0,0",
        "files/jpl8/0.fits",
    ]
    wrong: list[object] = []
    with serving(tmp_path, "browse", "jpl8", "--no-open", home=home_here.path) as served:

        def read(number: int) -> None:
            for path in paths * 3:
                answer = served.ask(path)
                if answer.status != 200:
                    wrong.append((number, path, answer.status, answer.body[:200]))

        def write(number: int) -> None:
            for _ in range(5):
                answer = served.post("api/pools/jpl8/tag", {"label": f"tag {number}", "serials": [0, 1]})
                if answer.status != 200:
                    wrong.append((number, answer.status, answer.body[:200]))

        threads = [threading.Thread(target=read, args=[n]) for n in range(12)]
        threads += [threading.Thread(target=write, args=[n]) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    assert {tag.label for tag in filled.tags()} >= {"tag 0", "tag 1", "tag 2"}


def test_it_ends_while_somebody_reads(shown_home: Home, tmp_path: Path) -> None:
    with serving(tmp_path, "browse", "--no-open", home=shown_home.path) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as line:
            line.sendall(b"GET /api/pools HTTP/1.1\r\n")  # and no more: a reader who is slow
            time.sleep(0.2)
            os.kill(served.process.pid, signal.SIGTERM)
            served.process.wait(15)
        assert "Traceback" not in served.log()
