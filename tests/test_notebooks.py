"""The notebooks in examples/ run from nothing, show what their text promises, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from postgresql import reachable_folder
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
STRIPPED = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dict[str, str]]]:
    """Run a notebook in a kernel of its own; gives by cell what it shows: printed text, values, tables as HTML."""
    with reachable_folder() as place:
        work, temporary = place / "work", place / "tmp"
        # Nothing of the user's is read or written, by Jupyter neither; what the notebook leaves is seen.
        for variable, folder in (
            ("IPYTHONDIR", place / "ipython"),
            ("JUPYTER_CONFIG_DIR", place / "config"),
            ("JUPYTER_DATA_DIR", place / "data"),
            ("JUPYTER_RUNTIME_DIR", place / "runtime"),
            ("TMPDIR", temporary),
        ):
            folder.mkdir()
            monkeypatch.setenv(variable, str(folder))
        work.mkdir()
        monkeypatch.setenv("MIRIPOOL_HOME", str(place / "home"))
        monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        monkeypatch.setenv("PYTHONWARNINGS", "default")  # what warns is printed, and seen below
        monkeypatch.delenv("MIRIPOOL_DATABASE_URL", raising=False)

        def run(name: str) -> dict[str, str]:
            notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
            client = NotebookClient(
                notebook,
                timeout=120,
                kernel_name="python3",
                resources={"metadata": {"path": str(work)}},
                # Sockets in the folder: with TCP the kernel would listen on ports of the machine, and say so.
                config=Config({"ConnectionFileMixin": {"transport": "ipc", "ip": str(place / "socket")}}),
            )
            client.execute()  # raises where a cell fails
            assert [*temporary.iterdir(), *work.iterdir()] == []
            assert not (place / "home").exists()
            return {cell.id: shown(cell) for cell in notebook.cells if cell.cell_type == "code"}

        yield run


def shown(cell: NotebookNode) -> str:
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            assert output.name == "stdout", output.text
            texts.append(output.text)
        else:
            texts += [output.data.get("text/html", output.data.get("text/plain", ""))]
            texts += [f"<{kind}>" for kind in output.data if kind.startswith("image/")]
    return "\n".join(texts)


@pytest.mark.slow
def test_tour_of_a_pool(run: Callable[[str], dict[str, str]]) -> None:
    seen = run("tour_of_a_pool.ipynb")
    name = "jw01033005001_03103_00001_mirimage"
    assert seen["add"].count("new urn:tour:") == 4
    assert seen["add"].count("version urn:tour:") == 3
    assert seen["list"].startswith("<p>7 products</p><table>")
    for kind in ("Ramp", "Rate", "RateInts"):
        assert f">{kind}<" in seen["find"]
    assert "group_time 0.08512 s" in seen["meta"]
    assert "SCI</td><td>float32</td><td>(3, 8, 64, 72)" in seen["meta"]
    assert "(3, 8, 64, 72) float32" in seen["tile"]
    assert "24 pieces" in seen["parts"]
    assert "Rate: 2 → 6" in seen["tags"]
    assert "urn:tour:Rate:6" in seen["tags"]
    assert "<li>datasets changed: SCI, ERR, VAR_POISSON, VAR_RNOISE</li>" in seen["diff"]
    assert "<li>CRDS_CTX: jwst_9001.pmap → jwst_9002.pmap</li>" in seen["diff"]
    assert "of 13824 rates differ" in seen["mask"]
    places = [seen["lineage"].index(f"{kind}/{name}@") for kind in ("Raw", "Ramp", "RateInts")]
    assert places == sorted(places)
    assert seen["export"] == "True"
    assert seen["end"] == "False"


@pytest.mark.slow
def test_one_pixel_through_a_campaign(run: Callable[[str], dict[str, str]]) -> None:
    seen = run("one_pixel_through_a_campaign.ipynb")
    assert "{'new'} 24 files" in seen["add"]
    assert "Table length=24" in seen["history"]
    assert "<image/png>" in seen["rates"]
    assert "<image/png>" in seen["ramps"]
    assert "18 times" in seen["condition"]
    assert "[(20, 800), (41, 809), (60, 835)]" in seen["condition"]
    assert "DO_NOT_USE|HOT" in seen["flagged"]
    assert seen["results"].count("<td>6</td><td>2026-03-07 12:00:00+00:00</td>") == 3
    for x, y in ((20, 800), (41, 809), (60, 835)):
        assert f"<td>{x}</td><td>{y}</td>" in seen["results"]
    assert seen["end"] == "False"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_files_are_valid_and_stripped(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert notebook.metadata == STRIPPED
    assert [cell.metadata for cell in notebook.cells] == [{}] * len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_cell_is_told_before_it_runs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith("# ")
    assert [cell.cell_type for cell in cells[1:]] == ["markdown", "code"] * (len(cells) // 2)


def test_readme_names_each_notebook() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(NOTEBOOKS) == 2
    for path in NOTEBOOKS:
        assert f"`examples/{path.name}`" in text
