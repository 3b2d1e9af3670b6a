"""One look for all charts: colours that colour-blind readers can distinguish, quiet axes, legible type."""

from __future__ import annotations

from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
"""For charts that give no colours of their own: Okabe and Ito (2008), without the yellow that vanishes on white, and
dark grey for their black. `palette` says what the colours of the charts here mean."""

DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (12, 3), (4, 2, 1, 2))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

SEQUENTIAL = "viridis"
DIVERGING = "blueorange"

INK, SOFT, HAIR = "#222222", "#595959", "#DEDEDA"
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


def theme() -> dict[str, Any]:
    """The Vega-Lite config of every chart, in the form that `altair.theme.register` takes."""
    label = {"labelFont": FONT, "labelFontSize": 11, "labelColor": SOFT}
    title = {"titleFont": FONT, "titleFontSize": 12, "titleFontWeight": "normal", "titleColor": INK}
    axis = {
        **label,
        **title,
        "domainColor": "#8C8C8C",
        "tickColor": "#8C8C8C",
        "tickSize": 4,
        "gridColor": HAIR,
        "gridOpacity": 0.7,
        "gridWidth": 0.6,
        "labelFlush": True,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
        "labelLimit": 160,
        "titlePadding": 8,
    }
    legend = {
        **label,
        **title,
        "orient": "top",
        "direction": "horizontal",
        "titleOrient": "left",
        "titlePadding": 10,
        "offset": 10,
        "labelLimit": 250,
        "titleLimit": 200,
        "columnPadding": 16,
        "rowPadding": 4,
        "symbolSize": 110,
        "symbolStrokeWidth": 2,
        "gradientThickness": 10,
        "gradientLength": 180,
    }
    return {
        "config": {
            "background": "transparent",
            "font": FONT,
            "padding": 4,
            "view": {"stroke": None, "continuousWidth": 640, "continuousHeight": 320},
            "axis": axis,
            "axisX": {"grid": False},
            "legend": legend,
            "header": {
                "labelFont": FONT,
                "labelFontSize": 12,
                "labelColor": INK,
                "labelFontWeight": "bold",
                "labelAnchor": "start",
                "labelLimit": 260,
                "titleFont": FONT,
                "titleColor": INK,
            },
            "title": {"font": FONT, "fontSize": 13, "color": INK, "anchor": "start", "fontWeight": "normal"},
            "facet": {"spacing": 28},
            "line": {"strokeWidth": 1.6, "strokeCap": "round", "strokeJoin": "round"},
            "point": {"filled": True, "size": 36},
            "range": {
                "category": list(PALETTE),
                "heatmap": {"scheme": SEQUENTIAL},
                "ramp": {"scheme": SEQUENTIAL},
                "diverging": {"scheme": DIVERGING},
            },
        }
    }
