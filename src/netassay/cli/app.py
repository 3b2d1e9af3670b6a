"""The table of commands."""

from __future__ import annotations

from cyclopts import App

import netassay
from netassay import study
from netassay.cli import plans, results
from netassay.cli.assay import assay_command

app = App(
    name="netassay",
    help="Assay a neural network: how much can it memorise, how stably does it train, what has it learned?",
    version=netassay.__version__,
    help_format="plaintext",
    result_action="return_value",
)

for name in study.names():
    app.command(assay_command(study.find(name)), name=name, group="Studies")
_GROUPS = {
    "Many runs": (plans.sweep, plans.demo),
    "Runs": (
        results.resume,
        results.runs,
        results.show,
        results.export,
        results.verify,
        results.delete,
        results.report,
    ),
    "Help": (results.explain,),
}
for group, commands in _GROUPS.items():
    for command in commands:
        app.command(command, group=group)
