"""A deferred library is loaded once, when it is first touched, and has all of its names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from miripool.cli.deferred import defer

ROOT = Path(__file__).resolve().parent.parent


def run(code: str) -> str:
    begin = "import sys\nfrom miripool.cli.deferred import defer\n"
    command = [sys.executable, "-c", begin + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    return done.stdout


def test_loaded_when_it_is_touched() -> None:
    assert run("""
defer("numpy")
import numpy as np
print("numpy._core" in sys.modules, np.arange(3).sum(), "numpy._core" in sys.modules)
import numpy
print(numpy is sys.modules["numpy"], numpy is np, numpy.ndarray is np.ndarray, np.testing.__name__)
""") == "False 3 True\nTrue False True numpy.testing\n"  # fmt: skip


@pytest.mark.parametrize(
    "touch", ["import numpy.random", "from numpy import array", "import numpy.linalg as l; l.norm", "import h5py"]
)
def test_however_it_is_loaded(touch: str) -> None:
    assert run(f"defer('numpy')\nimport numpy as np\n{touch}\nprint(np.arange(3))\n") == "[0 1 2]\n"


def test_found_as_others_are() -> None:
    code = "import importlib.util\ndefer('numpy')\nimport numpy\nprint(importlib.util.find_spec('numpy').name)"
    assert run(code + "\nprint('numpy._core' in sys.modules)") == "numpy\nFalse\n"


def test_what_is_loaded_or_missing_stays_so() -> None:
    assert run("import json\ndefer('json')\nprint(sys.modules['json'] is json)") == "True\n"
    defer("no_such_library")
    assert "no_such_library" not in sys.modules


def test_loaded_once_by_many_threads(tmp_path: Path) -> None:
    (tmp_path / "slow_library.py").write_text("import time\nprint('loading')\ntime.sleep(0.2)\nVALUE = 5\n")
    code = f"""
sys.path.append({str(tmp_path)!r})
import threading
defer("slow_library")
import slow_library as library
def touch():
    wait.wait()
    found.append(library.VALUE)
found, wait = [], threading.Barrier(8)
threads = [threading.Thread(target=touch) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(found)
"""
    assert run(code) == f"loading\n{[5] * 8}\n"


def test_a_missing_name_is_an_error_of_the_library() -> None:
    code = "defer('numpy')\nimport numpy as np\ntry: np.no_such_name\nexcept AttributeError as error: print(error)"
    assert "module 'numpy' has no attribute 'no_such_name'" in run(code)
