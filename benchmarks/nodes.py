"""The contexts of a corpus over the nodes of a Ray cluster: two workers, one worker, and this machine without Ray.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/nodes.py [TOKENS in millions]. With the extra ray; a minute and a
half for 40 million tokens on two cores. Wall seconds, one thread a worker, on a cluster that is up; in parentheses the
part that is spent in tasks. The corpus: 16 shards (.npy) of rows of 128 tokens that share beginnings, drawn from
Zipf's law over 50,000 tokens.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import numpy as np

import netassay
from netassay.commands import nodes

SHARDS, LENGTH, VOCABULARY = 16, 128, 50_000


def write_corpus(folder: Path, tokens: int) -> None:
    folder.mkdir()
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    for number in range(SHARDS):
        r = np.random.default_rng(number)
        drawn = np.searchsorted(weights / weights[-1], r.random((tokens // SHARDS // LENGTH, LENGTH)))
        np.save(folder / f"{number:02}.npy", drawn.astype(np.int32))


def over(workers: int, folder: Path, scratch: Path, seen: dict[str, list[dict]]) -> tuple[float, netassay.Entropy]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "node_ip_address": "127.0.0.2"}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        for _ in range(workers - 1):
            cluster.add_node(**node)
        begin = time.perf_counter()
        result = netassay.entropy(folder, on="ray", address=cluster.address, scratch=scratch, memory="2GB")
        return time.perf_counter() - begin, result
    finally:
        cluster.shutdown()


def observed(seen: dict[str, list[dict]]) -> None:
    """Notes what tasks say of themselves, before their files are removed."""
    added_up = nodes.added_up

    def noting(job, manifests):
        seen["shards"] = [manifest.about for manifest in manifests]
        seen["portions"] = []
        for portion in range(job.portions):
            with np.load(job.tally(portion)) as file:
                seen["portions"].append(json.loads(str(file["about"])))
        return added_up(job, manifests)

    nodes.added_up = noting


def main() -> None:
    tokens = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 40_000_000
    places = sys.argv[2:] or ["here", "1", "2"]
    seen: dict[str, list[dict]] = {}
    observed(seen)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "corpus"
        write_corpus(folder, tokens)
        walls, results = {}, {}
        for place in places:
            if place == "here":
                begin = time.perf_counter()
                results[place] = netassay.entropy(folder, memory="2GB", scratch=name)
                walls[place] = time.perf_counter() - begin
                disk = "on disk" if results[place].counted_on_disk else "in memory"
                print(f"here, {disk}: {walls[place]:.1f} s = {walls[place] / tokens * 1e9:.0f} ns a token", flush=True)
                continue
            walls[place], results[place] = over(int(place), folder, Path(name) / "scratch", seen)
            shards, portions = (sum(row["seconds"] for row in seen[kind]) for kind in ("shards", "portions"))
            size = sum(row["bytes"] for row in seen["shards"])
            print(
                f"{place} workers: {walls[place]:.1f} s; in tasks {shards:.1f} s for {len(seen['shards'])} shards = "
                f"{shards / tokens * 1e9:.0f} ns a token, {portions:.1f} s for {len(seen['portions'])} portions = "
                f"{portions / tokens * 1e9:.0f} ns a token; {size / tokens:.2f} bytes a token written; "
                f"beside the tasks {walls[place] - (shards + portions) / int(place):.1f} s",
                flush=True,
            )
        for one, other in (("1", "2"), ("here", "1"), ("here", "2")):
            if one in walls and other in walls:
                print(f"{one} / {other}: {walls[one] / walls[other]:.2f}")
        first = results[places[0]]
        equal = all(
            (r.contexts, r.degrees_of_freedom) == (first.contexts, first.degrees_of_freedom)
            and abs(r.bound_nats / first.bound_nats - 1) < 1e-11
            for r in results.values()
        )
        print(f"same numbers: {equal}")


if __name__ == "__main__":
    main()
