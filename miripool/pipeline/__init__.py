"""The JWST pipeline on products of a pool: raw exposures become ramps and rates, with a record of how they were made.

`worker` runs in a process of its own, because CRDS remembers its settings, and forks for each exposure; `run` starts
workers and watches them; `recipe` says how they calibrate; `reprocess` reads products from the pool and saves the
results of each exposure in one journal entry.
"""

from __future__ import annotations

from .recipe import Recipe, references_in
from .reprocess import Reprocessed, reprocess

__all__ = ["Recipe", "Reprocessed", "references_in", "reprocess"]
