"""Charts, sections and the self-contained page that holds them. Knows no study."""

from netassay.contents import contents

# public name -> module that holds it; imported on first use, since altair and polars are slow to load
__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "Axis": "netassay.reporting.section",
        "Figure": "netassay.reporting.section",
        "FigureSpec": "netassay.reporting.section",
        "Note": "netassay.reporting.section",
        "PALETTE": "netassay.reporting.theme",
        "Part": "netassay.reporting.section",
        "Rule": "netassay.reporting.section",
        "Section": "netassay.reporting.section",
        "Table": "netassay.reporting.section",
        "TableSpec": "netassay.reporting.section",
        "forest": "netassay.reporting.points",
        "heat_map": "netassay.reporting.heat",
        "lines": "netassay.reporting.chart",
        "logo": "netassay.reporting.logo",
        "logos": "netassay.reporting.logo",
        "refuse_twins": "netassay.reporting.section",
        "scatter": "netassay.reporting.points",
        "save_figure": "netassay.reporting.export",
        "small_multiples": "netassay.reporting.chart",
        "write_page": "netassay.reporting.page",
    },
)
