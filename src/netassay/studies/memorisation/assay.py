"""One run of the memorisation study: from its config to recorded losses, tables and a summary."""

from __future__ import annotations

from typing import Any

from netassay import training
from netassay.studies.memorisation.config import MemorisationConfig
from netassay.studies.memorisation.examination import Examination
from netassay.studies.memorisation.findings import tables as tables
from netassay.studies.memorisation.material import material


def assay(config: MemorisationConfig, recorder: training.Recorder, **keywords: Any) -> training.Result:
    """Evaluates the config's model on its corpus, one batch per step; keywords go to `training.train`."""
    examination = Examination(config, material(config))
    return training.train(examination, recorder, steps=examination.steps, **keywords)
