"""The one schema of what a run is: typed, strict, hashable. Imported by every room; never imports torch.

A `RunConfig` fixes a trajectory. Everything outside `exec` can change the result and is part of the identity;
`exec` says where and how far it runs and never is. A field stays out of the hash while it has its default value
("neutral value"), so a field that is added later with a neutral default leaves old run ids as they were.
Defaults are therefore frozen: changing one silently renames or, worse, equates runs (`tests/test_config.py` holds
golden ids).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field

from amlrepro.errors import UserError
from amlrepro.files import canonical_hash
from amlrepro.schema import Strict, load_yaml, merge, nest, parse_strict, parse_yaml
from amlrepro.sections import (
    AFMConfig,
    DataConfig,
    ExecConfig,
    InitConfig,
    MaskRISConfig,
    ModelConfig,
    PMMEConfig,
    RandomConfig,
    TrainConfig,
)

FILE = "file"  # stands in the name of an evaluation of weights from a file, in place of a run's checkpoint
Profile = Literal["smoke", "demo", "pilot", "paper"]
PROFILES: tuple[str, ...] = get_args(Profile)

# Components whose meaning can change. Raise a number when results made before are no longer comparable: they then
# show as stale and are never mixed with new ones. Version 1 is neutral and stays out of the hash.
VERSIONS: dict[str, int] = {
    "caris": 1,
    "detris": 1,
    "rela": 1,
    "pmme": 1,
    "afm": 1,
    "random": 1,
    "maskris": 1,
    "late": 1,
    "pred": 1,
    "learnable": 1,
    "feature": 1,
    "loop": 1,
    "synth": 1,
    "data": 1,
}


class RunConfig(Strict):
    """One training, fully resolved."""

    model: ModelConfig = ModelConfig()
    init: InitConfig = InitConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    pmme: PMMEConfig = PMMEConfig()
    afm: AFMConfig = AFMConfig()
    random: RandomConfig = RandomConfig()
    maskris: MaskRISConfig = MaskRISConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    exec: ExecConfig = ExecConfig()

    @property
    def strategy(self) -> Literal["plain", "aml", "random", "maskris"]:
        """The training strategy these settings describe."""
        if self.afm.source != "pmme":
            return self.afm.source
        return "aml" if self.afm.tau > 0 else "plain"

    @property
    def inactive(self) -> tuple[str, ...]:
        """Fields, or whole groups of them, that do not matter given the others."""
        return tuple(_inactive(self))

    def identity(self) -> dict[str, Any]:
        """What can change the result, seed excluded: active fields that differ from their neutral value."""
        active = self.model_dump(mode="json", exclude={"seed", "exec"})
        for path in self.inactive:
            group, _, field = path.partition(".")
            if field:
                active.get(group, {}).pop(field, None)
            else:
                active.pop(group, None)
        changed = _differences(active, _neutral())
        versions = {name: n for name, n in VERSIONS.items() if n != 1 and name in _components(self)}
        return {**changed, "versions": versions} if versions else changed

    @property
    def recipe_id(self) -> str:
        """Hash of `identity()`: equal for all seeds of one recipe."""
        return canonical_hash(self.identity(), 10)

    @property
    def run_id(self) -> str:
        """Readable slug, recipe and seed: the name of the run's folder."""
        return named(self.recipe_name, self.seed)

    @property
    def recipe_name(self) -> str:
        """Readable slug and recipe: what the names of all its seeds begin with."""
        parts = [self.model.name, self.strategy, self.data.train]
        if self.strategy == "aml":
            parts.append(f"tau{self.afm.tau:g}")
        return f"{'_'.join(parts)}-{self.recipe_id}"

    def with_changes(self, changes: Mapping[str, Any], where: str = "--set") -> RunConfig:
        """A copy with dotted keys replaced (`{"afm.tau": 0.3}`); raises `UserError` for a wrong key or type."""
        merged = merge(self.model_dump(mode="python"), nest(changes))
        return parse_config(merged, where)


_SEED_LINE = re.compile(r"^seed: (0|[1-9][0-9]*)$", re.MULTILINE)


@cache
def _neutral() -> dict[str, Any]:
    """The neutral value of every identity field; to be read only."""
    return RunConfig().model_dump(mode="json", exclude={"seed", "exec"})


class EvalConfig(Strict):
    """One evaluation of a subject: data set, split, resolution, text. `eval_id` names its files.

    resolution: `resized` scores at the network's input size against the nearest-resized mask (the published protocol,
    Q22); `original` at the picture's own size. text `other` gives each sample a sentence about another object of its
    image (a control: a model that ignores language scores the same). data_digest names the annotation files.
    perturbation: a name of `perturb/specs.py`; severity 1 to 5 of it, None for the paper's own parameters.
    precision: of the forward pass; `bf16` (autocast) is faster on GPUs, may change single pixels, and is another
    evaluation, so that its records are never taken for those in float32.
    """

    dataset: str
    split: str
    split_by: str | None = None
    resolution: Literal["resized", "original"] = "resized"
    text: Literal["own", "other"] = "own"
    checkpoint: str = "last"
    data_digest: str | None = None
    perturbation: str | None = None
    severity: Annotated[int, Field(ge=1, le=5)] | None = None
    precision: Literal["float32", "bf16"] = "float32"

    @property
    def eval_id(self) -> str:
        """Readable name and a hash of the fields that differ from their neutral value."""
        return _eval_id(self)


@lru_cache(maxsize=1 << 15)  # reports ask for the same names many times
def _eval_id(evaluation: EvalConfig) -> str:
    neutral = EvalConfig(dataset="", split="").model_dump(mode="json")
    changed = _differences(evaluation.model_dump(mode="json"), neutral)
    names = [evaluation.dataset, evaluation.split, evaluation.perturbation, changed.get("precision")]
    label = "-".join(filter(None, [*names, evaluation.checkpoint]))
    return f"{label}-{canonical_hash(changed, 8)}"


