"""Bad input: one clear message, an exit code of its own, and nothing half done."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import write_image
from replay import assert_index_is_journal, files, folder_of

import miripool.cli
from miripool import FullQuery, Home, MetaQuery, Pool, Query
from miripool.errors import (
    AmbiguousSpec,
    DiskFull,
    FileMissing,
    FormatError,
    InvalidInput,
    InvalidName,
    MiripoolError,
    PoolNotFound,
    ProductNotFound,
    QueryError,
    TagNotFound,
    UnknownKeyword,
)
from miripool.pool.core import core_of

home = homes.home


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command as the console script does; gives exit code and stderr."""

    def call(*arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["miripool", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            miripool.cli.main()
        out, words = capfd.readouterr()
        assert out == ""
        assert "Traceback" not in words
        return int(ended.value.code or 0), words

    return call


@pytest.fixture
def filled(pool: Pool, tmp_path: Path) -> Iterator[Pool]:
    """A pool with one image, `a`, in two kinds.

    Whatever is tried: no note stays, no temporary file, and the index says what the journal says.
    """
    path = write_image(tmp_path / "a.fits", {"NGROUPS": 3})
    pool.save(path)
    pool.save(path, kind="Rate", tag="x")
    yield pool
    left = files(folder_of(pool))
    assert not [name for name in left if name.startswith("pending/") or ".tmp-" in name]
    core_of(pool).catch_up()
    assert_index_is_journal(pool)


# Files


def bad_files(folder: Path) -> list[tuple[str, type[MiripoolError]]]:
    good = write_image(folder / "good.fits", {"NGROUPS": 3}, np.zeros((60, 70), "f4")).read_bytes()
    made = {
        "empty.fits": b"",
        "text.fits": b"this is no FITS file\n" * 500,
        "short.fits": good[:100],
        "cut.fits": good[:-2880],
        "cut header.fits": good[: 2880 + 400],
        "no end.fits": good[:2880].replace(b"END     ", b"DNE     ") + good[2880:2900],
        "naxis.fits": good.replace(b"NAXIS1  =                   70", b"NAXIS1  =                  -70"),
        "bitpix.fits": good.replace(b"BITPIX  =                  -32", b"BITPIX  =                  -33"),
        "huge.fits": good.replace(b"NAXIS2  =                   60", b"NAXIS2  =       99999999999999"),
        "cut.fits.gz": gzip.compress(good)[:-40],
        "text.fits.gz": b"not gzip",
        "image.png": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    (folder / "a folder.fits").mkdir()
    return [*((name, FormatError) for name in made), ("none.fits", FileMissing), ("a folder.fits", MiripoolError)]


@pytest.mark.slow
def test_bad_files(filled: Pool, tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    before = files(folder_of(filled))
    for name, error in bad_files(folder):
        with pytest.raises(error) as caught:
            filled.save(folder / name)
        assert name in str(caught.value)
        assert files(folder_of(filled)) == before
        if name != "a folder.fits":
            code, words = run("add", "jpl8", folder / name)
            assert code == error.exit_code
            assert str(folder / name) in words
            assert len(words.splitlines()) == 2
    assert filled.select(all_versions=True).size() == 2


def test_a_file_that_may_not_be_read(filled: Pool, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = write_image(tmp_path / "secret.fits")
    path.chmod(0)
    with pytest.raises(MiripoolError, match=r"secret\.fits"):
        filled.save(path)


def test_what_is_no_regular_file(filled: Pool, tmp_path: Path) -> None:
    (tmp_path / "loop.fits").symlink_to(tmp_path / "loop.fits")
    (tmp_path / "gone.fits").symlink_to(tmp_path / "nowhere")
    for name in ("loop.fits", "gone.fits"):
        with pytest.raises(MiripoolError, match=name):
            filled.save(tmp_path / name)
    with pytest.raises(MiripoolError, match="null"):
        filled.save(Path("/dev/null"))


# Names


@pytest.mark.slow
def test_unknown_names(filled: Pool, tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    cases: list[tuple[tuple[Any, ...], type[MiripoolError], str]] = [
        (("ls", "jlp8"), PoolNotFound, "did you mean jpl8? the pools are jpl8"),
        (("add", "jlp8", tmp_path / "a.fits"), PoolNotFound, "jpl8"),
        (("create", "a/b"), InvalidName, "'a/b' can't name a pool"),
        (("create", ".."), InvalidName, "can't name a pool"),
        (("create", "a\nb"), InvalidName, r"'a\nb' can't name a pool"),
        (("create", "x" * 300), InvalidName, "48 letters"),
        (("ls", "../jpl8"), InvalidName, "can't name a pool"),
        (("delete", "../../etc", "--yes"), InvalidName, "can't name a pool"),
        (("rename", "jpl8", "urn:x"), InvalidName, "can't name a pool"),
        (("tag", "jpl8", "a/b", "Rate/a"), InvalidName, "can't name a tag"),
        (("tag", "jpl8", "..", "Rate/a"), InvalidName, "can't name a tag"),
        (("tag", "jpl8", "a\nb", "Rate/a"), InvalidName, r"'a\nb' can't name a tag"),
        (("tag", "jpl8", "x" * 300, "Rate/a"), InvalidName, "300 characters"),
        (("tag", "jpl8", "urn:jpl8:Rate:1", "Rate/a"), InvalidName, "looks like a URN"),
        (("add", "jpl8", tmp_path / "a.fits", "--tag", "a/b"), InvalidName, "can't name a tag"),
        (("untag", "jpl8", "y"), TagNotFound, "no version of pool jpl8 has the tag 'y'"),
        (("ls", "jpl8", "--tag", "y"), TagNotFound, "'y'"),
        (("show", "jpl8", "a"), AmbiguousSpec, "Product/a, Rate/a"),
        (("export", "jpl8", "a", tmp_path), AmbiguousSpec, "Product/a, Rate/a"),
        (("rm", "jpl8", "Rate/a", "a"), AmbiguousSpec, "Product/a, Rate/a"),
        (("show", "jpl8", "Rate/b"), ProductNotFound, "no Rate 'b'"),
        (("show", "jpl8", "Ramp/a"), ProductNotFound, "no Ramp 'a' in pool jpl8; there is Product/a, Rate/a"),
        (("show", "jpl8", "Rate/a@7"), ProductNotFound, "has versions 0 [x]"),
        (("show", "jpl8", "urn:jpl8:Rate:99"), ProductNotFound, "urn:jpl8:Rate:99"),
        (("show", "jpl8", "urn:jpl8"), InvalidInput, "urn:jpl8:RateInts:17"),
        (("show", "jpl8", "Rat/a"), InvalidInput, "the kinds are"),
        (("ls", "jpl8", "--kind", "Rat"), InvalidInput, "the kinds are"),
        (("ls", "jpl8", "--columns", "NGRUOPS"), UnknownKeyword, "NGROUPS"),
        (("ls", "jpl8", "--sort", "NGRUOPS"), UnknownKeyword, "NGROUPS"),
    ]
    before = files(folder_of(filled)), core_of(filled).catch_up()
    for arguments, error, words in cases:
        code, said = run(*arguments)
        assert (code, words.lower() in said.lower()) == (error.exit_code, True), (arguments, code, said)
        assert len(said.splitlines()) == 1
        assert len(said) < 400
    assert (files(folder_of(filled)), core_of(filled).catch_up()) == before


# Questions


@pytest.mark.parametrize(
    "where",
    [
        "ngroups >=",
        "ngroups >= 3 and",
        "(ngroups >= 3",
        "ngroups >= 3)",
        "'open",
        "ngroups === 3",
        "ngroups >= 3; import os",
        "__import__('os').system('true')",
        "p.__class__",
        "p.data.max().__class__.__mro__",
        "p.meta.__init__.__globals__",
        "().__class__.__bases__[0].__subclasses__()",
        "getattr(p, 'meta')",
        "eval('1')",
        "open('/etc/passwd')",
        "(lambda: 1)()",
        "lambda p: True",
        "[x for x in p]",
        "{1: 2}",
        "f'{p}'",
        "9**9**9 > 1",
        "'x' * 1000000000 == 'y'",
        "p.data[9**9**9] > 1",
        "ngroups if True else 3",
        "exec('1') == 1",
        "p.data.tofile('x') == 1",
        "p.data.dump('x') == 1",
        "(" * 5000 + "1" + ")" * 5000,
        "not " * 20000 + "1",
        "1 and " * 20000 + "1",
        "ngroups == " + "9" * 5000,
        "\x00",
        "ngroups == '\ud800'",
    ],
)
def test_forbidden_questions(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for make in (
        lambda: Query(where),
        lambda: MetaQuery("Rate", "p", where),
        lambda: FullQuery("Rate", "p", where),
    ):
        with pytest.raises(QueryError) as caught:
            make()
        assert len(str(caught.value)) < 50_000
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_questions_on_the_command_line(filled: Pool, run: Callable[..., tuple[int, str]]) -> None:
    code, words = run("ls", "jpl8", "--where", "ngroups >= 3 and detektor == 'X'")
    assert (code, words) == (33, words)
    assert "DETECTOR" in words
    code, words = run("ls", "jpl8", "--where", "ngroups >= and 3")
    assert code == 32
    first, shown, mark = words.splitlines()
    assert "column 12" in first
    assert shown == "  ngroups >= and 3"
    assert mark == " " * 13 + "^"
    code, words = run("ls", "jpl8", "--where", "__import__('os').system('true')")
    assert code == 32
    # A function of the program, and one that looks like one of the user.
    for name in ("kind_class", "open_pool", "human_bytes", "testImage"):
        code, words = run("ls", "jpl8", "--where", f"{name}(p)")
        assert (code, name in words) == (32, True)


def test_a_metadata_question_asks_no_content() -> None:
    with pytest.raises(QueryError, match="FullQuery"):
        MetaQuery("Rate", "p", "p.data.max() > 1")


def test_an_injection_is_a_text(filled: Pool) -> None:
    for text in ("'; DROP SCHEMA jpl8 CASCADE; --", "%s", "%(x)s", ":x", "\\", '"'):
        escaped = text.replace("\\", "\\\\").replace("'", "\\'")
        assert filled.select(f"name == '{escaped}'").size() == 0
        assert filled.select(f"TELESCOP like '{escaped}'").size() == 0
        assert not filled.tag_exists(text)
        with pytest.raises(MiripoolError):
            filled.ref(text)
    assert filled.select().size() == 2


# The disk


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """The pools are on a disk of 8 MB."""
    (home.path / "pools").mkdir(parents=True)
    with homes.mounted(home.path / "pools", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as disk:
        yield disk


@pytest.mark.slow
def test_a_full_disk(small_disk: Path, pool: Pool, tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    random = np.random.default_rng(1)
    small = write_image(tmp_path / "small.fits")
    pool.save(small, tag="x")
    before = files(folder_of(pool) / "journal")
    big = write_image(tmp_path / "big.fits", data=random.normal(size=(1500, 1500)))
    for _ in range(2):
        with pytest.raises(DiskFull, match="make room"):
            pool.save(big)
    code, words = run("add", "jpl8", big)
    assert (code, "no space left" in words) == (61, True)
    # Filled to the last byte.
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    for act in (
        lambda: pool.save(write_image(tmp_path / "b.fits", {"N": 1}, random.normal(size=(90, 90)))),
        lambda: pool.tag("small", "y" * 90),
        lambda: pool.remove("small"),
    ):
        with pytest.raises(DiskFull):
            act()
    assert pool.ref("small").tags == ("x",)
    assert pool.select().size() == 1
    assert pool.save(small).notice == "unchanged: version 0"
    left = files(folder_of(pool))
    assert files(folder_of(pool) / "journal") == before
    assert not [name for name in left if name.startswith("pending/") or ".tmp-" in name]
    assert_index_is_journal(pool)
    # Room again.
    filler.unlink()
    assert pool.save(write_image(tmp_path / "b.fits", {"N": 1})).version == 0
    assert pool.tag("small", "y") == 1
    assert_index_is_journal(pool)


def test_an_export_to_a_full_disk(filled: Pool, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with homes.mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        big = filled.save(write_image(tmp_path / "big.fits", data=np.zeros((700, 700))))
        with pytest.raises(DiskFull, match=r"big\.fits"):
            big.to_fits(disk / "big.fits")
        assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_damaged_and_missing_parts(filled: Pool, tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    ref = filled.ref("Rate/a")
    blob = folder_of(filled) / ref.product["SCI"].source.key
    kept = blob.read_bytes()
    for content, words in ((None, "missing"), (kept[:100], "damaged"), (b"", "damaged")):
        if content is None:
            blob.unlink()
        else:
            blob.write_bytes(content)
        code, said = run("export", "jpl8", "Rate/a", tmp_path / "out.fits")
        assert (code, words in said, str(blob) in said) == (70, True, True), said
        assert not (tmp_path / "out.fits").exists()
    blob.write_bytes(kept)
    manifest = folder_of(filled) / core_of(filled).archive.manifest_key(ref.row.manifest)
    text = manifest.read_bytes()
    manifest.write_bytes(text.replace(b"NGROUPS", b"NGROUPZ"))
    core_of(filled).archive.manifest.cache_clear()
    assert run("show", "jpl8", "Rate/a")[0] == 70
    manifest.unlink()
    code, said = run("show", "jpl8", "Rate/a")
    assert (code, str(manifest) in said) == (70, True), said
    manifest.write_bytes(text)
    assert ref.to_fits(tmp_path / "out.fits").read_bytes() == (tmp_path / "a.fits").read_bytes()


# The server


@pytest.mark.slow
def test_the_server_is_away(filled: Pool, run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(folder_of(filled))
    with monkeypatch.context() as patch:
        patch.setenv("MIRIPOOL_DATABASE_URL", "postgresql://user:s3cret@127.0.0.1:1/x")
        for arguments in (("ls", "jpl8"), ("tag", "jpl8", "y", "Rate/a"), ("rm", "jpl8", "Rate/a"), ("create", "new")):
            code, words = run(*arguments)
            assert (code, "127.0.0.1" in words, "s3cret" in words) == (91, True, False)
        patch.setenv("MIRIPOOL_DATABASE_URL", "s3cret nonsense")
        code, words = run("ls", "jpl8")
        assert (code, "MIRIPOOL_DATABASE_URL" in words, "s3cret" in words) == (30, True, False)
    assert files(folder_of(filled)) == before


@pytest.mark.slow
def test_bytes_that_are_no_text(filled: Pool, run: Callable[..., tuple[int, str]]) -> None:
    """A name in another encoding than the terminal's comes as half characters."""
    bad = os.fsdecode(b"a\xff")
    for arguments in (
        ("show", "jpl8", bad),
        ("ls", "jpl8", bad),
        ("ls", "jpl8", "--tag", bad),
        ("ls", "jpl8", "--columns", bad),
        ("log", "jpl8", f"Rate/{bad}"),
        ("uses", "jpl8", bad),
        ("untag", "jpl8", bad),
        ("rm", "jpl8", f"{bad}*", "--dry-run"),
        ("restore", "jpl8", bad),
    ):
        code, words = run(*arguments)
        assert (code, "internal error" in words, "bytes that are not text" in words) == (30, False, True), words
    with pytest.raises(InvalidInput, match=r"'a\\udcff' contains bytes that are not text"):
        filled.ref(bad)


def test_a_connection_that_is_cut(filled: Pool, tmp_path: Path, home: Home) -> None:
    """The next use makes a new one."""
    filled.select()
    url = home.database_url()
    homes.ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'miripool'")
    assert filled.select().size() == 2
    homes.ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'miripool'")
    assert filled.save(write_image(tmp_path / "b.fits")).version == 0


# Ends


@pytest.mark.slow
def test_an_interruption(pool: Pool, simulated: Path) -> None:
    """Control-C while files are added: what was added stays, and it says so."""
    command = [sys.executable, "-m", "miripool", "add", "jpl8", str(simulated / "v1")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list((folder_of(pool) / "pending").glob("*.json")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    assert process.returncode in (130, 0)
    if process.returncode:
        told = r"(\d of 3 files are safe in the pool|no file was added so far); run the same command again to .*"
        assert re.fullmatch(rf"({told}\n)?miripool: interrupted\n", words)
    assert "Traceback" not in words
    core_of(pool).catch_up()
    assert_index_is_journal(pool)
