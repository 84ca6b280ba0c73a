"""List the exposures that saw a position, the pixel that did, and how bright it was there.

python examples/where_on_the_sky.py jpl8 "06h47m18.7s -01d42m46.5s"
"""

from __future__ import annotations

import sys

from miripool import PoolManager, RateInts, covers
from miripool.errors import MiripoolError


def main(name: str, position: str) -> None:
    pool = PoolManager.getPool(name)
    refs = pool.select(f"{covers(position)} and kind == 'RateInts'")
    print(f"{len(refs)} of {len(pool.select(RateInts))} products have {position} in their footprint")
    for row in pool.pixels_at(position, query="kind == 'RateInts'"):
        x, y = int(row["x"]), int(row["y"])
        history = pool.pixel(x, y).history(kind=RateInts)
        rates = history["rate"][history["urn"] == row["urn"]]
        print(f"{row['name']}: x={x}, y={y} (±{row['error']:.1f} pixels), {rates.mean():.2f} DN/s")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except MiripoolError as error:
        sys.exit(str(error))
