"""Official ReLA checkpoints: names both ways, sizes from tensors, strict loading."""

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
from amlrepro.models.checkpoint_file import read_tensors
from amlrepro.models.identify import describe
from amlrepro.models.rela.model import ReLA
from amlrepro.models.rela.spec import RelaOptions
from amlrepro.schema import parse_strict

_PIXEL = "sem_seg_head.pixel_decoder"
_ENCODER = f"{_PIXEL}.transformer.encoder.layers.#"
_REGIONS = "sem_seg_head.predictor"

# Prefixes, ours and official, # for a number; the first that fits a name decides, in either direction.
TABLE: tuple[tuple[str, str], ...] = (
    ("text.bert.", "text_encoder."),
    ("vision.norms.#.", "backbone.norm#."),
    ("vision.fusions.#.visual.", "backbone.layers.#.fusion.vis_project.0."),
    ("vision.fusions.#.query.", "backbone.layers.#.fusion.image_lang_att.f_query.0."),
    ("vision.fusions.#.key.", "backbone.layers.#.fusion.image_lang_att.f_key.0."),
    ("vision.fusions.#.value.", "backbone.layers.#.fusion.image_lang_att.f_value.0."),
    ("vision.fusions.#.out.", "backbone.layers.#.fusion.image_lang_att.W.0."),
    ("vision.fusions.#.merge.", "backbone.layers.#.fusion.project_mm.0."),
    ("vision.gates.#.", "backbone.layers.#.res_gate."),
    ("vision.swin.", "backbone."),
    ("pixel.inputs.#.conv.", f"{_PIXEL}.input_proj.#.0."),
    ("pixel.inputs.#.gn.", f"{_PIXEL}.input_proj.#.1."),
    ("pixel.level", f"{_PIXEL}.transformer.level_embed"),
    ("pixel.layers.#.attn.", f"{_ENCODER}.self_attn."),
    ("pixel.layers.#.attn_norm.", f"{_ENCODER}.norm1."),
    ("pixel.layers.#.ffn_norm.", f"{_ENCODER}.norm2."),
    ("pixel.layers.#.ffn.fc1.", f"{_ENCODER}.linear1."),
    ("pixel.layers.#.ffn.fc2.", f"{_ENCODER}.linear2."),
    ("pixel.lateral.gn.", f"{_PIXEL}.adapter_1.norm."),
    ("pixel.lateral.conv.", f"{_PIXEL}.adapter_1."),
    ("pixel.smooth.gn.", f"{_PIXEL}.layer_1.norm."),
    ("pixel.smooth.conv.", f"{_PIXEL}.layer_1."),
    ("pixel.mask_features.", f"{_PIXEL}.mask_features."),
    ("regions.content.", f"{_REGIONS}.query_feat."),
    ("regions.position.", f"{_REGIONS}.query_embed."),
    ("regions.level.", f"{_REGIONS}.level_embed."),
    ("regions.lang_proj.", f"{_REGIONS}.lang_proj."),
    ("regions.lang_gate", f"{_REGIONS}.lang_weight"),
    ("regions.lang_attn.attn.", f"{_REGIONS}.RLA_lang_att.multihead_attn."),
    ("regions.lang_attn.norm.", f"{_REGIONS}.RLA_lang_att.norm."),
    ("regions.layers.#.cross.attn.", f"{_REGIONS}.RIA_layers.#.multihead_attn."),
    ("regions.layers.#.cross.norm.", f"{_REGIONS}.RIA_layers.#.norm."),
    ("regions.layers.#.among.attn.", f"{_REGIONS}.RLA_vision.#.self_attn."),
    ("regions.layers.#.among.norm.", f"{_REGIONS}.RLA_vision.#.norm."),
    ("regions.layers.#.ffn.fc1.", f"{_REGIONS}.transformer_ffn_layers.#.linear1."),
    ("regions.layers.#.ffn.fc2.", f"{_REGIONS}.transformer_ffn_layers.#.linear2."),
    ("regions.layers.#.ffn_norm.", f"{_REGIONS}.transformer_ffn_layers.#.norm."),
    ("regions.norm.", f"{_REGIONS}.decoder_norm."),
    ("regions.minimap.", f"{_REGIONS}.minimap_embed."),
    ("regions.no_target.fc1.", f"{_REGIONS}.nt_embed.layers.0."),
    ("regions.no_target.fc2.", f"{_REGIONS}.nt_embed.layers.1."),
    ("regions.mask.0.", f"{_REGIONS}.mask_embed.layers.0."),
    ("regions.mask.2.", f"{_REGIONS}.mask_embed.layers.1."),
    ("regions.mask.4.", f"{_REGIONS}.mask_embed.layers.2."),
)
# Official Swin keeps a downsampling layer at the end of its stage, timm at the start of the next.
_DOWNSAMPLE = re.compile(r"(?<=swin\.layers\.)(\d+)(?=\.downsample\.)")
_IGNORED = re.compile(r".*\.attn\.relative_position_index$|text_encoder\.embeddings\.position_ids$")


def _rules(pairs: tuple[tuple[str, str], ...]) -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(re.escape(source).replace(r"\#", r"(\d+)")), target.replace("#", r"\g<1>"))
        for source, target in pairs
    ]


_TO_OFFICIAL = _rules(TABLE)
_TO_OURS = _rules(tuple((official, ours) for ours, official in TABLE))


