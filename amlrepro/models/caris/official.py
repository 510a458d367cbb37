"""Official CARIS and AMLRIS checkpoints: names both ways, sizes from tensors, strict loading."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amlrepro.errors import UserError
from amlrepro.models.backbones.fit import misfit, mismatches
from amlrepro.models.caris.model import CARIS
from amlrepro.models.caris.spec import CarisOptions
from amlrepro.models.checkpoint_file import read_tensors
from amlrepro.models.identify import describe
from amlrepro.schema import parse_strict

# Prefixes, ours and official; the first that fits a name decides, in either direction.
TABLE: tuple[tuple[str, str], ...] = (
    ("visual.norms.", "backbone.vis_encoder.norm"),
    ("visual.swin.", "backbone.vis_encoder."),
    ("text.bert.", "backbone.lang_encoder."),
    ("prompts.table", "backbone.conditional_prompts.lang_prompts.weight"),
    ("prompts.norm.", "backbone.conditional_prompts.lang_prompts_norm."),
    ("prompts.", "backbone.conditional_prompts."),
    ("decoder.layers.", "pixel_decoder.encoder."),
    ("decoder.", "pixel_decoder."),
)
# Official Swin keeps a downsampling layer at the end of its stage, timm at the start of the next.
_DOWNSAMPLE = re.compile(r"(?<=swin\.layers\.)(\d+)(?=\.downsample\.)")

_CLASS_WEIGHTS = ("criterion.seg_criterion.weight", "criterion.ce_loss.weight")  # CARIS's files, AMLRIS's files
_IGNORED = re.compile(
    r".*\.attn\.relative_position_index$"
    r"|.*\.attn_mask$"
    r"|aug\.(text_proj|fuse_gate)\.(weight|bias)$"
    r"|backbone\.lang_encoder\.embeddings\.position_ids$"
)


def official_name(ours: str) -> str:
    """Our parameter name as the official code has it."""
    shifted = _DOWNSAMPLE.sub(lambda m: str(int(m.group()) - 1), ours)
    for own, official in TABLE:
        if shifted.startswith(own):
            return official + shifted.removeprefix(own)
    raise KeyError(ours)


def our_name(official: str) -> str | None:
    """An official name as ours, or None for one that is not of CARIS."""
    for own, prefix in TABLE:
        if official.startswith(prefix):
            return _DOWNSAMPLE.sub(lambda m: str(int(m.group()) + 1), own + official.removeprefix(prefix))
    return None


def translate(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Official tensors under our names, the keys known and ignored, and the keys that are not CARIS's."""
    ours, ignored, foreign = {}, [], []
    for key, value in tensors.items():
        if key in _CLASS_WEIGHTS or _IGNORED.match(key):
            ignored.append(key)
            continue
        name = our_name(key)
        if name is None:
            foreign.append(key)
        else:
            ours[name] = value
    return ours, ignored, foreign


def infer_options(tensors: Mapping[str, Tensor], **known: Any) -> CarisOptions:
    """Sizes read from tensors under our names; `known` overrides.

    Three things leave no trace: `points` (4), `groups` (32) and `text_heads` (64 channels each, or 4 heads where the
    width is no multiple of 64). Drop rates only matter in training and keep their defaults. Raises `KeyError` for a
    tensor that is missing.
    """
    stages = _count(tensors, r"visual\.norms\.(\d+)\.")
    blocks = [_count(tensors, rf"visual\.swin\.layers\.{i}\.blocks\.(\d+)\.") for i in range(stages)]
    table = "visual.swin.layers.{}.blocks.0.attn.relative_position_bias_table"
    patch = tensors["visual.swin.patch_embed.proj.weight"]
    words = tensors["text.bert.embeddings.word_embeddings.weight"]
    width = tensors["decoder.level_encoding.weight"].shape[1]
    points = known.get("points", 4)
    heads = tensors["decoder.layers.0.vis_self_attn.attention_weights.bias"].shape[0] // (max(stages - 1, 1) * points)
    inner = tensors["decoder.layers.0.v2l_cross_attn.q_proj.bias"].shape[0]
    found = {
        "embed_dim": patch.shape[0],
        "patch_size": patch.shape[2],
        "depths": tuple(blocks),
        "heads": tuple(tensors[table.format(i)].shape[1] for i in range(stages)),
        "window": (isqrt(tensors[table.format(0)].shape[0]) + 1) // 2,
        "text_width": words.shape[1],
        "text_layers": _count(tensors, r"text\.bert\.encoder\.layer\.(\d+)\."),
        "text_heads": words.shape[1] // 64 if words.shape[1] % 64 == 0 else 4,
        "text_mlp": tensors["text.bert.encoder.layer.0.intermediate.dense.bias"].shape[0],
        "text_positions": tensors["text.bert.embeddings.position_embeddings.weight"].shape[0],
        "width": width,
        "layers": _count(tensors, r"decoder\.layers\.(\d+)\."),
        "decoder_heads": heads,
        "head_dim": inner // max(heads, 1),
        "points": points,
        "mlp": tensors["decoder.layers.0.vis_mlp.fc1.bias"].shape[0],
        "visual_prompts": tensors["decoder.vis_prompts.weight"].shape[0],
        "prompt_levels": tuple(range(1, _count(tensors, r"prompts\.in_linears\.(\d+)\.") + 1)),
    }
    return parse_strict(CarisOptions, {**found, **known}, "sizes of the checkpoint")


