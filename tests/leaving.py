"""A study on a cluster whose nodes leave and join: run in a process of its own."""

import os
from pathlib import Path

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from optuna.trial import FrozenTrial

from studies.workers.protocol import Order
from studies.workers.ray_cluster import nodes
from studies.workers.ray_pool import RayPool
from studies.workers.ray_room import Room
from tests.simulated import Simulation
from tests.sleeping import sleeper


def main(folder: str) -> None:
    """One node, then two, then the other one alone."""
    import ray
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **store})
    first = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    ray.init(address=cluster.address, log_to_driver=False)
    study = Simulation(Path(folder), sampler="random", trials=60)
    order = Order("study.yaml", "out", {}, "here", "data")
    pool = RayPool(ray, sleeper(ray, study.ids(), 0.2), order, Room(None, 1, 0))
    seen: list[int] = []

    def on_trial(trial: FrozenTrial) -> None:
        if trial.number == 10:
            cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
        if trial.number == 25:
            cluster.remove_node(first, allow_graceful=False)
        seen.append(len(nodes(ray)))

    ledger = study.run(pool, on_trial=on_trial)  # type: ignore[arg-type]
    pool.close()
    assert max(seen) == 3, seen
    assert all(trial.value is not None for trial in ledger.trials)
    assert pool.lost >= 1
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
