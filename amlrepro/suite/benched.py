"""What `amlris bench` measured of training costs, for tables and plans of the same sizes. Torch-free.

`bench/<device>/<profile>/cost_<model>.json` beside the profiles of a store: seconds a step and memory of a model
without and with AML, side by side on synthetic pictures in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.files import read_json

FOLDER = "bench"


@dataclass(frozen=True)
class BenchedCost:
    """One training as it was benched. device: its name; values: by field of a cost probe (`engine.probes.cost`), an
    epoch's length left out; images_per_s: of training."""

    device: str
    model: str
    size: str
    image_size: int
    aml: bool
    numerics: str
    batch: int
    images_per_s: float
    values: Mapping[str, float | None]
    written: float

    @property
    def says(self) -> str:
        """Where and how, for a footnote."""
        return f"{self.device}: both sides in turn, synthetic pictures in memory, no loading"


def read_costs(root: Path, profile: str) -> list[BenchedCost]:
    """Costs benched at a profile's sizes, of the device that was benched last, in the order of models.

    root: of the store. Raises `UserError` for a file that is not one of `amlris bench`'s.
    """
    found: list[BenchedCost] = []
    for path in sorted((root / FOLDER).glob(f"*/{_sizes(profile)}/cost_*.json")):
        with _a_result(path):
            result = read_json(path)
            found += [_cost(result["device"], row, path.stat().st_mtime) for row in result["details"]["costs"]]
    last = max(found, key=lambda each: (each.written, each.device), default=None)
    return [each for each in found if last is not None and each.device == last.device]


@contextmanager
def _a_result(path: Path) -> Iterator[None]:
    """What is read here must be as `amlris bench` writes it; else `UserError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        hint = "remove it and run `amlris bench` again"
        raise UserError("this is no result of `amlris bench`", where=path, found=str(error), hint=hint) from None


def _sizes(profile: str) -> str:
    """Whose sizes were benched: the pilot's models and pictures are the paper's."""
    return "paper" if profile == "pilot" else profile


def find_cost(costs: list[BenchedCost], config: RunConfig) -> BenchedCost | None:
    """What was benched of a run's kind of step: the same model, sizes, batch, precision, with or without Algorithm 1.
    None for others."""
    if config.strategy not in ("plain", "aml") or config.train.step != "forward_only" or config.model.options:
        return None
    data, train = config.data, config.train
    wanted = (
        config.model.name,
        config.model.size,
        data.image_size,
        config.strategy == "aml",
        train.numerics,
        train.batch,
    )
    return next((c for c in costs if (c.model, c.size, c.image_size, c.aml, c.numerics, c.batch) == wanted), None)


def benched_value(cost: BenchedCost, field: str, refs: int | None) -> float | None:
    """A field of a cost probe; `time_min_per_epoch` of an epoch over `refs` samples (dropping the last short batch)."""
    if field != "time_min_per_epoch":
        return cost.values.get(field)
    seconds = cost.values["seconds_per_step"]
    return None if refs is None or seconds is None else seconds * (refs // cost.batch) / 60


@dataclass(frozen=True)
class Measures:
    """What the measures for speed bring on a device, as benched: factors at least as large as 1 save time.

    training: `train.numerics=fast` in a step of CARIS, taken for all models; evaluation: of CARIS, pictures encoded
    once for their sentences, against one forward a sentence, which the estimate charges. None where it was not benched
    or gave other results.
    """

    device: str
    training: float | None
    evaluation: float | None

    def hours(self, config: RunConfig, training: float, scoring: float) -> float:
        """GPU hours of a run with all measures; those of its training and its scoring without them are given."""
        shared = self.evaluation if config.model.name == "caris" else None
        return training / (self.training or 1.0) + scoring / (shared or 1.0)


def read_measures(root: Path, profile: str) -> Measures | None:
    """What was benched of the measures at a profile's sizes, on the device that was benched last; None where nothing
    was. Raises `UserError` for a file that is not one of `amlris bench`'s."""
    found: list[tuple[float, str, str, float]] = []
    for name in ("training", "evaluation"):
        for path in (root / FOLDER).glob(f"*/{_sizes(profile)}/{name}.json"):
            with _a_result(path):
                result = read_json(path)
                if not result["gate"] or result["gate"]["passed"]:
                    found.append((path.stat().st_mtime, str(result["device"]), name, float(result["value"]["median"])))
    if not found:
        return None
    device = max(found)[1]
    own = {name: value for _, each, name, value in found if each == device}
    return Measures(device, own.get("training"), own.get("evaluation"))


def _cost(device: str, row: Mapping[str, Any], written: float) -> BenchedCost:
    fields = (
        "seconds_per_step",
        "seconds_per_step_q1",
        "seconds_per_step_q3",
        "images_per_s",
        "memory_mb",
        "allocator_mb",
    )
    return BenchedCost(
        device=str(device),
        model=row["model"],
        size=row["size"],
        image_size=row["image_size"],
        aml=row["aml"],
        numerics=row["numerics"],
        batch=row["batch"],
        images_per_s=float(row["images_per_s"]),
        values={field: row[field] for field in fields},
        written=written,
    )
