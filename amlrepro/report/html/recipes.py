"""What a run trains, in words and settings: the same for all its seeds, so worked out once a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from amlrepro.aml.presets import describe
from amlrepro.config import RunConfig
from amlrepro.data.specs import DATASETS
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.suite.plan import Plan, PlannedRun
from amlrepro.suite.profile import load_profile, resolve

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_ADDED = {"plain": "", "aml": "+AML", "random": " + random mask", "maskris": " + MaskRIS"}


@dataclass(frozen=True)
class RecipeView:
    """A recipe. method: `CARIS+AML`; train: training data. changes: settings that differ from the profile's baseline of
    that model; yaml: all that can change the result, but the seed."""

    method: str
    preset: str
    train: str
    changes: tuple[tuple[str, str], ...]
    yaml: str


class Recipes:
    """The recipes of a plan's runs, set beside the profile's plain configuration of the same model and data set."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._profile = load_profile(plan.profile)
        self._baselines: dict[tuple[str, str], dict[str, Any]] = {}
        self._views: dict[str, RecipeView] = {}

    def of(self, run: PlannedRun) -> RecipeView:
        """The recipe of a run."""
        name = recipe_name(run)
        if name not in self._views:
            config = run.config
            values = config.model_dump(mode="json", exclude={"exec", "seed"})
            train = config.data.train
            self._views[name] = RecipeView(
                method=get_spec(config.model.name).title + _ADDED[config.strategy],
                preset=describe(config),
                train=DATASETS[train].title if train in DATASETS else train,
                changes=tuple(self._changes(config, values)),
                yaml=yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True),
            )
        return self._views[name]

    def _changes(self, config: RunConfig, values: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Dotted settings in which a run departs from the baseline, digests of inputs left out."""
        mine, plain = _flat(config.identity()), self._baseline(config)
        shown = {key: value for key, value in _flat(values).items() if key in mine or key in plain}
        changed = {key: value for key, value in shown.items() if mine.get(key) != plain.get(key)}
        return [(key, _value(value)) for key, value in changed.items() if not key.endswith("digest")]

    def _baseline(self, config: RunConfig) -> dict[str, Any]:
        model, train = key = (config.model.name, config.data.train)
        if key not in self._baselines:
            try:
                plain = resolve(self._profile, model, "baseline", train, source=self._plan.source)
                self._baselines[key] = _flat(plain.identity())
            except UserError:  # a pairing that only this run's own settings allow: everything it sets is shown
                self._baselines[key] = {}
        return self._baselines[key]


def recipe_name(run: PlannedRun) -> str:
    """What the names of a recipe's runs have in common."""
    return run.run_id.rpartition("-s")[0]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
        out |= inner
    return out


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
