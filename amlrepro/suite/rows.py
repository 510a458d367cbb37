"""The rows of experiments as configurations: what a command chose, a profile's sizes, each made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amlrepro.aml.presets import describe
from amlrepro.config import RunConfig
from amlrepro.suite.experiment import AML, OWN, RowSpec
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.profile import ProfileSpec, resolve


@dataclass(frozen=True)
class Choices:
    """What a command chose beyond the experiments: seeds (None: the profile's), the AML preset, `--set` keys."""

    seeds: tuple[int, ...] | None = None
    preset: str = "inferred"
    overrides: Mapping[str, Any] = field(default_factory=dict)


class Rows:
    """Resolves rows. The same row, training set and seed give the same object."""

    def __init__(self, profile: ProfileSpec, inputs: Inputs, choices: Choices) -> None:
        self._profile = profile
        self._inputs = inputs
        self._choices = choices
        self._configs: dict[tuple[object, int], RunConfig] = {}
        self._recipes: dict[object, RunConfig] = {}  # with any seed: other seeds differ in nothing else
        self._names: dict[int, tuple[RowSpec, tuple[str, ...]]] = {}  # by identity, which the row beside it keeps

    def config(self, row: RowSpec, train: str, seed: int) -> RunConfig:
        """A row's configuration on a training set, digests included. Raises `UserError` for a wrong key or value."""
        preset = self._choices.preset if row.preset == AML else row.preset
        recipe = (self._known(row), preset, train)
        if (recipe, seed) not in self._configs:
            chosen = "seed" in row.set or "seed" in self._choices.overrides  # by name: then it is no choice of ours
            known = None if chosen else self._recipes.get(recipe)
            config = known.model_copy(update={"seed": seed}) if known else self._resolved(row, preset, train, seed)
            self._configs[recipe, seed] = self._recipes[recipe] = config
        return self._configs[recipe, seed]

    def _resolved(self, row: RowSpec, preset: str, train: str, seed: int) -> RunConfig:
        config = resolve(
            self._profile,
            row.model,
            preset,
            train,
            seed,
            source=self._inputs.source,
            row={**row.set, **self._scaled(row)},
            overrides=self._choices.overrides,
            execution=self._inputs.execution(row.model),
        )
        return self._inputs.complete(config)

    def method(self, row: RowSpec) -> str:
        """The preset as written on cells for which there is no single run."""
        return describe(self.config(row, trained_on(row, "refcoco"), 0))

    def _known(self, row: RowSpec) -> tuple[str, ...]:
        """What a row says of a configuration; worked out once, since every cell and seed asks for it."""
        if id(row) not in self._names:
            said = (row.model, repr(sorted(row.set.items())), repr(sorted(row.scaled.items())))
            self._names[id(row)] = row, said
        return self._names[id(row)][1]

    def _scaled(self, row: RowSpec) -> dict[str, float]:
        """The row's `scaled` numbers in this profile's size; whole ones stay whole."""
        sizes = {key: value * self._profile.scale.get(key, 1.0) for key, value in row.scaled.items()}
        return {key: int(value) if value == int(value) else value for key, value in sizes.items()}


def trained_on(row: RowSpec, dataset: str) -> str:
    """The training set of a row for a cell on `dataset`."""
    return dataset if row.train == OWN else row.train
