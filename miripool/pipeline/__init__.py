"""The JWST pipeline on products of a pool: raw exposures become ramps and rates, with a record of how they were made.

`worker` runs in its own process for each exposure, because CRDS remembers its settings; `run` starts this process and
watches it; `reprocess` reads products from the pool and saves the results of each exposure in one journal entry.
"""

from __future__ import annotations

from .reprocess import Reprocessed, reprocess
from .run import Recipe, references_in

__all__ = ["Recipe", "Reprocessed", "references_in", "reprocess"]
