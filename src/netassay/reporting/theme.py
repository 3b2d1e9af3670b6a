"""One look for all charts: colours that colour-blind readers can distinguish, quiet axes, legible type.

One colour has one meaning on a whole page, and a thing has one colour in all its charts. Roles (the network, its bound,
a null, a baseline) have colours of their own, by the words of their names. Everything else has a place in the family of
its kind: runs and settings, layers, cell types, and what a chart alone compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
"""For charts that give no colours of their own: Okabe and Ito (2008), without the yellow that vanishes on white, and
dark grey for their black. `colours` are those of the charts here, which have meanings."""

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


NETWORK, BOUND, BASELINE, GAP, DATA = "#0072B2", "#D55E00", "#8C564B", "#B8A000", "#4D4D4D"
"""What is measured of a network; what bounds it; what a simpler method reaches; the distance between two; the data."""

NULL, OTHER_NULL = "#9A9A9A", "#5F5F5F"
"""What chance alone gives; the darker grey for a second null in one chart."""

_FLOW, _CENTRAL, _PREDICTED = "#CC79A7", "#009E73", "#66B79E"
_GAUSS_NEWTON, _REMAINDER, _ALONG, _ELSEWHERE = "#E69F00", "#A6761D", "#56B4E9", "#7F7F3F"

ROLES = (
    ("null", re.compile(r"null\b|.*\b(permuted|shuffled|chance)\b"), (NULL, OTHER_NULL)),
    ("bound", re.compile(r"(entropy |upper |lower )?bound\b|theorem\b|ceiling\b"), (BOUND,)),
    ("baseline", re.compile(r"baseline\b|before\b"), (BASELINE,)),
    ("gap", re.compile(r"gap\b"), (GAP,)),
    ("gradient flow", re.compile(r"(from )?gradient flow$"), (_FLOW,)),
    ("prediction of the central flow", re.compile(r"central flow, predicted$"), (_PREDICTED,)),
    ("central flow", re.compile(r"((from|at) the )?central flow$"), (_CENTRAL,)),
    ("Gauss-Newton", re.compile(r"G$"), (_GAUSS_NEWTON,)),
    ("remainder", re.compile(r"H − G$"), (_REMAINDER,)),
    ("along the gradient", re.compile(r"along the gradient$"), (_ALONG,)),
    ("other data", re.compile(r"other atlas$|feed-forward part$"), (_ELSEWHERE,)),
    (
        "network",
        re.compile(
            r"(model|network|loss|measured|predicted|observed|all parameters|learned|this|filters|one run|clusters of|"
            r"two methods|transfer|descent|from the start|sharpness)\b|H$"
        ),
        (NETWORK, "#64AFDD", "#00507D"),
    ),
)
"""What a name says of its series, by its first words, and the colours of that: further ones for further series."""

RUNS = ("#6A51A3", "#2E93A8", "#74B84A", "#C9B020")
"""Runs and settings in their order: purple to ochre, ever lighter, without the ends of Viridis that vanish on a black
or white ground."""

_SIZES = ("#9C3587", "#C4496B", "#D9704A", "#DB9A2B")
_LAYERS = ("#1B7F79", "#3DA35D", "#86B83C", "#BFC23A")
_CELLS = ("#CC6677", "#44AA99", "#999933", "#AA4499", "#6699CC", "#882255", "#117733", "#997700")
_TRACKED = ("#AE017E", "#DD3497", "#F768A1")
_STRANDS = ("#B15928", "#7A9E35", "#D8B365", "#5AB4AC")
_COMPARED = ("#8DA0CB", "#A6D854", "#E78AC3", "#E5C494")
_FAMILIES: dict[str, Sequence[str]] = {
    **dict.fromkeys(("neurons m", "width", "parameters", "size"), _SIZES),
    **dict.fromkeys(("layer", "part"), _LAYERS),
    **dict.fromkeys(("lineage", "cell type", "class"), _CELLS),
    "tracked run": _TRACKED,
    "strands of first and second": _STRANDS,
    **dict.fromkeys(("", "kind", "by", "of", "set", "method", "Arithmetic"), _COMPARED),
}
_LISTED = (_CELLS, _STRANDS, _COMPARED)  # families without an order: their colours as they are, over and over

BASES = ("#009E73", "#0072B2", "#E69F00", "#D55E00")
"""For A, C, G, T: green, blue, orange and red, as in all logos; the letter itself says what it is."""


def colours(names: Sequence[str], kind: str = "") -> list[str]:
    """The colours of series by their names; `kind` is what they are values of, such as "run" or "layer".

    >>> colours(["loss", "bound"])
    ['#0072B2', '#D55E00']
    >>> colours(["0.1", "0.2", "0.4"], "step size")
    ['#6A51A3', '#51A67A', '#C9B020']
    """
    by_role = _by_role(names)
    rest = [name for name in names if name not in by_role]
    things = list(dict.fromkeys(_thing(name) for name in rest))
    by_thing = dict(zip(things, _placed(len(things), _family(kind)), strict=True))
    drawn: set[str] = set()
    for name in rest:  # of one run, say, the sharpness and then, paler, its edge
        thing = _thing(name)
        by_role[name] = _between((by_thing[thing], NULL), 0.6) if thing in drawn else by_thing[thing]
        drawn.add(thing)
    return [by_role[name] for name in names]


def _thing(name: str) -> str:
    """What a series called "run: quantity" is of."""
    return name.partition(": ")[0]


def role_colours(names: Sequence[str]) -> list[str]:
    """The colours of things that are told apart by their places, by their roles; the network's where there is none.

    >>> role_colours(["model", "null: rows", "r beyond column means"])
    ['#0072B2', '#9A9A9A', '#0072B2']
    """
    return [next((shades[0] for _, words, shades in ROLES if words.match(name)), NETWORK) for name in names]


def _by_role(names: Sequence[str]) -> dict[str, str]:
    colours: dict[str, str] = {}
    for _, words, shades in ROLES:
        members = [name for name in names if name not in colours and words.match(name)]
        colours |= dict(zip(members, shades, strict=False))
    return colours


def _family(kind: str) -> Sequence[str]:
    return _FAMILIES.get(kind.strip(), RUNS)


def _placed(count: int, family: Sequence[str]) -> list[str]:
    if family in _LISTED:
        return [family[i % len(family)] for i in range(count)]
    return [_between(family, i / max(1, count - 1)) for i in range(count)]


def _between(stops: Sequence[str], part: float) -> str:
    """The colour at `part` (0 to 1) of the way through the stops, linear in RGB."""
    position = part * (len(stops) - 1)
    left = min(int(position), len(stops) - 2)
    ends = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops[left : left + 2]]
    mixed = [round(a + (b - a) * (position - left)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{level:02X}" for level in mixed)
