"""Many runs from one plan: plan (data only) -> drive (what is left) -> local (workers on this machine)."""

from netassay.sweeps.drive import Outlook, Progress, Sweep, outlook, sweep, sweep_all
from netassay.sweeps.plan import Plan, shipped
from netassay.sweeps.standing import Standing, Standings, watch

__all__ = [
    "Outlook",
    "Plan",
    "Progress",
    "Standing",
    "Standings",
    "Sweep",
    "outlook",
    "shipped",
    "sweep",
    "sweep_all",
    "watch",
]
