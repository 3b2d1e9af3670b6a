"""Charts, sections and the self-contained page they stand on. Knows no study."""

from importlib import import_module
from typing import Any

# public name -> module that holds it; imported on first use, since altair and polars are slow to load
_HOMES = {
    "Axis": "netassay.report.chart",
    "Figure": "netassay.report.section",
    "Note": "netassay.report.section",
    "PALETTE": "netassay.report.theme",
    "Rule": "netassay.report.chart",
    "Section": "netassay.report.section",
    "Table": "netassay.report.section",
    "heat_map": "netassay.report.heat",
    "lines": "netassay.report.chart",
    "save_figure": "netassay.report.export",
    "small_multiples": "netassay.report.chart",
    "write_page": "netassay.report.page",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'netassay.report' has no attribute {name!r}; it has: {', '.join(_HOMES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