ProbeKind = Literal["alignment", "distortion", "cost", "maps"]


class ProbeConfig(Strict):
    """One measurement of a run that is no evaluation. `probe_id` names its files in the run's folder `probes`.

    alignment: S of every patch of `pairs` (image, sentence) pairs, with the share of each patch that is target (Tables
    12, 13, Figure 6). distortion: how far the projection moves inner products of those pairs' features (Tables 5, 8).
    cost: peak memory and minutes an epoch over `steps` updates (Tables 9, 10). maps: input, target, Z+ and Z- of
    `pairs` samples (Figures 4(a), 5), or of the pictures listed in `pictures` (Figure 8).
    checkpoint: whose weights; `cost` needs none. pairs: drawn from the split with a fixed seed (Q32). pmme, afm: how S
    is measured, None as the run itself does (a baseline has no S of its own, Q37).
    """

    kind: ProbeKind
    checkpoint: str = "last"
    dataset: str | None = None
    split: str | None = None
    split_by: str | None = None
    pairs: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    pictures: str | None = None
    pmme: PMMEConfig | None = None
    afm: AFMConfig | None = None
    data_digest: str | None = None

    @property
    def probe_id(self) -> str:
        """Readable name and a hash of the fields that differ from their neutral value."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        label = "-".join(filter(None, [self.kind, self.dataset, self.split, self.checkpoint]))
        return f"{label}-{canonical_hash(changed, 8)}"


def parse_config(values: Mapping[str, Any], where: object = "configuration") -> RunConfig:
    """Check nested values against the schema. Raises `UserError` naming the field, and for unknown keys the nearest."""
    return parse_strict(RunConfig, values, where)


def load_config(path: Path) -> RunConfig:
    """Read a run's configuration from YAML (nested or dotted keys). Those of one recipe differ in the line with the
    seed, so that one is parsed for all its seeds."""
    if path.is_file():
        text, seed = split_seed(path.read_text("utf-8"))
        with contextlib.suppress(UserError):  # which is to name the file and the line
            return read_recipe(text) if seed is None else read_recipe(text).model_copy(update={"seed": seed})
    return _checked(load_yaml(path), path)


def split_seed(text: str) -> tuple[str, int | None]:
    """A configuration as `dump_config` writes it without the line that says the seed, and the seed; of any other text
    all of it, and None."""
    seeds = _SEED_LINE.findall(text)
    return (_SEED_LINE.sub("", text), int(seeds[0])) if len(seeds) == 1 else (text, None)


@lru_cache(maxsize=256)
def read_recipe(text: str) -> RunConfig:
    """The configuration in a YAML text."""
    return _checked(parse_yaml(text, "configuration"), "configuration")


def _checked(values: Any, where: object) -> RunConfig:
    if not isinstance(values, Mapping):
        raise UserError("a configuration is a mapping", where=where, found=type(values).__name__)
    return parse_config(nest(values), where)


def named(recipe: str, seed: int) -> str:
    """The name of a run: its recipe's name and its seed."""
    return f"{recipe}-s{seed}"


def dump_config(config: RunConfig) -> str:
    """The complete configuration as YAML, in schema order, readable and loadable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _inactive(config: RunConfig) -> list[str]:
    """Fields that do not matter given the others."""
    out = ["data.digest"] if config.data.source == "synth" else ["data.synth"]
    if config.init.vision == "scratch":
        out.append("init.vision_digest")
    if config.init.text == "scratch":
        out.append("init.text_digest")
    if config.strategy != "maskris":
        out.append("maskris")
    if config.strategy == "plain":
        out += ["pmme", "afm", "random", "train.step"]
    elif config.strategy == "maskris":
        out += ["pmme", "random", "afm.tau", "afm.rho", "afm.dropout", "afm.level"]
    elif config.strategy == "random":
        if config.random.share != "matched":
            out += ["pmme", "afm.tau", "afm.rho", "afm.dropout", "afm.level"]
    else:
        out.append("random")
    return out + (_inactive_in_method(config) if "pmme" not in out else [])


def _inactive_in_method(config: RunConfig) -> list[str]:
    """Of the settings of PMME and AFM, where S is computed at all."""
    pmme, out = config.pmme, []
    if config.strategy == "aml" and pmme.projection == "text_linear":
        out.append("pmme.dim")
    if pmme.stage != "late":
        out.append("pmme.late")
    if pmme.stage != "pred":
        out.append("pmme.pred")
    elif pmme.pred == "probability":
        out += [f"pmme.{field}" for field in ("normalize", "projection", "dim", "scale", "tokens")]
    if config.strategy == "aml" and config.afm.level == "feature":
        out += ["afm.rho", "afm.block", "afm.dropout", "afm.fill", "pmme.mode"]
    return out


def _components(config: RunConfig) -> set[str]:
    out = {config.model.name, "loop", "data"}
    if config.data.source == "synth":
        out.add("synth")
    if config.strategy == "aml" or (config.strategy == "random" and config.random.share == "matched"):
        out |= {"pmme", "afm"} | {config.pmme.stage, config.pmme.projection, config.afm.level} & VERSIONS.keys()
    if config.strategy in ("random", "maskris"):
        out.add(config.strategy)
    return out


def _differences(value: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, item in value.items():
        base = neutral.get(key)
        if isinstance(item, Mapping) and isinstance(base, Mapping) and base:
            inner = _differences(item, base)
            if inner:
                out[key] = inner
        elif item != base:
            out[key] = item
    return out
