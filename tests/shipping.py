"""A study on a cluster whose one node is told to take all files: in a process of its own."""

import os
from pathlib import Path

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from studies.run import run_study
from studies.setup import read_study
from studies.workers.setup import Crew


def main(path: str, cache: str) -> None:
    """Two workers on a node with a cache of its own."""
    import ray
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 160 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    variables = {"XDG_CACHE_HOME": cache}
    cluster.add_node(num_cpus=2, object_store_memory=160 * 2**20, env_vars=variables)
    ray.init(address=cluster.address, log_to_driver=False)
    run_study(read_study(Path(path)), crew=Crew(2, cluster.address, ship="always"))
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
