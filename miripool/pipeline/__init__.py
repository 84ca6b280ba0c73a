"""The JWST pipeline over products of a pool: raw exposures become ramps and rates that know what they were made from.

`worker` runs in a process of its own for each exposure, for CRDS remembers its settings; `run` starts it and looks
after it; `reprocess` takes products out of the pool and saves the results, all of an exposure in one journal entry.
"""

from __future__ import annotations

from .reprocess import Reprocessed, reprocess
from .run import Recipe, references_in

__all__ = ["Recipe", "Reprocessed", "references_in", "reprocess"]
