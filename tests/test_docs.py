"""Every snippet of the README, of each page of docs/, and every example runs, in the order they stand, on one pool."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from homes import call
from postgresql import reachable_folder

from miripool import Home

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


RUN = {"console", "python", "sql"}
OWN_SERVER = {"tutorial.md", "server.md", "configuration.md", "sql.md", "pixels.md"}
"""Pages about the embedded server, its users for SQL included, and the tutorial. Others use the server of all tests."""
PROCESSES = {"sql", "server", "demo"}
"""Commands that become another program, or start one."""
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)


def blocks(language: str | None = None, page: Path = ROOT / "README.md") -> list[tuple[str, str]]:
    found = BLOCK.findall(page.read_text())
    return [(kind, text) for kind, text in found if language is None or kind == language]


@pytest.fixture
def files(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in, with the files that the README speaks of; the commands are on PATH."""
    folder = tmp_path / "work"
    shutil.copytree(simulated, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def workplace(files: Path, home: Home) -> Path:
    """The same, with an empty home that uses the server of all tests."""
    return files


@pytest.fixture
def workplace_with_server(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, with an empty home and an embedded server of its own, as users have it."""
    monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
    with reachable_folder() as place:
        monkeypatch.setenv("MIRIPOOL_HOME", str(place / "home"))
        yield files
        Home().server.remove()


def run_shell(lines: str) -> str:
    commands = "\n".join(line.removeprefix("$ ") for line in lines.splitlines() if line.startswith("$ "))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def expanded(word: str) -> list[str]:
    """Give the files that a pattern fits, as a shell does; the word itself where it is none."""
    return sorted(map(str, Path().glob(word))) or [word] if "*" in word and not word.startswith("/") else [word]


def run_console(lines: str) -> None:
    """Run commands as `run_shell` does; those of miripool that need no shell, in this process, which saves a second."""
    for line in lines.splitlines():
        words = shlex.split(line.removeprefix("$ ")) if line.startswith("$ miripool ") else []
        if words and words[1] not in PROCESSES and not set(line[2:]) & set("|&;<>$`\\#"):
            done = call(*(found for word in words[1:] for found in expanded(word)))
            assert done.exit_code == 0, (line, done.stderr)
        else:
            run_shell(line)


@pytest.mark.slow
def test_readme(workplace_with_server: Path) -> None:
    workplace = workplace_with_server
    names: dict[str, object] = {}
    printed = []
    for kind, text in blocks():
        if kind == "console":
            printed.append(run_shell(text))
        elif kind == "python":
            exec(compile(text, "README.md", "exec"), names)
    # What the text promises of the commands.
    assert "version 1" in printed[0]
    assert "CRDS_CTX: jwst_" in printed[0]
    assert (workplace / "again.fits").read_bytes() == next((workplace / "v1").glob("*_ramp.fits")).read_bytes()
    (first,) = (workplace / "v1").glob("*_rateints.fits")
    assert (workplace / "first_rateints.fits").read_bytes() == first.read_bytes()
    assert (workplace / "ramps.png").stat().st_size > 10_000
    assert len(names["history"]) == 6  # type: ignore[arg-type]
    pool = names["pool"]
    assert len(pool.tagged("for the paper")) == 1  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if RUN & {kind for kind, _ in blocks(page=page)}],
    ids=lambda page: page.relative_to(ROOT / "docs").as_posix(),
)
def test_page(request: pytest.FixtureRequest, page: Path) -> None:
    """The commands, Python and SQL of a page, on the pool of the tour: one exposure in two calibrations."""
    request.getfixturevalue("workplace_with_server" if page.name in OWN_SERVER else "workplace")
    with Home().create("jpl8") as pool:  # as the tour's commands do it, without three processes for each page
        outcomes = [*pool.ingest(["uncal", "v1"], tag="using cal v1"), *pool.ingest(["v2"], tag="using cal v2")]
    assert [outcome.status for outcome in outcomes] == ["new"] * 4 + ["version"] * 3
    names: dict[str, object] = {"__name__": "__main__"}
    for kind, text in blocks(page=page):
        if kind == "console" and ("h5dump" not in text or shutil.which("h5dump")):
            (run_shell if page.name in OWN_SERVER else run_console)(text)
        elif kind == "python":
            exec(compile(text, str(page), "exec"), names)
        elif kind == "sql":
            for statement in filter(str.strip, text.split(";")):
                with Home().sql("jpl8", statement) as answer:
                    list(answer)


@pytest.mark.slow
def test_docs_build_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*build, str(ROOT / "docs"), str(tmp_path / "html")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in PAGES}
    assert pages <= {path.relative_to(tmp_path / "html") for path in (tmp_path / "html").rglob("*.html")}


def test_readme_begins_with_two_commands() -> None:
    install, test = [text.strip() for _, text in blocks("sh")]
    assert install.endswith("miripool demo")
    assert test.endswith("python -m pytest -n 2 --dist worksteal")


def test_readme_names_every_command() -> None:
    from typer.main import get_command

    from miripool.cli.app import app

    text = (ROOT / "README.md").read_text()
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"`{name}`", text), f"README does not name `miripool {name}`"


@pytest.mark.slow
def test_example_compare_calibrations(workplace: Path) -> None:
    run_shell(blocks("console")[0][1])
    script = ROOT / "examples" / "compare_calibrations.py"
    done = subprocess.run(
        [sys.executable, str(script), "jpl8", "using cal v1", "using cal v2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "version 0 → 1" in done.stdout
    assert "DN/s at x=" in done.stdout


@pytest.mark.slow
def test_example_where_on_the_sky(workplace: Path) -> None:
    run_shell(blocks("console")[0][1])
    script = ROOT / "examples" / "where_on_the_sky.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), "jpl8", "06h47m18.7s -01d42m46.5s"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1 products" in done.stdout
    assert re.search(r"mirimage: x=43, y=810 \(±0\.1 pixels\), -?\d+\.\d\d DN/s", done.stdout)


@pytest.mark.slow
def test_example_on_a_cluster(workplace: Path) -> None:
    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(ROOT / "examples" / "on_a_cluster.py"), "jpl8", "uncal", "v1"],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    files = [path for label in ("uncal", "v1") for path in (workplace / label).glob("*.fits")]
    first, again = run(), run()
    assert first.count("new urn:jpl8:") == len(files)
    assert again.count("unchanged urn:jpl8:") == len(files)
    assert "jw01033005001_03103_00001_mirimage version 0 has hot pixels" in first
