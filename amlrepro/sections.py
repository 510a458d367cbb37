"""The sections of a run's configuration: what there is to set, its neutral value and what it means. Torch-free.

Defaults are neutral values and frozen (see `config.py`); a new field gets a neutral default: old runs keep their names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from amlrepro.schema import Strict

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[str, ...] = get_args(Device)

IntTuple = Annotated[tuple[int, ...], Field(strict=False)]
FloatTuple = Annotated[tuple[float, ...], Field(strict=False)]


class ModelConfig(Strict):
    """Which model, at which named size; `options` override single options of that size (checked by the model)."""

    name: str = "caris"
    size: str = "base"
    options: dict[str, Any] = Field(default_factory=dict)


class InitConfig(Strict):
    """Initial encoder weights: `pretrained` (a file or hub name, see `exec`) or `scratch`; digests name the files."""

    vision: Literal["pretrained", "scratch"] = "pretrained"
    text: Literal["pretrained", "scratch"] = "pretrained"
    vision_digest: str | None = None
    text_digest: str | None = None


class SynthConfig(Strict):
    """Size and seed of the embedded synthetic data sets.

    image_size: short side of the pictures in pixels; long sides are up to a third longer. train_images, eval_images:
    pictures in each data set's train split, and in each of its other splits. noise: strength of the backgrounds'
    texture and of the sensor noise (0: flat).
    """

    seed: Annotated[int, Field(ge=0)] = 0
    image_size: Annotated[int, Field(ge=32)] = 112
    train_images: Annotated[int, Field(ge=1)] = 400
    eval_images: Annotated[int, Field(ge=1)] = 60
    noise: Annotated[float, Field(ge=0, le=3)] = 1.0


class DataConfig(Strict):
    """What is trained on and how samples become tensors.

    sampling: an epoch goes over `ref`s, drawing one sentence at each visit, or over all `expression`s.
    """

    train: str = "refcoco"
    split_by: str | None = None
    source: Literal["refer", "synth"] = "refer"
    digest: str | None = None
    synth: SynthConfig = SynthConfig()
    text: Literal["sent", "raw"] = "sent"
    vocabulary: Literal["bert", "clip", "words"] = "bert"
    image_size: Annotated[int, Field(ge=16)] = 448
    max_tokens: Annotated[int, Field(ge=3)] = 20
    sampling: Literal["ref", "expression"] = "ref"


class TrainConfig(Strict):
    """Optimisation. Defaults are CARIS's own settings (CARIS script; Q10, Q24, Q46).

    horizon: epochs over which the schedule decays. epoch_refs: refs an epoch visits (None: all of them); expressions,
    where `data.sampling` says so. warmup: iterations of linear warm-up from `warmup_ratio`; `first_step_full` keeps the
    official scheduler's quirk that iteration 0 runs at the full rate. encoder_lr: factor on the rate of both encoders.
    drops: schedule `step` multiplies the rate by `drop_factor` after each of these numbers of epochs (or updates:
    `drop_unit`).
    """

    horizon: Annotated[int, Field(ge=1)] = 50
    batch: Annotated[int, Field(ge=1)] = 16
    epoch_refs: Annotated[int, Field(ge=1)] | None = None
    optimizer: Literal["adamw", "adam"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-4
    encoder_lr: Annotated[float, Field(ge=0)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    schedule: Literal["poly", "step", "constant"] = "poly"
    power: float = 0.9
    drops: IntTuple = ()
    drop_unit: Literal["epoch", "update"] = "epoch"
    drop_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[int, Field(ge=0)] = 1500
    warmup_ratio: Annotated[float, Field(gt=0, le=1)] = 1e-3
    first_step_full: bool = True
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    class_weights: FloatTuple = (0.9, 1.1)
    step: Literal["forward_only", "joint"] = "forward_only"
    numerics: Literal["faithful", "fast"] = "faithful"


class PMMEConfig(Strict):
    """Patch-max matching evaluation (Eqs. 3 to 7): the axes of `docs/method.md`.

    stage: where S comes from: `early` features before fusion, `late` ones after it, or `pred`, early features and the
    foreground that stage one predicts. late: the text that late vision meets, after fusion or raw (Q17). pred: what the
    prediction does (Q18): it weights the vision features before Eq. 4, is S itself, or multiplies S.
    features: which of the readings that a model offers for its early features (Q14, Q15); every model has `default`.
    """

    normalize: Literal["l2", "none"] = "none"
    projection: Literal["gaussian", "learnable", "text_linear"] = "gaussian"
    dim: Annotated[int, Field(ge=1)] = 2048
    scale: Annotated[float, Field(gt=0)] = 1.0
    tokens: Literal["all", "real", "words"] = "all"
    stage: Literal["early", "late", "pred"] = "early"
    late: Literal["fused", "raw"] = "fused"
    pred: Literal["weight", "probability", "product"] = "weight"
    features: str = "default"
    mode: Literal["protocol", "train", "eval"] = "protocol"


class AFMConfig(Strict):
    """Alignment-aware filtering mask (Eqs. 11 to 15). tau 0 with source `pmme` is the plain baseline.

    level: `image` blanks blocks of the picture; `feature` hides positions from the decoder's attention (Eqs. 15', 16),
    where only tau acts.
    """

    tau: Annotated[float, Field(ge=0, le=1)] = 0.0
    rho: Annotated[float, Field(ge=0, le=1)] = 0.25
    block: Annotated[int, Field(ge=1)] = 32
    dropout: Literal["block", "pixel", "released"] = "block"
    fill: float = 0.0
    source: Literal["pmme", "random", "maskris"] = "pmme"
    level: Literal["image", "feature"] = "image"


class RandomConfig(Strict):
    """Random-mask baseline (Q20): a fixed share of blocks, the share AML would mask in the same sample (`matched`), or
    one drawn for each sample from 0 to 1 (`random`).
    """

    share: Annotated[float, Field(ge=0, le=1)] | Literal["matched", "random"] = 0.25


class MaskRISConfig(Strict):
    """MaskRIS's training: the share of blocks that are kept, and of words that are selected for masking."""

    keep: Annotated[float, Field(ge=0, le=1)] = 0.25
    words: Annotated[float, Field(ge=0, le=1)] = 0.15


class ExecConfig(Strict):
    """Where, how and how far a run is carried out. Never part of its identity.

    processes: how many train one run together, a GPU each; `train.batch` is theirs together. threads: of each process.
    cache_dir: where resized pictures and masks are kept between runs, `off` for nowhere, None for `AMLRIS_CACHE` or the
    user's cache folder (docs/data.md); cache_gib: most that all of them take there, 0 for nothing.
    activation_checkpointing: keep of repeated layers their inputs alone and compute them again in the backward pass:
    the same results with less memory and more time.
    """

    device: Device = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    processes: Annotated[int, Field(ge=1)] = 1
    workers: Annotated[int, Field(ge=0)] = 0
    deterministic: bool = False
    data_root: str | None = None
    image_root: str | None = None
    vision_weights: str | None = None
    text_weights: str | None = None
    cache_dir: str | None = None
    cache_gib: Annotated[float, Field(ge=0)] = 20.0
    activation_checkpointing: bool = False
    until: Annotated[int, Field(ge=0)] | None = None
    milestones: IntTuple = ()
    validate_at: IntTuple | None = None
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 300.0
    eval_batch: Annotated[int, Field(ge=1)] = 32
    log_every: Annotated[int, Field(ge=1)] = 50
