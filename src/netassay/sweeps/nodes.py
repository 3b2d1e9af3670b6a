"""What the nodes of a Slurm cluster are like, as far as it can be said from here."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys

from netassay.errors import ConfigError
from netassay.sweeps.resources import SlurmResources
from netassay.sweeps.versions import difference, versions

_LIMIT = 120  # seconds that a Python may take to start, off a slow file system


def hosts(answer: str) -> list[str]:
    """Host names of the nodes in the answer of `scontrol --oneliner show nodes` that are not this machine.

    >>> hosts("NodeName=a NodeHostName=another-host State=IDLE")
    ['another-host']
    """
    here = {socket.gethostname(), socket.gethostname().partition(".")[0], "localhost"}
    return sorted({name for name in re.findall(r"\bNodeHostName=(\S+)", answer) if name not in here})


def try_python(resources: SlurmResources) -> None:
    """ConfigError unless the nodes' Python starts here, after the lines of setup, with our versions and submitit."""
    python = f"{resources.prefix} {shlex.quote(resources.python or sys.executable)}".strip()
    script = "\n".join(["set -e", *resources.setup, f"{python} -m netassay.sweeps.versions"])
    advice = "Correct python, prefix or setup in [slurm]; check = false leaves this out where the nodes are unlike here"
    try:
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=_LIMIT)
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise ConfigError(f"the workers' Python does not start ({cause}). {advice}") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(f"the workers' Python does not start: {python}: {words[-1][:300]}. {advice}")
    try:
        there = json.loads(lines[-1])
    except ValueError:
        raise ConfigError(f"the workers' Python says {lines[-1][:80]!r} where versions were asked. {advice}") from None
    if not there.get("submitit"):
        raise ConfigError(f'submitit is missing from the workers\' Python ({python}); install "netassay[slurm]" there')
    if differs := difference(versions(), there):
        raise ConfigError(f"versions differ between this command and its workers: {differs}. Install the same there")
