"""What is sent by SAMP: files of one image or table, kept for a day, and the versions and pixels of a table's rows."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from desktop import Receiver, lonely_hub
from disks import tiny_disk
from homes import file_of as blob_file
from test_virtual_file import damage

from miripool import Home, Pool, Product, RateInts, send
from miripool.errors import DiskFull, IntegrityError, InvalidInput, NotFound, ProductNotFound
from miripool.pool.sentfiles import SentFiles, SentRow, find_row
from miripool.samp import clients

NAME = "jw01033005001_03103_00001_mirimage"


# Files


def test_a_file_is_written_once(tmp_path: Path) -> None:
    files = SentFiles(tmp_path)
    pieces = iter([b"ab", b"c"])
    path = files.write("a name", ".fits", "content 1", pieces, 3)
    assert path.read_bytes() == b"abc"
    assert files.write("a name", ".fits", "content 1", [b"never"], 3) == path
    assert path.read_bytes() == b"abc"
    path.write_bytes(b"a")  # cut short
    assert files.write("a name", ".fits", "content 1", [b"abc"], 3).read_bytes() == b"abc"
    other = files.write("a name", ".fits", "content 2", [b"xyz"], 3)
    assert (other.name, other == path) == (path.name, False)
    assert files.folder == tmp_path / "scratch" / "samp"
    assert files.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a b[1]/é#%&.x", "a-b-1-.x.fits"),
        ("..", "file.fits"),
        ("日本", "file.fits"),
        (f"{'n' * 300}_v12_SCI", f"{'n' * 112}_v12_SCI.fits"),
    ],
)
def test_names_are_plain(tmp_path: Path, name: str, file: str) -> None:
    assert SentFiles(tmp_path).write(name, ".fits", "c", [b"x"]).name == file


def test_a_home_with_other_letters_is_reached_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    place = tmp_path / "short"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    home = tmp_path / "home of José [1]"
    home.mkdir()
    path = SentFiles(home).write("a", ".fits", "c", [b"abc"])
    assert str(path).isascii()
    assert not set("[] %") & set(str(path))
    assert path.read_bytes() == b"abc"
    assert path.resolve().is_relative_to(home / "scratch")
    assert SentFiles(home).write("a", ".fits", "c", [b"abc"], 3) == path
    links = place / f"miripool-{os.geteuid()}"
    (links / "old").symlink_to(tmp_path / "gone")
    links.chmod(0o755)  # made private again
    assert SentFiles(home).write("b", ".fits", "c", [b"x"]).read_bytes() == b"x"
    assert links.stat().st_mode & 0o777 == 0o700
    assert len(list(links.iterdir())) == 1


def test_what_is_older_than_a_day_goes(tmp_path: Path) -> None:
    files = SentFiles(tmp_path)
    old, new = (files.write(name, ".fits", name, [b"x"]) for name in ("old", "new"))
    yesterday = time.time() - 86_400 - 60
    os.utime(old, (yesterday, yesterday))
    os.utime(old.parent, (yesterday, yesterday))
    SentFiles(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)
    os.utime(old.parent, (yesterday, yesterday))
    SentFiles(tmp_path)
    assert not old.parent.exists()


def test_where_the_home_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "home"
    home.write_text("a file")
    cached = SentFiles(home).folder
    assert cached == tmp_path / "cache" / "miripool" / "samp"
    assert SentFiles(None).folder == cached


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    theirs = tmp_path / "home" / "scratch" / "samp"
    theirs.mkdir(parents=True)
    os.chown(theirs, 65534, 65534)
    assert SentFiles(tmp_path / "home").folder.is_relative_to(tmp_path / "cache")


def test_nothing_is_left_of_a_file_that_fails(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise IntegrityError("a blob is damaged")

    files = SentFiles(tmp_path)
    with pytest.raises(IntegrityError):
        files.write("a", ".fits", "c", pieces(), 8)
    assert [path for path in files.folder.rglob("*") if path.is_file()] == []


def test_a_full_disk() -> None:
    with tiny_disk(100) as home:
        files = SentFiles(home)
        with pytest.raises(DiskFull, match="No space left on device"):
            files.write("a", ".fits", "c", [b"x" * 200_000])
        assert [path for path in files.folder.rglob("*") if path.is_file()] == []


# Rows


def test_rows_are_found_again(tmp_path: Path) -> None:
    from astropy.table import Table

    urns = ["urn:jpl8:RateInts:7", "urn:other:Ramp:3", "urn:jpl8:RateInts:7"]
    table = Table({"urn": urns, "x": [1, 2, 3], "y": np.array([4, 5, 6], "i2"), "rate": [1.0, 2, 3]})
    path = SentFiles(tmp_path).write_table(table, "hot pixels")
    for name in (path.stem, f"file://{path}", f"http://127.0.0.1:1/{path.name}"):
        assert find_row(tmp_path, name, 2) == SentRow("urn:jpl8:RateInts:7", 3, 6)
    found = find_row(tmp_path, path.stem, 1)
    assert found is not None
    assert (found.pool, found.serial) == ("other", 3)
    assert find_row(tmp_path, path.stem, 3) is None
    assert find_row(tmp_path, path.stem, -1) is None
    assert find_row(tmp_path / "another home", path.stem, 1) is None
    assert find_row(tmp_path, "of-another-program", 0) is None
    assert find_row(tmp_path, "../../x-0123456789ab", 0) is None


def test_rows_of_other_tables(tmp_path: Path) -> None:
    from astropy.table import Table

    files = SentFiles(tmp_path)
    one_pixel = Table({"urn": ["urn:a:Rate:0"]}, meta={"x": 41, "y": 809})
    assert find_row(tmp_path, files.write_table(one_pixel, "p").stem, 0) == SentRow("urn:a:Rate:0", 41, 809)
    centroids = Table({"urn": ["urn:a:Rate:0"], "x": [1.5], "y": [np.nan]})
    assert find_row(tmp_path, files.write_table(centroids, "p").stem, 0) == SentRow("urn:a:Rate:0", None, None)
    assert find_row(tmp_path, files.write_table(Table({"n": [1]}), "p").stem, 0) is None


# Sending, to a program that listens


@pytest.fixture(scope="module")
def hub() -> Iterator[Path]:
    """A home whose hub runs."""
    pytest.importorskip("pyvo.samp", reason="the extra samp is not installed")
    with lonely_hub() as folder:
        clients()
        yield folder


@pytest.fixture
def receiver(hub: Path) -> Iterator[Receiver]:
    made = Receiver("painter")
    yield made
    made.client.disconnect()


@pytest.fixture
def filled(pool: Pool, simulated: Path) -> Pool:
    pool.ingest([simulated / "v1", simulated / "uncal"], tag="using cal v1")
    pool.ingest(simulated / "v2")
    return pool


def file_of(url: str) -> Path:
    return Path(urlsplit(url).path)


@pytest.mark.slow
def test_an_image_of_a_version(filled: Pool, receiver: Receiver, home: Home) -> None:
    from astropy.io import fits

    ref = filled.ref(f"RateInts/{NAME}@0")
    (sent,) = ref.send("painter")
    assert (sent.client, sent.what, sent.name, sent.urn) == ("painter", "image", f"{NAME}_rateints_v0_SCI", ref.urn)
    ((mtype, values),) = receiver.got
    assert (mtype, values["url"], values["name"]) == ("image.load.fits", sent.url, sent.name)
    path = file_of(sent.url)
    assert path.is_relative_to(home.path / "scratch" / "samp")
    assert path.name == f"{NAME}_rateints_v0_SCI.fits"
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI"]
        assert np.array_equal(hdus["SCI"].data, ref.product["SCI"][...], equal_nan=True)
    changed = path.stat().st_ino
    assert ref.send("painter")[0].url == sent.url
    assert path.stat().st_ino == changed
    (dq,) = ref.send("paint", dataset="dq")
    assert file_of(dq.url).name == f"{NAME}_rateints_v0_DQ.fits"
    assert filled.ref(f"RateInts/{NAME}@1").send("painter")[0].url != sent.url


@pytest.mark.slow
def test_many_versions_and_tables(filled: Pool, receiver: Receiver, home: Home) -> None:
    from astropy.table import Table

    reader = Receiver("reader", ["table.load.votable"])
    try:
        refs = filled.select("1")
        assert [one.urn for one in refs.send("painter")] == [ref.urn for ref in refs]
        (sent,) = refs.send("reader")
        assert (sent.what, sent.name, sent.urn) == ("table", f"jpl8 {len(refs)} versions", None)
        table = Table.read(file_of(sent.url), format="votable")
        assert table.colnames == refs.to_table().colnames
        assert list(table["urn"]) == [ref.urn for ref in refs]
        values = reader.got[-1][1]
        for row, ref in enumerate(refs):
            found = find_row(home.path, values["table-id"], row)
            assert found is not None
            assert (found.pool, found.serial) == ("jpl8", ref.serial)
        everybody = refs[:2].send("all")
        assert [(one.client, one.what) for one in everybody] == [
            ("painter", "image"), ("painter", "image"), ("reader", "table"),
        ]  # fmt: skip
        (times,) = filled.ref(f"RateInts/{NAME}").send("painter", dataset="INT_TIMES")
        assert (times.what, times.name) == ("table", f"{NAME}_rateints_v1_INT_TIMES")
        assert len(Table.read(file_of(times.url), format="votable")) == 3
    finally:
        reader.client.disconnect()


@pytest.mark.slow
def test_tables_of_pixels(filled: Pool, receiver: Receiver, home: Home) -> None:
    from astropy.table import Table

    ramps = filled.pixel(41, 809).ramps("Ramp")
    (sent,) = send(ramps, "painter", name="a pixel's ramps")
    found = Table.read(file_of(sent.url), format="votable")
    assert found.colnames == ramps.colnames
    assert np.array_equal(np.asarray(found["ramp"]), np.asarray(ramps["ramp"]), equal_nan=True)
    assert [str(one) for one in found["time"]] == [one.isot for one in ramps["time"]]
    urn = filled.ref(f"Ramp/{NAME}").urn
    assert find_row(home.path, sent.url, 1) == SentRow(urn, 41, 809)
    hot = filled.pixels(RateInts, "rate > 100")
    (sent,) = send(hot, "painter")
    rows = hot.to_table()
    assert len(rows) > 1
    assert find_row(home.path, sent.url, 1) == SentRow(rows["urn"][1], rows["x"][1], rows["y"][1])
    assert [one.what for one in send(list(filled.select(RateInts)), "painter")] == ["image"]
    assert [one.what for one in send(filled.select(RateInts)[0], "painter")] == ["image"]
    with pytest.raises(InvalidInput, match="a dict can't be sent; give references, or an astropy Table"):
        send({}, "painter")


@pytest.mark.slow
def test_what_can_not_be_sent(filled: Pool, receiver: Receiver) -> None:
    ref = filled.ref(f"RateInts/{NAME}@0")
    with pytest.raises(NotFound, match="no program called 'nobody' is connected; connected: painter"):
        ref.send("nobody")
    with pytest.raises(ProductNotFound, match=r"has no dataset 'SCX'; did you mean SCI\? It has SCI"):
        ref.send("painter", dataset="SCX")
    with pytest.raises(InvalidInput, match="no version was chosen"):
        filled.select("ngroups > 10000").send("painter")
    empty = filled.save(Product(name="without arrays"))
    with pytest.raises(InvalidInput, match="has no frames"):
        empty.send("painter")
    with pytest.raises(InvalidInput, match=r"40 images are too many for painter.*Choose 32 at most"):
        send([ref] * 40, "painter")
    assert receiver.got == []
    damage(filled.ref(f"Ramp/{NAME}@0").product["SCI"].source)
    with pytest.raises(IntegrityError, match="is damaged"):
        filled.ref(f"Ramp/{NAME}@0").send("painter")
    blob_file(filled.ref(f"Rate/{NAME}@0").product["SCI"].source).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        filled.ref(f"Rate/{NAME}@0").send("painter")
    assert receiver.got == []


@pytest.mark.slow
def test_commands(filled: Pool, receiver: Receiver, miripool: Any) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = miripool(*arguments)
        return done

    listed = json.loads(run("clients", "--json").stdout)
    assert listed == [{"program": "painter", "id": receiver.client.get_public_id(), "takes": ["images", "tables"]}]
    done = run("send", "jpl8", f"RateInts/{NAME}@using cal v1", "--to", "painter")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{NAME}_rateints_v0_SCI" in done.stdout
    done = run("send", "jpl8", "--kind", "RateInts", "--to", "nobody")
    assert done.returncode == 10
    assert "no program called 'nobody' is connected; connected: painter" in done.stderr
    done = run("send", "jpl8", "--where", "ngroups > 9999", "--to", "painter")
    assert done.returncode == 30
    assert "nothing to send" in done.stderr
