"""Official DETRIS checkpoints: names both ways, sizes from tensors, strict loading (official code)."""

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
from amlrepro.models.detris.model import DETRIS
from amlrepro.models.detris.spec import DetrisOptions
from amlrepro.models.identify import describe
from amlrepro.schema import parse_strict

_TEXT = "text.clip.text_model"
_LAYER = f"{_TEXT}.encoder.layers.#"
_BLOCK = "txt_backbone.transformer.resblocks.#"

# Prefixes, ours and official, # for a block's number; the first that fits a name decides, in either direction.
TABLE: tuple[tuple[str, str], ...] = (
    (f"{_TEXT}.embeddings.token_embedding.", "txt_backbone.token_embedding."),
    (f"{_TEXT}.embeddings.position_embedding.weight", "txt_backbone.positional_embedding"),
    (f"{_TEXT}.final_layer_norm.", "txt_backbone.ln_final."),
    ("text.clip.text_projection.weight", "txt_backbone.text_projection"),
    ("text.logit_scale", "txt_backbone.logit_scale"),
    (f"{_LAYER}.self_attn.", f"{_BLOCK}.attn."),
    (f"{_LAYER}.layer_norm1.", f"{_BLOCK}.ln_1."),
    (f"{_LAYER}.layer_norm2.", f"{_BLOCK}.ln_2."),
    (f"{_LAYER}.mlp.fc1.", f"{_BLOCK}.mlp.c_fc."),
    (f"{_LAYER}.mlp.fc2.", f"{_BLOCK}.mlp.c_proj."),
    ("text.adapters.#.down.", f"{_BLOCK}.adapter.D_fc1."),
    ("text.adapters.#.up.", f"{_BLOCK}.adapter.D_fc2."),
    ("text.adapters.#.branches.branch", f"{_BLOCK}.adapter.dense_branch"),
    ("vision.class_token", "dinov2.cls_token"),
    ("vision.registers", "dinov2.register_tokens"),
    ("vision.position", "dinov2.pos_embed"),
    ("vision.mask_token", "dinov2.mask_token"),
    ("vision.patch.", "dinov2.patch_embed."),
    ("vision.norm.", "dinov2.norm."),
    ("vision.aligners.#.down.", "dinov2.blocks.#.adapter.D_fc1."),
    ("vision.aligners.#.up.", "dinov2.blocks.#.adapter.D_fc2."),
    ("vision.aligners.#.branches.branch", "dinov2.blocks.#.adapter.dense_branch"),
    ("vision.aligners.#.cross.q_in.", "dinov2.blocks.#.adapter.cross.image_proj."),
    ("vision.aligners.#.cross.text_in.", "dinov2.blocks.#.adapter.cross.text_proj."),
    ("vision.aligners.#.cross.out.", "dinov2.blocks.#.adapter.cross.back_proj."),
    ("vision.aligners.#.cross.attn.", "dinov2.blocks.#.adapter.cross.multihead_attn."),
    ("vision.blocks.#.", "dinov2.blocks.#."),
    *((f"neck.lateral.{i}.conv.", f"neck.f{i + 3}_proj.0.") for i in range(3)),
    *((f"neck.lateral.{i}.bn.", f"neck.f{i + 3}_proj.1.") for i in range(3)),
    *((f"neck.gates.{i}.attn.", f"neck.fusion{i + 3}.multihead_attn.") for i in range(3)),
    ("neck.text.", "neck.txt_proj."),
    ("neck.merge.conv.", "neck.aggr.0."),
    ("neck.merge.bn.", "neck.aggr.1."),
    ("neck.coord.0.conv.", "neck.coordconv.0.conv1.0."),
    ("neck.coord.0.bn.", "neck.coordconv.0.conv1.1."),
    ("neck.coord.1.conv.", "neck.coordconv.1.0."),
    ("neck.coord.1.bn.", "neck.coordconv.1.1."),
    ("decoder.layers.#.cross_attn.", "decoder.layers.#.multihead_attn."),
    ("decoder.layers.#.fc1.", "decoder.layers.#.ffn.0."),
    ("decoder.layers.#.ffn_norm.", "decoder.layers.#.ffn.3."),
    ("decoder.layers.#.fc2.", "decoder.layers.#.ffn.4."),
    ("decoder.", "decoder."),
    ("head.conv1.conv.", "proj.vis.1.0."),
    ("head.conv1.bn.", "proj.vis.1.1."),
    ("head.conv2.conv.", "proj.vis.3.0."),
    ("head.conv2.bn.", "proj.vis.3.1."),
    ("head.conv3.", "proj.vis.4."),
    ("head.kernel.", "proj.txt."),
)
_PARTS = ("q_proj", "k_proj", "v_proj")
_STACKED = re.compile(r"(txt_backbone\.transformer\.resblocks\.\d+\.attn\.)in_proj_(weight|bias)$")
_SPLIT = re.compile(r"(txt_backbone\.transformer\.resblocks\.\d+\.attn\.)q_proj\.(weight|bias)$")
_PROJECTION = "txt_backbone.text_projection"
_COUNTER = "num_batches_tracked"


def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(re.escape(prefix).replace(r"\#", r"(\d+)"))


def _template(prefix: str) -> str:
    return prefix.replace("#", r"\g<1>")


_TO_OFFICIAL = [(_pattern(ours), _template(official)) for ours, official in TABLE]
_TO_OURS = [(_pattern(official), _template(ours)) for ours, official in TABLE]


