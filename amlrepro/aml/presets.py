"""Named points on the axes of the method. Torch-free.

The paper's equations, its tables and its released code contradict each other, so every choice is an axis of the
configuration and a preset names a point: `inferred`, the least change to the printed method that can give Tables 9
and 12; `literal`, the equations as printed; `released`, what the authors' public code does. `baseline` is training
without masks (tau 0), `random` the random-mask baseline (Q20), `maskris` the training of MaskRIS.
"""

from __future__ import annotations

from typing import Any

from amlrepro.config import RunConfig
from amlrepro.errors import unknown_name

INFERRED: dict[str, Any] = {
    "pmme.normalize": "none",
    "pmme.projection": "gaussian",
    "pmme.dim": 2048,
    "pmme.scale": 1.0,
    "pmme.tokens": "all",
    "pmme.stage": "early",
    "pmme.late": "fused",
    "pmme.pred": "weight",
    "pmme.features": "default",
    "pmme.mode": "protocol",
    "afm.tau": 0.4,
    "afm.rho": 0.25,
    "afm.block": 32,
    "afm.dropout": "block",
    "afm.fill": 0.0,
    "afm.source": "pmme",
    "afm.level": "image",
    "train.step": "forward_only",
}

PRESETS: dict[str, dict[str, Any]] = {
    "inferred": INFERRED,
    "literal": {**INFERRED, "pmme.normalize": "l2", "pmme.tokens": "real", "afm.dropout": "pixel"},
    "released": {
        **INFERRED,
        "pmme.projection": "text_linear",
        "pmme.dim": 1024,
        "pmme.mode": "train",
        "afm.dropout": "released",
        "train.step": "joint",
    },
    "baseline": {**INFERRED, "afm.tau": 0.0},
    "random": {**INFERRED, "afm.source": "random", "random.share": 0.25},
    "maskris": {**INFERRED, "afm.source": "maskris", "maskris.keep": 0.25, "maskris.words": 0.15},
}

READINGS: tuple[str, ...] = ("inferred", "literal", "released")

# How a departure from a preset is written, in this order.
_LABELS: dict[str, str] = {
    "afm.tau": "tau {:g}",
    "afm.rho": "rho {:g}",
    "pmme.dim": "D_a {}",
    "afm.block": "block {}",
    "pmme.normalize": "normalize {}",
    "pmme.projection": "projection {}",
    "pmme.scale": "scale {:g}",
    "pmme.tokens": "tokens {}",
    "pmme.stage": "stage {}",
    "pmme.late": "late text {}",
    "pmme.pred": "prediction as {}",
    "pmme.features": "features {}",
    "pmme.mode": "stage one {}",
    "afm.dropout": "dropout {}",
    "afm.fill": "fill {:g}",
    "afm.level": "level {}",
    "train.step": "step {}",
}


def preset(name: str) -> dict[str, Any]:
    """A preset as dotted overrides of `RunConfig`; raises `UserError` with the nearest name."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return dict(PRESETS[name])


def departure(key: str, value: Any) -> str:
    """How one changed setting of the method is written: `departure("pmme.dim", 64)` is "D_a 64"."""
    return _LABELS[key].format(value)


def describe(config: RunConfig) -> str:
    """The preset of a configuration and how it departs: "inferred, tau 0.3, D_a 64", "random mask 25 %", "baseline".

    The nearest of the three readings is named; settings that have no effect on the run are not mentioned.
    """
    if config.strategy == "plain":
        return "baseline"
    if config.strategy == "random":
        share = config.random.share
        if share == "matched":
            return f"random mask, matched to {_nearest_reading(config)}"
        label = "random mask of random share" if share == "random" else f"random mask {100 * share:g} %"
        return ", ".join([label, *_departures(config, "random")])
    if config.strategy == "maskris":
        own = {"keep": config.maskris.keep, "words": config.maskris.words}
        changed = [
            f"{key} {100 * value:g} %" for key, value in own.items() if value != PRESETS["maskris"][f"maskris.{key}"]
        ]
        return ", ".join(["MaskRIS", *changed, *_departures(config, "maskris")])
    return _nearest_reading(config)


def _nearest_reading(config: RunConfig) -> str:
    departures = {name: _departures(config, name) for name in READINGS}
    best = min(READINGS, key=lambda name: len(departures[name]))
    return ", ".join([best, *departures[best]])


def _departures(config: RunConfig, name: str) -> list[str]:
    silent = _without_effect(config)
    out = []
    for key, label in _LABELS.items():
        group, _, field = key.partition(".")
        value = getattr(getattr(config, group), field)
        if value != PRESETS[name][key] and key not in silent:
            out.append(label.format(value))
    return out


def _without_effect(config: RunConfig) -> set[str]:
    if config.strategy == "maskris" or (config.strategy == "random" and config.random.share != "matched"):
        return set(_LABELS) - {"afm.block", "afm.fill"}
    return {*config.inactive}
