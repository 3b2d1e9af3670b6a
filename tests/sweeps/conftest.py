"""A real Slurm and a real Ray, two nodes each, on 127.0.0.1; each is started once, by the first test that needs it."""

import os
import shutil
from importlib.util import find_spec

import pytest
from cluster import RayCluster, SlurmCluster


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory):
    missing = [tool for tool in ("slurmctld", "slurmd", "munged", "srun") if shutil.which(tool) is None]
    if missing or find_spec("submitit") is None or os.getuid() != 0:
        pytest.skip(
            f"needs root, submitit and Debian's slurm-wlm and munge; missing: {', '.join(missing) or 'see there'}"
        )
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    try:
        try:
            cluster.start()
        except (AssertionError, OSError) as cause:  # containers and kernels on which Slurm does not run
            pytest.skip(f"Slurm is installed and does not start on this machine ({cause})")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def slurm(slurm_cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm_cluster.environment["SLURM_CONF"])
    return slurm_cluster


@pytest.fixture(scope="session")
def ray_cluster():
    if find_spec("ray") is None:
        pytest.skip("needs the package ray: pip install netassay[ray]")
    # Ray's workers would give way to every other process of this machine, and its servers report their use
    settings = {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        cluster = RayCluster()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    yield cluster
    cluster.stop()
