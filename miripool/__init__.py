"""miripool: a versioned product pool for MIRI detector calibration data, with a PostgreSQL index.

::

    from miripool import PoolManager

    pool = PoolManager.getPool("jpl8")
    refs = pool.select("ngroups >= 20 and detector == 'MIRIMAGE'")
    refs[0].product["SCI"][0, :, 21, 2]

Names are loaded when they are first used: importing the package is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset import Dataset
    from .home import Home
    from .manager import PoolManager, ProductStorage
    from .metadata import MetaData, Parameter
    from .names import Urn
    from .pool import Pool
    from .product import Context, Exposure, Product, Ramp, Rate, RateInts, Raw
    from .query import AttribQuery, FullQuery, MetaQuery, PixelQuery, Query
    from .reference import ProductRef, ProductRefs

__version__ = "0.1.0"

_WHERE = {
    "AttribQuery": "query",
    "Context": "product",
    "Dataset": "dataset",
    "Exposure": "product",
    "FullQuery": "query",
    "Home": "home",
    "MetaData": "metadata",
    "MetaQuery": "query",
    "Parameter": "metadata",
    "PixelQuery": "query",
    "Pool": "pool",
    "PoolManager": "manager",
    "Product": "product",
    "ProductRef": "reference",
    "ProductRefs": "reference",
    "ProductStorage": "manager",
    "Query": "query",
    "Ramp": "product",
    "Rate": "product",
    "RateInts": "product",
    "Raw": "product",
    "Urn": "names",
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
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
        globals()[name] = value
        return value
    if name == "errors":
        return importlib.import_module(".errors", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "errors"})