def _rename(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        match = pattern.match(name)
        if match:
            return match.expand(template) + name[match.end() :]
    return None


def from_official(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Official tensors under our names, and the keys that are not DETRIS's.

    transformers keeps CLIP's queries, keys and values apart and its projection transposed; all else only has new names.
    """
    ours: dict[str, Tensor] = {}
    foreign: list[str] = []
    for key, value in tensors.items():
        stacked = _STACKED.match(key)
        if stacked:
            pieces = zip(_PARTS, value.chunk(3), strict=True)
            renamed = {f"{stacked[1]}{part}.{stacked[2]}": piece for part, piece in pieces}
        else:
            renamed = {key: value.t() if key == _PROJECTION else value}
        for official, tensor in renamed.items():
            name = _rename(official, _TO_OURS)
            if name is None:
                foreign.append(key)
            else:
                ours[name] = tensor
    return ours, foreign


def to_official(model: DETRIS) -> dict[str, Tensor]:
    """The model's weights as an official state dict, without the `module.` that the official code puts in front."""
    named = {}
    for ours, value in model.state_dict().items():
        name = _rename(ours, _TO_OFFICIAL)
        assert name is not None, ours
        named[name] = value.detach().cpu()
    out: dict[str, Tensor] = {}
    for name, value in named.items():
        first = _SPLIT.match(name)
        if first:
            pieces = [named[f"{first[1]}{part}.{first[2]}"] for part in _PARTS]
            out[f"{first[1]}in_proj_{first[2]}"] = torch.cat(pieces)
        elif not (name.startswith("txt_backbone.") and any(f".attn.{part}." in name for part in _PARTS)):
            out[name] = (value.t() if name == _PROJECTION else value).clone().contiguous()
    return out


def infer_options(tensors: Mapping[str, Tensor], **known: Any) -> DetrisOptions:
    """Sizes read from official tensors; `known` overrides. Raises `KeyError` for a tensor that is missing.

    What leaves no trace: heads (64 channels each in both encoders; 8 in aligners and decoder), and the blocks whose
    outputs are taken (a third and two thirds of the way, as in the official base and large models).
    """
    vision = tensors["dinov2.pos_embed"]
    text = tensors["txt_backbone.positional_embedding"]
    layers = _numbers(tensors, r"dinov2\.blocks\.(\d+)\.")
    aligned = _numbers(tensors, r"dinov2\.blocks\.(\d+)\.adapter\.")
    adapted = _numbers(tensors, r"txt_backbone\.transformer\.resblocks\.(\d+)\.adapter\.")
    width = tensors["neck.txt_proj.weight"].shape[0]
    if not aligned or not adapted:
        raise KeyError("dinov2.blocks.1.adapter.D_fc1.weight")
    found = {
        "patch_size": tensors["dinov2.patch_embed.proj.weight"].shape[-1],
        "vision_width": vision.shape[-1],
        "vision_layers": len(layers),
        "vision_heads": max(vision.shape[-1] // 64, 1),
        "registers": tensors["dinov2.register_tokens"].shape[1],
        "position_grid": isqrt(vision.shape[1] - 1),
        "vision_taps": (len(layers) // 3, 2 * len(layers) // 3),
        "vision_adapters": tuple(aligned),
        "vision_bottleneck": tensors[f"dinov2.blocks.{aligned[0]}.adapter.D_fc1.bias"].shape[0],
        "text_width": text.shape[1],
        "text_layers": len(_numbers(tensors, r"txt_backbone\.transformer\.resblocks\.(\d+)\.")),
        "text_heads": max(text.shape[1] // 64, 1),
        "text_positions": text.shape[0],
        "text_adapters": tuple(adapted),
        "text_bottleneck": tensors[f"txt_backbone.transformer.resblocks.{adapted[0]}.adapter.D_fc1.bias"].shape[0],
        "state_width": tensors[_PROJECTION].shape[1],
        "width": width,
        "decoder_layers": len(_numbers(tensors, r"decoder\.layers\.(\d+)\.")),
        "decoder_mlp": tensors["decoder.layers.0.ffn.0.bias"].shape[0],
    }
    return parse_strict(DetrisOptions, {**found, **known}, "sizes of the checkpoint")


def load(source: str | Path | Mapping[str, Any], **known: Any) -> DETRIS:
    """An official checkpoint as our model, in evaluation mode.

    Every tensor must be there and nothing may be left over; only batch norm's counters may be missing. `known`: sizes
    that leave no trace in the tensors (see `infer_options`). Raises `UserError`.
    """
    where: object = "a state dict in memory" if isinstance(source, Mapping) else source
    tensors = read_tensors(source)
    if not any(key.startswith("dinov2.") for key in tensors) or not any(k.startswith("neck.") for k in tensors):
        raise UserError(
            "this is no official DETRIS checkpoint", where=where, found=describe(tensors), expected="DETRIS"
        )
    try:
        options = infer_options(tensors, **known)
    except KeyError as error:
        raise misfit("DETRIS", {"missing": [str(error.args[0])]}, where) from None
    with torch.random.fork_rng(devices=[]):
        model = DETRIS(options, tensors["txt_backbone.token_embedding.weight"].shape[0])
    expected = to_official(model)
    counters = {k: v for k, v in expected.items() if k.endswith(_COUNTER) and k not in tensors}
    found = mismatches(expected, {**counters, **tensors})
    if found:
        raise misfit("DETRIS", found, where)
    ours, _ = from_official({**counters, **tensors})
    model.load_state_dict(ours)
    return model.eval()


def _numbers(tensors: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted({int(match[1]) for key in tensors if (match := re.match(pattern, key))})
