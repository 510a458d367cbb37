"""How big: the profiles `smoke`, `demo`, `pilot` and `paper`, and how they resolve into configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from amlrepro.aml.presets import preset as preset_values
from amlrepro.config import PROFILES, RunConfig, parse_config
from amlrepro.errors import unknown_name
from amlrepro.models.registry import get_spec, model_names
from amlrepro.models.spec import ModelSpec, Protocol
from amlrepro.schema import Strict, load_yaml, merge, nest, parse_strict
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.pairing import check_data

# Settings of the masking method. A baseline has none of them, so `--set` leaves it as it is.
METHOD_KEYS = ("pmme.", "afm.", "random.", "train.step")


class ProfileSpec(Strict):
    """One file of `experiments/profiles/`: an overlay on the schema's defaults and the model's own protocol.

    source: where data come from without a data root. set: dotted configuration keys for every run. real_data: further
    keys when a data root is given to a profile that would do without. models, presets: keys for single models and
    presets (a preset's keys come after the preset itself); model_presets: for a preset inside one model. seeds: used
    unless the command names others. scale: by configuration key, what rows' `scaled` values are multiplied by (the
    demo's D_a is smaller than the paper's); of probes their `probe.steps`; `readings.epoch`: the epoch that stands for
    the paper's first where readings are told apart. resolution: at which evaluations are scored, the model's own by
    default. watermark: what is said on every result that is no evidence about the paper; real_watermark: the same on
    real data.
    """

    id: str
    title: str
    source: Literal["synth", "refer"]
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default_factory=lambda: [0])
    resolution: Literal["resized", "original"] | None = None
    watermark: str | None = None
    real_watermark: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    real_data: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model_presets: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    scale: dict[str, float] = Field(default_factory=dict)


def load_profile(name: str) -> ProfileSpec:
    """Read `experiments/profiles/<name>.yaml`; raises `UserError` for an unknown profile or key."""
    if name not in PROFILES:
        raise unknown_name("profile", name, PROFILES)
    path = experiments_folder() / "profiles" / f"{name}.yaml"
    spec = parse_strict(ProfileSpec, load_yaml(path) or {}, path)
    inside = [keys for presets in spec.model_presets.values() for keys in presets.values()]
    for keys in (spec.set, spec.real_data, *spec.models.values(), *spec.presets.values(), *inside):
        parse_config(nest(keys), path)
    for model in (*spec.models, *spec.model_presets):
        get_spec(model)
    return spec


def resolve(
    profile: ProfileSpec,
    model: str,
    preset: str,
    train: str,
    seed: int = 0,
    *,
    source: Literal["synth", "refer"] | None = None,
    row: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    execution: Mapping[str, Any] | None = None,
) -> RunConfig:
    """One training's configuration. Later layers win:

    schema defaults, the model's own protocol (`ModelSpec.train`), profile, preset, the profile's keys for that preset,
    row, command line (`overrides`; keys of the masking method leave a baseline alone). `execution` holds `exec` keys
    (where data lie), under the command line. Raises `UserError` for a wrong key or type, for an unknown name, and for
    data that the model is not made for.
    """
    source = source or profile.source
    spec = get_spec(model)
    owner = next((o["data.split_by"] for o in (overrides or {}, row or {}) if "data.split_by" in o), None)
    fed = _input_of(spec.protocol, train, owner)
    layers: list[tuple[object, Mapping[str, Any]]] = [
        (f"model {model}", {"model.name": model, "train": dict(spec.train), "data": fed}),
        (f"profile {profile.id}", profile.set),
        (f"profile {profile.id}", profile.real_data if source != profile.source else {}),
        (f"profile {profile.id}, model {model}", profile.models.get(model, {})),
        (f"preset {preset}", preset_values(preset)),
        (f"profile {profile.id}, preset {preset}", profile.presets.get(preset, {})),
        (f"profile {profile.id}, preset {preset} in {model}", profile.model_presets.get(model, {}).get(preset, {})),
        ("row", row or {}),
        ("command", {"data.train": train, "data.source": source, "seed": seed, "exec": dict(execution or {})}),
        ("--set", _applicable(overrides or {}, preset, spec)),
    ]
    values: dict[str, Any] = {}
    for where, layer in layers:
        values = merge(values, nest(layer))
        config = parse_config(values, where)
    spec.resolve_options(config)
    check_data(model, config.data.train)
    return config


def bench_configs(name: str) -> dict[str, RunConfig]:
    """CARIS without and with AML at a profile's sizes, fresh weights: what `amlris bench` times against each other."""
    return step_configs(name, {"CARIS": "baseline", "CARIS+AML": "inferred"})


def step_configs(name: str, sides: Mapping[str, str], model: str = "caris") -> dict[str, RunConfig]:
    """A model by several presets (title -> preset) at a profile's sizes with fresh weights, to compare their steps."""
    profile = load_profile(name)
    fresh = {"init.vision": "scratch", "init.text": "scratch"}
    return {side: resolve(profile, model, preset, "refcoco", overrides=fresh) for side, preset in sides.items()}


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raise `UserError` unless every `--set` key exists and has the right type, used by a row or not."""
    for key, value in overrides.items():
        parse_config(nest({key: value}), "--set")


def _applicable(overrides: Mapping[str, Any], preset: str, spec: ModelSpec) -> dict[str, Any]:
    """The `--set` keys that mean something here; a reading of the features that only another model offers does not."""
    if preset == "baseline":
        return {key: value for key, value in overrides.items() if not key.startswith(METHOD_KEYS)}
    if "pmme.features" not in overrides:
        return dict(overrides)
    others = {reading for name in model_names() for reading in get_spec(name).pmme_features} - {*spec.pmme_features}
    return {key: value for key, value in overrides.items() if key != "pmme.features" or value not in others}


def _input_of(protocol: Protocol, train: str, split_by: str | None) -> dict[str, Any]:
    """What a model's own code feeds it."""
    return {
        "vocabulary": protocol.vocabulary,
        "image_size": protocol.image_size,
        "max_tokens": protocol.max_tokens(train, split_by),
        "text": protocol.text,
        "sampling": protocol.sampling,
    }
