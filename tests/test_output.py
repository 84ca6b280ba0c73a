"""What a stranger wrote into a header, a name or a tag is shown on a terminal, and never obeyed by it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pty
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import call

from miripool import Home, Pool, Ramp, Rate
from miripool.cli.output import emit, visible
from miripool.errors import InvalidInput
from miripool.records.plain import as_json

home = homes.home

TITLE = "\x1b]0;x\x07"
"""Sets the title of a terminal's window."""
C1 = "\x9b31m"
TURNED = "abc\u202egnp.exe"


@pytest.fixture
def loud(pool: Pool, tmp_path: Path) -> Pool:
    """A pool with a file whose header, and with tags that, hold what terminals obey."""
    path = homes.write_image(tmp_path / "loud.fits", {"TARGNAME": "@" * 8 + "#" * 5, "OBSERVER": "@" * 4})
    data = path.read_bytes().replace(b"@" * 8 + b"#" * 5, TITLE.encode("latin-1") + C1.encode("latin-1") + b"end")
    path.write_bytes(data.replace(b"@" * 4, b"\x85\x90\x7f\x08"))
    pool.save(path, name="loud", tag="first")
    return pool


def obeyed(text: str) -> set[str]:
    """Characters that do not stand for themselves."""
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"} and c not in "\n\t"}


def test_characters_that_are_obeyed_are_shown() -> None:
    assert visible(TITLE + C1 + TURNED) == r"\x1b]0;x\x07\x9b31mabc\u202egnp.exe"
    every = "".join(map(chr, [*range(0xA0), 0x61C, *range(0x2000, 0x2070)]))
    assert obeyed(visible(every)) <= {
        chr(n) for n in (0x200B, 0x200C, 0x200D, *range(0x2060, 0x2066), *range(0x206A, 0x2070))
    }
    assert visible("é 日本\tx\ny") == "é 日本\tx\ny"
    assert visible("x\ty\n", lines=False) == r"x\ty\n"


def test_json_and_csv_keep_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    content = TITLE + C1 + TURNED
    text = as_json({"a": content})
    assert json.loads(text) == {"a": content}
    assert obeyed(text) == set()
    emit([{"a": content}], ["a"], as_csv=True)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[1] == [content]


@pytest.mark.parametrize(
    "command",
    [
        ["show", "jpl8", "Rate/loud"],
        ["show", "jpl8", "loud", "--all"],
        ["ls", "jpl8", "--columns", "name,targname,observer"],
        ["log", "jpl8", "loud"],
        ["ls", "jpl8", "--where", "targname == 'x'", "--explain"],
    ],
    ids=" ".join,
)
def test_headers_of_strangers(loud: Pool, command: list[str]) -> None:
    kind = loud.select("1")[0].kind
    result = call(*(argument.replace("Rate/", f"{kind}/") for argument in command))
    assert result.exit_code == 0
    assert obeyed(result.stdout + result.stderr) == set()
    if command[0] == "show" or "targname,observer" in command[-1]:
        assert r"\x1b]0;x\x07\x9b31mend" in result.stdout
    if command[0] == "show":
        record = json.loads(call(*command[:2], "loud", "--json").stdout)
        values = {row["keyword"]: row["value"] for row in record["keywords"]}
        assert values["TARGNAME"] == TITLE + C1 + "end"


