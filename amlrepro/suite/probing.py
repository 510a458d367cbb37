"""From what an experiment file says of a probe to the probe of one run. Torch-free."""

from __future__ import annotations

from pathlib import Path

from amlrepro.config import ProbeConfig, RunConfig
from amlrepro.suite.cellspec import ProbeSpec
from amlrepro.suite.checkpoints import checkpoint_name, epoch_of
from amlrepro.suite.inputs import Inputs


def resolve_probe(
    spec: ProbeSpec,
    config: RunConfig,
    method: RunConfig | None,
    checkpoint: str,
    inputs: Inputs,
    steps_scale: float = 1.0,
) -> ProbeConfig:
    """The probe of a run at a checkpoint (`last` or `epoch<E>` of the model's own schedule).

    steps_scale: of the profile, for small models. method: whose settings S is measured with, where these are not the
    run's own. Pictures from a list are looked at only where the data root has the list; else samples of the split stand
    in for them.
    """
    listed = spec.pictures if spec.pictures and inputs.root and (Path(inputs.root) / spec.pictures).exists() else None
    values = {
        "kind": spec.kind,
        "checkpoint": "last" if spec.kind == "cost" else checkpoint_name(config, epoch_of(config, checkpoint)),
        "dataset": None if listed else spec.dataset,
        "split": None if listed else spec.split,
        "pairs": spec.pairs,
        "steps": max(1, round(spec.steps * steps_scale)) if spec.steps else None,
        "pictures": listed,
        "pmme": method.pmme.model_dump() if method else None,
        "afm": method.afm.model_dump() if method else None,
        "data_digest": inputs.digest(spec.dataset) if spec.dataset and not listed else None,
    }
    return ProbeConfig.model_validate(values)
