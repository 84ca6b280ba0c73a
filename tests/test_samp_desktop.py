"""Real DS9 and TOPCAT on a screen that nobody sees: they show what was sent, as they say themselves when asked."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from desktop import end, hub_process, lonely_hub, running, screen, wait_for
from homes import empty_home

from miripool import Home, Pool, RateInts, send
from miripool.errors import NotFound, ProgramError
from miripool.pool.opening import open_images
from miripool.samp import Client, clients, connect, ds9, find_listeners, send_image

pytest.importorskip("pyvo.samp", reason="the extra samp is not installed")
pytestmark = pytest.mark.slow

NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    """A screen, and a home without a hub."""
    with screen(), lonely_hub() as folder:
        yield folder


@pytest.fixture(scope="module")
def shown_pool(desk: Path, simulated: Path, database_url: str) -> Iterator[Pool]:
    """A pool with two calibrations, in a home whose path no program can read in a URL."""
    with empty_home(desk / "home of José", database_url, "desktop") as home, home.create("jpl8") as pool:
        pool.ingest([simulated / "uncal", simulated / "v1"], tag="using cal v1")
        pool.ingest(simulated / "v2")
        yield pool


@pytest.fixture
def saods9(desk: Path) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    with running("ds9") as started:
        yield started


@pytest.fixture
def ask(saods9: Any) -> Iterator[Callable[[str], str]]:
    """Ask DS9; it writes values of pixels to a file."""
    _, client = saods9

    def ask(words: str) -> str:
        if not words.startswith("data"):
            return ds9.ask(connection, client, words)
        file = Path(urlsplit(connection.call(client, "ds9.get", {"cmd": words}, seconds=30)["url"]).path)
        text = file.read_text()
        file.unlink()
        return text

    with connect("asker") as connection:
        yield ask


def test_ds9_shows_the_array_that_was_sent(shown_pool: Pool, ask: Callable[[str], str]) -> None:
    ref = shown_pool.ref(f"RateInts/{NAME}@0")
    (sent,) = ref.send("ds9")
    assert sent.client == "SAOImageDS9"
    path = urlsplit(sent.url).path
    assert ask("file") == f"{path}[SCI]"
    values = ref.product["SCI"][0]
    assert ask("fits size") == f"{values.shape[1]} {values.shape[0]}"
    assert Path(path).name == f"{NAME}_rateints_v0_SCI.fits"
    places = [(int(y), int(x)) for y, x in np.argwhere(np.isfinite(values))[:: values.size // 10][:10]]
    assert len(places) == 10
    for y, x in places:
        told = float(ask(f"data image {x + 1} {y + 1} 1 1 yes"))
        assert told == pytest.approx(float(values[y, x]), rel=1e-5)
    shown_pool.ref(f"RateInts/{NAME}@1").send("DS9", dataset="DQ")
    assert ask("frame all") == "1 2"
    assert ask("file").endswith(f"{NAME}_rateints_v1_DQ.fits[DQ]")


def test_a_cube_is_sent_as_it_is(shown_pool: Pool, ask: Callable[[str], str]) -> None:
    shown_pool.ref(f"RateInts/{NAME}@0").send("ds9")
    assert ask("fits header keyword NAXIS3") == "3"
    with connect() as connection:
        (client,) = find_listeners(connection, "ds9")
        ds9.order(connection, client, "cube 3")
    assert ask("cube") == "3"


def test_what_ds9_did_not_load_is_said(saods9: Any, tmp_path: Path) -> None:
    """It answers that all is well."""
    _, client = saods9
    with connect() as connection:
        with pytest.raises(ProgramError, match=f"SAOImageDS9 could not load {tmp_path}/missing.fits"):
            send_image(connection, client, f"file://{tmp_path}/missing.fits", "missing")
        (tmp_path / "no.fits").write_bytes(b"no FITS file" * 1000)
        with pytest.raises(ProgramError, match=r"SAOImageDS9 could not load .*no\.fits"):
            send_image(connection, client, f"file://{tmp_path}/no.fits", "no")
        with pytest.raises(ProgramError, match="SAOImageDS9 refused it: Unknown command: nonsense"):
            ds9.order(connection, client, "nonsense")


def test_ds9_that_stops_or_is_killed(shown_pool: Pool, saods9: Any) -> None:
    process, client = saods9
    ref = shown_pool.ref(f"RateInts/{NAME}@0")
    (sent,) = ref.send("ds9")
    process.send_signal(signal.SIGSTOP)
    with connect() as connection:
        with pytest.raises(ProgramError, match="SAOImageDS9 has not answered within 10 s; look at its window"):
            send_image(connection, client, sent.url, "a")
        with concurrent.futures.ThreadPoolExecutor() as threads:
            sending = threads.submit(send_image, connection, client, sent.url, "a")
            with pytest.raises(TimeoutError):
                sending.result(1)
            process.kill()
            process.wait()
            with pytest.raises(ProgramError, match="SAOImageDS9 has ended while it was receiving; start it again"):
                sending.result(60)
    wait_for(lambda: clients() == [])
    with pytest.raises(
        NotFound, match=r"no program listens; start DS9 or TOPCAT and send again, or use `miripool open`"
    ):
        ref.send("ds9")


def test_two_sends_at_once(shown_pool: Pool, ask: Callable[[str], str], miripool_at: Callable[..., Any]) -> None:
    sending = [miripool_at("send", "jpl8", f"RateInts/{NAME}@{n}", "--to", "ds9", "--dataset", "ERR") for n in (0, 1)]
    for one in sending:
        out, err = one.communicate(timeout=100)
        assert (one.returncode, err) == (0, "")
        assert "SAOImageDS9" in out
    assert ask("frame all") == "1 2"


@pytest.fixture
def miripool_at(shown_pool: Pool) -> Callable[..., subprocess.Popen[str]]:
    """Start a command in the home of the pool."""
    import sys

    home = shown_pool._core.home
    assert home is not None

    def start(*arguments: str, **changes: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "miripool", *arguments]
        environment = {**os.environ, "MIRIPOOL_HOME": str(home), **changes}
        environment.pop("MIRIPOOL_DATABASE_URL", None)
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            command, env=environment, stdin=quiet, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def test_open_starts_ds9_and_blinks(desk: Path, shown_pool: Pool, miripool_at: Callable[..., Any]) -> None:
    assert clients() == []
    one = miripool_at("open", "jpl8", f"Rate/{NAME}")
    out, err = one.communicate(timeout=100)
    assert (one.returncode, err) == (0, "")
    (client,) = clients()  # it lives on
    started = [
        p for p in psutil.process_iter(["cmdline"]) if any("ds9.tcl" in word for word in p.info["cmdline"] or ())
    ]
    mine = [p for p in started if p.environ().get("SAMP_HUB") == os.environ["SAMP_HUB"]]
    try:
        assert len(mine) == 1
        both = miripool_at("open", "jpl8", f"RateInts/{NAME}@0", f"RateInts/{NAME}@1", "--json")
        out, err = both.communicate(timeout=100)
        assert (both.returncode, err) == (0, "")
        assert '"version"' not in out
        assert len(clients()) == 1
        with connect() as connection:

            def ask(words: str) -> str:
                return ds9.ask(connection, client, words)

            assert ask("blink") == "yes"
            assert (ask("frame all"), ask("frame active")) == ("1 2 3", "2 3")
            assert (ask("lock frame"), ask("lock scalelimits"), ask("lock slice")) == ("image", "yes", "image")
            wait_for(lambda: ask("frame") == "2")
            wait_for(lambda: ask("frame") == "3")  # it does
            ds9.order(connection, client, "blink no")
            limits, files = set(), []
            for frame in ("2", "3"):
                ds9.order(connection, client, f"frame {frame}")
                limits.add((ask("scale limits"), ask("zoom"), ask("pan image")))
                files.append(ask("file").rpartition("/")[2])
        assert len(limits) == 1
        assert files == [f"{NAME}_rateints_v{n}_SCI.fits[SCI]" for n in (0, 1)]
    finally:
        for process in mine:
            end(process.pid, signal.SIGKILL)
        wait_for(lambda: clients() == [])


def locks(ask: Callable[[str], str]) -> tuple[str, ...]:
    return ask("lock scalelimits"), ask("lock frame"), ask("lock slice")


def test_an_image_is_fitted_and_has_limits_by_zscale(shown_pool: Pool, ask: Callable[[str], str]) -> None:
    shown_pool.ref(f"Rate/{NAME}").send("ds9")
    assert (ask("scale mode"), ask("single")) == ("zscale", "yes")
    rows, columns = shown_pool.ref(f"Rate/{NAME}").product["SCI"].shape
    window = min(int(ask("width")) / columns, int(ask("height")) / rows)
    assert 0.5 * window < float(ask("zoom")) <= window


@pytest.mark.parametrize("sending", ["open", "send"])
def test_the_image_after_a_blink_has_limits_of_its_own(
    shown_pool: Pool, saods9: Any, ask: Callable[[str], str], sending: str
) -> None:
    _, client = saods9
    home = shown_pool._core.home
    shown_pool.ref(f"Rate/{NAME}").send("ds9")
    before = ask("scale limits"), ask("zoom")
    open_images(shown_pool.select(RateInts, all_versions=True), home=home)
    assert (ask("blink"), locks(ask)) == ("yes", ("yes", "image", "image"))
    ramp = shown_pool.ref(f"Ramp/{NAME}@0")
    if sending == "open":
        open_images([ramp], home=home)
    else:
        ramp.send("ds9")
    assert (ask("blink"), ask("single"), locks(ask)) == ("no", "yes", ("no", "none", "none"))
    assert ask("frame active") == "1 2 3 4"
    assert Path(ask("file").partition("[")[0]).name == f"{NAME}_ramp_v0_SCI.fits"
    low, high = map(float, ask("scale limits").split())
    first = ramp.product["SCI"][0, 0]
    assert ask("scale mode") == "zscale"
    assert first.min() <= low < np.median(first) < high <= 2 * first.max()
    assert float(ask("zoom")) == pytest.approx(float(before[1]))
    with connect() as connection:
        ds9.order(connection, client, "frame 1")
    assert (ask("scale limits"), ask("zoom")) == before


def test_several_images_are_side_by_side(shown_pool: Pool, saods9: Any, ask: Callable[[str], str]) -> None:
    _, client = saods9
    shown_pool.ref(f"Rate/{NAME}").send("ds9")
    shown_pool.select("kind != 'Raw'", all_versions=True).send("ds9")
    frames = ask("frame active").split()
    assert (ask("tile"), ask("frame all").split(), ask("frame")) == ("yes", ["1", *frames], "2")
    assert locks(ask) == ("no", "none", "none")
    limits = set()
    with connect() as connection:
        for frame in frames:
            ds9.order(connection, client, f"frame {frame}")
            assert ask("scale mode") == "zscale"
            limits.add(ask("scale limits"))
    assert len(limits) >= 3


def test_a_lock_of_the_users_own_stays(shown_pool: Pool, saods9: Any, ask: Callable[[str], str]) -> None:
    _, client = saods9
    shown_pool.ref(f"Rate/{NAME}").send("ds9")
    with connect() as connection:
        for words in ("lock frame image", "zoom to 3"):
            ds9.order(connection, client, words)
    shown_pool.ref(f"RateInts/{NAME}@0").send("ds9")
    assert (ask("lock frame"), ask("zoom"), ask("scale mode")) == ("image", "3", "zscale")


def test_ds9_that_lost_its_hub_is_called_back(shown_pool: Pool, saods9: Any) -> None:
    import shutil

    if shutil.which("xpaset") is None:
        pytest.skip("xpaset is not installed")
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = hub_process()
        assert process is not None
        end(process, number)
        assert clients() == []
        (sent,) = shown_pool.ref(f"Rate/{NAME}").send("ds9")
        assert sent.client == "SAOImageDS9"


def test_open_without_a_screen_or_without_ds9(
    shown_pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = shown_pool.select(RateInts)
    home = shown_pool._core.home
    with monkeypatch.context() as patch:
        patch.delenv("DISPLAY")
        with pytest.raises(ProgramError, match=r"DS9 needs a screen, and DISPLAY is not set; log in with `ssh -X`"):
            open_images(refs, home=home)
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(ProgramError, match="DS9 is not installed, or not on the PATH; get it from https://ds9"):
            open_images(refs, home=home)
    (tmp_path / "ds9").write_text("#!/bin/sh\necho the display is broken >&2\nexit 1\n")
    (tmp_path / "ds9").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="ds9 ended when it should start: the display is broken"):
        open_images(refs, home=home)


@pytest.mark.filterwarnings("ignore:'DN' did not parse as fits unit")
def test_topcat_has_the_table(desk: Path, shown_pool: Pool) -> None:
    """It gives its table back, written by its own code."""
    from astropy.table import Table

    with running("topcat") as (_, client), connect() as connection:

        def current(name: str) -> Any:
            told = connection.call(client, "table.get.stil", {"format": "fits-basic"}, seconds=30)
            with urllib.request.urlopen(told["url"], timeout=30) as answer:
                (desk / name).write_bytes(answer.read())
            return Table.read(desk / name)

        refs = shown_pool.select("1")
        (sent,) = refs.send("topcat")
        assert (sent.client, sent.what) == ("topcat", "table")
        found, expected = current("refs.fits"), refs.to_table()
        assert (len(found), len(found.colnames)) == (len(expected), len(expected.colnames)) == (4, 15)
        assert [str(urn).strip() for urn in found["urn"]] == list(expected["urn"])
        ramps = shown_pool.pixel(41, 809).ramps("Ramp", all_versions=True)
        send(ramps, "TOPCAT", name="ramps")
        found = current("ramps.fits")
        assert found.colnames == ramps.colnames
        assert np.array_equal(np.asarray(found["ramp"]), np.asarray(ramps["ramp"]), equal_nan=True)
        cubes = Table({"a": np.arange(24, dtype="i4").reshape(2, 3, 4), "t": np.array(["é", "日本"])})
        send(cubes, "topcat")
        assert (np.asarray(current("cubes.fits")["a"]) == cubes["a"]).all()
        with pytest.raises(NotFound, match="topcat does not take images; connected: topcat"):
            refs[0].send("topcat", dataset="SCI")


def test_the_hub_of_topcat_which_lists_the_dead(shown_pool: Pool) -> None:
    with lonely_hub(), running("topcat", own_hub=True):
        assert hub_process() is None
        with running("ds9", listed_when_dead=True) as (process, _):
            process.kill()
            process.wait()
            with pytest.raises(ProgramError, match="SAOImageDS9 can't be reached by the SAMP hub"):
                shown_pool.ref(f"Rate/{NAME}").send("ds9")
            (sent,) = open_images(shown_pool.select(RateInts), home=shown_pool._core.home)
            assert sent.client == "SAOImageDS9"
            end(ds9._started[-1].pid, signal.SIGKILL)


def test_home_is_that_of_the_pool(shown_pool: Pool) -> None:
    assert Home(shown_pool._core.home).pool("jpl8").id == shown_pool.id
