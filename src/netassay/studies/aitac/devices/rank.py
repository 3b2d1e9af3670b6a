"""One of the processes of a training on several devices.

Started as `python -m netassay.studies.aitac.devices.rank RANK PORT THREADS`.
The first line on standard input is the config; the end of standard input is the end of the leader.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta

from netassay.processes import when_parent_ends

_PATIENCE = timedelta(days=30)  # for the leader, which may validate or wait for a disk; its end is noticed otherwise


def main() -> int:
    rank, port, threads = map(int, sys.argv[1:])
    line = sys.stdin.buffer.readline()
    when_parent_ends(lambda: os._exit(1))

    from netassay.errors import NetassayError
    from netassay.numerics import devices
    from netassay.studies.aitac.config import AitacConfig
    from netassay.studies.aitac.devices.group import process_group
    from netassay.studies.aitac.devices.shared_fit import SharedFit
    from netassay.studies.aitac.fit import material
    from netassay.studies.aitac.start import start_of

    try:
        config = AitacConfig.from_mapping(json.loads(line))
        with devices.settings(threads):
            data = material(config)
            start = start_of(config, outputs=data.heights.shape[1], length=data.codes.shape[1])
            print("ready", data.atlas.digest, flush=True)
            with process_group(rank, config, port, patience=_PATIENCE) as group:
                initial = (start.reduced(), start.digest) if start else ()
                SharedFit(config, data, group, *initial).serve()
    except NetassayError as cause:
        print(cause, file=sys.stderr)
        return cause.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
