"""Files and products: any FITS file is read as a product and written again bit for bit."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import layout_of
    from .datamodels import to_datamodel
    from .fits import FitsFile, open_fits, read_fits
    from .jwst import classify, doubt_kind, track_name
    from .keptfiles import KeptFiles
    from .stable import stable_content
    from .stream import expect
    from .structure import announced_bytes
    from .virtualfile import VirtualFile, extension_file, virtual_file
    from .write import iter_bytes, to_hdulist, write_fits

__all__ = [
    "FitsFile",
    "KeptFiles",
    "VirtualFile",
    "announced_bytes",
    "classify",
    "doubt_kind",
    "expect",
    "extension_file",
    "iter_bytes",
    "layout_of",
    "open_fits",
    "read_fits",
    "stable_content",
    "to_datamodel",
    "to_hdulist",
    "track_name",
    "virtual_file",
    "write_fits",
]

_HOMES = {
    "FitsFile": "fits",
    "KeptFiles": "keptfiles",
    "VirtualFile": "virtualfile",
    "announced_bytes": "structure",
    "classify": "jwst",
    "doubt_kind": "jwst",
    "expect": "stream",
    "extension_file": "virtualfile",
    "iter_bytes": "write",
    "layout_of": "build",
    "open_fits": "fits",
    "read_fits": "fits",
    "stable_content": "stable",
    "to_datamodel": "datamodels",
    "to_hdulist": "write",
    "track_name": "jwst",
    "virtual_file": "virtualfile",
    "write_fits": "write",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
