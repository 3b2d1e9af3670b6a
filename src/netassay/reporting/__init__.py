"""Charts, sections and the self-contained page they stand on. Knows no study."""

from importlib import import_module
from typing import Any

# public name -> module that holds it; imported on first use, since altair and polars are slow to load
_HOMES = {
    "Axis": "netassay.reporting.chart",
    "Figure": "netassay.reporting.section",
    "Note": "netassay.reporting.section",
    "PALETTE": "netassay.reporting.theme",
    "Rule": "netassay.reporting.chart",
    "Section": "netassay.reporting.section",
    "Table": "netassay.reporting.section",
    "forest": "netassay.reporting.estimates",
    "heat_map": "netassay.reporting.heat",
    "lines": "netassay.reporting.chart",
    "logo": "netassay.reporting.logo",
    "logos": "netassay.reporting.logo",
    "scatter": "netassay.reporting.points",
    "save_figure": "netassay.reporting.export",
    "small_multiples": "netassay.reporting.chart",
    "write_page": "netassay.reporting.page",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(
        f"module 'netassay.reporting' has no attribute {name!r}; it has: {', '.join(_HOMES)}"
    )


def __dir__() -> list[str]:
    return sorted(__all__)
