"""The hub of SAMP and messages by it: our own hub, its lock file, and receivers that answer, refuse, hang or die."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCServer

import pytest
from desktop import Receiver, drip, end, hub_process, lonely_hub, strange_server, wait_for

from miripool.errors import FormatError, InvalidInput, NotFound, ProgramError, ReadOnly
from miripool.samp import Client, Connection, clients, connect, find_listeners, send_image, send_table
from miripool.samp.answers import result_of
from miripool.samp.lockfile import HubAddress, answers, lock_path, publish_lock, read_lock, running_hub
from miripool.samp.messages import find_clients

pytest.importorskip("pyvo.samp", reason="the extra samp is not installed")

DS9 = Client("c1", "SAOImageDS9", ("ds9.get", "ds9.set", "image.load.fits", "table.load.votable"))
TOPCAT = Client("c2", "topcat", ("table.load.*",))
ALADIN = Client("c3", "Aladin", ("image.load.fits", "table.load.votable"))
PAGE = Client("c4", "miripool", ("table.highlight.row",))
SECOND = Client("c5", "SAOImageDS9", DS9.mtypes)


# Who is meant


def test_a_program_is_named_by_a_part_of_its_name() -> None:
    there = [DS9, TOPCAT, ALADIN, PAGE]
    for to in ("ds9", "DS9", "SAOImageDS9", "sao", "c1", " ds9 "):
        assert find_clients(there, to) == [DS9]
    assert find_clients(there, "top") == [TOPCAT]
    assert find_clients(there, "aladin", images=True, tables=False) == [ALADIN]
    assert find_clients([*there, SECOND], "ds9") == [SECOND]
    assert find_clients([*there, SECOND], "c1") == [DS9]


def test_all_are_those_that_take_it() -> None:
    there = [DS9, TOPCAT, ALADIN, PAGE]
    assert find_clients(there, "all") == [DS9, TOPCAT, ALADIN]
    assert find_clients(there, "ALL", tables=False) == [DS9, ALADIN]
    with pytest.raises(NotFound, match="no program that is connected takes images; connected: topcat"):
        find_clients([TOPCAT], "all", tables=False)


def test_words_when_nobody_is_meant() -> None:
    for there in ([], [PAGE]):
        with pytest.raises(NotFound, match=r"no program listens; start DS9 or TOPCAT .*miripool open.*Connect"):
            find_clients(there, "ds9")
    with pytest.raises(NotFound, match="no program called 'topcta' is connected; connected: Aladin, topcat"):
        find_clients([TOPCAT, ALADIN], "topcta")
    with pytest.raises(NotFound, match="no program called '' is connected"):
        find_clients([TOPCAT], "")
    with pytest.raises(NotFound, match="In a DS9 that runs already, choose File, SAMP, Connect"):
        find_clients([TOPCAT], "ds9")
    with pytest.raises(NotFound, match="In a TOPCAT that runs already, choose Interop, Register with Hub"):
        find_clients([DS9], "topcat")
    with pytest.raises(NotFound, match="topcat does not take images"):
        find_clients([TOPCAT, DS9], "topcat", tables=False)


@pytest.mark.parametrize(
    ("mtypes", "taken"),
    [
        (["*"], True),
        (["table.*"], True),
        (["table.load.votable"], True),
        (["table.load.fits", "tab*"], False),
        ([], False),
    ],
)
def test_subscriptions_have_wildcards(mtypes: list[str], taken: bool) -> None:
    assert Client("c", "x", tuple(mtypes)).takes_tables is taken


# The lock file


@pytest.fixture
def alone() -> Iterator[Path]:
    """A home without a hub."""
    with lonely_hub() as folder:
        yield folder


def write_lock(path: Path, url: str = "http://127.0.0.1:1", more: str = "") -> None:
    path.write_text(f"# comment=1\nsamp.secret=a=b\nsamp.hub.xmlrpc.url={url}\nsamp.profile.version=1.3\n{more}")


def test_the_place_of_the_lock_file(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lock_path() == alone / "samp"
    monkeypatch.setenv("SAMP_HUB", "std-lockurl:file:///a%20b/lock")
    assert lock_path() == Path("/a b/lock")
    monkeypatch.delenv("SAMP_HUB")
    assert lock_path() == alone / ".samp"
    for url in ("std-lockurl:http://127.0.0.1/lock", "/tmp/lock", "std-lockurl:file://elsewhere/lock"):
        monkeypatch.setenv("SAMP_HUB", url)
        with pytest.raises(InvalidInput, match=r"SAMP_HUB is .*std-lockurl:file:///path only"):
            lock_path()


def test_what_a_lock_file_says(alone: Path) -> None:
    path = lock_path()
    assert read_lock(path) is None
    write_lock(path, r"http\://127.0.0.1\:5000/xmlrpc")  # as Java writes properties
    assert read_lock(path) == HubAddress("http://127.0.0.1:5000/xmlrpc", "a=b", path)
    path.write_bytes(b"samp.secret=x\n\xff\xfe")
    assert read_lock(path) is None
    path.unlink()
    path.mkdir()
    with pytest.raises(FormatError, match="is a folder; move it away"):
        read_lock(path)


def test_a_lock_file_of_another_user_is_refused(alone: Path) -> None:
    path = lock_path()
    write_lock(path)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        words = r"samp belongs to another user \(uid 65534\); it must be your own"
    else:
        path.chmod(0)
        words = "samp can't be read by this user; it must be your own"
    for ask in (running_hub, clients):
        with pytest.raises(ReadOnly, match=words):
            ask()
    assert path.exists()


def test_a_lock_file_is_private_and_whole(alone: Path) -> None:
    path = lock_path()
    publish_lock(path, {"samp.secret": "s", "samp.hub.xmlrpc.url": "http://127.0.0.1:1"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_lock(path) == HubAddress("http://127.0.0.1:1", "s", path)
    assert [one.name for one in alone.iterdir()] == ["samp"]


def test_a_hub_that_is_gone_or_something_else(alone: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    assert not answers(HubAddress("http://127.0.0.1:1", "s", alone))
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # it answers 501
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    assert not answers(HubAddress(f"http://127.0.0.1:{server.server_port}", "s", alone))
    thread.join()
    server.server_close()


def answer_of(body: bytes, head: bytes = b"Content-Length: %d") -> bytes:
    filled = head % len(body) if b"%d" in head else head
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n" + filled + b"\r\n\r\n" + body


def value_of(text: str) -> bytes:
    return f"<methodResponse><params><param><value>{text}</value></param></params></methodResponse>".encode()


@pytest.mark.parametrize(
    "answer",
    [
        answer_of(value_of("<int>abc</int>")),
        answer_of(value_of("<base64>a</base64>")),
        answer_of(value_of("<struct><member><value>x</value></member></struct>")),
        answer_of(value_of("<array><data></value></array></data>")),
        answer_of(value_of("<nothing/>")),
        answer_of(b"<methodResponse><fault><value>no</value></fault></methodResponse>"),
        answer_of(b'<?xml version="1.0" encoding="nope"?><a/>'),
        answer_of(b"<methodResponse></methodResponse>"),
        answer_of(b"junk", b"Content-Encoding: gzip"),
        answer_of(b"", b"Content-Length: abc"),
        answer_of(b"", b"Content-Length: 99999999999999999999999"),
        answer_of(b"ffffffffffffffff\r\n", b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9999999999999999\r\n\r\n",
        b"",
    ],
)
def test_what_answers_is_no_hub(alone: Path, answer: bytes) -> None:
    with strange_server(lambda connection: connection.sendall(answer)) as url:
        address = HubAddress(url, "s", alone)
        assert not answers(address)
        with pytest.raises(ProgramError, match=r"what answers at .* is no SAMP hub|has ended|refuses"):
            Connection(address, "tests", {})


@pytest.mark.parametrize(
    "url",
    ["http://[", f"http://{'a' * 80}/", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "x"],
)
def test_a_lock_file_with_no_address_is_a_dead_hubs(alone: Path, url: str) -> None:
    write_lock(lock_path(), url)
    assert running_hub() is None


def test_an_answer_has_limits_of_time_and_size(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miripool.samp.lockfile._PING_SECONDS", 0.5)
    monkeypatch.setattr("miripool.samp.connection._HUB_SECONDS", 0.5)
    with strange_server(drip) as url:
        write_lock(lock_path(), url)
        with pytest.raises(
            ProgramError, match=f"hub at {url} does not answer; end the program that runs it, or remove"
        ):
            clients()
        with pytest.raises(ProgramError, match=f"hub at {url} does not answer; end the program that runs it"):
            Connection(HubAddress(url, "s", alone), "tests", {})
    monkeypatch.undo()

    def never_end(connection: socket.socket) -> None:
        connection.sendall(answer_of(b"<methodResponse><params><param><value><string>", b"Connection: close"))
        for _ in range(2**10):
            connection.sendall(b"a" * 2**16)

    with strange_server(never_end) as url:
        assert not answers(HubAddress(url, "s", alone))


@pytest.mark.parametrize(
    "told",
    [
        {"register": "hi"},
        {"register": {"samp.self-id": "c1"}},
        {"getRegisteredClients": "c2"},
        {"getRegisteredClients": [["c2"]], "getMetadata": 7},
        {"getSubscriptions": ["image.load.fits"]},
        {"getMetadata": "painter"},
    ],
)
def test_a_hub_that_talks_nonsense(alone: Path, told: dict[str, Any]) -> None:
    usual = {
        "register": {"samp.self-id": "c1", "samp.private-key": "k", "samp.hub-id": "hub"},
        "getRegisteredClients": ["c1", "c2", "hub"],
        "getSubscriptions": {"image.load.fits": {}},
        "getMetadata": {"samp.name": "painter"},
        **dict.fromkeys(["setXmlrpcCallback", "declareSubscriptions", "declareMetadata", "unregister"], ""),
    }
    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False) as server:
        for name, value in {**usual, **told}.items():
            server.register_function(lambda *_, value=value: value, f"samp.hub.{name}")
        serving = threading.Thread(target=server.serve_forever, args=[0.05])
        serving.start()
        address = HubAddress(f"http://127.0.0.1:{server.server_address[1]}/", "s", alone / "samp")
        try:
            with (
                pytest.raises(
                    ProgramError, match=r"what answers at http.* is no SAMP hub: .*; remove .*/samp, and try"
                ),
                contextlib.closing(Connection(address, "tests", {})) as connection,
            ):
                connection.clients()
        finally:
            server.shutdown()
            serving.join()


# Our own hub


@pytest.mark.slow
def test_a_hub_is_started_once_and_ends(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lock(lock_path())  # of a hub that is dead
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert clients() == []
    process = hub_process()
    assert process is not None
    assert clients() == []
    assert hub_process() == process
    assert lock_path().stat().st_mode & 0o777 == 0o600
    assert os.getsid(process) != os.getsid(0)
    for number in range(3):
        assert str(Path(f"/proc/{process}/fd/{number}").readlink()) == os.devnull
    end(process)
    assert not lock_path().exists()


@pytest.mark.slow
def test_of_two_starters_one_hub_is_left(alone: Path) -> None:
    command = [sys.executable, "-c", "from miripool.samp import clients; clients()"]
    started = [subprocess.Popen(command) for _ in range(3)]
    assert [one.wait(100) for one in started] == [0, 0, 0]
    assert hub_process() is not None
    assert len(hubs_of(alone)) == 1


def hubs_of(folder: Path) -> list[int]:
    """List the hubs that were started for a lock file."""
    import psutil

    found = []
    for one in psutil.process_iter(["cmdline"]):
        if "miripool.samp.hub" in (one.info["cmdline"] or ()):
            text = Path(f"/proc/{one.pid}/environ").read_bytes()
            found += [one.pid] if os.fsencode(folder) in text else []
    return found


@pytest.mark.slow
def test_a_hub_ends_after_its_last_client(alone: Path) -> None:
    subprocess.run([sys.executable, "-m", "miripool.samp.hub", "5"], check=True, timeout=60)
    process = hub_process()
    with connect() as connection:
        time.sleep(7)
        assert connection.clients() == []
        assert hub_process() == process
    wait_for(lambda: not hubs_of(alone))
    assert not lock_path().exists()


@pytest.mark.slow
def test_a_hub_that_was_killed_is_replaced(alone: Path) -> None:
    clients()
    first = hub_process()
    assert first is not None
    with connect() as connection:
        end(first, signal.SIGKILL)
        with pytest.raises(ProgramError, match=r"the SAMP hub at http://127\.0\.0\.1:.* has ended"):
            connection.clients()
    assert lock_path().exists()
    assert clients() == []
    assert hub_process() not in (first, None)


@pytest.mark.slow
def test_a_hub_that_hangs(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miripool.samp.lockfile._PING_SECONDS", 0.5)
    clients()
    process = hub_process()
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(ProgramError, match="does not answer; end the program that runs it, or remove"):
            clients()
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.slow
def test_a_hub_that_can_not_start_says_why(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{alone}/nowhere/lock")
    with pytest.raises(ProgramError, match=r"the SAMP hub did not start: .*nowhere"):
        clients()


# Messages


@pytest.fixture(scope="module")
def hub() -> Iterator[Path]:
    """A home whose hub runs."""
    with lonely_hub() as folder:
        clients()
        yield folder


@pytest.fixture
def receiver(hub: Path) -> Iterator[Receiver]:
    made = Receiver("painter")
    yield made
    made.client.disconnect()


@pytest.mark.slow
def test_images_and_tables(receiver: Receiver) -> None:
    with connect() as connection:
        (there,) = find_listeners(connection, "paint")
        assert (there.name, there.takes_images, there.takes_tables) == ("painter", True, True)
        send_image(connection, there, "file:///a.fits", "an image")
        send_table(connection, there, "file:///a.vot", "a table", "t1")
        assert [client.name for client in connection.clients()] == ["painter"]
    assert receiver.got == [
        ("image.load.fits", {"url": "file:///a.fits", "name": "an image", "image-id": "file:///a.fits"}),
        ("table.load.votable", {"url": "file:///a.vot", "name": "a table", "table-id": "t1"}),
    ]


@pytest.mark.slow
def test_errors_are_the_receivers_words(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with connect() as connection:
        (there,) = find_listeners(connection, "painter")
        receiver.answer = {"samp.status": "samp.error", "samp.error": {"samp.errortxt": "no paint"}}
        with pytest.raises(ProgramError, match="painter refused it: no paint"):
            send_image(connection, there, "file:///a.fits", "a")
        receiver.answer = {"samp.status": "samp.error"}
        with pytest.raises(ProgramError, match="painter refused it: it does not say why"):
            send_image(connection, there, "file:///a.fits", "a")
        receiver.answer = {"samp.status": "samp.warning", "samp.result": {}, "samp.error": {"samp.errortxt": "dim"}}
        send_image(connection, there, "file:///a.fits", "a")
    assert [record.getMessage() for record in caplog.records] == ["painter warns: dim"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"samp.status": "samp.error", "samp.error": "no paint"}, "painter refused it: no paint"),
        ({"samp.status": "samp.error", "samp.error": ["no", "paint"]}, r"painter refused it: \['no', 'paint'\]"),
        (
            {"samp.status": "samp.error", "samp.error": {"samp.errortxt": "no\nmiripool: all \x1b[1mis\u2028well"}},
            r"painter refused it: no miripool: all \[1mis well$",
        ),
        ({}, "painter answered without a status"),
        ({"samp.status": "done", "samp.result": {}}, "painter answered without a status"),
        ("samp.ok", "painter answered without a status"),
    ],
)
def test_answers_that_are_not_as_they_should_be(answer: Any, words: str) -> None:
    with pytest.raises(ProgramError, match=words):
        result_of("painter", answer)


def test_values_of_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    assert result_of("painter", {"samp.status": "samp.ok", "samp.result": {"value": "1"}}) == {"value": "1"}
    assert result_of("painter", {"samp.status": "samp.ok", "samp.result": "1"}) == {}
    assert caplog.records == []
    assert result_of("painter", {"samp.status": "samp.warning", "samp.error": "dim"}) == {}
    assert [record.getMessage() for record in caplog.records] == ["painter warns: dim"]


@pytest.mark.slow
def test_names_are_on_one_line(hub: Path) -> None:
    liar = Receiver("painter\nmiripool: \x85all is well")
    try:
        assert [client.name for client in clients()] == ["painter miripool: all is well"]
    finally:
        liar.client.disconnect()


@pytest.mark.slow
def test_a_receiver_that_does_not_answer_or_leaves(receiver: Receiver) -> None:
    receiver.answer = None
    with connect() as connection:
        (there,) = find_listeners(connection, "painter")
        begin = time.monotonic()
        with pytest.raises(ProgramError, match="painter has not answered within 1 s; look at its window"):
            send_image(connection, there, "file:///a.fits", "a", seconds=1)
        assert time.monotonic() - begin < 30
        other = Receiver("leaver")
        other.answer = None
        (there,) = find_listeners(connection, "leaver")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sending = pool.submit(send_image, connection, there, "file:///a.fits", "a")
            wait_for(lambda: other.got)
            other.client.disconnect()
            with pytest.raises(ProgramError, match="leaver has ended while it was receiving"):
                sending.result(60)
        with pytest.raises(ProgramError, match="leaver can't be reached by the SAMP hub"):
            send_image(connection, there, "file:///a.fits", "a")


@pytest.mark.slow
def test_who_waits_is_not_silent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = None
    monkeypatch.setattr("miripool.samp.connection._QUIET_SECONDS", 0.1)
    with connect() as connection:
        (there,) = find_listeners(connection, "painter")
        with pytest.raises(ProgramError, match="painter has not answered within 2 s"):
            send_image(connection, there, "file:///a.fits", "a", seconds=2)
    assert [record.getMessage() for record in caplog.records] == ["waiting for painter, at most 2 s ..."]


@pytest.mark.slow
def test_messages_from_others(receiver: Receiver) -> None:
    got = []

    def take(sender: str, values: dict[str, Any]) -> None:
        got.append((sender, values))
        if values["row"] == "99":
            raise InvalidInput("there is no row 99")

    with connect("reader", receiving={"table.highlight.row": take}) as connection:
        message = {"samp.mtype": "table.highlight.row", "samp.params": {"table-id": "t", "row": "3"}}
        receiver.client.notify(connection.id, message)
        wait_for(lambda: got)
        assert got == [(receiver.client.get_public_id(), {"table-id": "t", "row": "3"})]
        told = receiver.client.call_and_wait(connection.id, message, "20")
        assert told["samp.status"] == "samp.ok"
        message["samp.params"] = {"row": "99"}
        told = receiver.client.call_and_wait(connection.id, message, "20")
        assert told["samp.error"]["samp.errortxt"] == "there is no row 99"
        message["samp.params"] = "99"
        told = receiver.client.call_and_wait(connection.id, message, "20")
        assert told["samp.error"]["samp.errortxt"] == "a message's parameters are a mapping"
        assert len(got) == 3
        # pyvo's clients give away the values of environment variables; ours do not.
        assert "client.env.get" not in receiver.client.get_subscriptions(connection.id)


@pytest.mark.slow
def test_without_the_extra(alone: Path) -> None:
    code = "import sys; sys.modules['pyvo'] = None\nfrom miripool.samp import clients\nclients()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (
        "needs the extra 'samp', and pyvo.samp is not installed; install it with: pip install 'miripool[samp]'"
        in done.stderr
    )
    assert not lock_path().exists()
