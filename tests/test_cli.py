from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import homes
import numpy as np
import psycopg2.errors
import pytest
import typer.main
from astropy.io import fits
from homes import call, write_image
from postgresql import reachable_folder
from replay import files

from miripool import Home, Pool
from miripool.cli import _show_uncaught
from miripool.cli import app as app_module
from miripool.cli.output import human_bytes
from miripool.errors import (
    AlreadyExists,
    AmbiguousSpec,
    FileMissing,
    InvalidInput,
    PoolNotFound,
    ProductNotFound,
    QueryError,
    TagNotFound,
    UnknownKeyword,
)
from miripool.pool.core import core_of
from miripool.records.plain import as_json
from miripool.simulate.demo import _draw

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"
Run = Callable[..., subprocess.CompletedProcess[str]]


def rows_of(*arguments: Any) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0
    return json.loads(result.stdout)


def table_of(*arguments: Any) -> list[dict[str, str]]:
    result = call(*arguments, "--csv")
    assert result.exit_code == 0
    return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, database_url: str, simulated: Path) -> Iterator[Path]:
    """A home that no test changes: pool jpl8 with Rate and RateInts in two versions, tagged, and a flat."""
    folder = tmp_path_factory.mktemp("library")
    with homes.empty_home(folder / "home", database_url, "library") as home, home.create("jpl8") as pool:
        for label in ("v1", "v2"):
            for kind in ("rate", "rateints"):
                pool.save(simulated / label / f"{NAME}_{kind}.fits", tag=f"using cal {label}")
        pool.save(write_image(folder / "flat.fits", {"MYKEY": 3}, [[1.0, float("nan")], [float("inf"), 2.0]]))
        yield home.path


@pytest.fixture
def ls(library: Path) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        return rows_of("--home", library, "ls", "jpl8", *arguments)

    return run


# Pools


