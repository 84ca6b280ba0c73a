"""Words beside the data: `--quiet` silences all but errors, progress is for terminals, the shell completes names."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import homes
import pytest
from homes import call, write_image

from miripool import Home, Pool

home = homes.home


@pytest.mark.parametrize("place", ["before", "after"])
def test_data_and_errors_only(pool: Pool, tmp_path: Path, place: str) -> None:
    good, bad = write_image(tmp_path / "good.fits"), tmp_path / "bad.fits"
    bad.write_bytes(b"no FITS file")
    words = ["add", "jpl8", good, bad]
    done = call("-q", *words) if place == "before" else call(*words, "--quiet")
    assert done.exit_code != 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["added"]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"failed       {bad}")
    aloud = call(*words)
    assert "1 unchanged, 1 failed" in aloud.stderr  # one command's silence is not the next one's


@pytest.mark.slow
def test_every_command_can_be_quiet(pool: Pool, tmp_path: Path) -> None:
    write_image(tmp_path / "a.fits")
    for words in (
        ["create", "other"],
        ["add", "other", tmp_path / "a.fits"],
        ["tag", "other", "seen", "a"],
        ["untag", "other", "seen", "a"],
        ["ls", "other", "--where", "NGROUPS > 7"],
        ["rm", "other", "a"],
        ["restore", "other", "a"],
        ["index", "pixels", "other"],
        ["reindex", "other"],
        ["gc", "other"],
        ["verify", "other"],
        ["server", "check"],
        ["delete", "other", "--yes"],
    ):
        done = call(*words, "-q")
        assert (done.exit_code, done.stderr) == (0, ""), words


@pytest.mark.slow
def test_errors_are_said_all_the_same(miripool: Callable[..., subprocess.CompletedProcess[str]], home: Home) -> None:
    done = miripool("ls", "none", "-q")
    assert done.returncode != 0
    assert "miripool: no pool 'none'" in done.stderr


@pytest.mark.parametrize(("words", "shown"), [([], True), (["-q"], False)])
def test_progress_is_for_terminals(words: list[str], shown: bool) -> None:
    """The same process on a terminal, and with its words in a pipe."""
    program = (
        "import sys; from miripool.cli.output import quiet, shows_progress; "
        "quiet('-q' in sys.argv); print(shows_progress())"
    )
    command = [sys.executable, "-c", program, *words]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stdout.strip() == "False"
    ours, theirs = pty.openpty()
    on_terminal = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True)
    os.close(theirs)
    os.close(ours)
    assert on_terminal.stdout.strip() == str(shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("miripool ls jp", ["jpl8"]),
        ("miripool ls x", []),
        ("miripool reind", ["reindex"]),
        ("miripool ls --ki", ["--kind"]),
    ],
)
def test_the_shell_completes(
    pool: Pool, miripool: Callable[..., subprocess.CompletedProcess[str]], words: str, completed: list[str]
) -> None:
    """As the function does that ``--show-completion bash`` writes."""
    program = Path(sys.executable).with_name("miripool")
    environment = {
        **os.environ,
        "_MIRIPOOL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == completed
    assert done.stderr == ""
    script = miripool("--show-completion", "bash").stdout
    assert "_MIRIPOOL_COMPLETE=complete_bash" in script


def test_warnings_of_the_log_are_said(pool: Pool) -> None:
    """A library's own log goes where its user lets it go: on the command line to stderr, once."""
    for words, said in ((["pools"], "pixel rows are late\n"), (["pools", "-q"], "")):
        call(*words)
        heard = io.StringIO()
        with contextlib.redirect_stderr(heard):
            logging.getLogger("miripool.pool").warning("pixel rows are %s", "late")
            logging.getLogger("miripool.pool").info("all is well")
        assert heard.getvalue() == said


@pytest.mark.slow
def test_nothing_is_logged_where_nobody_listens(miripool: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    program = (
        "import logging; from miripool import Home; logging.getLogger('miripool.pool').warning('late'); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
