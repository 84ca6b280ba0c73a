"""What is read and held for little questions to large products: counted by the kernel, not timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from miripool import Pool, Ramp

SHAPE = (5, 20, 1024, 1032)

CHILD = """
import json, re, sys
sys.path.insert(0, sys.argv[1])
from peaks import peak_memory
from miripool import PoolManager

def counted():
    with open("/proc/self/io") as lines:
        return int(re.search(r"^rchar:\\s*(\\d+)", lines.read(), re.MULTILINE).group(1))

ref = PoolManager.getPool("jpl8").ref("Ramp/large")
dataset = ref.product["SCI"]
before = counted()
values = dataset[0, :, 21, 2]
print(json.dumps({
    "read": counted() - before,
    "peak": peak_memory(),
    "values": values.tolist(),
    "blob": str(ref.pool._core.archive.storage.files.path(dataset.source.key)),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts are in /proc")
def test_one_pixel_of_a_full_ramp_reads_one_tile(pool: Pool) -> None:
    rng = np.random.default_rng(1)
    frame = rng.normal(10_000, 30, SHAPE[1:]).astype(np.float32)
    sci = np.broadcast_to(frame, SHAPE) + np.arange(SHAPE[0], dtype=np.float32).reshape(-1, 1, 1, 1)
    pool.save(Ramp({"detector": "MIRIMAGE"}, {"SCI": sci}, name="large"))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, Path(__file__).parent], capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["values"] == sci[0, :, 21, 2].tolist()
    assert 0 < found["read"] < 0.01 * Path(found["blob"]).stat().st_size
    assert found["peak"] < 150e6
