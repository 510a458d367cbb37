"""Which data, models and readings of the method go together. Torch-free."""

from __future__ import annotations

from amlrepro.aml.combinations import find_conflict
from amlrepro.config import RunConfig
from amlrepro.data.specs import COMBINED, dataset_spec, is_multi_target
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec, model_names


def check_data(model: str, dataset: str) -> None:
    """Raise `UserError` where sentences may name several objects or none and the model segments exactly one."""
    if dataset == COMBINED or not is_multi_target(dataset) or get_spec(model).protocol.multi_target:
        return
    fitting = [name for name in model_names() if get_spec(name).protocol.multi_target]
    raise UserError(
        f"sentences of {dataset_spec(dataset).title} may name several objects or none",
        where=f"model.name={model}",
        found=f"{get_spec(model).title}, which segments one object a sentence",
        expected=" or ".join(fitting),
    )


def why_untrainable(config: RunConfig) -> str | None:
    """Why this reading of the method cannot be trained, or not inside this model; None when it can."""
    spec = get_spec(config.model.name)
    conflict = find_conflict(config, spec.protocol, spec.title)
    return conflict.reason if conflict else None
