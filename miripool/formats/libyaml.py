"""YAML by libyaml, where a package takes the parser that is written in Python."""

from __future__ import annotations

from functools import partial

__all__ = ["prefer_libyaml"]


def prefer_libyaml() -> None:
    """Let `yaml.safe_load` of this process use libyaml, if PyYAML has it: asdf reads some 50 files by it, in 1 s."""
    import yaml

    if yaml.__with_libyaml__:
        yaml.safe_load = partial(yaml.load, Loader=yaml.CSafeLoader)
