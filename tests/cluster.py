"""A real Slurm and a real Ray of two nodes each on 127.0.0.1, for the tests and benchmarks of sweeps."""

import hashlib
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path

from netassay.runs import Store

CONFIGURATION = """
ClusterName=netassay
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=10
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """munged, slurmctld and the slurmd of n1 and n2, with their state below `home`; only these are ended again."""

    def __init__(self, home: Path) -> None:
        self.home, self._daemons = home, {}
        (home / "state").mkdir()
        for node in ("n1", "n2"):
            (home / node).mkdir()
        (home / "munge.key").write_bytes(os.urandom(128))
        (home / "munge.key").chmod(0o600)
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            ports = [each.getsockname()[1] for each in sockets]
        text = CONFIGURATION.format(home=home, host=socket.gethostname().partition(".")[0], ports=ports)
        (home / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "HOME": str(home), "SLURM_CONF": str(home / "slurm.conf")}

    def start(self) -> None:
        munge = [f"--{name}-file={self.home}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self.start_daemon("munged", "munged", "--foreground", "--force", f"--socket={self.home}/munge.socket", *munge)
        until(lambda: (self.home / "munge.socket").exists(), looks=400)
        self.start_daemon("slurmctld", "slurmctld", "-D")
        for node in ("n1", "n2"):
            self.start_daemon(node, "slurmd", "-D", "-N", node)
        until(lambda: self.says("sinfo", "-h", "-N", "-o", "%t").split() == ["idle", "idle"], looks=1200)

    def start_daemon(self, name, *words):
        with (self.home / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                words, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def kill(self, name, number=signal.SIGKILL):
        """Ends a daemon that was started here."""
        self._daemons[name].send_signal(number)
        self._daemons.pop(name).wait()

    def says(self, *words) -> str:
        return subprocess.run(words, env=self.environment, capture_output=True, text=True).stdout

    def keeps_its_jobs(self) -> None:
        """Waits until the controller has saved which jobs run: when it is killed it forgets all others."""
        starts = self.says("squeue", "-h", "-t", "R", "-o", "%S").split()
        newest = max((datetime.fromisoformat(start).timestamp() for start in starts), default=0)
        saved = self.home / "state" / "job_state"
        until(lambda: saved.exists() and saved.stat().st_mtime >= newest + 1)

    def stop(self) -> None:
        self.says("scancel", "--me")
        with suppress(AssertionError):
            until(lambda: not self.says("squeue", "-h"), looks=400)
        for name in reversed(list(self._daemons)):
            self.kill(name, signal.SIGTERM)


def until(condition, looks=6000):
    """Looks again and again; the number of looks only ends a test that hangs."""
    for _ in range(looks):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came so far")


class RayCluster:
    """Two nodes with a core each; on 127.0.0.2, since Ray takes 127.0.0.1 for the machine's outer address."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.node = {"num_cpus": 1, "object_store_memory": 100 << 20, "node_ip_address": "127.0.0.2"}
        self.cluster = Cluster(initialize_head=True, head_node_args={**self.node, "include_dashboard": False})
        self.second = self.cluster.add_node(**self.node)
        self.address = self.cluster.address

    def lose_second(self):
        """Kills the raylet of the second node."""
        self.second.kill_raylet(check_alive=False)

    def bring_back(self):
        self.second = self.cluster.add_node(**self.node)

    def stop(self):
        self.cluster.shutdown()


def digests(store):
    """A SHA-256 over all metrics of each run, to the last bit."""
    return {
        run.id: hashlib.sha256(
            repr([(*row[:3], row[3].hex()) for row in run.metrics().sort("step", "name", "part").rows()]).encode()
        ).hexdigest()
        for run in Store(store).runs()
    }
