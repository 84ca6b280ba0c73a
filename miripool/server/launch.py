"""Start a supervisor, detached: `python -P <this file> <home> <idle seconds>`.

Run as a file: so neither the user's working directory nor another module called `miripool` can be picked up, and an
editable install is found as well as any other. The process forks before it imports anything; the parent stays until
the child supervises, and ends with 0, or with 3 if the home has a supervisor already.
"""

from __future__ import annotations

import importlib.util
import os
import sys

__all__ = ["load_package", "main"]

HELD = 3
"""Exit code: another supervisor has the lock."""


def load_package() -> None:
    """Import the package that this file belongs to, wherever it lies."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - before any import
    spec = importlib.util.spec_from_file_location(
        "miripool",
        f"{folder}/__init__.py",
        submodule_search_locations=[folder],
    )
    if spec is None or spec.loader is None:
        raise ImportError(folder)
    package = importlib.util.module_from_spec(spec)
    sys.modules["miripool"] = package
    spec.loader.exec_module(package)


def main() -> int:
    """Fork; be the supervisor in the child."""
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        said = os.read(reading, 1)
        return {b"+": 0, b"=": HELD}.get(said, 1)
    os.close(reading)
    load_package()
    from miripool.server.supervisor import supervise

    return supervise(sys.argv[1], float(sys.argv[2]), writing)


if __name__ == "__main__":
    sys.exit(main())
