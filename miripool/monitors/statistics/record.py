"""The product that keeps the statistics of an exposure: a table with a row for each version, integration, amplifier."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...errors import FormatError
from ...model.kinds import ExposureStatistics
from ..rows import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...model.product import Product
    from .measure import AmplifierStatistics

__all__ = ["RULES", "Rows", "make_record", "read_record", "rows_of"]

RULES: Final = 1
"""Of the measurement; versions that were measured by older ones are measured again."""

Rows = list[dict[str, Any]]
"""With the columns of `miripool.index.exposurestatistics.COLUMNS` but ``record`` and ``name``."""

_TABLE: Final = "STATISTICS"
_NUMBERS: Final = (
    *(("rules", "i2"), ("integration", "i4"), ("amplifier", "u1"), ("pixels", "i8")),
    *(("median", "f8"), ("sigma", "f8"), ("cds_noise", "f8"), ("cosmic_rays", "f8")),
)


def rows_of(content: str, found: Sequence[AmplifierStatistics]) -> Rows:
    """Give the rows of a version.

    Parameters
    ----------
    content : str
        Digest of the version's content, which names it.
    found : sequence of AmplifierStatistics
        What was measured.

    Returns
    -------
    list of dict
        A row for each.
    """
    return [
        {
            "content": content,
            "rules": RULES,
            "integration": one.integration or 0,
            "amplifier": one.amplifier,
            "pixels": one.pixels,
            "median": one.median,
            "sigma": one.sigma,
            "cds_noise": one.cds_noise,
            "cosmic_rays": one.cosmic_rays,
            "percentiles": list(one.percentiles),
            "flags": one.flags,
            "residuals": list(one.residuals),
        }
        for one in found
    ]


def make_record(name: str, rows: Sequence[Mapping[str, Any]]) -> ExposureStatistics:
    """Make the product.

    Parameters
    ----------
    name : str
        Of the exposure.
    rows : sequence of mapping
        Of all its versions that were measured.

    Returns
    -------
    ExposureStatistics
        A draft. Equal rows give equal products.
    """
    flags = [json.dumps(row["flags"], sort_keys=True, separators=(",", ":")).encode() for row in rows]
    groups = max((len(row["residuals"]) for row in rows), default=0)
    dtype = np.dtype(
        [
            ("content", f"S{max(len(row['content']) for row in rows)}"),
            *_NUMBERS,
            ("percentiles", "f8", (len(rows[0]["percentiles"]),)),
            ("flags", f"S{max(map(len, flags))}"),
            ("groups", "i4"),
            ("residuals", "f8", (max(groups, 1),)),
        ]
    )
    table = np.zeros(len(rows), dtype)
    for i, (row, text) in enumerate(zip(rows, flags, strict=True)):
        table["content"][i], table["flags"][i] = row["content"].encode(), text
        for name_of, _ in _NUMBERS:
            table[name_of][i] = row[name_of]
        table["percentiles"][i] = row["percentiles"]
        table["groups"][i] = len(row["residuals"])
        table["residuals"][i] = [*row["residuals"], *([math.nan] * (max(groups, 1) - len(row["residuals"])))]
    return ExposureStatistics(datasets={_TABLE: table}, name=name)


def read_record(product: Product) -> Rows:
    """Read the rows of the product.

    Parameters
    ----------
    product : Product
        Of the kind ExposureStatistics.

    Returns
    -------
    list of dict
        As they were given to `make_record`.

    Raises
    ------
    FormatError
        If the product has no such table.
    """
    found = []
    there = product[_TABLE].dtype.names if _TABLE in product else None
    if not {"content", "groups", "residuals", "percentiles", "flags", *dict(_NUMBERS)} <= set(there or ()):
        raise FormatError("it has no table STATISTICS with the columns that miripool statistics writes")
    for row in read_rows(product, _TABLE):
        residuals = np.atleast_1d(row["residuals"])[: row.pop("groups")].tolist()
        found.append({**row, "flags": json.loads(row["flags"]), "residuals": residuals})
    return found
