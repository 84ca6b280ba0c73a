"""Add many files and ask a question of their data with the workers of a Dask cluster.

python examples/on_a_cluster.py jpl8 FOLDER|FILE…

Here the cluster is this machine: two processes. For another one, give its address: Client("tcp://scheduler:8786").
Workers need miripool installed, and see the pool's folder and the files under the same paths; no database.
"""

import sys

import numpy as np
from distributed import Client, LocalCluster

from miripool import FullQuery, PoolManager, RateInts


def has_hot_pixels(product):
    """Asked where the workers are: only the answer travels."""
    return np.nanpercentile(product["SCI"][...], 99) > 1.0


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    pool_name, *paths = sys.argv[1:]
    pool = PoolManager.getPool(pool_name, create=True)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        executor = client.get_executor()
        # Run again after an interruption, it goes on where it was.
        for outcome in pool.ingest(paths, tag="from the cluster", executor=executor):
            print(outcome.path, outcome.status, outcome.urn or outcome.message)
        for ref in pool.select(FullQuery(RateInts, has_hot_pixels), executor=executor):
            print(f"{ref.name} version {ref.version} has hot pixels")


if __name__ == "__main__":  # the workers import this file
    main()