@pytest.mark.slow
def test_on_a_terminal(loud: Pool, home: Home) -> None:
    """There, tables are drawn by another library."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "miripool", "ls", "jpl8", "--columns", "name,targname"],
        stdout=slave, stderr=slave, env=homes.environment(TERM="dumb", COLUMNS="200"),
    ) as process:  # fmt: skip
        process.wait(60)
    os.close(slave)
    written = os.read(master, 1 << 16)
    os.close(master)
    assert process.returncode == 0
    assert rb"\x1b]0;x\x07" in written
    assert b"\x1b]0" not in written
    assert C1.encode() not in written


@pytest.mark.slow
def test_messages_and_names_of_folders(pool: Pool, home: Home, tmp_path: Path) -> None:
    folder = home.path / "pools" / f"evil{TITLE}{TURNED}"
    folder.mkdir()
    (folder / "pool.json").write_text("{}")
    loud = tmp_path / f"{TITLE}{TURNED}.fits"
    loud.write_bytes(b"no FITS")
    done = [
        subprocess.run([sys.executable, "-m", "miripool", *command], capture_output=True, text=True, check=False)
        for command in (["pools"], ["ls", "jpl9"], ["add", "jpl8", str(loud)])
    ]
    for result in done:
        assert obeyed(result.stdout + result.stderr) == set()
        assert r"\x1b]0;x\x07abc\u202e" in result.stderr
    pool.save(Rate({}, {"SCI": np.zeros((2, 2), "f4")}, name="a"))


# NaN is a value, missing is none


VALUES: list[tuple[Any, Any, str, str]] = [
    (None, None, "", ""),
    (np.ma.masked, None, "", ""),
    (math.nan, "NaN", "NaN", "NaN"),
    (np.float32("nan"), "NaN", "NaN", "NaN"),
    (Decimal("NaN"), "NaN", "NaN", "NaN"),
    (math.inf, "inf", "inf", "inf"),
    (Decimal("-Infinity"), "-inf", "-inf", "-inf"),
    (np.float32(0.1), 0.1, "0.1", "0.1"),
    (np.int16(3), 3, "3", "3"),
    (Decimal("2.0"), 2, "2", "2"),
    (np.bool_(True), True, "True", "True"),
    ([1.0, math.nan, None], [1.0, "NaN", None], "1.0, NaN,", "1.0; NaN; "),
    (np.ma.masked_equal([1, 2], 2), [1, None], "1,", "1; "),
    ([[math.nan], [None]], [["NaN"], [None]], "[NaN], []", "[NaN]; []"),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z", "2026-01-02 00:00:00", "2026-01-02T00:00:00Z"),
]


@pytest.mark.parametrize(("value", "in_json", "in_table", "in_csv"), VALUES)
def test_nan_and_missing_are_two_things(
    value: Any, in_json: Any, in_table: str, in_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"a": value, "b": 1}]
    emit(rows, ["a", "b"], as_json_list=True)
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail) == [{"a": in_json, "b": 1}]
    assert json.loads(as_json({"deep": [value]})) == {"deep": [in_json]}
    emit(rows, ["b", "a"])
    assert capsys.readouterr().out.splitlines()[1][3:].strip() == in_table
    emit(rows, ["a", "b"], as_csv=True)
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[1] == [in_csv, "1"]


def test_nan_in_listings_of_a_pool(pool: Pool, tmp_path: Path) -> None:
    rate = np.ones((64, 72), "f4")
    rate[0, 0] = np.nan
    place = {"SUBSTRT1": 1, "SUBSTRT2": 779, "SUBSIZE1": 72, "SUBSIZE2": 64, "DETECTOR": "MIRIMAGE"}
    pool.save(Rate(place, {"SCI": rate, "WHT": np.full((2, 2), np.nan, "f4")}, name="holed"))
    pool.save(Rate(place, {"SCI": rate * 2, "ERR": rate}, name="whole"))
    row, other = json.loads(call("pixel", "jpl8", "1", "779", "--kind", "Rate", "--json").stdout)
    assert (row["rate"], row["err"], other["rate"], other["err"]) == ("NaN", None, "NaN", "NaN")
    read, _ = csv.DictReader(io.StringIO(call("pixel", "jpl8", "1", "779", "--kind", "Rate", "--csv").stdout))
    assert (read["rate"], read["err"]) == ("NaN", "")
    assert " NaN " in call("pixel", "jpl8", "1", "779", "--kind", "Rate").stdout
    shown = json.loads(call("show", "jpl8", "holed", "--json").stdout)
    known = {d["dataset"]: d for d in shown["datasets"]}
    assert (known["WHT"]["max"], known["WHT"]["nan"], known["SCI"]["max"]) == ("NaN", 4, 1.0)


# Times


def test_milliseconds_where_any_is_not_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """They are rounded, as the days of a Julian date hold microseconds only nearly."""
    day = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rows = [
        {"begin": day.replace(microsecond=6_999), "end": day.replace(microsecond=400), "n": None},
        {"begin": day, "end": day.replace(microsecond=999_500), "n": None},
        {"begin": None, "end": day, "n": None},
    ]
    emit(rows[:1], ["begin", "end"])
    assert capsys.readouterr().out.split()[2:] == ["2026-01-02", "03:04:05", "2026-01-02", "03:04:05"]
    emit(rows[:1], ["begin", "end"], exact_times=True)
    assert capsys.readouterr().out.split()[2:] == ["2026-01-02", "03:04:05.007", "2026-01-02", "03:04:05"]
    emit(rows, ["end", "begin"], exact_times=True)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == ["03:04:05"] * 3
    emit(rows[1:], ["begin"], as_csv=True, exact_times=True)
    assert capsys.readouterr().out.splitlines()[1:] == ["2026-01-02T03:04:05Z", '""']


def test_exposures_that_are_milliseconds_apart(pool: Pool) -> None:
    place = {
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": 2,
        "SUBSIZE2": 2,
        "DETECTOR": "MIRIMAGE",
        "DATE-OBS": "2026-01-02",
    }
    for clock in ("03:04:05.006", "03:04:05.240"):
        pool.save(Rate({**place, "TIME-OBS": clock}, {"SCI": np.ones((2, 2), "f4")}, name=clock))
    shown = call("pixel", "jpl8", "1", "1", "--kind", "Rate").stdout
    assert "2026-01-02 03:04:05.006" in shown
    assert "2026-01-02 03:04:05.240" in shown
    assert "2026-01-02 03:04:05.006" in call("pixels", "jpl8", "--kind", "Rate").stdout


# Long arrays


def test_long_arrays_are_shortened_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"urn": "urn:jpl8:Ramp:1", "ramp": list(range(1000, 1040)), "tags": [f"tag {i}" for i in range(9)]}]
    emit(rows, ["urn", "ramp", "tags"])
    assert "1003, 1004" in capsys.readouterr().out
    emit(rows, ["urn", "ramp"], as_csv=True)
    assert "1003; 1004" in capsys.readouterr().out
    emit(rows, ["urn", "ramp"], as_json_list=True)
    assert json.loads(capsys.readouterr().out)[0]["ramp"] == list(range(1000, 1040))


@pytest.mark.slow
def test_a_wide_table_on_a_terminal(pool: Pool) -> None:
    ramp = np.arange(96 * 20, dtype="f4").reshape(2, 20, 6, 8)
    cards = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6, "DETECTOR": "MIRIMAGE"}
    pool.save(Ramp(cards, {"SCI": ramp, "GROUPDQ": np.zeros(ramp.shape, "u1")}, name="wide"))
    shown = on_a_terminal("pixels", "jpl8", "--kind", "Ramp", "--x", "5:5", "--y", "100:100", columns=120)
    assert "more …" in shown
    assert len(shown.splitlines()) < 40, shown
    chosen = on_a_terminal("pixels", "jpl8", "--kind", "Ramp", "--columns", "urn,x,y", columns=120)
    assert chosen.split()[:3] == ["urn", "x", "y"]
    assert all(len(line.split()) == 3 for line in chosen.splitlines() if line.strip())
    with pytest.raises(InvalidInput, match="there is no column rate; there are urn, name"):
        call("pixels", "jpl8", "--kind", "Ramp", "--columns", "urn,rate")
    with pytest.raises(InvalidInput, match="there is no column nope"):
        call("pixel", "jpl8", "5", "100", "--kind", "Ramp", "--columns", "nope")


def on_a_terminal(*arguments: str, columns: int) -> str:
    """What a command writes to a terminal of some width."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    command = [sys.executable, "-m", "miripool", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.close(follower)
        parts = []
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        assert process.stderr is not None
        words = process.stderr.read()
    os.close(leader)
    assert process.returncode == 0, words
    return b"".join(parts).decode()
