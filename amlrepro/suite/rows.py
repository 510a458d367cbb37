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
        self._configs: dict[tuple[object, ...], RunConfig] = {}

    def config(self, row: RowSpec, train: str, seed: int) -> RunConfig:
        """A row's configuration on a training set, digests included. Raises `UserError` for a wrong key or value."""
        preset = self._choices.preset if row.preset == AML else row.preset
        key = (row.model, preset, repr(sorted(row.set.items())), repr(sorted(row.scaled.items())), train, seed)
        if key not in self._configs:
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
            self._configs[key] = self._inputs.complete(config)
        return self._configs[key]

    def method(self, row: RowSpec) -> str:
        """The preset as written on cells for which there is no single run."""
        return describe(self.config(row, trained_on(row, "refcoco"), 0))

    def _scaled(self, row: RowSpec) -> dict[str, float]:
        """The row's `scaled` numbers in this profile's size; whole ones stay whole."""
        sizes = {key: value * self._profile.scale.get(key, 1.0) for key, value in row.scaled.items()}
        return {key: int(value) if value == int(value) else value for key, value in sizes.items()}


def trained_on(row: RowSpec, dataset: str) -> str:
    """The training set of a row for a cell on `dataset`."""
    return dataset if row.train == OWN else row.train
