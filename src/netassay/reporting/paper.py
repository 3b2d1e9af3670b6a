"""One figure as a file at the width of a journal's column."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, get_args

from netassay.errors import ConfigError, DataError
from netassay.files import write_file
from netassay.reporting.export import drawable, svg_as, svg_of
from netassay.reporting.section import Figure, csv_text

Theme = Literal["screen", "print"]

NARROWEST, WIDEST = 100.0, 4000.0
"""Widths in pixels (96 per inch) between which a chart can have letters and axes at all."""
_UNITS = {"mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0, "pt": 96 / 72, "px": 1.0}
_WIDTH = re.compile(r"(\d+(?:\.\d+)?)(mm|cm|in|pt|px)")
_POINT = 96 / 72
_PRINT: dict[str, Any] = {
    "axis": {
        "labelFontSize": 7 * _POINT,
        "titleFontSize": 8 * _POINT,
        "labelColor": "black",
        "titleColor": "black",
        "domainColor": "black",
        "tickColor": "black",
        "grid": False,
        "titlePadding": 4,
    },
    "legend": {
        "labelFontSize": 7 * _POINT,
        "titleFontSize": 8 * _POINT,
        "labelColor": "black",
        "titleColor": "black",
        "symbolSize": 50,
        "columnPadding": 8,
    },
    "header": {"labelFontSize": 8 * _POINT, "labelColor": "black"},
    "line": {"strokeWidth": 1.2},
    "point": {"size": 18},
}


def save_sized(figure: Figure, path: Path, *, width: str = "", theme: Theme = "screen") -> Path:
    """Writes the figure to `path`, whose suffix chooses PDF, SVG, PNG (300 dpi) or CSV, and returns the path.

    `width` is that of the whole drawing with axes and legend, within a point. SVG and PDF use a font that this package
    ships; PDF embeds it. Raises ConfigError for an unknown suffix or theme and an impossible width, DataError for a
    figure without data.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("pdf", "svg", "png", "csv"):
        raise ConfigError(f"{path}: ending {path.suffix!r} is not one of .pdf, .svg, .png, .csv")
    if theme not in get_args(Theme):
        raise ConfigError(f"theme {theme!r} is not one of {', '.join(get_args(Theme))}")
    if kind == "csv":
        return write_file(path, csv_text(figure.data).encode())
    if not figure.data.height:
        raise DataError(f"figure {figure.name!r} has no data yet, so there is nothing to draw")
    return write_file(path, svg_as(kind, _drawing(figure, pixels(width) if width else None, theme)))


def pixels(width: str) -> float:
    """A width with its unit in pixels of 1/96 inch.

    >>> round(pixels("85mm"))
    321
    """
    match = _WIDTH.fullmatch(width.strip())
    if not match:
        raise ConfigError(f"width {width!r} is not a number and a unit: mm, cm, in, pt or px, such as 85mm")
    value = float(match[1]) * _UNITS[match[2]]
    if not NARROWEST <= value <= WIDEST:
        raise ConfigError(
            f"width {width} is {value:.0f} pixels; a chart takes {NARROWEST:.0f} to {WIDEST:.0f}: give another width"
        )
    return value


def _drawing(figure: Figure, width: float | None, theme: Theme) -> str:
    spec = drawable(figure)
    if theme == "print":
        spec["config"] = _merged(spec.get("config", {}), _PRINT)
    svg = svg_of(figure, spec)
    if width is None:
        return svg
    # the drawing is wider than its axes by labels and legend, whose width is known only after drawing
    scale = 1.0
    for _ in range(6):
        beside = _width(svg) - width
        if abs(beside) <= _POINT:
            return svg
        scale *= width / _width(svg) if beside > 0 and scale == 1.0 else max(0.2, 1 - beside / _width(svg))
        svg = svg_of(figure, _scaled(spec, scale))
    if _width(svg) > width + _POINT:
        raise ConfigError(
            f"figure {figure.name!r} needs {_width(svg) / _UNITS['mm']:.0f} mm for its letters; give a larger width"
        )
    return svg


def _width(svg: str) -> float:
    match = re.search(r'<svg[^>]*\bwidth="([\d.]+)"', svg)
    return float(match[1]) if match else 0.0


def _scaled(spec: dict[str, Any], scale: float) -> dict[str, Any]:
    """The spec with every plot's width times `scale`."""
    scaled = deepcopy(spec)

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for part in node:
                walk(part)
        elif isinstance(node, dict):
            if isinstance(node.get("width"), int | float) and ("mark" in node or "layer" in node or "height" in node):
                node["width"] = max(20.0, node["width"] * scale)
            for key, part in node.items():
                if key not in ("datasets", "data", "config", "encoding", "mark"):
                    walk(part)

    if "width" not in scaled and ("mark" in scaled or "layer" in scaled):
        scaled["width"] = scaled.get("config", {}).get("view", {}).get("continuousWidth", 640)
    walk(scaled)
    return scaled


def _merged(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    return {
        **config,
        **{
            key: {**config.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in overrides.items()
        },
    }