@pytest.mark.slow
def test_create_list_rename_delete(home: Home, tmp_path: Path) -> None:
    result = call("create", "My pool 1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"made pool My pool 1 in {home.path}" in result.stderr
    with pytest.raises(AlreadyExists):
        call("create", "My pool 1")
    image = write_image(tmp_path / "a b.fits")
    assert call("add", "My pool 1", image, "--tag", "t").exit_code == 0
    (row,) = rows_of("pools")
    assert (row["name"], row["products"], row["versions"], row["tags"]) == ("My pool 1", 1, 1, 1)
    assert row["bytes"] == image.stat().st_size
    assert table_of("pools")[0]["name"] == "My pool 1"
    assert "My pool 1  1         1         1     8.64 kB" in call("pools").stdout
    assert "is now called" in call("rename", "My pool 1", "jpl8").stderr
    assert call("export", "jpl8", "urn:My pool 1:Product:0", tmp_path / "out.fits").exit_code == 0
    assert (tmp_path / "out.fits").read_bytes() == image.read_bytes()
    before = files(home.path)
    dry = call("delete", "jpl8", "--dry-run")
    assert re.search(r"would delete pool jpl8 with 1 version \(.* stored\)", dry.stderr)
    with pytest.raises(InvalidInput, match=r"--yes.*nothing was done"):
        call("delete", "jpl8", stdin="y\n")
    assert files(home.path) == before
    assert "deleted pool jpl8" in call("delete", "jpl8", "--yes").stderr
    assert rows_of("pools") == []
    assert call("pools", "--csv").stdout == "name,products,versions,tags,bytes,stored_bytes,index_bytes,created,path\n"
    with pytest.raises(PoolNotFound):
        call("delete", "jpl8", "--yes")


@pytest.mark.slow
def test_delete_asks(home: Home) -> None:
    """On a terminal, where somebody can say no."""
    home.create("jpl8").close()
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        master, slave = pty.openpty()
        os.write(master, answer)
        done = subprocess.run(
            [sys.executable, "-m", "miripool", "delete", "jpl8"],
            stdin=slave,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        os.close(slave)
        os.close(master)
        assert "Delete pool jpl8 with 0 versions" in done.stderr
        assert (done.returncode, done.stdout) == (code, "")
        assert home.names() == ([] if code == 0 else ["jpl8"])


def test_one_bad_pool_does_not_hide_the_others(home: Home) -> None:
    for name in ("a", "b", "c"):
        home.create(name).close()
    (home.path / "pools/b/pool.json").write_text("nonsense")
    result = call("pools", "--json")
    rows = json.loads(result.stdout)
    assert [(row["name"], row["error"] is None) for row in rows] == [("a", True), ("b", False), ("c", True)]
    assert "pool.json" in rows[1]["error"]
    assert rows[1].keys() == rows[0].keys()
    assert [line.partition(",")[0] for line in call("pools", "--csv").stdout.splitlines()] == ["name", "a", "c"]
    assert result.exit_code == 80
    assert "pool b: " in result.stderr
    assert "pool.json" in result.stderr


# Adding


@pytest.mark.slow
def test_add(pool: Pool, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("add", "jpl8", simulated / "v1", "--tag", "using cal v1")
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(rf"added {{8}}urn:jpl8:Ramp:0  version 0  {NAME}_ramp\.fits  \(\d+ kB stored\)", lines[0])
    assert re.fullmatch(
        r"3 added, 0 new versions, 0 unchanged, 0 failed; 1.18 MB in, \d+ kB stored", result.stderr.strip()
    )
    # A pattern, quoted; a folder in a folder; and the same file named twice.
    result = call("add", "jpl8", simulated / "v2" / "*_rate*.fits", simulated, "--jobs", "2")
    assert "1 added, 3 new versions, 3 unchanged, 0 failed" in result.stderr
    assert "unchanged    urn:jpl8:Ramp:0  version 0" in result.stdout
    monkeypatch.chdir(simulated / "v1")
    (row,) = rows_of("add", "jpl8", f"{NAME}_rate.fits")
    assert (row["file"], row["status"], row["version"]) == (f"{NAME}_rate.fits", "unchanged", 0)
    assert row["message"] == "unchanged: version 0; head is 1"
    assert table_of("add", "jpl8", f"{NAME}_rate.fits", "--force")[0]["version"] == "2"
    assert rows_of("add", "jpl8", f"{NAME}_rate.fits", "--name", "other name")[0]["status"] == "new"
    assert pool.ref("Rate/other name").version == 0
    assert [ref.version for ref in pool.tagged("using cal v1")] == [0, 0, 0]


def test_one_bad_file_does_not_stop_the_others(pool: Pool, tmp_path: Path) -> None:
    write_image(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_text("nonsense")
    write_image(tmp_path / "c.fits")
    for jobs in (1, 3):
        result = call("add", "jpl8", tmp_path, "--jobs", jobs, "--name" if jobs == 0 else "--force")
        assert result.exit_code == 80
        assert f"failed       {tmp_path / 'b.fits'}: " in result.stderr
        assert "2 added" in result.stderr or "2 new versions" in result.stderr
        assert "1 failed" in result.stderr
    rows = call("add", "jpl8", tmp_path, "--json")
    assert rows.exit_code == 80
    assert [(row["status"], row["urn"] is None) for row in json.loads(rows.stdout)] == [
        ("unchanged", False),
        ("failed", True),
        ("unchanged", False),
    ]
    # Failures of several kinds have no code of their own.
    assert call("add", "jpl8", tmp_path / "b.fits", tmp_path / "none.fits").exit_code == 1
    assert call("add", "jpl8", tmp_path / "none.fits", tmp_path / "none2.fits").exit_code == 14


def test_add_what_is_not_there(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "*.fits"):
        done = call("add", "jpl8", wrong)
        assert done.exit_code == FileMissing.exit_code
        assert f"failed       no FITS file matches {wrong}" in done.stderr
        assert "0 added, 0 new versions, 0 unchanged, 1 failed" in done.stderr
    with pytest.raises(PoolNotFound, match="the pools are jpl8"):
        call("add", "jlp8", tmp_path)
    assert call("add", "jpl8").exit_code == 2
    assert pool.select().size() == 0


# Listing


@pytest.mark.slow
def test_ls(ls: Callable[..., Any], library: Path) -> None:
    rows = ls()
    assert [row["urn"] for row in rows] == ["urn:jpl8:Product:4", "urn:jpl8:RateInts:3", "urn:jpl8:Rate:2"]
    assert list(rows[0]) == ["urn", "kind", "name", "version", "tags", "created", "bytes"]
    assert rows[1]["tags"] == ["using cal v2"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", rows[0]["created"])
    assert (rows[0]["bytes"], rows[0]["version"]) == (8640, 0)
    assert [r["version"] for r in ls("--all-versions", "--kind", "rate", "--sort", "version")] == [0, 1]
    assert [r["urn"] for r in ls("--tag", "using cal v1", "--sort", "serial")] == [
        "urn:jpl8:Rate:0",
        "urn:jpl8:RateInts:1",
    ]
    assert [r["kind"] for r in ls("--where", "ngroups >= 8 and detector == 'MIRIMAGE'", "--limit", "1")] == ["RateInts"]
    assert [r["kind"] for r in ls("--sort", "-bytes")] == ["RateInts", "Rate", "Product"]
    assert [r["MYKEY"] for r in ls("--columns", "MYKEY, ngroups")] == [3, None, None]
    assert list(ls("--columns", "NGROUPS")[0])[-1] == "NGROUPS"
    assert ls("--where", "ngroups > 1000") == []
    assert ls("--limit", "0") == []


@pytest.mark.slow
def test_forms_of_a_listing(library: Path) -> None:
    arguments = ("--home", library, "ls", "jpl8", "--kind", "Rate", "--all-versions", "--sort", "version")
    text = call(*arguments).stdout
    lines = text.splitlines()
    assert lines[0].split() == ["urn", "kind", "name", "version", "tags", "created", "(UTC)", "bytes"]
    assert lines[1].startswith(f"urn:jpl8:Rate:0  Rate  {NAME}  0        using cal v1  20")
    assert lines[1].endswith("130 kB")
    assert len({line.index("Rate  ") for line in lines[1:]}) == 1
    rows = table_of(*arguments, "--columns", "urn,version,CRDS_CTX")
    assert [list(row) for row in rows] == [["urn", "version", "CRDS_CTX"]] * 2
    assert [row["CRDS_CTX"] for row in rows] == ["jwst_9001.pmap", "jwst_9002.pmap"]
    assert table_of(*arguments)[0]["bytes"] == "129600"
    nothing = (*arguments, "--where", "ngroups > 1000")
    assert call(*nothing, "--json").stdout == "[]\n"
    assert call(*nothing, "--csv").stdout == "urn,kind,name,version,tags,created,bytes\n"
    assert call(*nothing).stdout.split() == lines[0].split()


def test_ls_refuses(library: Path) -> None:
    for arguments, error in (
        (("--where", "ngroups >="), QueryError),
        (("--where", "ngruops > 3"), UnknownKeyword),
        (("--columns", "ngruops"), UnknownKeyword),
        (("--sort", "ngruops"), UnknownKeyword),
        (("--tag", "using cal"), TagNotFound),
        (("--kind", "Ratte"), InvalidInput),
        # What the program itself can call, a user can't.
        (("--where", "human_bytes(p)"), QueryError),
        (("--where", "kind_class(p)"), QueryError),
    ):
        with pytest.raises(error):
            call("--home", library, "ls", "jpl8", *arguments)
    assert call("--home", library, "ls", "jpl8", "--limit", "-1").exit_code == 2


# One version


def test_show(library: Path, simulated: Path) -> None:
    spec = f"RateInts/{NAME}@0"
    result = call("--home", library, "show", "jpl8", spec)
    assert result.exit_code == 0
    assert "urn          urn:jpl8:RateInts:1" in result.stdout
    assert "tags         using cal v1" in result.stdout
    assert re.search(r"^SCI +float32 +3, 64, 72 +DN/s", result.stdout, re.MULTILINE)
    assert re.search(r"^NGROUPS +8 +", result.stdout, re.MULTILINE)
    shown = rows_of("--home", library, "show", "jpl8", "flat")
    assert (shown["urn"], shown["version"], shown["tags"]) == ("urn:jpl8:Product:4", 0, [])
    (dataset,) = shown["datasets"]
    assert (dataset["dataset"], dataset["shape"], dataset["nan"]) == ("SCI", [2, 2], 1)
    assert (dataset["min"], dataset["max"]) == (1.0, "inf")
    assert (library / "pools" / "jpl8" / dataset["blob"]).is_file()
    mine = {"keyword": "MYKEY", "hdu": "PRIMARY", "value": 3, "unit": None, "description": None, "time": None}
    assert mine in shown["keywords"]
    assert not re.search(r"^(SCI\.)?NAXIS", result.stdout, re.MULTILINE)
    assert re.search(r"^SCI\.NAXIS1 +72", call("--home", library, "show", "jpl8", spec, "--all").stdout, re.MULTILINE)
    exact = {d["dataset"]: d for d in rows_of("--home", library, "show", "jpl8", spec)["datasets"]}
    with fits.open(simulated / "v1" / f"{NAME}_rateints.fits") as hdus:
        assert exact["SCI"]["max"] == float(np.nanmax(hdus["SCI"].data))
        assert exact["DQ"]["max"] == int(hdus["DQ"].data.max())
        assert isinstance(exact["DQ"]["max"], int)
    with pytest.raises(AmbiguousSpec, match=f"Rate/{NAME}"):
        call("--home", library, "show", "jpl8", NAME)


def test_log(library: Path) -> None:
    text = call("--home", library, "log", "jpl8", f"RateInts/{NAME}").stdout
    assert text.startswith(f"RateInts/{NAME}\nversion 0  20")
    assert "datasets changed: SCI, ERR, VAR_POISSON, VAR_RNOISE" in text
    assert "CRDS_CTX: jwst_9001.pmap → jwst_9002.pmap" in text
    assert "tag 'using cal v2' marks version 1" in text
    log = rows_of("--home", library, "log", "jpl8", f"Rate/{NAME}")
    assert [v["version"] for v in log["versions"]] == [0, 1]
    assert log["versions"][0]["changes"] is None
    changes = log["versions"][1]["changes"]
    assert changes["datasets"] == {"changed": ["SCI", "ERR", "VAR_POISSON", "VAR_RNOISE"], "added": [], "gone": []}
    assert {"hdu": "PRIMARY", "keyword": "CRDS_CTX", "old": "jwst_9001.pmap", "new": "jwst_9002.pmap"} in changes[
        "keywords"
    ]
    assert [(e["tag"], e["version"], e["previous"]) for e in log["tags"]] == [
        ("using cal v1", 0, None),
        ("using cal v2", 1, None),
    ]


def test_export(library: Path, simulated: Path, tmp_path: Path) -> None:
    original = (simulated / "v1" / f"{NAME}_rate.fits").read_bytes()
    spec = f"Rate/{NAME}@using cal v1"
    result = call("--home", library, "export", "jpl8", spec, tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {tmp_path / f'{NAME}_rate.fits'} (130 kB)" in result.stderr
    assert (tmp_path / f"{NAME}_rate.fits").read_bytes() == original
    with pytest.raises(AlreadyExists, match=f"{NAME}_rate.*--overwrite"):
        call("--home", library, "export", "jpl8", spec, tmp_path)
    (tmp_path / f"{NAME}_rate.fits").write_text("old")
    assert call("--home", library, "export", "jpl8", spec, tmp_path, "--overwrite").exit_code == 0
    assert (tmp_path / f"{NAME}_rate.fits").read_bytes() == original
    with pytest.raises(FileMissing, match="nowhere"):
        call("--home", library, "export", "jpl8", spec, tmp_path / "nowhere" / "x.fits")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{NAME}_rate.fits"]


# Tags and trash


@pytest.mark.slow
def test_tag_untag_tags_rm_restore(pool: Pool, tmp_path: Path) -> None:
    for value in (1, 2):
        call("add", "jpl8", write_image(tmp_path / "a.fits", {"NGROUPS": value}))
    call("add", "jpl8", write_image(tmp_path / "b.fits"))
    result = call("tag", "jpl8", "good one", "a", "b")
    back = "to undo this: miripool untag jpl8 'good one' urn:jpl8:Product:1 urn:jpl8:Product:2\n"
    assert (result.stdout, result.stderr) == ("", f"{back}'good one' newly marks 2 of 2 versions\n")
    assert "newly marks 1 of 2" in call("tag", "jpl8", "good one", "a@0", "b").stderr
    (tag,) = rows_of("tags", "jpl8")
    assert (tag["label"], tag["count"]) == ("good one", 2)
    assert tag["first"] < tag["last"]
    assert table_of("tags", "jpl8")[0]["count"] == "2"
    assert "good one  2         20" in call("tags", "jpl8").stdout
    assert "was removed from 1 version" in call("untag", "jpl8", "good one", "b").stderr
    assert "was removed from 1 version" in call("untag", "jpl8", "good one").stderr
    with pytest.raises(TagNotFound):
        call("untag", "jpl8", "good one")
    assert rows_of("tags", "jpl8") == []
    assert call("tags", "jpl8", "--csv").stdout == "label,count,first,last\n"
    events = call("log", "jpl8", "a").stdout
    assert "tag 'good one' marks version 0 (before: version 1)" in events
    assert "tag 'good one' was taken off (before: version 0)" in events

    before = core_of(pool).catch_up()
    assert "would remove urn:jpl8:Product:1  Product/a@1" in call("rm", "jpl8", "a", "--dry-run").stderr
    assert core_of(pool).catch_up() == before
    assert "removing urn:jpl8:Product:1" in call("rm", "jpl8", "a", "b").stderr
    assert [row["version"] for row in rows_of("ls", "jpl8")] == [0]
    with pytest.raises(ProductNotFound, match="trash"):
        call("show", "jpl8", "a@1")
    assert "in the trash" in call("log", "jpl8", "a").stdout
    assert "version 0" in call("log", "jpl8", "b").stdout
    trash = rows_of("ls", "jpl8", "--trash", "--sort", "name")
    assert [row["urn"] for row in trash] == ["urn:jpl8:Product:1", "urn:jpl8:Product:2"]
    assert all(row["removed"] > row["created"] for row in trash)
    assert "removed (UTC)" in call("ls", "jpl8", "--trash").stdout
    assert rows_of("ls", "jpl8", "--trash", "--kind", "Ramp") == []
    assert "restored 1 of 1" in call("restore", "jpl8", "a").stderr
    done = call("restore", "jpl8", "b", "a@1").stderr
    assert "restored 1 of 2" in done
    assert "urn:jpl8:Product:1  Product/a@1 is not in the trash" in done
    assert sorted(row["urn"] for row in rows_of("ls", "jpl8")) == ["urn:jpl8:Product:1", "urn:jpl8:Product:2"]
    with pytest.raises(ProductNotFound):
        call("rm", "jpl8", "a", "nothing")
    assert len(rows_of("ls", "jpl8")) == 2


def test_a_tag_and_a_product_in_each_others_place(pool: Pool, tmp_path: Path) -> None:
    call("add", "jpl8", write_image(tmp_path / "a.fits"))
    with pytest.raises(ProductNotFound, match="Write the tag before the versions: miripool tag jpl8 LABEL SPEC"):
        call("tag", "jpl8", "a", "good one")
    with pytest.raises(ProductNotFound) as error:
        call("tag", "jpl8", "good one", "b")
    assert "Write the tag before the versions" not in str(error.value)
    call("tag", "jpl8", "good one", "a")
    call("add", "jpl8", write_image(tmp_path / "b.fits"))
    done = call("untag", "jpl8", "good one", "b").stderr
    assert "Product/b@0 does not have the tag 'good one'" in done
    assert "was removed from 0 versions" in done


def test_options_that_exclude_each_other(library: Path) -> None:
    at = ("--home", library)
    for command in (("ls", "jpl8"), ("tags", "jpl8"), ("pools",), ("add", "jpl8", library)):
        with pytest.raises(InvalidInput, match="--json and --csv exclude each other"):
            call(*at, *command, "--json", "--csv")
    for command in (["ls", "jpl8"], ["rm", "jpl8", "--kind", "Rate"], ["pixel", "jpl8", "1", "1"]):
        with pytest.raises(InvalidInput, match="--tag is empty"):
            call(*command, "--tag", "")
    with pytest.raises(InvalidInput, match="--where is empty"):
        call(*at, "ls", "jpl8", "--where", " ")
    with pytest.raises(InvalidInput, match="--trash can't be combined with"):
        call(*at, "ls", "jpl8", "--trash", "--tag", "using cal v1")
    assert call(*at, "ls", "jpl8", "--limit", "1" + 30 * "0").exit_code == 2


# As processes


@pytest.mark.slow
def test_errors_are_one_message_with_a_code(miripool: Run, home: Home, tmp_path: Path) -> None:
    done = miripool("ls", "none")
    assert (done.returncode, done.stdout) == (11, "")
    assert done.stderr.startswith("miripool: no pool 'none'")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = miripool("--home", tmp_path / "elsewhere", "pools", "--json", env={"MIRIPOOL_HOME": "/nowhere"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert miripool("frobnicate").returncode == 2
    debug = miripool("ls", "none", env={"MIRIPOOL_DEBUG": "1"})
    assert "Traceback" in debug.stderr


@pytest.mark.slow
def test_output_is_plain_where_it_is_no_terminal(miripool: Run, pool: Pool, tmp_path: Path) -> None:
    many = [str(write_image(tmp_path / f"{i:03d}.fits", {"N": i})) for i in range(20)]
    done = miripool("add", "jpl8", *many, env={"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 20
    assert done.stderr.splitlines()[0].startswith("20 added")
    # A reader that goes away.
    for command in ("ls jpl8 --all-versions", "ls jpl8 --json", "--help"):
        line = f"{sys.executable} -m miripool {command} | head -1"
        piped = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)
        assert piped.stderr == ""
        assert len(piped.stdout.splitlines()) <= 1


@pytest.mark.slow
def test_output_for_a_terminal_of_ascii(miripool: Run, pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "größe.fits"))
    done = miripool("ls", "jpl8", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe" in done.stdout


@pytest.mark.slow
def test_a_reader_that_is_gone_before_anything_is_written(pool: Pool) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "miripool", "ls", "jpl8", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode != 0


@pytest.mark.slow
def test_on_a_terminal(pool: Pool, tmp_path: Path) -> None:
    pool.save(write_image(tmp_path / "a [b].fits"), tag="[red]x")
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "miripool", "ls", "jpl8"],
        stdout=slave,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
        env=homes.environment(COLUMNS="120", TERM="xterm-256color"),
    )
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "a [b]" in shown
    assert "[red]x" in shown
    assert "\x1b[" in shown


@pytest.mark.slow
def test_version_and_help(miripool: Run) -> None:
    from miripool import __version__

    assert call("--version").stdout == f"miripool {__version__}\n"
    text = call("--help").stdout
    groups = {"index", "monitor", "server"}
    commands = [name for name in typer.main.get_command(app_module.app).commands if name not in groups]  # type: ignore[attr-defined]
    known = (
        "create pools rename delete attach detach add watch ls show log export rm restore tag untag tags pixel pixels"
    )
    more = (
        "cite sql demo reprocess lineage uses diff simulate slopes statistics verify gc reindex repair copy pack unpack"
    )
    doors = ["undo", "plot", "compare", "browse", "serve", "mount", "open", "send", "clients"]
    assert sorted(commands) == sorted([*known.split(), *more.split(), *doors])
    for command in [*commands, "server", "index"]:
        assert re.search(rf"\b{command}\b", text)
        told = call(command, "--help")
        assert told.exit_code == 0
        assert "\\b" not in told.stdout
    assert "\n    --where \"kind == 'RateInts' and p.data.max() > 100\"   max" in call("ls", "--help").stdout


# The server


def test_server_of_ones_own(home: Home) -> None:
    url = call("server", "url").stdout.strip()
    assert url.startswith("postgresql://")
    status = call("server", "status").stdout
    assert "external" in status
    assert rows_of("server", "status")["kind"] == "external"
    refused = call("server", "stop")
    assert refused.exit_code == 1
    assert "nothing was done" in refused.stderr


@pytest.mark.slow
def test_embedded_server(tmp_path: Path) -> None:
    """A home without any configuration: everything starts by itself, and stops when told to."""
    with reachable_folder() as folder:
        environment = homes.environment(MIRIPOOL_HOME=str(folder / "my home"), MIRIPOOL_DATABASE_URL=None)

        def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "miripool", *map(str, arguments)]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

        status = json.loads(run("server", "status", "--json").stdout)
        assert status["kind"] == "embedded"
        assert not (folder / "my home").exists()
        made = run("create", "jpl8")
        assert (made.returncode, made.stdout) == (0, "")
        assert run("add", "jpl8", write_image(tmp_path / "a.fits")).returncode == 0
        url = run("server", "url").stdout.strip()
        assert homes.ask(url, "SELECT count(*) FROM jpl8.product") == [(1,)]
        running = run("server", "status")
        assert "embedded" in running.stdout
        stopped = run("server", "stop")
        assert (stopped.returncode, stopped.stderr) == (0, "stopped\n")
        assert run("server", "stop").stderr == "the server was not running\n"
        assert json.loads(run("ls", "jpl8", "--json").stdout)[0]["name"] == "a"
        assert run("server", "stop").stderr == "stopped\n"


# The demonstration


@pytest.mark.slow
@pytest.mark.jwst
@pytest.mark.timeout(600)
def test_demo(home: Home, tmp_path: Path) -> None:
    result = call("--home", tmp_path / "kept", "demo", "--plot", tmp_path / "history.png")
    assert result.exit_code == 0
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert "RateInts version 1" in result.stdout
    assert "written out again: the same bytes as the file that was added" in result.stdout
    assert re.search(r"anneal of 2026-02-11: \d\d of \d+ hot pixels healed, 0\.\d\d to 0\.\d\d of all", result.stdout)
    assert Home(tmp_path / "kept").names() == ["demo"]
    with Home(tmp_path / "kept").pool("demo") as pool:
        for kind, versions in (("Raw", 1), ("Ramp", 2), ("RateInts", 2), ("Exposure", 3)):
            assert [len(pool.versions(f"{kind}/bench_0{n}")) for n in (1, 2, 3)] == [versions] * 3
        assert [tag.label for tag in pool.tags()] == ["using cal v1", "using cal v2"]
    Home(tmp_path / "kept").delete("demo")


@pytest.mark.slow
def test_demo_leaves_nothing(home: Home, tmp_path: Path) -> None:
    """Not even where the environment names a home, nor when it is interrupted."""
    environment = homes.environment(TMPDIR=str(tmp_path), PYTHONUNBUFFERED="1")
    with subprocess.Popen(
        [sys.executable, "-m", "miripool", "demo", "--plot", tmp_path / "none.png"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("pool 'demo' in ")
        os.killpg(process.pid, signal.SIGINT)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert homes.ask(home.database_url(), homes._SCHEMAS) == []
    assert home.names() == []
    assert list(tmp_path.glob("miripool-*")) == []


@pytest.mark.slow
def test_the_picture_of_the_demo_where_it_can_not_be_written(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    pool.ingest([simulated / "v1"], tag="using cal v1")
    told: list[str] = []
    _draw(pool, tmp_path / "none" / "history.png", told.append)
    assert told[-1].startswith("\nno plot: ")


def test_demo_leaves_a_pool_of_that_name_alone(home: Home, tmp_path: Path) -> None:
    with home.create("demo") as pool:
        pool.save(write_image(tmp_path / "a.fits"))
    with pytest.raises(Exception, match="'demo'"):
        call("demo")
    with home.pool("demo") as pool:
        assert pool.select().size() == 1


# Words


def test_sizes_for_people() -> None:
    sizes = (None, 0, 999, 1000, 7_044_480, 99_900, 999_500, 123_456_789_012)
    assert [human_bytes(n) for n in sizes] == [
        *("", "0 B", "999 B", "1 kB", "7.04 MB", "99.9 kB"),
        *("1000 kB", "123 GB"),
    ]


def test_json_is_valid_with_nan_as_text() -> None:
    assert as_json({"x": float("nan")}) == '{\n  "x": "NaN"\n}'
    assert json.loads(as_json({"ü": [1, None, True]})) == {"ü": [1, None, True]}


STOP_DURING_COPY = """
import os, signal
import psycopg2
from miripool import Home
from miripool.cli import main
from miripool.index.connection import Database
copy = Database.copy
class Ended:
    def __init__(self, source, driver):
        self.source, self.driver = source, driver
        self.pid = driver.info.backend_pid
    def read(self, size=-1):
        if self.pid is not None:
            with psycopg2.connect(os.environ["MIRIPOOL_DATABASE_URL"]) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (self.pid,))
            self.pid = None
        return self.source.read(size)
def ended(self, connection, table, columns, source, **options):
    if "pixel" in table:
        Database.copy = copy
        source = Ended(source, connection.connection.dbapi_connection)
    return copy(self, connection, table, columns, source, **options)
Database.copy = ended
main()
"""


@pytest.mark.slow
def test_a_server_that_ends_a_session_during_copy(pool: Pool, tmp_path: Path) -> None:
    place = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 300, "SUBSIZE2": 300, "DETECTOR": "MIRIMAGE"}
    image = write_image(tmp_path / "a_rate.fits", place, np.arange(90_000.0).reshape(300, 300))
    command = [sys.executable, "-c", STOP_DURING_COPY, "add", "jpl8", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "SystemError" not in done.stderr
    assert core_of(pool).pixel_rows.pending() == []
    assert pool.select().size() == 1


def test_what_psycopg2_prints_of_a_server_that_goes_down_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints this by itself, through ``sys.excepthook``, before it raises the error that is reported."""
    error = SystemError("<function decode> returned a result with an exception set")
    _show_uncaught(SystemError, error, None)
    assert "SystemError" in capsys.readouterr().err
    error.__cause__ = psycopg2.errors.AdminShutdown("terminating connection due to administrator command")
    _show_uncaught(SystemError, error, None)
    assert capsys.readouterr().err == ""
