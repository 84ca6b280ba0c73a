"""The page and the programs of the desktop: what it sends to them by SAMP, and what it shows when they point at it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from desktop import drip, hub_process, lonely_hub, running, screen, strange_server, wait_for
from test_web_page import Page, serials
from web import Served, serving

from miripool import Home
from miripool.errors import ProgramError
from miripool.samp import connect
from miripool.samp.ds9 import ask

pytest.importorskip("pyvo.samp", reason="the extra samp is not installed")

POOL = "api/pools/jpl8"


@pytest.fixture(scope="module")
def lock_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The place of a hub for these tests alone, for this process and all that it starts."""
    path = tmp_path_factory.mktemp("samp") / "lock"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMP_HUB", f"std-lockurl:file://{path}")
        yield path


@contextlib.contextmanager
def hub_at(path: Path) -> Iterator[Any]:
    """Run another's hub."""
    from pyvo.samp import SAMPHubServer, conf

    conf.use_internet = False
    made = SAMPHubServer(addr="127.0.0.1", web_profile=False, lockfile=str(path))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def hub(lock_file: Path) -> Iterator[Any]:
    """A running hub."""
    with hub_at(lock_file) as made:
        yield made


@pytest.fixture(scope="module")
def desktop(shown_home: Home, hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose pages send."""
    with serving(tmp_path_factory.mktemp("server"), "browse", "jpl8", "--no-open", home=shown_home.path) as served:
        yield served


@dataclass(slots=True)
class Program:
    """A program that listens, and says what it got."""

    client: Any
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def point(self, mtype: str, **parameters: Any) -> None:
        self.client.enotify_all(mtype, **parameters)


@contextlib.contextmanager
def listening(name: str, *mtypes: str, answers: bool = True) -> Iterator[Program]:
    """Start a program."""
    from pyvo.samp import SAMPIntegratedClient

    client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
    client.connect()
    program = Program(client)

    def take(_key: str, _sender: str, number: str | None, mtype: str, values: dict[str, Any], _more: Any) -> None:
        program.got.append((mtype, values))
        if number is not None and answers:
            client.ereply(number, "samp.ok", result={})

    for mtype in mtypes:
        client.bind_receive_message(mtype, take)
    try:
        yield program
    finally:
        client.disconnect()


def names_at(program: Program) -> list[str]:
    """List who is at the hub."""
    return [program.client.get_metadata(one).get("samp.name", "") for one in program.client.get_registered_clients()]


IMAGES, TABLES = "image.load.fits", "table.load.votable"


def dark(served: Served, number: int) -> int:
    (row,) = served.get(f"{POOL}/products", where=f"name == 'dark_{number:02d}'")["rows"]
    return int(row["urn"].rpartition(":")[2])


def table_of(values: dict[str, Any]) -> Any:
    """Read the table that a program got."""
    from astropy.table import Table

    return Table.read(values["url"].removeprefix("file://"), format="votable")


@pytest.fixture
def page(browser: Any, desktop: Served) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    made = Page(context.new_page(), desktop)
    yield made
    context.close()
    made.check()


# The server


def test_who_listens(desktop: Served) -> None:
    assert desktop.get("api/session")["samp"]["available"]
    with listening("SAOImageDS9", IMAGES), listening("topcat", TABLES), listening("a mail reader", "mail.read"):
        assert desktop.post("api/samp/connect", {}).status == 200
        told = desktop.get("api/samp")["clients"]
    assert [(one["name"], one["images"], one["tables"]) for one in told] == [
        ("DS9", True, False),
        ("TOPCAT", False, True),
    ]


def test_an_image_is_the_extension(desktop: Served) -> None:
    with listening("SAOImageDS9", IMAGES) as ds9:
        answer = desktop.post(f"{POOL}/send/images", {"to": "ds9", "serials": serials(desktop), "dataset": "GROUPDQ"})
        assert (answer.status, answer.json) == (200, {"client": "DS9", "sent": 2, "total": 2})
        files = [Path(values["url"].removeprefix("file://")).read_bytes() for _, values in ds9.got]
    expected = [desktop.ask(f"files/jpl8/{serial}/GROUPDQ.fits").body for serial in serials(desktop)]
    assert files == expected


def test_tables(desktop: Served) -> None:
    chosen = [dark(desktop, number) for number in (3, 1)]
    asked: dict[str, dict[str, Any]] = {
        "versions": {"serials": chosen},
        "list": {"where": "name like 'dark_0*'", "order": "name", "columns": ["name", "NGROUPS"]},
        "pixels": {"condition": "rate > 100", "where": "name like 'jw*'"},
        "pixel": {"x": 41, "y": 809},
    }
    with listening("topcat", TABLES) as topcat:
        for what, body in asked.items():
            answer = desktop.post(f"{POOL}/send/{what}", {"to": "topcat", **body})
            assert answer.status == 200, answer.body
            assert answer.json["client"] == "TOPCAT"
            assert answer.json["sent"] == len(table_of(topcat.got[-1][1])) > 0
        versions, listed, pixels, pixel = (table_of(values) for _, values in topcat.got)
    assert [int(urn.rpartition(":")[2]) for urn in versions["urn"]] == chosen
    assert list(listed["name"]) == [f"dark_{number:02d}" for number in range(1, 10)]
    assert listed.colnames == ["urn", "name", "NGROUPS"]
    found = desktop.get(f"{POOL}/pixels", condition="rate > 100", where="name like 'jw*'", limit=5000)["rows"]
    assert [(row["x"], row["y"]) for row in pixels] == [(row["x"], row["y"]) for row in found]
    assert len(pixel) == len(desktop.get(f"{POOL}/pixel", x=41, y=809))


def test_tables_to_all(desktop: Served) -> None:
    chosen = [dark(desktop, number) for number in (1, 2, 3)]
    with listening("topcat", TABLES) as topcat, listening("Aladin", TABLES) as aladin:
        for what, body in {"versions": {"serials": chosen}, "list": {"where": "name like 'dark_0*'"}}.items():
            answer = desktop.post(f"{POOL}/send/{what}", {"to": "all", **body})
            assert answer.status == 200, answer.body
            rows = len(table_of(topcat.got[-1][1]))
            assert answer.json == {"client": "Aladin", "sent": rows, "total": rows}
        assert topcat.got == aladin.got
        assert len(topcat.got) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("images", {"to": "ds9", "serials": [999999]}, 404, "999999"),
        ("images", {"to": "ds9", "serials": [0], "dataset": "NONE"}, 404, "NONE"),
        ("images", {"to": "ds9", "serials": []}, 400, "serials"),
        ("images", {"to": "ds9", "serials": [0], "index": [0]}, 400, "index"),
        ("images", {"to": "", "serials": [0]}, 400, "to"),
        ("images", {"to": "aladin", "serials": [0]}, 404, "aladin"),
        ("versions", {"to": "ds9", "serials": [0]}, 404, "does not take tables"),
        ("list", {"to": "topcat", "where": "ngroups >>"}, 400, "column"),
        ("pixels", {"to": "topcat", "condition": "nonsense > 1"}, 400, "nonsense"),
        ("pixel", {"to": "topcat", "x": 5000, "y": 1}, 400, "5000"),
    ],
)
def test_what_can_not_be_sent(desktop: Served, path: str, body: dict[str, Any], status: int, words: str) -> None:
    with listening("SAOImageDS9", IMAGES) as ds9, listening("topcat", TABLES) as topcat:
        answer = desktop.post(f"{POOL}/send/{path}", body)
        assert answer.status == status, answer.body
        assert words in answer.error
        assert ds9.got == topcat.got == []


def test_a_sending_is_a_change(desktop: Served) -> None:
    welcome = desktop.ask(f"?token={desktop.token}", token=False)
    held = {"Cookie": welcome.headers["set-cookie"].partition(";")[0], "Content-Type": "application/json"}
    assert desktop.ask("api/samp", token=False, headers=held).status == 200
    for path in ("api/samp/connect", f"{POOL}/send/versions"):
        answer = desktop.ask(path, method="POST", token=False, headers=held, body=b"{}")
        assert answer.status == 403
        assert "the page's own token" in answer.error


@pytest.mark.slow
def test_a_server_for_others_sends_nothing(shown_home: Home, hub: Any, tmp_path: Path) -> None:
    with serving(tmp_path, "serve", "--write", home=shown_home.path) as served:
        assert served.get("api/session")["samp"] is None
        answers = [served.ask(path) for path in ("api/samp", "api/samp/events?since=0")]
        answers.append(served.post("api/samp/connect", {}))
        answers.append(served.post(f"{POOL}/send/versions", {"to": "topcat", "serials": [0]}))
        for answer in answers:
            assert answer.status == 403
            assert "miripool browse" in answer.error


def rows_sent(served: Served, program: Program, path: str, **body: Any) -> dict[str, str]:
    """Send a table; gives what messages about its rows say of it."""
    answer = served.post(f"{POOL}/send/{path}", {"to": "topcat", **body})
    assert answer.status == 200, answer.body
    values = program.got[-1][1]
    return {"table-id": values["table-id"], "url": values["url"]}


def test_events(desktop: Served) -> None:
    (old, new), pixel = serials(desktop), {"condition": "rate > 100", "where": "name like 'jw*'"}
    desktop.post("api/samp/connect", {})
    last = desktop.get("api/session")["samp"]["last"]
    with listening("topcat", TABLES) as topcat:
        versions = rows_sent(desktop, topcat, "versions", serials=[old, new])
        pixels = rows_sent(desktop, topcat, "pixels", **pixel)
        first = table_of(topcat.got[-1][1])[0]
        topcat.point("table.highlight.row", **{"table-id": "another's", "url": "file:///tmp/x.vot", "row": "0"})
        topcat.point("table.highlight.row", **versions, row="seven")
        topcat.point("table.highlight.row", **versions, row="99")
        topcat.point("table.highlight.row", **versions, row="1")
        events = desktop.get("api/samp/events", since=last, wait="true")["events"]
        assert [(one["client"], one["what"], one["pool"]) for one in events] == [("TOPCAT", "highlight", "jpl8")]
        assert events[0]["version"]["urn"] == f"urn:jpl8:Ramp:{new}"
        topcat.point("table.highlight.row", url=pixels["url"], row="0")
        events = desktop.get("api/samp/events", since=last + 1, wait="true")["events"]
        assert [(one["what"], one["x"], one["y"]) for one in events] == [("pixel", first["x"], first["y"])]
        assert events[0]["detector"] == "MIRIMAGE"
        topcat.point("table.select.rowList", **versions, **{"row-list": ["1", "0"]})
        events = desktop.get("api/samp/events", since=last + 2, wait="true")["events"]
        assert [(one["what"], one["serials"]) for one in events] == [("select", [new, old])]
    assert desktop.get("api/samp/events", since=last)["last"] == last + 3


@pytest.mark.slow
def test_messages_that_are_refused(desktop: Served) -> None:
    from pyvo.samp import SAMPProxyError

    desktop.post("api/samp/connect", {})
    last = desktop.get("api/session")["samp"]["last"]
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "versions", serials=[dark(desktop, 1), dark(desktop, 2)])

        def server() -> str:
            there = topcat.client.get_registered_clients()
            (found,) = [one for one in there if topcat.client.get_metadata(one).get("samp.name") == "miripool"]
            return str(found)

        def ask(mtype: str, **parameters: Any) -> Any:
            try:
                told = topcat.client.ecall_and_wait(server(), mtype, "30", **parameters)
            except SAMPProxyError:  # on a busy machine the server may have left and come back meanwhile
                told = topcat.client.ecall_and_wait(server(), mtype, "30", **parameters)
            return told.get("samp.error", {}).get("samp.errortxt")

        for row in (float("inf"), float("nan"), {"row": "1"}, "one"):
            assert "needs their numbers" in ask("table.highlight.row", **table, row=row)
        many = [str(number) for number in range(100_001)]
        assert "100,001 rows are too many" in ask("table.select.rowList", **table, **{"row-list": many})
        assert ask("table.highlight.row", url="http://[", row="0") is None  # it is about no table of ours
        assert ask("table.select.rowList", **table, **{"row-list": ["1", "0", "1"] * 40_000}) is None
    told = desktop.get("api/samp/events", since=last)["events"]
    assert [one["serials"] for one in told] == [[dark(desktop, 2), dark(desktop, 1)]]


# What goes wrong


def test_a_program_ends_while_it_receives(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", kind="Ramp")
    with listening("SAOImageDS9", IMAGES, answers=False) as ds9:
        menu_on(tab, "jw01033005001")
        choose(tab, "Send image to DS9")
        tab.get_by_text("Sending the image of Ramp").wait_for()
        wait_for(lambda: ds9.got)
    alarm = tab.locator(".notice.error")
    alarm.wait_for()
    assert "has ended while it was receiving; start it again" in alarm.inner_text()
    assert tab.get_by_text("Sending the image").count() == 0
    (fault,) = page.faults
    assert "status of 502" in fault
    page.faults.clear()


@pytest.mark.slow
def test_the_server_stops_while_a_page_waits(shown_home: Home, hub: Any, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served,
        ThreadPoolExecutor(30) as threads,
    ):
        served.post("api/samp/connect", {})
        waiting = [threads.submit(served.ask, "api/samp/events", since=0, wait="true") for _ in range(30)]
        assert served.get("api/pools")  # many that wait keep nobody from an answer
        assert not any(one.done() for one in waiting)
        served.process.terminate()
        for one in waiting:
            assert one.result(20).json == {"last": 0, "events": []}
        assert served.process.wait(20) is not None
        assert served.log() == "Ctrl-C ends the server\n"


@pytest.mark.slow
def test_the_server_stops_while_it_sends(shown_home: Home, hub: Any, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served,
        listening("SAOImageDS9", IMAGES, answers=False) as ds9,
        ThreadPoolExecutor() as threads,
    ):
        sending = threads.submit(served.post, f"{POOL}/send/images", {"to": "ds9", "serials": [0]})
        wait_for(lambda: ds9.got)
        served.process.terminate()
        assert served.process.wait(20) is not None
        assert sending.result(20).status == 502
        assert served.log() == "Ctrl-C ends the server\n"


@pytest.mark.slow
def test_an_address_that_drips_holds_nobody_up(shown_home: Home, tmp_path: Path) -> None:
    with (
        lonely_hub() as folder,
        strange_server(drip) as url,
        serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served,
        ThreadPoolExecutor(45) as threads,
    ):
        (folder / "samp").write_text(f"samp.hub.xmlrpc.url={url}\nsamp.secret=s\n")
        assert served.get("api/samp") == {"clients": []}
        asked = [threads.submit(served.get, "api/samp/events", since=0) for _ in range(45)]
        assert all(one.result(20)["events"] == [] for one in asked)
        answer = served.post("api/samp/connect", {})
        assert (answer.status, "does not answer; end the program that runs it" in answer.error) == (502, True)
        threads.submit(served.post, "api/samp/connect", {})
        assert served.get("api/pools")
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(20) is not None


@pytest.mark.slow
def test_a_hub_that_hangs_holds_nobody_up(shown_home: Home, tmp_path: Path) -> None:
    with (
        lonely_hub(),
        serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served,
        ThreadPoolExecutor(20) as threads,
    ):
        assert served.post("api/samp/connect", {}).status == 200
        process = hub_process()
        assert process is not None
        os.kill(process, signal.SIGSTOP)
        try:
            asked = [threads.submit(served.ask, "api/samp") for _ in range(20)]
            assert served.get("api/samp/events", since=0)["events"] == []
            assert {one.result(25).status for one in asked} == {502}  # 5 s for all of them, not one after the other
            served.process.send_signal(signal.SIGINT)
            assert served.process.wait(20) is not None
        finally:
            os.kill(process, signal.SIGCONT)


@pytest.mark.slow
def test_hubs_come_and_go(shown_home: Home, tmp_path: Path) -> None:
    """The page alone starts no hub; it finds the one that comes, and the next one."""
    with lonely_hub() as folder, serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served:
        last = served.get("api/session")["samp"]["last"]
        assert served.get("api/samp/events", since=last, wait="false")["events"] == []
        assert served.get("api/samp") == {"clients": []}
        assert not (folder / "samp").exists()
        for number in range(2):
            with hub_at(folder / "samp"), listening("topcat", TABLES) as topcat:
                wait_for(lambda: "miripool" in names_at(topcat))
                table = rows_sent(served, topcat, "versions", serials=[0])
                topcat.point("table.highlight.row", **table, row="0")
                found = served.get("api/samp/events", since=last + number, wait="true")["events"]
                assert [one["client"] for one in found] == ["TOPCAT"]
        assert served.post("api/samp/connect", {}).json == {"clients": []}
        assert hub_process() is not None  # our own, which lonely_hub ends
        assert served.log() == "Ctrl-C ends the server\n"


@pytest.mark.slow
def test_without_the_extra(shown_home: Home, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyvo'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served:
        answer = served.post(f"{POOL}/send/versions", {"to": "topcat", "serials": [0]})
        assert answer.status == 400
        assert "pip install 'miripool[samp]'" in answer.error
        page = Page(browser.new_page(), served)
        tab = page.open(pool="jpl8", kind="Ramp")
        menu_on(tab, "jw01033005001")
        entry = tab.get_by_role("menuitem", name="Send to DS9 or TOPCAT (needs pip install 'miripool[samp]')")
        assert entry.is_disabled()
        assert tab.get_by_role("button", name="Send to TOPCAT").is_disabled()
        tab.close()
        page.check()


# The page: sending


def menu_on(tab: Any, name: str) -> None:
    tab.locator("table.versions tbody tr", has_text=name).first.click(button="right")


def choose(tab: Any, entry: str) -> None:
    tab.get_by_role("menuitem", name=entry, exact=True).click()


def test_send_by_a_right_click(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", kind="Ramp")
    with listening("SAOImageDS9", IMAGES) as ds9, listening("topcat", TABLES) as topcat:
        menu_on(tab, "jw01033005001")
        choose(tab, "Send image to DS9")
        tab.get_by_text("DS9 has the image of Ramp/jw01033005001_03103_00001_mirimage version 1.").wait_for()
        menu_on(tab, "jw01033005001")
        choose(tab, "Send table to TOPCAT")
        tab.get_by_text(re.compile(r"TOPCAT has a table .*: 1 row\.")).wait_for()
    ((_, image),), ((_, table),) = ds9.got, topcat.got
    sent = Path(image["url"].removeprefix("file://")).read_bytes()
    assert sent == desktop.ask(f"files/jpl8/{serials(desktop)[1]}/SCI.fits").body
    assert list(table_of(table)["urn"]) == [f"urn:jpl8:Ramp:{serials(desktop)[1]}"]


def test_several_rows_by_keyboard(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", where="name like 'dark_0*'", order="name")
    with listening("SAOImageDS9", IMAGES) as ds9, listening("topcat", TABLES) as topcat:
        lines = tab.locator("table.versions tbody tr")
        for number in range(3):
            lines.nth(number).focus()
            tab.keyboard.press("Space")
        for entry, said in (("Send 3 images to DS9", "DS9 has"), ("Send table to TOPCAT", "TOPCAT has")):
            lines.nth(2).focus()
            tab.keyboard.press("Shift+F10")
            for _ in range(30):
                if tab.evaluate("document.activeElement.textContent") == entry:
                    break
                tab.keyboard.press("ArrowDown")
            tab.keyboard.press("Enter")
            tab.get_by_text(said).wait_for()
            assert tab.evaluate("document.activeElement.closest('tr')?.dataset.urn ?? null") is not None
    assert len(ds9.got) == 3
    (values,) = (values for _, values in topcat.got)
    assert list(table_of(values)["name"]) == ["dark_01", "dark_02", "dark_03"]


def test_the_whole_list(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", where="name like 'dark_*'", order="-name", limit=25, columns="name,NGROUPS")
    with listening("topcat", TABLES) as topcat:
        tab.get_by_role("button", name="Send to TOPCAT").click()
        tab.get_by_text("TOPCAT has the table: 20 rows.").wait_for()
    table = table_of(topcat.got[0][1])
    assert table.colnames == ["urn", "name", "NGROUPS"]
    assert list(table["name"]) == [f"dark_{number:02d}" for number in range(20, 0, -1)]


def test_the_dataset_of_an_image(page: Page, desktop: Served) -> None:
    serial = serials(desktop)[1]
    tab = page.open(pool="jpl8", view="image", serial=serial, dataset="GROUPDQ")
    with listening("SAOImageDS9", IMAGES) as ds9:
        tab.get_by_role("button", name="Send", exact=True).click()
        choose(tab, "Send GROUPDQ to DS9")
        tab.get_by_text("DS9 has the image of GROUPDQ of Ramp").wait_for()
        tab.locator("canvas.iv-canvas").first.click(button="right")
        tab.get_by_role("menuitem", name="Send GROUPDQ to DS9").wait_for()
        tab.keyboard.press("Escape")
    ((_, values),) = ds9.got
    sent = Path(values["url"].removeprefix("file://")).read_bytes()
    assert sent == desktop.ask(f"files/jpl8/{serial}/GROUPDQ.fits").body


@pytest.mark.slow
def test_pixels_and_a_history(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", view="pixel", x=41, y=809, condition="rate > 100", where="name like 'jw*'")
    with listening("topcat", TABLES) as topcat:
        for title, said in (("Pixels found", "the pixels found"), ("History", "the history of pixel x 41, y 809")):
            part = tab.locator("section.part", has=tab.get_by_role("heading", name=title, exact=True))
            part.get_by_role("button", name="Send to TOPCAT").click()
            tab.get_by_text(f"TOPCAT has {said}").wait_for()
        pixels, history = (table_of(values) for _, values in topcat.got)
    assert {"urn", "x", "y", "rate"} <= set(pixels.colnames)
    asked = {"x": 41, "y": 809, "where": "name like 'jw*'"}
    assert len(history) == len(desktop.get(f"{POOL}/pixel", **asked))


@pytest.mark.slow
def test_nobody_listens_yet(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", kind="Ramp")
    menu_on(tab, "jw01033005001")
    choose(tab, "Send image to DS9")
    told = tab.get_by_role("dialog")
    told.get_by_text("DS9 does not listen yet. Start it").wait_for()
    with listening("topcat", TABLES):
        told.get_by_text("These listen too, but take no images: TOPCAT.").wait_for()
        with listening("SAOImageDS9", IMAGES) as ds9:
            tab.get_by_text("DS9 has the image of Ramp").wait_for()
            assert tab.get_by_role("dialog").count() == 0
    assert len(ds9.got) == 1


def test_choose_a_program(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", kind="Ramp")
    with listening("Aladin", IMAGES, TABLES) as aladin, listening("topcat", TABLES):
        menu_on(tab, "jw01033005001")
        choose(tab, "Send to …")
        told = tab.get_by_role("dialog")
        told.get_by_text("take no images: TOPCAT").wait_for()
        told.get_by_label("a table with the row of").check()
        told.get_by_role("button", name="Send to TOPCAT").wait_for()
        told.get_by_label("the image of").check()
        told.get_by_role("button", name="Send to Aladin").click()
        tab.get_by_text("Aladin has the image").wait_for()
    assert [mtype for mtype, _ in aladin.got] == [IMAGES]


# The page: receiving


def marked(tab: Any) -> list[str]:
    names: list[str] = tab.locator("table.versions tr[aria-current=true] td.name").all_inner_texts()
    return names


def test_a_row_is_marked(page: Page, desktop: Served) -> None:
    chosen = [dark(desktop, number) for number in range(1, 21)]
    tab = page.open(pool="jpl8", where="name like 'dark_*'", order="name")
    tab.set_viewport_size({"width": 1280, "height": 500})
    tab.locator("#where").fill("half a thou")
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "versions", serials=chosen)
        topcat.point("table.highlight.row", **table, row="18")
        tab.locator("tr[aria-current=true]").wait_for()
        assert marked(tab) == ["dark_19"]
        line = tab.locator("tr[aria-current=true]").bounding_box()
        assert 0 <= line["y"] <= 500 - line["height"] + 1
        topcat.point("table.highlight.row", **table, row="2")
        tab.locator("tr[aria-current=true] td.name", has_text="dark_03").wait_for()
        assert marked(tab) == ["dark_03"]
    assert tab.evaluate("document.activeElement.id") == "where"
    assert tab.input_value("#where") == "half a thou"
    assert tab.locator(".notice").count() == 0


def test_a_tab_out_of_sight_catches_up(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", where="name like 'dark_*'", order="name")
    see = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    see += " document.dispatchEvent(new Event('visibilitychange')); }"
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "versions", serials=[dark(desktop, number) for number in (4, 5)])
        topcat.point("table.highlight.row", **table, row="0")
        tab.locator("tr[aria-current=true]", has_text="dark_04").wait_for()
        tab.evaluate(see, True)
        asked = []
        tab.on("request", lambda request: asked.append(request.url))
        topcat.point("table.highlight.row", **table, row="1")
        last = desktop.get("api/session")["samp"]["last"]
        desktop.get("api/samp/events", since=last - 1, wait="true")
        assert marked(tab) == ["dark_04"]
        assert [url for url in asked if "wait=true" in url] == []
        tab.evaluate(see, False)
        tab.locator("tr[aria-current=true]", has_text="dark_05").wait_for()


def test_a_row_that_is_not_in_the_table(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", kind="Ramp")
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "versions", serials=[dark(desktop, 4)])
        topcat.point("table.highlight.row", **table, row="0")
        notice = tab.locator(".notice", has_text="TOPCAT points at RateInts/dark_04 version 0.")
        notice.wait_for()
        notice.get_by_role("link", name="Open version page").click()
    page.wait()
    assert tab.locator("h1").inner_text().startswith("RateInts/dark_04")
    assert tab.locator(".notice").count() == 0


def test_rows_are_selected(page: Page, desktop: Served) -> None:
    chosen = [dark(desktop, number) for number in range(1, 21)]
    tab = page.open(pool="jpl8", where="name like 'dark_0*'", order="name")
    tab.locator("tbody input[type=checkbox]").nth(8).check()
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "versions", serials=chosen)
        topcat.point("table.select.rowList", **table, **{"row-list": ["1", "3", "11"]})
        notice = tab.locator(".notice", has_text="TOPCAT selected 3 versions, 1 of them not in this list.")
        notice.wait_for()
        ticked = tab.locator("tr[aria-selected=true] td.name").all_inner_texts()
        assert ticked == ["dark_02", "dark_04"]
        assert tab.get_by_role("button", name="Actions on 2").count() == 1
        notice.get_by_role("link", name="Show them").click()
        tab.get_by_text("3 rows").wait_for()


@pytest.mark.slow
def test_a_pixel_is_marked_in_the_image(page: Page, desktop: Served) -> None:
    (old, new) = serials(desktop, "RateInts")
    tab = page.open(pool="jpl8", view="image", serial=new)
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "pixels", condition="rate > 100", where="name like 'jw*'")
        first = table_of(topcat.got[-1][1])[0]
        topcat.point("table.highlight.row", **table, row="0")
        tab.get_by_role("heading", name=f"Pixel x {first['x']}, y {first['y']}").wait_for()
        tab.wait_for_url(re.compile(f"pixel={first['x']}%2C{first['y']}"))
        page.wait()
        assert tab.locator(".notice").count() == 0
        page.open(pool="jpl8", view="image", serial=old)
        topcat.point("table.highlight.row", **table, row="0")
        notice = tab.locator(".notice", has_text="TOPCAT points at pixel")
        notice.get_by_role("link", name="Open image").click()  # that of the version in the table
        tab.wait_for_url(re.compile(f"serial={new}"))
        page.wait()


@pytest.mark.slow
def test_a_pixel_is_shown_on_its_page(page: Page, desktop: Served) -> None:
    tab = page.open(pool="jpl8", view="pixel")
    with listening("topcat", TABLES) as topcat:
        table = rows_sent(desktop, topcat, "pixels", condition="rate > 100", where="name like 'jw*'")
        places = [(row["x"], row["y"]) for row in table_of(topcat.got[-1][1])]
        topcat.point("table.highlight.row", **table, row="0")
        tab.get_by_role("heading", name="Pixel x {}, y {} of jpl8".format(*places[0])).wait_for()
        page.wait()
        tab.get_by_label("Condition on versions").fill("half a thou")
        topcat.point("table.highlight.row", **table, row="1")
        notice = tab.locator(".notice", has_text="TOPCAT points at pixel x {}, y {}".format(*places[1]))
        notice.wait_for()
        assert tab.get_by_label("Condition on versions").input_value() == "half a thou"
        notice.get_by_role("link", name="Show the pixel").click()
        tab.get_by_role("heading", name="Pixel x {}, y {} of jpl8".format(*places[1])).wait_for()
        page.wait()


# Real programs


@pytest.mark.slow
def test_with_the_real_programs(shown_home: Home, browser: Any, tmp_path: Path) -> None:
    with (
        lonely_hub(),
        screen(),
        serving(tmp_path, "browse", "jpl8", "--no-open", home=shown_home.path) as served,
        running("ds9") as (_, ds9),
        running("topcat") as (_, topcat),
        connect("tests") as connection,
    ):
        page = Page(browser.new_page(), served)
        tab = page.open(pool="jpl8", kind="Ramp", all="1", order="version")
        tab.set_default_timeout(90_000)
        menu_on(tab, "jw01033005001")
        choose(tab, "Send image to DS9")
        tab.get_by_text("DS9 has the image of Ramp/jw01033005001_03103_00001_mirimage version 0.").wait_for()
        sent = Path(ask(connection, ds9, "file").partition("[")[0]).read_bytes()
        assert sent == served.ask(f"files/jpl8/{serials(served)[0]}/SCI.fits").body
        assert ask(connection, ds9, "fits size").split()[:2] == ["72", "64"]
        tab.get_by_label("Select all rows of this page").check()
        menu_on(tab, "jw01033005001")
        choose(tab, "Open both in DS9 (blink)")
        tab.get_by_text("DS9 shows the images of 2 versions.").wait_for()
        assert ask(connection, ds9, "blink") == "yes"
        assert len(ask(connection, ds9, "frame active").split()) == 2
        tab.get_by_label("Select all rows of this page").uncheck()
        menu_on(tab, "jw01033005001")
        choose(tab, "Send image to DS9")
        wait_for(lambda: ask(connection, ds9, "blink") == "no" and ask(connection, ds9, "scale mode") == "zscale")
        assert ask(connection, ds9, "lock scalelimits") == "no"
        tab.get_by_label("Select all rows of this page").check()
        menu_on(tab, "jw01033005001")
        choose(tab, "Send table to TOPCAT")
        tab.get_by_text("TOPCAT has a table of 2 versions: 2 rows.").wait_for()
        tables = (shown_home.path / "scratch" / "samp").glob("*/*.vot")
        table = max(tables, key=lambda path: path.stat().st_mtime_ns)
        there = {"table-id": table.stem, "url": f"file://{table}"}
        connection.call(topcat, "table.highlight.row", {**there, "row": "1"}, seconds=60)
        with pytest.raises(ProgramError, match="refused"):
            connection.call(topcat, "table.highlight.row", {"table-id": "another", "row": "1"}, seconds=60)
        tab.close()
        page.check()
