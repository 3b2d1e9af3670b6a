"""Charts as strict Vega-Lite, and as files for a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import altair as alt
import vl_convert

from netassay.errors import DataError
from netassay.files import write_file
from netassay.reporting.section import Figure, csv_text
from netassay.reporting.theme import theme

CHART_ROWS = 50_000
"""Maximum number of rows of a chart; beyond it a browser is slow to draw and zoom."""

_DPI = 300
_FORBIDDEN_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

_LOW, _HIGH, _PLAIN = "₀₁₂₃₄₅₆₇₈₉₊₋", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+−"
_SHIFTED = re.compile(f"(?:[{_LOW}]+|[{_HIGH}]+)(?=[^<>]*</text>)")

Format = Literal["png", "svg", "pdf", "csv"]


def vega_lite(figure: Figure) -> dict[str, Any]:
    """The figure's chart in the common theme as strict JSON (non-finite numbers become null).

    Raises DataError if the chart holds more than CHART_ROWS rows or takes its data from an address.
    """
    _theme_registered()
    with alt.theme.enable("netassay"), alt.data_transformers.enable("default", max_rows=None):
        spec = figure.chart.to_dict()
    rows = sum(len(data) for data in spec.get("datasets", {}).values())
    if rows > CHART_ROWS:
        raise DataError(
            f"figure {figure.name!r}: its chart holds {rows:,} rows, at most {CHART_ROWS:,} are drawn; "
            "thin the data (report.lines and report.small_multiples do so by themselves) or aggregate it"
        )
    if _holds_address(spec):
        raise DataError(
            f"figure {figure.name!r}: its chart loads data from an address; a report must work without a "
            "network, so give the chart the data itself"
        )
    return {**_strict(spec), "description": f"{figure.title}. {figure.caption}"}


def drawing_notes(spec: dict[str, Any]) -> list[str]:
    """What the constructors in `chart` and `heat` did to the data before drawing it, one sentence each."""
    return list(spec.get("usermeta", {}).get("notes", []))


def save_figure(figure: Figure, folder: Path | str, formats: Sequence[Format] = ("png", "svg", "csv")) -> list[Path]:
    """Writes `folder/<figure.name>.<format>` for each format and returns the paths in that order.

    PNG is 300 dpi on white; SVG and PDF are vector. A figure without data has only a CSV with its column
    names. Raises DataError for an unknown format, StoreError if a file cannot be written.
    """
    for name in formats:
        if name not in ("png", "svg", "pdf", "csv"):
            raise DataError(f"format {name!r} for figure {figure.name!r}: choose from png, svg, pdf, csv")
    has_chart = figure.data.height > 0 and any(name != "csv" for name in formats)
    svg = svg_of(figure, drawable(figure)) if has_chart else ""
    return [
        write_file(
            Path(folder) / f"{figure.name}.{name}",
            csv_text(figure.data).encode() if name == "csv" else svg_as(name, svg),
        )
        for name in formats
        if name == "csv" or has_chart
    ]


def _theme_registered() -> None:
    if "netassay" not in alt.theme.names():
        alt.theme.register("netassay", enable=False)(lambda: alt.theme.ThemeConfig(**theme()))  # type: ignore[typeddict-item]


def drawable(figure: Figure) -> dict[str, Any]:
    """The chart of a figure on white, as it is drawn into a file."""
    return still({**vega_lite(figure), "background": "white"})


def svg_of(figure: Figure, spec: dict[str, Any]) -> str:
    """A spec of a figure's chart as SVG. DataError where it cannot be drawn."""
    try:
        return vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"figure {figure.name!r}: its chart cannot be drawn ({reason}); correct the chart") from error


def svg_as(form: str, svg: str) -> bytes:
    """The bytes of a drawing as svg, pdf, or png of 300 dpi."""
    if form == "svg":
        return svg.encode()
    shifted = with_shifted_digits(svg)
    return vl_convert.svg_to_png(shifted, ppi=_DPI) if form == "png" else vl_convert.svg_to_pdf(shifted)


def with_shifted_digits(svg: str) -> str:
    """Sub- and superscript digits as shifted plain digits.

    Few fonts have them, and the renderer sets the whole label in another font if one glyph is missing.
    """

    def shift(match: re.Match[str]) -> str:
        low = match[0][0] in _LOW
        plain = match[0].translate(str.maketrans(_LOW + _HIGH, _PLAIN + _PLAIN))
        return f'<tspan baseline-shift="{"sub" if low else "super"}" font-size="75%">{plain}</tspan>'

    return _SHIFTED.sub(shift, svg)


def still(value: Any) -> Any:
    """The spec without invisible hover targets and without characters that XML or Vega expressions forbid.

    Some of these make the renderer end the whole process.
    """
    if isinstance(value, dict):
        return {_FORBIDDEN_IN_XML.sub("\ufffd", key): still(part) for key, part in value.items()}
    if isinstance(value, list):
        visible = (part for part in value if not (isinstance(part, dict) and part.get("name") == "hover"))
        return [still(part) for part in visible]
    return _FORBIDDEN_IN_XML.sub("\ufffd", value) if isinstance(value, str) else value


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _holds_address(spec: Any) -> bool:
    if isinstance(spec, list):
        return any(map(_holds_address, spec))
    if not isinstance(spec, dict):
        return False
    data = spec.get("data")
    return (isinstance(data, dict) and "url" in data) or any(
        _holds_address(part) for key, part in spec.items() if key != "datasets"
    )
