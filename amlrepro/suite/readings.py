"""The readings of the method that `amlris readings` tells apart, and the experiment that measures them.

A reading is a preset, or a preset that takes one axis from another: a single-axis departure. The paper's equations, its
tables and its released code contradict each other (EQ-S, EQ13, EQ14, X-CODE), so any of these may be what was run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from amlrepro.aml.axes import AXES
from amlrepro.aml.presets import PRESETS, READINGS, departure
from amlrepro.config import RunConfig
from amlrepro.errors import UserError, unknown_name
from amlrepro.metrics.alignment import TAUS, hundredths
from amlrepro.models.registry import get_spec
from amlrepro.schema import parse_strict
from amlrepro.suite.experiment import Experiment, RowSpec, verify
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.pairing import why_untrainable
from amlrepro.suite.profile import ProfileSpec
from amlrepro.suite.rows import Choices, Rows

MODEL, TRAIN = "caris", "refcoco+"  # of Tables 7, 12, 13 and 14
PAIRS = 1552
EXPERIMENT, TARGET = "readings", "readings_target"  # ids of the experiments
INITIAL, FIRST, PLAIN = "epoch0", "epoch1", "baseline"  # their blocks
METRICS = ("pr50", "pr70", "pr90", "oiou")
SIMILARITY = ("lt_020", "ge_050", "ge_090", "mean", "std")
COVERAGE = tuple(f"{what}_tau{hundredths(tau):03d}" for what in ("coverage", "blanked") for tau in TAUS)
_SHORT = {axis.key: axis.name for axis in AXES.values()}
_SCALED = ("pmme.dim",)  # numbers of the paper's size, which a smaller profile multiplies


@dataclass(frozen=True)
class Reading:
    """One reading. name: `inferred`, or `inferred:tokens=real` for a departure; title: in words; changes: dotted
    settings that depart from the preset, numbers in the paper's size."""

    name: str
    title: str
    preset: str
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> tuple[str, str]:
        """Normalisation and projection: they set the scale of S's logits, and so how far seeds put it apart."""
        settings = {**PRESETS[self.preset], **self.changes}
        return settings["pmme.normalize"], settings["pmme.projection"]

    def row(self, **more: Any) -> dict[str, Any]:
        """The reading as a row of an experiment, with further keys of `RowSpec`.

        A departure to another projection brings the D_a of its preset, which may have had no effect before.
        """
        fixed = {key: value for key, value in self.changes.items() if key not in _SCALED}
        scaled = {key: value for key, value in self.changes.items() if key in _SCALED}
        if "pmme.projection" in self.changes:
            scaled["pmme.dim"] = PRESETS[self.preset]["pmme.dim"]
        return {"model": MODEL, "preset": self.preset, "train": TRAIN, "set": fixed, "scaled": scaled, **more}


@dataclass(frozen=True)
class LeftOut:
    """A departure that is no reading of its own. reason: why, as half a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Catalogue:
    """All readings, presets first, and the departures that were left out. epoch: that stands for the paper's first, in
    which a small profile has hardly any updates."""

    readings: tuple[Reading, ...]
    left_out: tuple[LeftOut, ...]
    epoch: int = 1

    def pick(self, names: Sequence[str], where: str = "--readings") -> tuple[Reading, ...]:
        """The named readings in the catalogue's order, all where none is named; raises `UserError` with the nearest."""
        known = {reading.name: reading for reading in self.readings}
        for name in names:
            gone = next((each for each in self.left_out if each.name == name), None)
            if gone is not None:
                raise UserError(f"{name} is no reading of its own", where=where, found=gone.reason)
            if name not in known:
                raise unknown_name("reading", name, known, where)
        return tuple(reading for reading in self.readings if not names or reading.name in names)


def catalogue(profile: ProfileSpec) -> Catalogue:
    """Presets, and every preset with one axis changed to another preset's value.

    Left out are departures that cannot be trained, and those that are the same training as a reading before them: the
    axis has no effect there, or says in other words what holds already.
    """
    rows = Rows(profile, Inputs(profile.source), Choices())
    kept: list[Reading] = []
    left_out: list[LeftOut] = []
    seen: dict[str, str] = {}
    for reading in _candidates():
        config = rows.config(parse_strict(RowSpec, reading.row(), reading.name), TRAIN, 0)
        reason, recipe = why_untrainable(config), _spelled_out(config).recipe_id
        if reason is None and recipe in seen:
            reason = f"the same training as {seen[recipe]}"
        if reason is not None:
            left_out.append(LeftOut(reading.name, reason))
        else:
            seen[recipe] = reading.name
            kept.append(reading)
    return Catalogue(tuple(kept), tuple(left_out), round(profile.scale.get("readings.epoch", 1)))


def _candidates() -> list[Reading]:
    presets = [Reading(name, name, name) for name in READINGS]
    return presets + [_depart(name, key, value) for name in READINGS for key in _axes() for value in _others(name, key)]


def _axes() -> list[str]:
    """Settings on which the presets differ."""
    return [key for key in PRESETS[READINGS[0]] if len({PRESETS[name][key] for name in READINGS}) > 1]


def _others(name: str, key: str) -> list[Any]:
    """The values that the other presets give a setting, each once."""
    return [v for v in dict.fromkeys(PRESETS[other][key] for other in READINGS) if v != PRESETS[name][key]]