def _rename(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        match = pattern.match(name)
        if match:
            return match.expand(template) + name[match.end() :]
    return None


def official_name(ours: str) -> str:
    """Our parameter name as the official code has it."""
    name = _rename(_DOWNSAMPLE.sub(lambda m: str(int(m.group()) - 1), ours), _TO_OFFICIAL)
    if name is None:
        raise KeyError(ours)
    return name


def our_name(official: str) -> str | None:
    """An official name as ours, or None for one that is not of ReLA."""
    name = _rename(official, _TO_OURS)
    return None if name is None else _DOWNSAMPLE.sub(lambda m: str(int(m.group()) + 1), name)


def translate(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Official tensors under our names, and the keys that are not ReLA's; buffers that are recomputed are dropped."""
    ours: dict[str, Tensor] = {}
    foreign = []
    for key, value in tensors.items():
        if _IGNORED.match(key):
            continue
        name = our_name(key)
        if name is None:
            foreign.append(key)
        else:
            ours[name] = value
    return ours, foreign


def infer_options(tensors: Mapping[str, Tensor], **known: Any) -> RelaOptions:
    """Sizes read from tensors under our names; `known` overrides. Raises `KeyError` for a tensor that is missing.

    What leaves no trace: `points` (4), `groups` (32), `decoder_heads` (8) and `text_heads` (64 channels each, or 4
    heads where the width is no multiple of 64). What only matters in training keeps its default.
    """
    stages = _count(tensors, r"vision\.norms\.(\d+)\.")
    table = "vision.swin.layers.{}.blocks.0.attn.relative_position_bias_table"
    patch = tensors["vision.swin.patch_embed.proj.weight"]
    words = tensors["text.bert.embeddings.word_embeddings.weight"]
    points = known.get("points", 4)
    weights = tensors["pixel.layers.0.attn.attention_weights.bias"]
    found = {
        "embed_dim": patch.shape[0],
        "patch_size": patch.shape[2],
        "depths": tuple(_count(tensors, rf"vision\.swin\.layers\.{i}\.blocks\.(\d+)\.") for i in range(stages)),
        "heads": tuple(tensors[table.format(i)].shape[1] for i in range(stages)),
        "window": (isqrt(tensors[table.format(0)].shape[0]) + 1) // 2,
        "text_width": words.shape[1],
        "text_layers": _count(tensors, r"text\.bert\.encoder\.layer\.(\d+)\."),
        "text_heads": words.shape[1] // 64 if words.shape[1] % 64 == 0 else 4,
        "text_mlp": tensors["text.bert.encoder.layer.0.intermediate.dense.bias"].shape[0],
        "text_positions": tensors["text.bert.embeddings.position_embeddings.weight"].shape[0],
        "width": tensors["pixel.level"].shape[1],
        "pixel_layers": _count(tensors, r"pixel\.layers\.(\d+)\."),
        "pixel_heads": weights.shape[0] // (max(stages - 1, 1) * points),
        "points": points,
        "pixel_mlp": tensors["pixel.layers.0.ffn.fc1.bias"].shape[0],
        "region_grid": isqrt(tensors["regions.content.weight"].shape[0]),
        "layers": _count(tensors, r"regions\.layers\.(\d+)\."),
        "mlp": tensors["regions.layers.0.ffn.fc1.bias"].shape[0],
    }
    return parse_strict(RelaOptions, {**found, **known}, "sizes of the checkpoint")


def load(
    source: str | Path | Mapping[str, Any], image_size: int | None = None, pixels: bool = True, **known: Any
) -> ReLA:
    """An official checkpoint as our model, in evaluation mode.

    Every parameter must be there and nothing may be left over. pixels: the model takes pictures of 0 to 255, as the
    official one; False where the loader normalises them. `known`: sizes that leave no trace in the tensors (see
    `infer_options`). Raises `UserError`.
    """
    where: object = "a state dict in memory" if isinstance(source, Mapping) else source
    tensors = read_tensors(source)
    ours, foreign = translate(tensors)
    if not all(any(name.startswith(part) for name in ours) for part in ("vision.", "pixel.", "regions.", "text.")):
        raise UserError("this is no official ReLA checkpoint", where=where, found=describe(tensors), expected="ReLA")
    try:
        options = infer_options(ours, **known)
    except KeyError as error:
        found = {"missing": [official_name(str(error.args[0]))], "unexpected": foreign}
        raise misfit("ReLA", {kind: keys for kind, keys in found.items() if keys}, where) from None
    vocabulary = ours["text.bert.embeddings.word_embeddings.weight"].shape[0]
    with torch.random.fork_rng(devices=[]):
        model = ReLA(options, vocabulary, image_size=image_size or 15 * options.size_multiple, pixels=pixels)
    expected = {official_name(key): value for key, value in model.state_dict().items()}
    found = mismatches(expected, {official_name(key): value for key, value in ours.items()})
    if foreign:
        found["unexpected"] = [*foreign, *found.get("unexpected", [])]
    if found:
        raise misfit("ReLA", found, where)
    model.load_state_dict(ours)
    return model.eval()


def to_official(model: ReLA) -> dict[str, Tensor]:
    """The model's weights as an official state dict, index buffers included."""
    out = {official_name(key): value.detach().cpu().clone() for key, value in model.state_dict().items()}
    for stage, layer in enumerate(model.vision.swin.layers):
        for number, block in enumerate(layer.blocks):
            name = f"backbone.layers.{stage}.blocks.{number}.attn.relative_position_index"
            out[name] = block.attn.relative_position_index.detach().cpu().clone()
    return out


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    numbers = {int(match.group(1)) for key in tensors if (match := re.match(pattern, key))}
    return max(numbers, default=-1) + 1
