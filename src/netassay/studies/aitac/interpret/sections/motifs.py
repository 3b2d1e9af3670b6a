"""Motifs of the first layer, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from netassay.reporting import Section
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.choices import TITLES
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.motif_items import Terms, motif_items


def _layer_name(facts: Mapping[str, Any]) -> str:
    """The name of a layer that is not AI-TAC's."""
    layer = facts.get("layer", "convolution1")
    return "" if layer == "convolution1" else f" ({layer}, behind the norm and activation that follow it)"


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Logos beside the known motifs, the share of filters that are like one beside the null, all filters."""
    facts = facts_of(tables["facts"])
    text = (
        f"A filter of the first layer{_layer_name(facts)} is active where it exceeds {config.motif_threshold:g} of its "
        "greatest activation "
        f"on the {facts['peaks']:,} peaks used ({facts['chosen']}). Its motif is the count of the "
        f"bases that it sees there. Known motifs ({facts['database']}) are compared with it by Tomtom; q is by "
        "Benjamini and Hochberg over all known motifs. Chance is measured by the same filters with the columns "
        "between their flanks in random order; names are given where so measured no more than "
        f"{config.motif_q:.0%} of them are false."
    )
    terms = Terms("aitac-motifs", "filter", "filters of the first layer")
    return Section(TITLES["motifs"], text, motif_items(tables, config, terms))