def _depart(name: str, key: str, value: Any) -> Reading:
    short = _SHORT.get(key, key.rpartition(".")[2])
    return Reading(f"{name}:{short}={value}", f"{name}, {departure(key, value)}", name, {key: value})


def _spelled_out(config: RunConfig) -> RunConfig:
    """The configuration with the model's protocol in the place of a reference to it."""
    if config.pmme.mode != "protocol":
        return config
    return config.with_changes({"pmme.mode": get_spec(config.model.name).protocol.stage_one_mode})


def readings_experiment(
    everything: Catalogue,
    readings: Sequence[Reading],
    *,
    initial_only: bool = False,
    trained: Sequence[Reading] | None = None,
    id_: str = EXPERIMENT,
) -> Experiment:
    """What measures these readings of the catalogue: blocks `epoch0`, `epoch1` and `baseline`, or the first alone.
    trained: those of them that are measured after epoch 1 too, all by default.

    Before training all readings are measured on the same weights, those that CARIS starts from: a run's initial weights
    are a function of its seed, whatever its method. After epoch 1 each is measured on its own run. Columns are the
    statistics of Tables 7, 12, 13 and 14 by the field that gives them.
    """
    trained = () if initial_only else readings if trained is None else trained
    blocks = [_initial(readings)]
    if trained:
        blocks += [_first(trained, everything.epoch), _plain(everything.epoch)]
    values = {
        "id": id_,
        "title": "The target, a run of its own" if id_ == TARGET else "Readings of the method",
        "comment": _comment(everything, readings, trained),
        "blocks": blocks,
    }
    experiment = parse_strict(Experiment, values, "amlris readings")
    verify(experiment, "amlris readings")
    return experiment


def _comment(everything: Catalogue, readings: Sequence[Reading], trained: Sequence[Reading]) -> str:
    """What is measured, and which departures are no readings, and why."""
    total, title = len(everything.readings), get_spec(MODEL).title
    which = f"{len(readings)} of {total} readings" if len(readings) < total else f"All {total} readings"
    after = f"after epoch {everything.epoch}, beside {title} without masks"
    some = 0 < len(trained) < len(readings)
    when = f"before training and {after}" if trained and not some else "before training"
    field = f"; {len(trained)} of them {after}: {', '.join(each.name for each in trained)}" if some else ""
    lines = [f"{which} (presets and single-axis departures between them), measured {when}{field}."]
    if len(readings) == total and everything.left_out:
        gone = "; ".join(f"{each.name}, {each.reason}" for each in everything.left_out)
        lines.append(f"{len(everything.left_out)} departures are left out: {gone}.")
    return "\n".join(lines)


def _initial(readings: Sequence[Reading]) -> dict[str, Any]:
    """S and coverage on the weights before training; the row's settings are those of the measurement."""
    rows = {}
    for reading in readings:
        rows[reading.name] = {
            **reading.row(checkpoint="epoch0", probe={**_probe(), "method": reading.preset}),
            "preset": PLAIN,
        }
    return _block(INITIAL, "Before training", readings, rows, (*SIMILARITY, *COVERAGE))


def _first(readings: Sequence[Reading], epoch: int) -> dict[str, Any]:
    """Statistics after the first epoch. Validation only chooses `best`, which nothing here reads: runs that no other
    experiment goes on with do without."""
    rows = {}
    for reading in readings:
        row = reading.row(checkpoint=f"epoch{epoch}")
        if reading.changes:
            row["set"] = {**row["set"], "exec.validate_at": []}
        rows[reading.name] = row
    return _block(FIRST, f"After epoch {epoch}", readings, rows, (*METRICS, *SIMILARITY, *COVERAGE, "loss"))


def _plain(epoch: int) -> dict[str, Any]:
    row = {"model": MODEL, "preset": PLAIN, "train": TRAIN, "checkpoint": f"epoch{epoch}"}
    names = (*METRICS, "loss")
    layout = {"rows": {PLAIN: get_spec(MODEL).title}, "columns": {name: _column(name) for name in names}}
    return {
        "id": PLAIN,
        "title": f"Without masks, after epoch {epoch}",
        "layout": layout,
        "rows": {PLAIN: row},
        "columns": _sources(names),
    }


def _block(
    id_: str, title: str, readings: Sequence[Reading], rows: dict[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    labels = {reading.name: reading.title for reading in readings}
    layout = {"rows": labels, "columns": {name: _column(name) for name in names}}
    return {"id": id_, "title": title, "layout": layout, "rows": rows, "columns": _sources(names, id_ == FIRST)}


def _column(name: str) -> dict[str, Any]:
    if name in METRICS:
        return {"header": name, "metric": name, "dataset": TRAIN, "split": "val"}
    if name == "loss":
        return {"header": name, "metric": "train_loss", "unit": "loss", "better": "none"}
    metric = "alignment" if name in SIMILARITY else "gt_coverage"
    return {"header": name, "metric": metric, "unit": "fraction", "better": "none"}


def _sources(names: Sequence[str], own_probe: bool = True) -> dict[str, Any]:
    """Where each column's numbers come from. own_probe: S as the row's run computes it, not as the row says."""
    out: dict[str, Any] = {}
    for name in names:
        if name == "loss":
            out[name] = {"history": "loss"}
        elif name not in METRICS:
            out[name] = {"field": name, **({"probe": _probe()} if own_probe else {})}
    return out


def _probe() -> dict[str, Any]:
    return {"kind": "alignment", "dataset": TRAIN, "split": "val", "pairs": PAIRS}
