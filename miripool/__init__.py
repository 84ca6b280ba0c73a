"""miripool: a versioned product pool for MIRI detector calibration data, with a PostgreSQL index.

::

    from miripool import PoolManager

    pool = PoolManager.getPool("jpl8")
    refs = pool.select("ngroups >= 20 and detector == 'MIRIMAGE'")
    refs[0].product["SCI"][0, :, 21, 2]

Names are loaded when they are first used: importing the package is quick.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model.dataset import Dataset
    from .model.kinds import Ramp, Rate, RateInts, Raw
    from .model.metadata import MetaData, Parameter
    from .model.names import Urn
    from .model.product import Context, Exposure, Product
    from .pool.reference import ProductRef, ProductRefs
    from .query import AttribQuery, FullQuery, MetaQuery, PixelQuery, Query
    from .query.skytext import covers, overlaps, separation
    from .session.home import Home
    from .session.manager import PoolManager, ProductStorage
    from .session.pool import Pool
    from .session.sending import send

__version__ = "0.1.0"

_WHERE = {
    "AttribQuery": "query",
    "Context": "model.product",
    "Dataset": "model.dataset",
    "Exposure": "model.product",
    "FullQuery": "query",
    "Home": "session.home",
    "MetaData": "model.metadata",
    "MetaQuery": "query",
    "Parameter": "model.metadata",
    "PixelQuery": "query",
    "Pool": "session.pool",
    "PoolManager": "session.manager",
    "Product": "model.product",
    "ProductRef": "pool.reference",
    "ProductRefs": "pool.reference",
    "ProductStorage": "session.manager",
    "Query": "query",
    "Ramp": "model.kinds",
    "Rate": "model.kinds",
    "RateInts": "model.kinds",
    "Raw": "model.kinds",
    "Urn": "model.names",
    "covers": "query.skytext",
    "overlaps": "query.skytext",
    "send": "session.sending",
    "separation": "query.skytext",
}

__all__ = [
    "AttribQuery",
    "Context",
    "Dataset",
    "Exposure",
    "FullQuery",
    "Home",
    "MetaData",
    "MetaQuery",
    "Parameter",
    "PixelQuery",
    "Pool",
    "PoolManager",
    "Product",
    "ProductRef",
    "ProductRefs",
    "ProductStorage",
    "Query",
    "Ramp",
    "Rate",
    "RateInts",
    "Raw",
    "Urn",
    "covers",
    "overlaps",
    "send",
    "separation",
]


@functools.cache
def _be_silent() -> None:
    """Show nothing of the package's log unless a program asks for it. Once; the import of logging takes 14 ms."""
    import logging

    logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        _be_silent()
        value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
        globals()[name] = value
        return value
    if name == "errors":
        return importlib.import_module(".errors", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "errors"})
