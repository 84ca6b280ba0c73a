"""System calls: what the code under test asks of the operating system, recorded, or made to fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc: what is synced can't be told")


class Calls:
    """What was asked of the operating system, in order: ("fsync" | "link" | "rename" | "mkdir", name)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, str]] = []
        self.content_at_sync: dict[str, bytes] = {}
        self.content_at_naming: dict[str, bytes | None] = {}
        """What had been synced of a file when it got its name; None if nothing had."""
        for name in ("fsync", "link", "rename", "replace", "mkdir"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))

    def _recorded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "fsync":
                path = Path(f"/proc/self/fd/{arguments[0]}").resolve()
                if path.is_file():
                    self.content_at_sync[path.name] = path.read_bytes()
                self.made.append((name, _anonymous(path)))
            else:
                if name != "mkdir":
                    self.content_at_naming[Path(arguments[1]).name] = self.content_at_sync.get(Path(arguments[0]).name)
                self.made.append((name, _anonymous(Path(arguments[1 if name != "mkdir" else 0]))))
            return real(*arguments, **options)

        return call


def _anonymous(path: Path) -> str:
    return "temporary" if path.name.startswith(".tmp-") else path.name


def fail_at(monkeypatch: pytest.MonkeyPatch, function: str, number: int, code: int) -> None:
    """Let the n-th call of an `os` function fail."""
    real, count = getattr(os, function), iter(range(1000))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(count) == number:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    monkeypatch.setattr(os, function, call)
