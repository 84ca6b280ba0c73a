"""Which pixels change most between two calibrations of the same exposures?

python examples/compare_calibrations.py jpl8 "using cal v1" "using cal v2"
"""

import sys

import numpy as np

from miripool import PoolManager, RateInts

if len(sys.argv) != 4:
    sys.exit(__doc__)
pool_name, old_label, new_label = sys.argv[1:]
pool = PoolManager.getPool(pool_name)

old_by_name = {ref.name: ref for ref in pool.select(RateInts, tag=old_label)}
for new in pool.select(RateInts, tag=new_label):
    old = old_by_name.get(new.name)
    if old is None:
        print(f"{new.name}: no version with the tag {old_label!r}")
        continue
    difference = np.abs(new.product["SCI"] - old.product["SCI"])
    if not np.isfinite(difference).any():
        print(f"{new.name}: no pixel has a rate in both")
        continue
    integration, row, column = np.unravel_index(np.nanargmax(difference), difference.shape)
    y = new.meta["SUBSTRT2"].value + row  # 1-based, in the FULL array
    x = new.meta["SUBSTRT1"].value + column
    print(
        f"{new.name}: version {old.version} → {new.version}, median |Δ| {np.nanmedian(difference):.3g} DN/s, "
        f"largest {difference[integration, row, column]:.3g} DN/s at x={x}, y={y}, integration {integration + 1}"
    )
