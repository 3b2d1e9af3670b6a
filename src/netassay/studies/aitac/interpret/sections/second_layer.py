"""Motifs of the second layer, drawn."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from netassay.reporting import Section
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.choices import TITLES
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.motif_items import Terms, motif_items


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """The same figures and table as for the first layer."""
    facts = facts_of(tables["facts"])
    text = (
        f"A channel of the second layer sees {facts['width']} bases. It is active where it exceeds "
        f"{config.second_layer_threshold:g} of its greatest activation, before pooling, on "
        f"{facts['peaks']:,} peaks. Its motif is read, compared and judged as those of the first layer are; being "
        "a sum over all filters at several places, it may hold two sites at a distance, or several in one place "
        "that no "
        "single motif can show."
    )
    terms = Terms("aitac-second-layer", "channel", "channels of the second layer")
    return Section(TITLES["second_layer"], text, motif_items(tables, config, terms))