def load(source: str | Path | Mapping[str, Any], image_size: int | None = None, **known: Any) -> CARIS:
    """An official checkpoint (CARIS's or AMLRIS's) as our model, in evaluation mode.

    Every parameter must be there and nothing may be left over but index buffers and PMME's projection, which AMLRIS's
    files carry. The loss keeps the class weights of the file. image_size: the input size asked for; one at which the
    official result cannot be had exactly is refused. known: sizes that the tensors do not show (see `infer_options`).
    Raises `UserError`.
    """
    where: object = "a state dict in memory" if isinstance(source, Mapping) else source
    tensors = read_tensors(source)
    ours, _, foreign = translate(tensors)
    if not any(name.startswith("decoder.layers.") for name in ours) or not any(n.startswith("visual.") for n in ours):
        raise UserError(
            "this is no official CARIS checkpoint", where=where, found=describe(tensors), expected="CARIS or AMLRIS"
        )
    try:
        options = infer_options(ours, **known)
    except KeyError as error:
        found = {"missing": [official_name(str(error.args[0]))], "unexpected": foreign}
        raise misfit("CARIS", {kind: keys for kind, keys in found.items() if keys}, where) from None
    if image_size is not None and image_size % options.size_multiple:
        raise UserError(
            "at this image size the official weights would not give the official result",
            where=where,
            found=image_size,
            expected=f"a multiple of {options.size_multiple}",
        )
    vocabulary = ours["text.bert.embeddings.word_embeddings.weight"].shape[0]
    with torch.random.fork_rng(devices=[]):
        model = CARIS(options, vocabulary, image_size=image_size or 2 * options.size_multiple)
    load_strict(model, ours, where, foreign)
    for key in _CLASS_WEIGHTS:
        if key in tensors:
            model.class_weights.copy_(tensors[key])
    model.exact_sizes_only = True
    return model.eval()


def load_strict(model: CARIS, ours: Mapping[str, Tensor], where: object, foreign: list[str]) -> None:
    """Copy tensors under our names into the model; a `UserError` lists missing, unexpected and misshapen keys."""
    expected = {official_name(key): value for key, value in model.state_dict().items()}
    official = {official_name(key): value for key, value in ours.items()}
    found = mismatches(expected, official)
    if foreign:
        found["unexpected"] = [*foreign, *found.get("unexpected", [])]
    if found:
        raise misfit("CARIS", found, where)
    model.load_state_dict(dict(ours))


def to_official(model: CARIS) -> dict[str, Tensor]:
    """The model's weights as an official state dict, index buffers and loss weights included."""
    out = {official_name(key): value.detach().cpu().clone() for key, value in model.state_dict().items()}
    for stage, layer in enumerate(model.visual.swin.layers):
        for number, block in enumerate(layer.blocks):
            name = f"backbone.vis_encoder.layers.{stage}.blocks.{number}.attn.relative_position_index"
            out[name] = block.attn.relative_position_index.detach().cpu().clone()
    out[_CLASS_WEIGHTS[0]] = model.class_weights.detach().cpu().clone()
    return out


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    numbers = {int(match.group(1)) for key in tensors if (match := re.match(pattern, key))}
    return max(numbers, default=-1) + 1
