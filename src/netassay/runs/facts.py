"""Facts of a run as a table, with one writer and one reader, so that a number is read back as a number."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from netassay.runs.run import Run

_OLD_WORDS = {"yes": True, "True": True, "no": False, "False": False}
_OLD_NUMBER = re.compile(r"(0|[1-9]\d{0,17})(\.\d+)?")


def fact_table(facts: Mapping[str, Any]) -> pl.DataFrame:
    """One row per fact: its name in column fact, its value in column json, as JSON (true, 12, 0.5, "text", lists).

    TypeError or ValueError for a value that JSON cannot hold.

    >>> fact_table({"simulated": True, "peaks": 150}).rows()
    [('simulated', 'true'), ('peaks', '150')]
    """
    values = [json.dumps(value, allow_nan=False, ensure_ascii=False) for value in facts.values()]
    return pl.DataFrame({"fact": list(facts), "json": values}, schema={"fact": pl.String, "json": pl.String})


def facts_of(table: pl.DataFrame, *, lists: Collection[str] = ()) -> dict[str, Any]:
    """Name -> value, as given to `fact_table`.

    Tables of netassay 0.1.0 hold text in the second column: there yes and True, no and False, and numbers are
    converted, and the facts named in `lists` are split at their commas.

    >>> facts_of(fact_table({"simulated": True, "silent": ["filter_4"]}))
    {'simulated': True, 'silent': ['filter_4']}
    >>> facts_of(pl.DataFrame({"fact": ["simulated", "silent"], "value": ["yes", ""]}), lists=["silent"])
    {'simulated': True, 'silent': []}
    """
    if "json" in table.columns:
        return {name: json.loads(value) for name, value in table.select("fact", "json").iter_rows()}
    return {
        name: [word for word in value.split(", ") if word] if name in lists else _typed(value)
        for name, value in table.iter_rows()
    }


def stored_facts(run: Run, table: str) -> dict[str, Any]:
    """The facts of a table of a run; empty before it is written."""
    return facts_of(run.table(table)) if table in run.tables() else {}


def fact_words(table: pl.DataFrame) -> pl.DataFrame:
    """The facts of a table for reading, columns fact and value: yes and no, lists with commas, four digits of a share.

    >>> fact_words(fact_table({"simulated": False, "share": 0.25, "silent": ["a", "b"]}))["value"].to_list()
    ['no', '0.25', 'a, b']
    """
    facts = facts_of(table)
    return pl.DataFrame({"fact": list(facts), "value": [_words(value) for value in facts.values()]})


def _typed(text: str) -> Any:
    if text in _OLD_WORDS:
        return _OLD_WORDS[text]
    number = _OLD_NUMBER.fullmatch(text)
    return text if number is None else float(text) if number[2] else int(text)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
