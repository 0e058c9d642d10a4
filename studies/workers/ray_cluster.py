"""Ray as this program starts and sees it: loopback alone, unless a cluster's address is given."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from merge_ops.errors import UserError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_OBJECT_STORE = 256 * 2**20  # bytes; scores and recipes are small, files go in pieces


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: Ray's.
        address: its name for people.
        cpus: that Ray may give away.
        gpus: the same.
    """

    id: str
    address: str
    cpus: float
    gpus: float


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected: to a cluster, or to processes of its own on this machine.

    Args:
        address: "auto", "host:port" or "ray://host:port"; None to start processes that listen on
            loopback alone and end with this one.
        cpus: workers' worth of CPUs that those need, however many there are.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Ray takes another address of the machine for 127.0.0.1 and then listens on all of them,
        # unless it is told that there is no cluster.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError(
            "--workers needs Ray: pip install 'mergetuna[ray]'. One GPU in one process does not."
        ) from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",  # else Ray would join a cluster that runs on this machine already
            "num_cpus": max(cpus, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        options["address"] = address
    began = not ray.is_initialized()
    if began:
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"--ray-address {address}: {str(error).splitlines()[0]}") from None
    try:
        if began and address is None and _others_listen(ray):
            raise UserError(
                "Ray was imported before, with a setting that lets it listen beyond loopback; "
                "set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before it is imported."
            )
        yield ray
    finally:
        if began:
            ray.shutdown()


def _others_listen(ray: Any) -> bool:
    """Whether Ray, begun for this machine alone, took one of its other addresses."""
    return any(node["NodeManagerAddress"] not in _LOOPBACK for node in ray.nodes())


def nodes(ray: Any) -> list[Node]:
    """All machines that are alive, in a fixed order."""
    alive = [n for n in ray.nodes() if n["Alive"]]
    return sorted((_node(n) for n in alive), key=lambda n: (n.address, n.id))


def _node(entry: Mapping[str, Any]) -> Node:
    resources = entry["Resources"]
    return Node(
        entry["NodeID"],
        entry["NodeManagerAddress"],
        resources.get("CPU", 0.0),
        resources.get("GPU", 0.0),
    )
